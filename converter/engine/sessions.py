"""The engine for sessions under the stand-in for TensorFlow, found by the entry point `tfckpt.engines`.

The stand-in has the values of a session's variables, which need not be those of any checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfckpt.graphs.graph import Graph, Node

from .loading import load_graph
from .reference_graph import Evaluator, ReferenceGraph
from .values import Array
from .variables import Weights

Run = Callable[[Sequence[str], Mapping[str, Any]], list[Array]]


def run_graph(graph: Graph, path: str, read_variable: Callable[[str], Array]) -> Run:
    """Return a function that runs a graph in float32; `read_variable` returns the value of a variable by its node."""
    return Evaluator(SessionGraph(graph, path, read_variable)).run


def run_saved_model(folder: str, tags: Sequence[str]) -> Run:
    """Return a function that runs the graph of a SavedModel in float32, with the values of its checkpoint."""
    return load_graph(folder, tags=tags).evaluator().run


class SessionGraph(ReferenceGraph):
    """A graph whose variables have the values of a session."""

    def __init__(self, graph: Graph, path: str, read_variable: Callable[[str], Array]) -> None:
        super().__init__(graph, path=path)
        self._read_variable = read_variable

    def read_variables(self, nodes: Mapping[str, Node], weights: Weights) -> dict[str, Array]:
        """Return the values of variables by name."""
        return {name: np.asarray(self._read_variable(node.name)) for name, node in nodes.items()}
