"""Which operations of a graph reach outside it when it is run, in its functions too.

The operations of a saver are not counted if their file names come from whoever runs the graph: from a placeholder, or
from an argument of a function that no call in the graph binds to something else. Their names are followed through the
operations of which savers make them; any other origin counts.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..errors import CheckpointError
from .graph import Graph, Node
from .outside_operations import ALWAYS, BY_ATTRIBUTE, CACHES, SAVERS, Reach

#: What `tf.train.Saver` calls a file unless it is told, which it always is.
_DEFAULT_NAME = b"model"
#: Operations whose result begins with, or is, these of their inputs.
_FORWARDS: Mapping[str, slice] = {
    "Identity": slice(0, 1),
    "PlaceholderWithDefault": slice(0, 1),
    "ExpandDims": slice(0, 1),
    "Reshape": slice(0, 1),
    "StringJoin": slice(0, 1),
    "ShardedFilename": slice(0, 1),
    "Pack": slice(None),
    "Concat": slice(1, None),
    "ConcatV2": slice(0, -1),
    "Select": slice(1, None),
    "SelectV2": slice(1, None),
}
#: Operations that call a function, with the attributes that name it, and the inputs before its arguments.
_CALLS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "PartitionedCall": (("f",), 0),
    "StatefulPartitionedCall": (("f",), 0),
    "TPUPartitionedCall": (("f",), 0),
    "RemoteCall": (("f",), 1),
    "SymbolicGradient": (("f",), 0),
    "BatchFunction": (("f",), 0),
    "If": (("then_branch", "else_branch"), 1),
    "StatelessIf": (("then_branch", "else_branch"), 1),
    "While": (("cond", "body"), 0),
    "StatelessWhile": (("cond", "body"), 0),
    "Case": (("branches",), 1),
    "StatelessCase": (("branches",), 1),
}
#: Most tensors that are followed for one name.
_MOST_STEPS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class OutsideOperation:
    """An operation that reaches outside: its node, the function that it is in or "", and what it reaches."""

    function: str
    node: str
    op: str
    reach: Reach


@dataclasses.dataclass(frozen=True, slots=True)
class _Scope:
    """The nodes of the graph or of a function by name, and the numbers of the function's arguments."""

    function: str
    nodes: Mapping[str, Node]
    arguments: Mapping[str, int]


def find_outside_operations(graph: Graph) -> Iterator[OutsideOperation]:
    """Yield the operations that reach files, the network or Python code, in stored order."""
    search = _Search(graph)
    for scope in search.scopes.values():
        for node in scope.nodes.values():
            reach = search.find_reach(scope, node)
            if reach is not None:
                yield OutsideOperation(scope.function, node.name, node.op, reach)


def count_outside_operations(graphs: Sequence[Graph]) -> dict[str, int]:
    """Return how often each operation that reaches outside occurs, by its name."""
    return dict(sorted(Counter(found.op for graph in graphs for found in find_outside_operations(graph)).items()))


class _Search:
    def __init__(self, graph: Graph) -> None:
        self.scopes = {"": _Scope("", {node.name: node for node in graph}, {})}
        for function in graph.functions.values():
            arguments = {argument.name: number for number, argument in enumerate(function.inputs)}
            self.scopes[function.name] = _Scope(function.name, {node.name: node for node in function.nodes}, arguments)
        self._callers: dict[str, list[tuple[_Scope, Node, int]]] = {}
        for scope in self.scopes.values():
            for node in scope.nodes.values():
                for called, first in self._list_called(node):
                    self._callers.setdefault(called, []).append((scope, node, first))

    def find_reach(self, scope: _Scope, node: Node) -> Reach | None:
        """Return what an operation reaches; None if it only computes."""
        reach = ALWAYS.get(node.op)
        if reach is not None:
            return reach
        if node.op in SAVERS:
            reach, numbers = SAVERS[node.op]
            names = _data_inputs(node)
            return None if all(len(names) > at and self._is_given(scope, names[at]) for at in numbers) else reach
        if node.op in CACHES:
            names = _data_inputs(node)
            return "writes files" if len(names) <= CACHES[node.op] or not self._is_empty(scope, names[1]) else None
        if node.op in BY_ATTRIBUTE:
            reach, reaches_out = BY_ATTRIBUTE[node.op]
            return reach if reaches_out(node) else None
        return None

    def _is_given(self, scope: _Scope, name: str) -> bool:
        """Return whether whoever runs the graph gives the beginning of a name of a file."""
        waiting, seen = [(scope, name)], set()
        while waiting:
            scope, name = waiting.pop()
            base = name.partition(":")[0]
            if (scope.function, base) in seen:
                continue
            seen.add((scope.function, base))
            if len(seen) > _MOST_STEPS:
                return False
            node = scope.nodes.get(base)
            if node is None:
                if base not in scope.arguments:
                    return False
                at = scope.arguments[base]
                for caller, call, first in self._callers.get(scope.function, ()):
                    inputs = _data_inputs(call)
                    if first + at >= len(inputs):
                        return False
                    waiting.append((caller, inputs[first + at]))
            elif node.op in _FORWARDS:
                inputs = _data_inputs(node)[_FORWARDS[node.op]]
                if not inputs:
                    return False
                waiting += [(scope, each) for each in inputs]
            elif node.op != "Placeholder" and not (node.op == "Const" and _read_text(node) == _DEFAULT_NAME):
                return False
        return True

    def _is_empty(self, scope: _Scope, name: str) -> bool:
        node = scope.nodes.get(name.partition(":")[0])
        return node is not None and node.op == "Const" and _read_text(node) == b""

    def _list_called(self, node: Node) -> Iterator[tuple[str, int]]:
        """Yield the functions that a node calls, each with the number of its first argument among the inputs."""
        if node.op in self.scopes:
            yield node.op, 0
        attributes, first = _CALLS.get(node.op, ((), 0))
        for attribute in attributes:
            value = node.attributes.get(attribute)
            for name in value if isinstance(value, tuple) else (value,):
                if isinstance(name, str):
                    yield name, first


def _data_inputs(node: Node) -> tuple[str, ...]:
    return tuple(name for name in node.inputs if not name.startswith("^"))


def _read_text(node: Node) -> object:
    """Return the bytes of a scalar constant; None if it is something else."""
    try:
        value = node.attributes.get("value")
    except CheckpointError:
        return None
    return getattr(value, "item", lambda: None)() if getattr(value, "ndim", None) == 0 else None
