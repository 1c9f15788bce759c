"""Graphs as TensorFlow stores them: nodes with an op, inputs and attributes, and the functions they call.

Nothing is executed and nothing of TensorFlow is needed.
Sources: TensorFlow `framework/{graph,node_def,attr_value,function,op_def}.proto`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import CorruptionError, error_context
from ..limits import DEFAULT_LIMITS, Limits
from ..tensors.dtypes import data_type
from ..tensors.tensor_proto import decode_constant


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph or of a function's body.

    `inputs` are as stored.
    In a graph that is `name`, `name:1` for a second output, `^name` for a control dependency;
    in a function's body `name:output:0` with the output's own name, or the name of one of the function's arguments.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, object]


@dataclasses.dataclass(frozen=True, slots=True)
class Argument:
    """An input or an output of a function.

    `dtype` is a short name such as float32, None when an attribute of the call decides:
    then `type_attribute` or `type_list_attribute` names it, and `number_attribute` that of a list's length.
    """

    name: str
    dtype: str | None
    type_attribute: str = ""
    number_attribute: str = ""
    type_list_attribute: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """A function of a graph's library, called by nodes whose op is its name or that name it in an attribute.

    `returns` says for each output which tensor of the body it is.
    """

    name: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    nodes: tuple[Node, ...]
    returns: Mapping[str, str]
    control_returns: Mapping[str, str]
    attributes: Mapping[str, object]


_Named = TypeVar("_Named", Node, Function)


class Attributes(Mapping[str, object]):
    """The attributes of a node, turned into Python values when asked for.

    An int, a float, a bool, `bytes`; a data type as its short name (`float32`); a function as its name;
    a shape as a tuple, -1 where a dimension is unknown, or None if the rank is; a tensor as a read-only array;
    lists of these as tuples.
    In a function's body the name of an attribute of the call may stand for a value: it is given as that name, a str.
    A tensor that is damaged or that cannot be read raises an error of this package when it is asked for.
    """

    def __init__(
        self, messages: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS, *, node: str | None = None
    ) -> None:
        """`node` is the node's name, for messages."""
        self._messages = messages
        self._limits = limits
        self._node = node

    def __getitem__(self, name: str) -> object:
        if name not in self._messages:  # a protobuf map would make an empty entry
            raise KeyError(name)
        with error_context(tensor=self._node):
            return _attribute(self._messages[name], self._limits)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._messages

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._messages))

    def __len__(self) -> int:
        return len(self._messages)

    def __repr__(self) -> str:
        return f"<Attributes {', '.join(self)}>"


class Graph:
    """The nodes of a graph in stored order and by name, and its library of functions."""

    def __init__(self, nodes: tuple[Node, ...], functions: Mapping[str, Function] | None = None) -> None:
        """`CorruptionError` if two nodes have one name."""
        self._nodes = nodes
        self._by_name = _by_name(nodes, "nodes")
        self._functions: Mapping[str, Function] = MappingProxyType(dict(functions or {}))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, in stored order; the bodies of functions stand in `functions`."""
        return self._nodes

    @property
    def functions(self) -> Mapping[str, Function]:
        """The library: functions by name, in stored order."""
        return self._functions

    def __getitem__(self, name: str) -> Node:
        """The node of this name; `KeyError` if there is none."""
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"<Graph of {len(self._nodes)} nodes and {len(self._functions)} functions>"


def graph_of(message: Any, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """The graph in a GraphDef message."""
    functions = tuple(_function(function, limits) for function in message.library.function)
    return Graph(_nodes(message.node, limits), _by_name(functions, "functions"))


def shape_of(message: Any) -> tuple[int, ...] | None:
    """A TensorShapeProto of a graph: -1 where a dimension is unknown, None if the rank is."""
    return None if message.unknown_rank else tuple(dim.size for dim in message.dim)


def _nodes(messages: Any, limits: Limits) -> tuple[Node, ...]:
    return tuple(
        Node(node.name, node.op, tuple(node.input), Attributes(node.attr, limits, node=node.name)) for node in messages
    )


def _function(message: Any, limits: Limits) -> Function:
    signature = message.signature
    return Function(
        signature.name,
        tuple(map(_argument, signature.input_arg)),
        tuple(map(_argument, signature.output_arg)),
        _nodes(message.node_def, limits),
        MappingProxyType(dict(message.ret)),
        MappingProxyType(dict(message.control_ret)),
        Attributes(message.attr, limits, node=signature.name),
    )


def _argument(message: Any) -> Argument:
    dtype = data_type(message.type).name if message.type else None
    return Argument(message.name, dtype, message.type_attr, message.number_attr, message.type_list_attr)


def _by_name(items: tuple[_Named, ...], what: str) -> dict[str, _Named]:
    by_name: dict[str, _Named] = {}
    for item in items:
        if item.name in by_name:
            raise CorruptionError(f"graph with two {what} of the name {item.name!r}")
        by_name[item.name] = item
    return by_name


def _attribute(message: Any, limits: Limits) -> object:
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(message, kind)
    if kind != "list":
        return _plain(kind, value, limits)
    for field, values in value.ListFields():
        return tuple(_plain(field.name, item, limits) for item in values)
    return ()


def _plain(kind: str, value: Any, limits: Limits) -> object:
    if kind == "type":
        return data_type(value).name
    if kind == "shape":
        return shape_of(value)
    if kind == "func":
        return value.name
    if kind == "tensor":
        return decode_constant(value, limits)
    return value
