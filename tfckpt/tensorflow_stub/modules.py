"""The modules of the stand-in and their contents.

The names are those of TensorFlow 2.21, and a few of TF1 that older scripts use for the same functions:
`tf.gfile`, `tf.train.NewCheckpointReader`, `tf.contrib.framework`, `tensorflow.python.pywrap_tensorflow`.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .. import train
from ..train import dtypes, errors
from . import gfile
from .errors import NotOfferedError

NAME = "tensorflow"
#: The release whose behaviour the stand-in has.
VERSION = "2.21.0"
_IMPORT_SYSTEM = ("importlib", "importlib._bootstrap", "importlib._bootstrap_external", "_frozen_importlib")


class StandInModule(types.ModuleType):
    """A module of the stand-in; accessing any other name in it raises `NotOfferedError`."""

    def __init__(self, name: str, offered: Mapping[str, object]) -> None:
        super().__init__(name, "Stand-in for the module of TensorFlow with this name; it only reads checkpoints.")
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="tfckpt", is_package=True)
        self.__path__: list[str] = []
        self.__dict__.update(offered)

    def __getattr__(self, name: str) -> NoReturn:
        file, line = find_caller()
        raise NotOfferedError(f"{self.__name__}.{name}", file=file, line=line)

    def __dir__(self) -> list[str]:
        return sorted(name for name in self.__dict__ if not name.startswith("_") or name == "__version__")


def build_modules() -> dict[str, StandInModule]:
    """Return all modules by full name; each is also an attribute of its parent."""
    modules = {name: StandInModule(name, offered) for name, offered in _list_contents().items()}
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)
    return modules


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


def _list_contents() -> dict[str, dict[str, object]]:
    """Return the contents of each module."""
    reading: dict[str, object] = {
        "get_checkpoint_state": train.get_checkpoint_state,
        "latest_checkpoint": train.latest_checkpoint,
        "list_variables": train.list_variables,
        "load_checkpoint": train.load_checkpoint,
        "load_variable": train.load_variable,
    }
    older = {"NewCheckpointReader": train.NewCheckpointReader, "checkpoint_exists": train.checkpoint_exists}
    files: dict[str, object] = {
        "GFile": gfile.GFile,
        "exists": gfile.exists,
        "glob": gfile.glob,
        "isdir": gfile.isdir,
        "listdir": gfile.listdir,
    }
    files_v1: dict[str, object] = {
        "Exists": _renamed(gfile.exists, "filename"),
        "FastGFile": gfile.GFile,
        "GFile": gfile.GFile,
        "Glob": _renamed(gfile.glob, "filename"),
        "IsDirectory": _renamed(gfile.isdir, "dirname"),
        "ListDirectory": _renamed(gfile.listdir, "dirname"),
        "Open": gfile.GFile,
    }
    kinds = {name: dtype for name, dtype in dtypes.DTYPES.items() if dtype.is_numeric or name in _OTHER_DTYPES}
    kinds |= {"half": dtypes.as_dtype("half"), "double": dtypes.as_dtype("double")}
    types_: dict[str, object] = {"DType": train.DType, "as_dtype": train.as_dtype, **kinds}
    top: dict[str, object] = {"__version__": VERSION, **types_}
    # Old scripts first switch to the behaviour of TF1, which does not matter for reading checkpoints.
    top_v1 = {**top, "disable_v2_behavior": _nothing, "disable_eager_execution": _nothing}
    shared: dict[str, dict[str, object]] = {
        "dtypes": types_,
        "dtypes.experimental": {name: dtype for name, dtype in dtypes.DTYPES.items() if name not in kinds},
        "errors": {**{kind.__name__: kind for kind in errors.CLASSES}, **errors.CODES},
        "io": {},
        "io.gfile": files,
        "version": {"VERSION": VERSION},
    }
    contents: dict[str, dict[str, object]] = {
        "": top,
        "train": {**reading, **older},
        **shared,
        "gfile": files_v1,
        "contrib": {},
        "contrib.framework": reading,
        "compat": {},
        "compat.v1": top_v1,
        "compat.v1.train": {**reading, **older},
        "compat.v1.gfile": files_v1,
        **{f"compat.v1.{name}": offered for name, offered in shared.items()},
        "compat.v2": top,
        "compat.v2.train": reading,
        **{f"compat.v2.{name}": offered for name, offered in shared.items()},
        "core": {},
        "pywrap_tensorflow": {"NewCheckpointReader": train.NewCheckpointReader},
        "python": {},
        "python.pywrap_tensorflow": {"NewCheckpointReader": train.NewCheckpointReader},
        "python.platform": {},
        "python.platform.gfile": {**files_v1, **files},
        "python.training": {},
        "python.training.checkpoint_utils": reading,
        "python.training.py_checkpoint_reader": {"NewCheckpointReader": train.NewCheckpointReader},
    }
    return {f"{NAME}.{name}" if name else NAME: offered for name, offered in contents.items()}


#: Types at the top level in addition to the numeric ones; those of ml_dtypes are only in `dtypes.experimental`.
_OTHER_DTYPES = ("bool", "resource", "string", "variant")


def _renamed(function: Callable[[Any], Any], argument: str) -> Callable[..., Any]:
    """Return the function with its only argument under the name that it has in TF1."""

    def call(*positional: Any, **named: Any) -> Any:
        if argument in named and len(named) == 1 and not positional:
            return function(named[argument])
        return function(*positional, **named)

    call.__name__ = call.__qualname__ = function.__name__
    call.__doc__ = function.__doc__
    return call


def _nothing() -> None:
    """Do nothing, because the switch is about graphs and sessions."""
