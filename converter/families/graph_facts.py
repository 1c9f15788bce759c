"""Facts from the graph saved with a checkpoint: the strides of convolutions and the epsilons of batch norms.

To find the variable of an operation, its input is followed back to a variable node; names are never compared.
In the functions of a SavedModel, an argument is followed to the caller.
Checkpoint keys are read from the save operations, because they may differ from node names: a graph may contain a
variable `head_1/dense/kernel` that its saver stores as `head/dense/kernel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from .averages import strip_average

_Fact = TypeVar("_Fact")

_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
_BATCH_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}
#: Operations that pass their first input through; Cast occurs in mixed-precision training.
_PASSING = {"Identity", "ReadVariableOp", "Cast"}
#: Most function bodies visited, one for each set of variables that a function is called with; real graphs have fewer.
_MAX_BODIES = 20_000
#: Longest chain from an operation to its variable. Real chains have two or three links, but a cycle is endless.
_MAX_LINKS = 32


class GraphNode(Protocol):
    """A node of a graph, such as `tfckpt.GraphNode`."""

    @property
    def name(self) -> str:
        """The name, unique in the graph."""

    @property
    def op(self) -> str:
        """The type of operation."""

    @property
    def inputs(self) -> Sequence[str]:
        """The inputs: `node`, `node:output` or `^node` (control)."""

    @property
    def attributes(self) -> Mapping[str, object]:
        """The attributes by name: lists are tuples, strings bytes, functions their names, tensors arrays."""


class GraphArgument(Protocol):
    """An argument of a function."""

    @property
    def name(self) -> str:
        """The name, as used by inputs in the body."""


class GraphFunction(Protocol):
    """A function of a graph, such as `tfckpt.GraphFunction`."""

    @property
    def inputs(self) -> Sequence[GraphArgument]:
        """The arguments in order."""

    @property
    def nodes(self) -> Sequence[GraphNode]:
        """The nodes of the body, whose inputs are `node:output:0` or the name of an argument."""


class GraphFacts(NamedTuple):
    """Facts by checkpoint key, without the suffix of moving averages.

    A variable is left out if several operations use it with different values.
    """

    strides: Mapping[str, int]
    epsilons: Mapping[str, float]

    def rename(self, names: Mapping[str, str]) -> GraphFacts:
        """Return the facts under new names, for the variables in `names`: old name -> new name."""
        return GraphFacts(
            {names[key]: value for key, value in self.strides.items() if key in names},
            {names[key]: value for key, value in self.epsilons.items() if key in names},
        )


class _Body(NamedTuple):
    """The nodes of the graph or of a function call, and the variables passed as arguments of the call."""

    nodes: Mapping[str, GraphNode]
    variables: Mapping[str, str]


def read_graph(nodes: Iterable[GraphNode], functions: Mapping[str, GraphFunction] | None = None) -> GraphFacts:
    """Return the facts of a graph and of the functions it calls; time and memory are linear in their size."""
    bodies = _collect_bodies(nodes, functions or {})
    keys = _find_checkpoint_keys(bodies)
    strides: dict[str, set[int | None]] = {}
    epsilons: dict[str, set[float | None]] = {}
    for body in bodies:
        for node in body.nodes.values():
            if node.op in _CONVOLUTIONS:
                for key in _find_keys(body, keys, node):
                    strides.setdefault(key, set()).add(_read_stride(node))
            elif node.op in _BATCH_NORMS:
                for key in _find_keys(body, keys, node):
                    epsilons.setdefault(key, set()).add(_read_epsilon(node))
    return GraphFacts(_keep_unanimous(strides), _keep_unanimous(epsilons))


def _collect_bodies(nodes: Iterable[GraphNode], functions: Mapping[str, GraphFunction]) -> list[_Body]:
    """Return the graph and every function call with variables among its arguments, including nested calls."""
    by_name = {name: {node.name: node for node in function.nodes} for name, function in functions.items()}
    bodies = [_Body({node.name: node for node in nodes}, {})]
    visited: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for body in bodies:  # grows during the loop
        for node in body.nodes.values():
            callee = _find_callee(node, functions)
            if callee is None or len(bodies) >= _MAX_BODIES:
                continue
            data = [reference for reference in node.inputs if not reference.startswith("^")]
            variables = {}
            for argument, reference in zip(functions[callee].inputs, data, strict=False):
                variable = _find_variable(body, reference)
                if variable is not None:
                    variables[argument.name] = variable
            call = (callee, tuple(variables.items()))
            if variables and call not in visited:
                visited.add(call)
                bodies.append(_Body(by_name[callee], variables))
    return bodies


def _find_callee(node: GraphNode, functions: Mapping[str, GraphFunction]) -> str | None:
    """Return the name of the function that a node calls, or None."""
    if node.op in functions:
        return node.op
    name = node.attributes.get("f") if node.op in _CALLS else None
    return name if isinstance(name, str) and name in functions else None


def _keep_unanimous(facts: Mapping[str, set[_Fact | None]]) -> dict[str, _Fact]:
    """Return the facts that all operations of a variable agree on."""
    return {
        key: value for key, values in facts.items() if len(values) == 1 and (value := next(iter(values))) is not None
    }


def _read_stride(node: GraphNode) -> int | None:
    """Return the spatial stride of a convolution, None if it is not the same along both axes."""
    strides = node.attributes.get("strides")
    if not isinstance(strides, tuple) or len(strides) != 4:
        return None
    data_format = node.attributes.get("data_format", b"NHWC")
    height, width = strides[2:] if data_format == b"NCHW" else strides[1:3]
    return height if height == width and isinstance(height, int) and height > 0 else None


def _read_epsilon(node: GraphNode) -> float | None:
    """Return the epsilon of a batch norm, as the shortest decimal number equal to the stored float32."""
    epsilon = node.attributes.get("epsilon")
    return float(str(np.float32(epsilon))) if isinstance(epsilon, float) else None


def _find_keys(body: _Body, keys: Mapping[str, set[str]], node: GraphNode) -> set[str]:
    """Return the checkpoint keys of an operation's second input: the kernel of a convolution, the scale of a norm."""
    variable = _find_variable(body, node.inputs[1]) if len(node.inputs) > 1 else None
    return set() if variable is None else {strip_average(key) for key in keys.get(variable, {variable})}


def _find_variable(body: _Body, reference: str) -> str | None:
    """Return the name of the variable node behind an input, or None; variable nodes are in the main graph."""
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


def _find_checkpoint_keys(bodies: Iterable[_Body]) -> dict[str, set[str]]:
    """Return the checkpoint keys of each variable node, from the save operations.

    The inputs of SaveV2 are the prefix, the keys, the slices, and then one tensor for each key.
    """
    keys: dict[str, set[str]] = {}
    for body in bodies:
        for node in body.nodes.values():
            if node.op != "SaveV2" or len(node.inputs) < 3:
                continue
            names = body.nodes.get(node.inputs[1].partition(":")[0])
            for key, reference in zip(_read_strings(names), node.inputs[3:], strict=False):
                variable = _find_variable(body, reference)
                if variable is not None:
                    keys.setdefault(variable, set()).add(key)
    return keys


def _read_strings(node: GraphNode | None) -> list[str]:
    """Return the strings of a constant; an empty list for other nodes."""
    value = None if node is None or node.op != "Const" else node.attributes.get("value")
    if not isinstance(value, np.ndarray) or value.dtype != object:
        return []
    return [item.decode("utf-8", "surrogateescape") for item in value.ravel().tolist() if isinstance(item, bytes)]
