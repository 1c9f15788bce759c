"""The graph saved with a checkpoint, asked for its network and held against the one that is converted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

import tfckpt

from ..errors import OtherNetworkError
from ..mapping.planning import Plan
from ..structure.account import account_for
from ..structure.reading import Reading, read_network
from .averages import strip_average
from .graph_facts import named
from .search import Preparation

#: The signature that a model is served by.
_SERVING = "serving_default"


def reader_of(graph: tfckpt.MetaGraph, path: str) -> Callable[[Collection[str]], Reading | None]:
    """Return a function that reads the network whose variables have given keys.

    It raises `OtherNetworkError` if an operation belongs to no layer. `path` is where the graph can be loaded from.
    """
    return functools.partial(_read, graph, path)


def check_account(prepared: Preparation, plan: Plan, *, graph: str) -> None:
    """Raise `OtherNetworkError` if the graph computes something that the converted network would not.

    `graph` is the path that the graph can be loaded from, for the message.
    """
    reading = prepared.reading
    if reading is None:
        return
    variables = {one.name: one.variable for one in prepared.selection.sources}
    by_name = {variables[move.source].removeprefix(prepared.scope): move.target for move in plan.moves}

    def targets(node: str | None) -> set[str]:
        return {by_name[name] for name in named(reading, node, prepared.names) if name in by_name}

    findings = account_for(reading, prepared.config, targets)
    if findings:
        raise OtherNetworkError(findings, graph=graph)


def _read(graph: tfckpt.MetaGraph, path: str, keys: Collection[str]) -> Reading | None:
    signatures = sorted(graph.signatures.items(), key=lambda item: item[0] != _SERVING)
    returned = [[tensor.name for tensor in one.outputs.values()] for name, one in signatures if name[:2] != "__"]
    nodes, functions = graph.graph.nodes, graph.graph.functions
    reading = read_network(nodes, functions, signatures=returned, owns=lambda key: strip_average(key) in keys)
    if reading is not None and reading.findings:
        raise OtherNetworkError(reading.findings, graph=path)
    return reading
