"""The modules of the stand-in: their names, what each offers, and what happens to everything else.

The names are those of TensorFlow 2.21, and a few of TF1 by which older scripts reach the same functions:
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
#: The release whose behaviour this is.
VERSION = "2.21.0"
_BY_IMPORT_SYSTEM = ("importlib", "importlib._bootstrap", "importlib._bootstrap_external", "_frozen_importlib")


class StandInModule(types.ModuleType):
    """A module of the stand-in; asking it for a name that it does not offer says so, and where it was asked."""

    def __init__(self, name: str, offered: Mapping[str, object]) -> None:
        super().__init__(name, "Stands in for TensorFlow's module of this name; offers only what reads checkpoints.")
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="tfckpt", is_package=True)
        self.__path__: list[str] = []
        self.__dict__.update(offered)

    def __getattr__(self, name: str) -> NoReturn:
        file, line = asker()
        raise NotOfferedError(f"{self.__name__}.{name}", file=file, line=line)

    def __dir__(self) -> list[str]:
        return sorted(name for name in self.__dict__ if not name.startswith("_") or name == "__version__")


def build() -> dict[str, StandInModule]:
    """Every module by its full name, each an attribute of the one above it."""
    modules = {name: StandInModule(name, offered) for name, offered in _offers().items()}
    for name, module in modules.items():
        above, _, last = name.rpartition(".")
        if above:
            setattr(modules[above], last, module)
    return modules


def asker() -> tuple[str, int]:
    """File and line of the code that is not ours nor the import system's and led here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_between(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _is_between(module: str) -> bool:
    package = __package__ or ""
    return module == package or module.startswith(f"{package}.") or module in _BY_IMPORT_SYSTEM


def _offers() -> dict[str, dict[str, object]]:
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
    # Old scripts say at their beginning that they are written for TF1; for reading checkpoints that changes nothing.
    top_v1 = {**top, "disable_v2_behavior": _nothing, "disable_eager_execution": _nothing}
    shared: dict[str, dict[str, object]] = {
        "dtypes": types_,
        "dtypes.experimental": {name: one for name, one in dtypes.DTYPES.items() if name not in kinds},
        "errors": {**{kind.__name__: kind for kind in errors.CLASSES}, **errors.CODES},
        "io": {},
        "io.gfile": files,
        "version": {"VERSION": VERSION},
    }
    offers: dict[str, dict[str, object]] = {
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
        "pywrap_tensorflow": {"NewCheckpointReader": train.NewCheckpointReader},
        "python": {},
        "python.pywrap_tensorflow": {"NewCheckpointReader": train.NewCheckpointReader},
        "python.platform": {},
        "python.platform.gfile": {**files_v1, **files},
        "python.training": {},
        "python.training.checkpoint_utils": reading,
        "python.training.py_checkpoint_reader": {"NewCheckpointReader": train.NewCheckpointReader},
    }
    return {f"{NAME}.{name}" if name else NAME: offered for name, offered in offers.items()}


#: Beside the numeric ones; the types that ml_dtypes adds are offered under `dtypes.experimental` alone.
_OTHER_DTYPES = ("bool", "resource", "string", "variant")


def _renamed(function: Callable[[Any], Any], argument: str) -> Callable[..., Any]:
    """The function with its one argument under the name that TF1 gave it."""

    def call(*positional: Any, **named: Any) -> Any:
        if argument in named and len(named) == 1 and not positional:
            return function(named[argument])
        return function(*positional, **named)

    call.__name__ = call.__qualname__ = function.__name__
    call.__doc__ = function.__doc__
    return call


def _nothing() -> None:
    """Do nothing: this switch is about graphs and sessions."""
