"""A module of the stand-in, and the line of a program that uses it."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Mapping
from typing import Any

from .errors import NotOfferedError

NAME = "tensorflow"
_IMPORT_SYSTEM = ("importlib", "importlib._bootstrap", "importlib._bootstrap_external", "_frozen_importlib")


class StandInModule(types.ModuleType):
    """A module of the stand-in; accessing any other name in it raises `NotOfferedError`."""

    def __init__(self, name: str, offered: Mapping[str, object]) -> None:
        super().__init__(name, "Stand-in for the module of TensorFlow with this name; it only reads checkpoints.")
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="tfckpt", is_package=True)
        self.__path__: list[str] = []
        self.__dict__.update(offered)

    def __getattr__(self, name: str) -> Any:
        file, line = find_caller()
        raise NotOfferedError(f"{self.__name__}.{name}", file=file, line=line)

    def __dir__(self) -> list[str]:
        return sorted(name for name in self.__dict__ if not name.startswith("_") or name == "__version__")


def find_caller() -> tuple[str, int]:
    """Return the file and line of the caller outside this package and the import system."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_internal(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _is_internal(module: str) -> bool:
    """Return whether a module belongs to this package or the import system."""
    package = __package__ or ""
    return module == package or module.startswith(f"{package}.") or module in _IMPORT_SYSTEM
