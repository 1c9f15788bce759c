"""The answer to the question whether TensorFlow is installed, while the stand-in is.

Many libraries ask it before they import TensorFlow, and then compute with it.
They ask with `importlib.util.find_spec` or with `importlib.metadata`, so those are replaced until the end of the block.
TensorBoard imports TensorFlow without asking, unless there is a module `tensorboard.compat.notf`; its own build without
TensorFlow has that module.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from .contents import VERSION
from .modules import NAME

_TENSORBOARD_SWITCH = "tensorboard.compat.notf"
#: Distributions that provide the module `tensorflow`.
_DISTRIBUTIONS = {
    NAME,
    *(f"{NAME}-{kind}" for kind in ("aarch64", "cpu", "cpu-aws", "gpu", "intel", "macos", "rocm")),
    "intel-tensorflow",
    "intel-tensorflow-avx512",
    "tf-nightly",
    "tf-nightly-cpu",
    "tf-nightly-gpu",
}
#: Most frames between a finder and `find_spec`; they belong to the import system.
_DEPTH = 8


@contextlib.contextmanager
def answer_absent() -> Iterator[None]:
    """Answer until the end of the block that TensorFlow is not installed, also if it is."""
    metadata = importlib.metadata.Distribution
    with contextlib.ExitStack() as undo:
        undo.enter_context(_replace(importlib.util, "find_spec", _hide_module(importlib.util.find_spec)))
        undo.enter_context(_replace(metadata, "from_name", _hide_distribution(metadata.from_name)))
        if _TENSORBOARD_SWITCH not in sys.modules:
            sys.modules[_TENSORBOARD_SWITCH] = types.ModuleType(_TENSORBOARD_SWITCH, "TensorBoard's own switch.")
            undo.callback(sys.modules.pop, _TENSORBOARD_SWITCH, None)
        yield


def is_asked() -> bool:
    """Return whether a finder is called by `importlib.util.find_spec`, and not by an import."""
    frame: types.FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "importlib.util" and frame.f_code.co_name == "find_spec":
            return True
        frame = frame.f_back
    return False


class StandInDistribution(importlib.metadata.Distribution):
    """The metadata of an installed package `tensorflow` without files."""

    def read_text(self, filename: str) -> str | None:
        """Return the text of a file in the folder of metadata."""
        return {
            "METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
            "Summary: stand-in of tfckpt that only reads checkpoints\n",
            "top_level.txt": f"{NAME}\n",
            "RECORD": "",
        }.get(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Return the path unchanged."""
        return pathlib.Path(path)


def _hide_module(find_spec: Callable[..., Any]) -> Callable[..., Any]:
    """Return `find_spec` with the answer None for TensorFlow and its modules."""

    @functools.wraps(find_spec)
    def find_other_spec(name: str, package: str | None = None) -> Any:
        absolute = importlib.util.resolve_name(name, package) if name.startswith(".") else name
        return None if absolute.partition(".")[0] == NAME else find_spec(name, package)

    return find_other_spec


def _hide_distribution(from_name: Callable[[str], Any]) -> classmethod[Any, Any, Any]:
    """Return `Distribution.from_name` without the distributions of TensorFlow."""

    def find_other_distribution(_: type, name: str) -> Any:
        if name and name.lower().replace("_", "-").replace(".", "-") in _DISTRIBUTIONS:
            raise importlib.metadata.PackageNotFoundError(name)
        return from_name(name)

    return classmethod(find_other_distribution)


@contextlib.contextmanager
def _replace(owner: Any, name: str, value: object) -> Iterator[None]:
    """Set an attribute until the end of the block; what the program itself sets meanwhile is kept."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        if vars(owner)[name] is value:
            setattr(owner, name, before)
