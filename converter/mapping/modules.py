"""PyTorch modules as targets: reading the names and shapes of their tensors, and building one from its import path.

Modules are the user's code and imported only on request. This file does not import torch.
"""

from __future__ import annotations

import collections
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from tfckpt.errors import MissingDependencyError, printable

from .._typing import HasShape
from ..errors import ConversionError, Shape


class HasStateDict(Protocol):
    """A PyTorch module, or anything else with a state dict."""

    def state_dict(self) -> Mapping[str, HasShape]:
        """Return the tensors by name."""


#: The names and shapes of the targets, or a module with these tensors.
Into: TypeAlias = Mapping[str, Shape] | HasStateDict


def read_targets(into: Into) -> dict[str, Shape]:
    """Return name -> shape of every target, in the module's order."""
    if isinstance(into, Mapping):
        return {name: tuple(shape) for name, shape in into.items()}
    return {name: tuple(tensor.shape) for name, tensor in into.state_dict().items()}


def find_shared(into: Into) -> list[tuple[str, ...]]:
    """Return the names of each tensor that a module has under several, such as an embedding that is the output too."""
    names: dict[int, list[str]] = collections.defaultdict(list)
    for method in ("named_parameters", "named_buffers"):
        named: Any = getattr(into, method, None)
        if callable(named) and not isinstance(into, Mapping):
            tensors: Iterable[tuple[str, object]] = named(remove_duplicate=False)
            for name, tensor in tensors:
                names[id(tensor)].append(name)
    return [tuple(group) for group in names.values() if len(group) > 1]


def import_module(specification: str) -> HasStateDict:
    """Import `module.path:factory` and build the module; the current directory is searched too.

    The factory is called without arguments unless it is already a module.
    Raises `ConversionError` with the cause if importing or building fails, and `MissingDependencyError` if PyTorch is
    not installed.
    """
    path, colon, name = specification.partition(":")
    if not (path and colon and name):
        raise ConversionError(f"{printable(specification)!r} is not a module, expected module.path:factory")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        built: Any = importlib.import_module(path)
        for part in name.split("."):
            built = getattr(built, part)
        if isinstance(built, type) or not hasattr(built, "state_dict"):
            built = built()
    except Exception as error:  # the user's code may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise MissingDependencyError("torch", extra="torch", purpose=f"building {specification}") from error
        raise ConversionError(f"cannot build {printable(specification)}: {type(error).__name__}: {error}") from error
    if not hasattr(built, "state_dict"):
        raise ConversionError(f"{printable(specification)} returned a {type(built).__name__} without state_dict")
    module: HasStateDict = built
    return module
