"""Batch norms of a graph of training, with their moving statistics in place of the batch's.

A graph of training normalizes by the mean and variance of the batch, and keeps a moving average of each in a variable,
which evaluation uses. Which variable belongs to which statistic is read from the operation that updates it::

    TensorFlow, tf_keras    variable -= (variable - statistic) * rate
    Keras 3                 variable = variable * momentum + statistic * rate
    fused                   variable = statistic, if the batch norm has a factor of its own and reads the variable

A statistic is an output of a fused batch norm, or a mean over the images of a batch.
If no update or more than one says where a statistic goes, it stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from tfckpt.graphs.graph import Node

#: A tensor: the name of its node, and the number of the output.
_Tensor: TypeAlias = tuple[str, int]

_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_SUMS, _PRODUCTS = {"Add", "AddV2"}, {"Mul"}
#: Updates by the difference from the average, and those by the new value.
_DECREASES, _ASSIGNS = {"AssignSub", "AssignSubVariableOp"}, {"Assign", "AssignVariableOp"}
_READS = {"Identity", "ReadVariableOp", "Snapshot", "Cast"}
#: Operations between a mean and its use that only arrange it.
_ARRANGES = {*_READS, "ExpandDims", "Reshape", "Squeeze", "StopGradient"}
#: The longest chain of such operations.
_MAX_LINKS = 8
#: What names of the added reads end in; TensorFlow's names have no such character.
_ENDING = "^moving"


def use_moving_statistics(nodes: Mapping[str, Node], parse: Callable[[str], _Tensor]) -> list[Node]:
    """Return the nodes of a body with every batch norm of training turned into one of evaluation, where it is certain.

    `parse` returns the node and output of a reference to one of the nodes. Nodes stay in order.
    """
    search = _Search(nodes, parse)
    handles = search.find_averages()
    if not handles:
        return list(nodes.values())
    reads = {statistic: _read(statistic, handle, nodes) for statistic, handle in handles.items()}
    behind: dict[str, list[Node]] = {}
    for read in reads.values():
        behind.setdefault(read.inputs[0], []).append(read)
    # Nodes come after their inputs: a read follows its variable, and comes first if that is an argument of a function.
    ordered = [read for handle, reads_of_it in behind.items() if handle not in nodes for read in reads_of_it]
    for node in nodes.values():
        ordered += [_replace(node, search, reads), *behind.get(node.name, ())]
    return ordered


class _Search:
    """The search for the variable that follows each statistic of a batch, in one body."""

    def __init__(self, nodes: Mapping[str, Node], parse: Callable[[str], _Tensor]) -> None:
        self._nodes = nodes
        self._parse = parse

    def locate(self, reference: str) -> _Tensor | None:
        """Return the tensor of a reference; None for an argument of a function and for a control dependency."""
        if reference.startswith("^") or reference.partition(":")[0] not in self._nodes:
            return None
        return self._parse(reference)

    def find_averages(self) -> dict[_Tensor, str]:
        """Return the reference to the variable that follows each statistic, if there is exactly one."""
        found: dict[_Tensor, set[str]] = {}
        for node in self._nodes.values():
            if node.op in _DECREASES | _ASSIGNS and len(node.inputs) > 1:
                statistic = self._read_update(node)
                if statistic is not None:
                    found.setdefault(statistic, set()).add(_plain(node.inputs[0]))
        return {statistic: next(iter(handles)) for statistic, handles in found.items() if len(handles) == 1}

    def _read_update(self, update: Node) -> _Tensor | None:
        """Return the statistic that an update adds to its variable."""
        variable = _plain(update.inputs[0])
        if update.op in _DECREASES:
            product = self._node(update.inputs[1])
            for difference in self._factors(product):
                if difference.op == "Sub" and self._reads(difference.inputs[0], variable):
                    return self._find_statistic(difference.inputs[1])
            return None
        value = self._node(update.inputs[1])
        if value is None:
            return None
        if value.op in _NORMS:
            own = any(self._reads(reference, variable) for reference in value.inputs[3:5])
            return self._find_statistic(update.inputs[1]) if own else None
        if value.op in _SUMS:
            for first, second in (value.inputs[:2], value.inputs[1::-1]):
                if any(self._reads_node(factor, variable) for factor in self._factors(self._node(first))):
                    statistics = [self._find_statistic(one) for one in self._data_inputs(self._node(second))]
                    known = [one for one in statistics if one is not None]
                    return known[0] if len(known) == 1 else None
        return None

    def _factors(self, product: Node | None) -> Iterator[Node]:
        """Yield the nodes that a product multiplies."""
        if product is not None and product.op in _PRODUCTS:
            yield from filter(None, map(self._node, product.inputs[:2]))

    @staticmethod
    def _data_inputs(product: Node | None) -> tuple[str, ...]:
        return product.inputs[:2] if product is not None and product.op in _PRODUCTS else ()

    def _find_statistic(self, reference: str) -> _Tensor | None:
        """Return the tensor of a reference if it is a statistic of the batch."""
        wanted = tensor = self.locate(reference)
        for _ in range(_MAX_LINKS):
            if tensor is None:
                return None
            node = self._nodes[tensor[0]]
            if node.op in _NORMS:
                return wanted if tensor[1] in (1, 2) and _is_of_training(node) else None
            if node.op == "Mean":
                return wanted if self._is_over_batch(node) else None
            if node.op not in _ARRANGES or not node.inputs:
                return None
            tensor = self.locate(node.inputs[0])
        return None

    def _is_over_batch(self, mean: Node) -> bool:
        axes = self._node(mean.inputs[1]) if len(mean.inputs) > 1 else None
        value = axes.attributes.get("value") if axes is not None and axes.op == "Const" else None
        return isinstance(value, np.ndarray) and value.dtype.kind == "i" and 0 in value

    def _reads(self, reference: str, variable: str) -> bool:
        """Return whether a reference is the value of a variable."""
        for _ in range(_MAX_LINKS):
            if _plain(reference) == variable:
                return True
            node = self._node(reference)
            if node is None or node.op not in _READS or not node.inputs:
                return False
            reference = node.inputs[0]
        return False

    def _reads_node(self, node: Node, variable: str) -> bool:
        return node.op in _READS and bool(node.inputs) and self._reads(node.inputs[0], variable)

    def _node(self, reference: str) -> Node | None:
        tensor = self.locate(reference)
        return None if tensor is None else self._nodes[tensor[0]]


def _replace(node: Node, search: _Search, reads: Mapping[_Tensor, Node]) -> Node:
    """Return a node that takes moving statistics; a fused batch norm computes by them if both are known."""
    if node.op in _NORMS and _is_of_training(node):
        moving = [reads.get((node.name, output)) for output in (1, 2)]
        mean, variance = moving
        if mean is None or variance is None:
            return node
        inputs = (*node.inputs[:3], mean.name, variance.name)
        controls = tuple(name for name in node.inputs if name.startswith("^"))
        return Node(node.name, node.op, (*inputs, *controls), {**node.attributes, "is_training": False})
    located = [search.locate(reference) for reference in node.inputs]
    if not any(tensor in reads for tensor in located):
        return node
    inputs = tuple(
        reads[tensor].name if tensor is not None and tensor in reads else reference
        for reference, tensor in zip(node.inputs, located, strict=True)
    )
    return Node(node.name, node.op, inputs, node.attributes)


def _read(statistic: _Tensor, handle: str, nodes: Mapping[str, Node]) -> Node:
    """Return a new node that reads the variable of a statistic."""
    name = f"{statistic[0]}:{statistic[1]}{_ENDING}".replace(":", "_")
    variable = nodes.get(handle)
    if variable is not None and variable.op in ("Variable", "VariableV2"):
        return Node(name, "Identity", (handle,), {"T": variable.attributes.get("dtype")})
    dtype = None if variable is None else variable.attributes.get("dtype")
    return Node(name, "ReadVariableOp", (handle,), {"dtype": dtype or "float32"})


def _is_of_training(norm: Node) -> bool:
    return norm.attributes.get("is_training", True) is True


def _plain(reference: str) -> str:
    return reference.removesuffix(":0")
