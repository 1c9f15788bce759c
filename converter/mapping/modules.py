"""PyTorch modules as targets: what tensors a module has, and how one is found by name.

A module is code of the user's own, imported only when asked for; nothing here imports torch itself.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from tfckpt.errors import MissingDependencyError, printable

from .._typing import HasShape
from ..errors import ConversionError, Shape


class HasStateDict(Protocol):
    """A PyTorch module, or what looks like one."""

    def state_dict(self) -> Mapping[str, HasShape]:
        """Tensors by name."""


#: Names and shapes of targets, or a module that has them.
Into: TypeAlias = Mapping[str, Shape] | HasStateDict


def targets_of_module(into: Into) -> dict[str, Shape]:
    """List what is to be filled, in the module's order: name -> shape."""
    if isinstance(into, Mapping):
        return {name: tuple(shape) for name, shape in into.items()}
    return {name: tuple(tensor.shape) for name, tensor in into.state_dict().items()}


def import_module(specification: str) -> HasStateDict:
    """Build the module that `module.path:factory` means; the current folder is searched as well.

    The factory is called without arguments, unless it is a module already.
    Raises `ConversionError` when it cannot be imported or built, with what went wrong, and `MissingDependencyError`
    when that is PyTorch's absence.
    """
    path, colon, name = specification.partition(":")
    if not (path and colon and name):
        raise ConversionError(f"{printable(specification)!r} names no module: expected module.path:factory")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(path)
        for part in name.split("."):
            found = getattr(found, part)
        if isinstance(found, type) or not hasattr(found, "state_dict"):
            found = found()  # what cannot be called raises, and is reported below
    except Exception as error:  # the user's own code may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise MissingDependencyError("torch", extra="torch", purpose=f"building {specification}") from error
        raise ConversionError(f"cannot build {printable(specification)}: {type(error).__name__}: {error}") from error
    if not hasattr(found, "state_dict"):
        raise ConversionError(f"{printable(specification)} gives a {type(found).__name__}, which has no state_dict")
    module: HasStateDict = found
    return module
