"""Graphs as TensorFlow stores them: nodes with an op, inputs and attributes, read from a `.meta` file.

Nothing is executed and nothing of TensorFlow is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from . import protos
from ._typing import ByteSource
from .errors import LimitExceededError, error_context
from .limits import DEFAULT_LIMITS, Limits
from .tensors.dtypes import data_type


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph.

    `inputs` are as stored: `name`, `name:1` for a second output, `^name` for a control dependency.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, object]


class Attributes(Mapping[str, object]):
    """The attributes of a node, turned into Python values when asked for.

    An int, a float, a bool, `bytes`; a data type as its short name (`float32`); a function as its name;
    a shape as a tuple, -1 where a dimension is unknown, or None if the rank is; lists of these as tuples.
    A tensor stays a TensorProto message.
    """

    def __init__(self, messages: Mapping[str, Any]) -> None:
        self._messages = messages

    def __getitem__(self, name: str) -> object:
        if name not in self._messages:  # a protobuf map would make an empty entry
            raise KeyError(name)
        return _attribute(self._messages[name])

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._messages))

    def __len__(self) -> int:
        return len(self._messages)

    def __repr__(self) -> str:
        return f"Attributes({dict(self)!r})"


class Graph:
    """The nodes of a graph in stored order, and by name."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self._nodes = nodes
        self._by_name = {node.name: node for node in nodes}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, in stored order."""
        return self._nodes

    def __getitem__(self, name: str) -> Node:
        """The node of this name; `KeyError` if there is none."""
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __len__(self) -> int:
        return len(self._nodes)


def read_meta_graph(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> Any:
    """The MetaGraphDef message in a `.meta` file, read whole; `CorruptionError` if it is none."""
    if source.size > limits.max_graph_bytes:
        raise LimitExceededError(
            "graph file is too large",
            limit="max_graph_bytes",
            maximum=limits.max_graph_bytes,
            claimed=source.size,
            path=source.name,
        )
    with error_context(path=source.name):
        return protos.parse("MetaGraphDef", source.read(0, source.size))


def graph_of(message: Any) -> Graph:
    """The graph in a GraphDef message."""
    return Graph(tuple(Node(node.name, node.op, tuple(node.input), Attributes(node.attr)) for node in message.node))


def _attribute(message: Any) -> object:
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(message, kind)
    if kind != "list":
        return _plain(kind, value)
    for field, values in value.ListFields():
        return tuple(_plain(field.name, item) for item in values)
    return ()


def _plain(kind: str, value: Any) -> object:
    if kind == "type":
        return data_type(value).name
    if kind == "shape":
        return None if value.unknown_rank else tuple(dim.size for dim in value.dim)
    if kind == "func":
        return value.name
    return value
