"""What the graph beside a checkpoint says about its variables: strides of convolutions, epsilons of batch norms.

An operation's variable is found by following its input back to the variable's node, never by comparing names;
in the functions of a SavedModel an argument is followed to the call that gives it.
Which checkpoint key a variable has is read from the save operations, since it may differ from the node's name:
a graph may call a variable `head_1/dense/kernel` while its saver stores it as `head/dense/kernel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from .averages import variable_of

_Fact = TypeVar("_Fact")

_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
_BATCH_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}
#: Operations that give their first input's value on; Cast stands there in mixed-precision training.
_PASSING = {"Identity", "ReadVariableOp", "Cast"}
#: Functions entered, each once for every set of variables it is called with; no real graph has nearly as many.
_MAX_BODIES = 20_000
#: Longest chain from an operation to its variable; real ones have two or three links, a cycle has no end.
_MAX_LINKS = 32


class GraphNode(Protocol):
    """What is needed of a node; `tfckpt`'s nodes have it."""

    @property
    def name(self) -> str:
        """Unique in the graph."""

    @property
    def op(self) -> str:
        """Kind of operation."""

    @property
    def inputs(self) -> Sequence[str]:
        """Inputs as `node`, `node:output` or `^node` (control)."""

    @property
    def attributes(self) -> Mapping[str, object]:
        """Attributes by name; lists as tuples, strings as bytes, a function as its name, a tensor as an array."""


class GraphArgument(Protocol):
    """What is needed of a function's argument."""

    @property
    def name(self) -> str:
        """What inputs in the body call it."""


class GraphFunction(Protocol):
    """What is needed of a function; `tfckpt`'s have it."""

    @property
    def inputs(self) -> Sequence[GraphArgument]:
        """Arguments in order."""

    @property
    def nodes(self) -> Sequence[GraphNode]:
        """The body; inputs there are `node:output:0` or an argument's name."""


class GraphFacts(NamedTuple):
    """Facts by variable name as the checkpoint has it, without the suffix of moving averages.

    A variable that several operations use with different values is left out.
    """

    strides: Mapping[str, int]
    epsilons: Mapping[str, float]

    def renamed(self, names: Mapping[str, str]) -> GraphFacts:
        """Give the facts of some variables under other names: old name -> new name."""
        return GraphFacts(
            {names[key]: value for key, value in self.strides.items() if key in names},
            {names[key]: value for key, value in self.epsilons.items() if key in names},
        )


class _Body(NamedTuple):
    """The nodes of the graph or of one call of a function, whose arguments that are variables are known."""

    nodes: Mapping[str, GraphNode]
    variables: Mapping[str, str]


def read_graph(nodes: Iterable[GraphNode], functions: Mapping[str, GraphFunction] | None = None) -> GraphFacts:
    """Collect the facts of a graph and of the functions it calls; time and memory grow with their size."""
    bodies = _bodies(nodes, functions or {})
    keys = _checkpoint_keys(bodies)
    strides: dict[str, set[int | None]] = {}
    epsilons: dict[str, set[float | None]] = {}
    for body in bodies:
        for node in body.nodes.values():
            if node.op in _CONVOLUTIONS:
                for key in _keys_behind(body, keys, node):
                    strides.setdefault(key, set()).add(_stride(node))
            elif node.op in _BATCH_NORMS:
                for key in _keys_behind(body, keys, node):
                    epsilons.setdefault(key, set()).add(_epsilon(node))
    return GraphFacts(_agreed(strides), _agreed(epsilons))


def _bodies(nodes: Iterable[GraphNode], functions: Mapping[str, GraphFunction]) -> list[_Body]:
    """Give the graph and every call of a function that is handed variables, directly or through another."""
    by_name = {name: {node.name: node for node in function.nodes} for name, function in functions.items()}
    bodies = [_Body({node.name: node for node in nodes}, {})]
    entered: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for body in bodies:  # grows as it goes
        for node in body.nodes.values():
            called = _called(node, functions)
            if called is None or len(bodies) >= _MAX_BODIES:
                continue
            data = [reference for reference in node.inputs if not reference.startswith("^")]
            given = {}
            for argument, reference in zip(functions[called].inputs, data, strict=False):
                variable = _variable_behind(body, reference)
                if variable is not None:
                    given[argument.name] = variable
            call = (called, tuple(given.items()))
            if given and call not in entered:
                entered.add(call)
                bodies.append(_Body(by_name[called], given))
    return bodies


def _called(node: GraphNode, functions: Mapping[str, GraphFunction]) -> str | None:
    """Name the function a node calls."""
    if node.op in functions:
        return node.op
    name = node.attributes.get("f") if node.op in _CALLS else None
    return name if isinstance(name, str) and name in functions else None


def _agreed(found: Mapping[str, set[_Fact | None]]) -> dict[str, _Fact]:
    """Keep what all operations of a variable agree about."""
    return {
        key: value for key, values in found.items() if len(values) == 1 and (value := next(iter(values))) is not None
    }


def _stride(node: GraphNode) -> int | None:
    """Read the spatial stride of a convolution, None when it has not one for both directions."""
    strides = node.attributes.get("strides")
    if not isinstance(strides, tuple) or len(strides) != 4:
        return None
    data_format = node.attributes.get("data_format", b"NHWC")
    height, width = strides[2:] if data_format == b"NCHW" else strides[1:3]
    return height if height == width and isinstance(height, int) and height > 0 else None


def _epsilon(node: GraphNode) -> float | None:
    """Read a batch norm's epsilon, as the shortest number that is the stored float32."""
    epsilon = node.attributes.get("epsilon")
    return float(str(np.float32(epsilon))) if isinstance(epsilon, float) else None


def _keys_behind(body: _Body, keys: Mapping[str, set[str]], node: GraphNode) -> set[str]:
    """Name the variable that an operation takes as its second input: kernel of a convolution, scale of a batch norm."""
    variable = _variable_behind(body, node.inputs[1]) if len(node.inputs) > 1 else None
    return set() if variable is None else {variable_of(key) for key in keys.get(variable, {variable})}


def _variable_behind(body: _Body, reference: str) -> str | None:
    """Follow an input back to the node of a variable, which stands in the graph itself."""
    for _ in range(_MAX_LINKS):
        name = reference.partition(":")[0]
        if name in body.variables:
            return body.variables[name]
        node = body.nodes.get(name)
        if node is None:
            return None
        if node.op in _VARIABLES:
            return node.name
        if node.op not in _PASSING or not node.inputs:
            return None
        reference = node.inputs[0]
    return None


def _checkpoint_keys(bodies: Iterable[_Body]) -> dict[str, set[str]]:
    """Pair each variable's node with its keys, as the save operations have them.

    SaveV2 takes the prefix, the keys, the tensor slices, and then one tensor for each key.
    """
    keys: dict[str, set[str]] = {}
    for body in bodies:
        for node in body.nodes.values():
            if node.op != "SaveV2" or len(node.inputs) < 3:
                continue
            names = body.nodes.get(node.inputs[1].partition(":")[0])
            for key, reference in zip(_strings(names), node.inputs[3:], strict=False):
                variable = _variable_behind(body, reference)
                if variable is not None:
                    keys.setdefault(variable, set()).add(key)
    return keys


def _strings(node: GraphNode | None) -> list[str]:
    """Read the strings of a constant, none when it is no such node."""
    value = None if node is None or node.op != "Const" else node.attributes.get("value")
    if not isinstance(value, np.ndarray) or value.dtype != object:
        return []
    return [item.decode("utf-8", "surrogateescape") for item in value.ravel().tolist() if isinstance(item, bytes)]
