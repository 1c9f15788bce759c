"""What the graph beside a checkpoint says about its variables: strides of convolutions, epsilons of batch norms.

An operation's variable is found by following its input back to the variable's node, never by comparing names.
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
_VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}
#: Operations that give their first input's value on; Cast stands there in mixed-precision training.
_PASSING = {"Identity", "ReadVariableOp", "Cast"}
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
        """Attributes by name; lists as tuples, strings as bytes, a tensor as a TensorProto."""


class GraphFacts(NamedTuple):
    """Facts by variable name as the checkpoint has it, without the suffix of moving averages.

    A variable that several operations use with different values is left out.
    """

    strides: Mapping[str, int]
    epsilons: Mapping[str, float]


def read_graph(nodes: Iterable[GraphNode]) -> GraphFacts:
    """Collect the facts of a graph; time and memory grow with its size."""
    by_name = {node.name: node for node in nodes}
    keys = _checkpoint_keys(by_name)
    strides: dict[str, set[int | None]] = {}
    epsilons: dict[str, set[float | None]] = {}
    for node in by_name.values():
        if node.op in _CONVOLUTIONS:
            for key in _keys_behind(by_name, keys, node):
                strides.setdefault(key, set()).add(_stride(node))
        elif node.op in _BATCH_NORMS:
            for key in _keys_behind(by_name, keys, node):
                epsilons.setdefault(key, set()).add(_epsilon(node))
    return GraphFacts(_agreed(strides), _agreed(epsilons))


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


def _keys_behind(by_name: Mapping[str, GraphNode], keys: Mapping[str, set[str]], node: GraphNode) -> set[str]:
    """Name the variable that an operation takes as its second input: kernel of a convolution, scale of a batch norm."""
    variable = _variable_behind(by_name, node.inputs[1]) if len(node.inputs) > 1 else None
    return set() if variable is None else {variable_of(key) for key in keys.get(variable, {variable})}


def _variable_behind(by_name: Mapping[str, GraphNode], reference: str) -> str | None:
    """Follow an input back to the node of a variable."""
    for _ in range(_MAX_LINKS):
        node = by_name.get(reference.partition(":")[0])
        if node is None:
            return None
        if node.op in _VARIABLES:
            return node.name
        if node.op not in _PASSING or not node.inputs:
            return None
        reference = node.inputs[0]
    return None


def _checkpoint_keys(by_name: Mapping[str, GraphNode]) -> dict[str, set[str]]:
    """Pair each variable's node with its keys, as the save operations have them.

    SaveV2 takes the prefix, the keys, the tensor slices, and then one tensor for each key.
    """
    keys: dict[str, set[str]] = {}
    for node in by_name.values():
        if node.op != "SaveV2" or len(node.inputs) < 3:
            continue
        names = by_name.get(node.inputs[1].partition(":")[0])
        for key, reference in zip(_strings(names), node.inputs[3:], strict=False):
            variable = _variable_behind(by_name, reference)
            if variable is not None:
                keys.setdefault(variable, set()).add(key)
    return keys


def _strings(node: GraphNode | None) -> list[str]:
    """Read the strings of a constant, none when it is no such node."""
    value = None if node is None or node.op != "Const" else node.attributes.get("value")
    return [item.decode("utf-8", "surrogateescape") for item in getattr(value, "string_val", ())]
