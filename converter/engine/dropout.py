"""Dropout, recognised from the operations that TensorFlow writes for it.

::

    TensorFlow 1    x / keep * floor(keep + u)
    since 1.13      x * (1 / (1 - rate)) * cast(u >= rate)
    since 2.4       select(u >= rate, x * (1 / (1 - rate)), 0)

`u` are uniform random numbers. The factor and the probability have to agree; anything else stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfckpt.graphs.graph import Node

#: The operation that takes the place of a recognised dropout: its inputs are x and the probability.
DROPOUT = "^dropout"
_UNIFORM = {"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"}
_PRODUCTS, _QUOTIENTS = {"Mul"}, {"RealDiv", "Div"}
_SUMS = {"Add", "AddV2"}
_SELECTS = {"Select", "SelectV2"}
#: The number of operations between the random numbers and their use: shifted and scaled to a range, cast, passed on.
_MAX_LINKS = 6
#: The factor is stored in float32 or half precision.
_TOLERANCE = 2e-3


@dataclasses.dataclass(frozen=True, slots=True)
class _Probability:
    """The probability to keep an element, or to drop it: a reference, and its value if it is a constant."""

    reference: str
    is_keep: bool
    value: float | None


def replace_dropout(nodes: Sequence[Node], *, is_active: bool) -> Sequence[Node]:
    """Return nodes in which every recognised dropout is a `DROPOUT`, or else an Identity of its input."""
    if not any(node.op in _UNIFORM for node in nodes):
        return nodes
    by_name = {node.name: node for node in nodes}
    search = _Search(by_name)
    replaced = []
    for node in nodes:
        found = search.match(node) if node.op in _PRODUCTS | _SELECTS else None
        if found is None:
            replaced.append(node)
            continue
        x, probability = found
        controls = tuple(name for name in node.inputs if name.startswith("^"))
        if is_active:
            attributes = {"T": node.attributes.get("T"), "is_keep": probability.is_keep}
            replaced.append(Node(node.name, DROPOUT, (x, probability.reference, *controls), attributes))
        else:
            replaced.append(Node(node.name, "Identity", (x, *controls), {"T": node.attributes.get("T")}))
    return replaced


class _Search:
    """The search for one body's dropouts; each step looks at a few nodes only."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes

    def match(self, node: Node) -> tuple[str, _Probability] | None:
        """Return the input of the dropout whose last operation is this node, and its probability."""
        if node.op in _SELECTS:
            pairs = [(node.inputs[1], node.inputs[0])] if len(node.inputs) > 2 else []
        else:
            pairs = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] if len(node.inputs) > 1 else []
        for scaled, mask in pairs:
            probability = self._read_mask(mask)
            if probability is not None:
                if node.op in _SELECTS and not self._is_zero(node.inputs[2]):
                    return None
                x = self._unscale(scaled, probability)
                return None if x is None else (x, probability)
        return None

    def _read_mask(self, reference: str) -> _Probability | None:
        node = self._node(reference)
        if node is not None and node.op == "Cast":
            node = self._node(node.inputs[0])
        if node is None or not node.inputs:
            return None
        if node.op == "GreaterEqual" and self._is_uniform(node.inputs[0]):
            return _Probability(node.inputs[1], is_keep=False, value=self._number(node.inputs[1]))
        if node.op == "Floor" and (inner := self._node(node.inputs[0])) is not None and inner.op in _SUMS:
            for keep, uniform in (inner.inputs[:2], inner.inputs[1::-1]):
                if self._is_uniform(uniform) and not self._is_uniform(keep):
                    return _Probability(keep, is_keep=True, value=self._number(keep))
        return None

    def _unscale(self, reference: str, probability: _Probability) -> str | None:
        """Return x if a reference is x divided by the probability to keep an element."""
        node = self._node(reference)
        if node is None or len(node.inputs) < 2:
            return None
        first, second = node.inputs[:2]
        if node.op in _QUOTIENTS:
            return first if self._is_kept(second, probability) else None
        if node.op in _PRODUCTS:
            if self._is_factor(second, probability):
                return first
            return second if self._is_factor(first, probability) else None
        return None

    def _is_factor(self, reference: str, probability: _Probability) -> bool:
        """Return whether a reference is one over the probability to keep an element."""
        value = self._number(reference)
        if value is not None:
            if probability.value is None:
                return False
            kept = probability.value if probability.is_keep else 1 - probability.value
            return abs(value * kept - 1) < _TOLERANCE
        node = self._node(reference)
        if node is None or node.op not in _QUOTIENTS | {"Reciprocal", "Inv"}:
            return False
        if node.op in _QUOTIENTS and self._number(node.inputs[0]) != 1:
            return False
        return self._is_kept(node.inputs[-1] if node.op not in _QUOTIENTS else node.inputs[1], probability)

    def _is_kept(self, reference: str, probability: _Probability) -> bool:
        """Return whether a reference is the probability to keep an element."""
        value = self._number(reference)
        if value is not None and probability.value is not None:
            kept = probability.value if probability.is_keep else 1 - probability.value
            return abs(value - kept) < _TOLERANCE
        if probability.is_keep:
            return self._end(reference) == self._end(probability.reference)
        node = self._node(reference)
        return (
            node is not None
            and node.op == "Sub"
            and self._number(node.inputs[0]) == 1
            and self._end(node.inputs[1]) == self._end(probability.reference)
        )

    def _is_uniform(self, reference: str) -> bool:
        """Return whether a reference leads to random numbers through their shift to the range from 0 to 1."""
        for _ in range(_MAX_LINKS):
            node = self._node(reference)
            if node is None:
                return False
            if node.op in _UNIFORM:
                return True
            if node.op not in _SUMS | _PRODUCTS | {"Cast"} or not node.inputs:
                return False
            if node.op in _SUMS and len(node.inputs) > 1 and not self._is_zero(node.inputs[1]):
                return False
            reference = node.inputs[0]
        return False

    def _is_zero(self, reference: str) -> bool:
        return self._number(reference) == 0

    def _number(self, reference: str) -> float | None:
        """Return the value of a constant of one number, or of such constants' difference; None for anything else."""
        node = self._node(reference)
        if node is None:
            return None
        if node.op == "Sub" and len(node.inputs) > 1:
            first, second = (self._constant(self._node(name)) for name in node.inputs[:2])
            return None if first is None or second is None else first - second
        return self._constant(node)

    @staticmethod
    def _constant(node: Node | None) -> float | None:
        value = node.attributes.get("value") if node is not None and node.op == "Const" else None
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype != object:
            return float(value.item())
        return None

    def _end(self, reference: str) -> str:
        node = self._node(reference)
        return reference.partition(":")[0] if node is None else node.name

    def _node(self, reference: str) -> Node | None:
        """Return the node behind a reference, through Identity; None for an argument of a function."""
        for _ in range(_MAX_LINKS):
            node = self._nodes.get(reference.partition(":")[0])
            if node is None or node.op not in ("Identity", "Snapshot") or not node.inputs:
                return node
            reference = node.inputs[0]
        return None
