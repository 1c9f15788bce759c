"""The way from a session to an engine that runs graphs, which another package provides.

This package reads checkpoints and does not compute.
An engine announces itself as an entry point of the group `tfckpt.engines`, which is loaded when a session first needs
it: a module with the functions of the protocol below.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .._typing import Array
from ..errors import MissingDependencyError
from ..graphs.graph import Graph

GROUP = "tfckpt.engines"
#: Returns the values of tensors, by their names and those of the tensors that are fed.
Run = Callable[[Sequence[str], Mapping[str, Any]], list[Array]]


class Engine(Protocol):
    """The functions of an engine."""

    def run_graph(self, graph: Graph, path: str, read_variable: Callable[[str], Array]) -> Run:
        """Return a function that runs a graph; `read_variable` returns the value of a variable by its node's name."""
        ...

    def run_saved_model(self, folder: str, tags: Sequence[str]) -> Run:
        """Return a function that runs the graph of a SavedModel with the values of its checkpoint."""
        ...


def find_engine(purpose: str) -> Engine:
    """Return the installed engine; `MissingDependencyError` if there is none or it lacks a package of its own."""
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        engine: Engine = entry_point.load()
        return engine
    raise MissingDependencyError("torch", extra="torch", purpose=purpose)
