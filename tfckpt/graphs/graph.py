"""Graphs as TensorFlow stores them: nodes with an op, inputs and attributes, and the functions that they call.

Nothing is executed, and TensorFlow is not needed.
Sources: TensorFlow `framework/{graph,node_def,attr_value,function,op_def}.proto`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import CorruptionError, error_context
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from ..tensors.dtypes import data_type
from ..tensors.tensor_proto import decode_constant

#: The last version of graphs in which the shape of a placeholder is that of a scalar if it is unknown
#: (TensorFlow `ops/array_ops.cc`, Placeholder); version 22 is that of TensorFlow 1.0.
_SCALAR_IS_UNKNOWN = 21


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph or of a function's body.

    `inputs` are stored names.
    In a graph an input is `name`, `name:1` for the second output of a node, or `^name` for a control dependency.
    In a function's body it is `name:output:0`, with the name of the output, or the name of an argument.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, object]


@dataclasses.dataclass(frozen=True, slots=True)
class Argument:
    """An input or an output of a function.

    `dtype` is a short name such as float32, or None if an attribute of the calling node determines the type.
    `type_attribute` or `type_list_attribute` then names that attribute, and `number_attribute` names the attribute
    with the length of a list.
    """

    name: str
    dtype: str | None
    type_attribute: str = ""
    number_attribute: str = ""
    type_list_attribute: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """A function of a graph's library, called by nodes whose op is its name or that name it in an attribute.

    `returns` maps the name of each output to a tensor of the body.
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
    """The attributes of a node, converted to Python values on access.

    A value is an int, a float, a bool or `bytes`.
    A data type is its short name (`float32`), a function its name, a tensor a read-only array, and a list a tuple.
    A shape is a tuple with -1 for each unknown dimension, or None if the rank is unknown.
    In a function's body a value may also be the name, a str, of the calling node's attribute that holds it.
    Accessing a tensor that is damaged or unsupported raises an error of this package.
    """

    def __init__(
        self, messages: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS, *, node: str | None = None
    ) -> None:
        """Wrap the messages of a node; `node` is its name, for error messages."""
        self._messages = messages
        self._limits = limits
        self._node = node

    def __getitem__(self, name: str) -> object:
        if name not in self._messages:  # indexing a protobuf map would insert an empty entry
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
        """Index the nodes; `CorruptionError` if two of them have the same name."""
        self._nodes = nodes
        self._by_name = _by_name(nodes, "nodes")
        self._functions: Mapping[str, Function] = MappingProxyType(dict(functions or {}))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in stored order, without those of `functions`."""
        return self._nodes

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions of the library by name, in stored order."""
        return self._functions

    def __getitem__(self, name: str) -> Node:
        """Return the node of this name; `KeyError` if there is none."""
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"<Graph of {len(self._nodes)} nodes and {len(self._functions)} functions>"


def decode_graph(message: Any, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """Return the graph in a GraphDef message; `LimitExceededError` if it has too many nodes."""
    count = len(message.node) + sum(len(function.node_def) for function in message.library.function)
    check_limit(limits, "max_graph_nodes", count, "graph has too many nodes")
    if message.versions.producer <= _SCALAR_IS_UNKNOWN:
        _mark_unknown_shapes(message)
    functions = tuple(_function(function, limits) for function in message.library.function)
    return Graph(_nodes(message.node, limits), _by_name(functions, "functions"))


def _mark_unknown_shapes(message: Any) -> None:
    """Give placeholders without dimensions an unknown rank, as TensorFlow does for old graphs."""
    for node in message.node:
        if node.op == "Placeholder" and "shape" in node.attr and not node.attr["shape"].shape.dim:
            node.attr["shape"].shape.unknown_rank = True


def decode_shape(message: Any) -> tuple[int, ...] | None:
    """Return the shape in a TensorShapeProto: -1 for an unknown dimension, None if the rank is unknown."""
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
            raise CorruptionError(f"two {what} of the graph are named {item.name!r}")
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
        return decode_shape(value)
    if kind == "func":
        return value.name
    if kind == "tensor":
        return decode_constant(value, limits)
    return value
