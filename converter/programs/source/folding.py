"""Changes of layout of a tensor that the program has from the start: done once, when the source is written.

Arithmetic on parameters stays in the program, so that training reaches the parameters that TensorFlow has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from .network import Network, Node, Rewriter

Change = tuple[Any, ...]


class Leaves:
    """The leaves of one network; equal changes of one leaf give the same node."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[Change, ...]], Node] = {}

    def change(self, node: Node, change: Change) -> Node:
        """Return the leaf after a change: `("permute", *dims)` or `("reshape", *shape)`."""
        leaf = node.leaf
        assert leaf is not None
        self._known.setdefault((leaf.source, leaf.changes), node)
        changes = _append(leaf.changes, change)
        key = (leaf.source, changes)
        if key not in self._known:
            tensor = apply_change(leaf.tensor, change)
            original = leaf.tensor if leaf.original is None else leaf.original
            changed = dataclasses.replace(leaf, tensor=tensor, changes=changes, original=original)
            self._known[key] = Node("leaf", {"leaf": changed}, tuple(tensor.shape), tensor.dtype, node.label)
        return self._known[key]


def _append(changes: tuple[Change, ...], change: Change) -> tuple[Change, ...]:
    """Add a change; two permutations become one, and one that does nothing is left out."""
    if change[0] == "permute" and changes and changes[-1][0] == "permute":
        earlier = changes[-1][1:]
        return _append(changes[:-1], ("permute", *(earlier[axis] for axis in change[1:])))
    if change[0] == "permute" and change[1:] == tuple(range(len(change) - 1)):
        return changes
    return (*changes, change)


def apply_change(tensor: torch.Tensor, change: Change) -> torch.Tensor:
    """Return a tensor after a change of layout."""
    return tensor.permute(*change[1:]) if change[0] == "permute" else tensor.reshape(change[1:])


def untie(network: Network) -> None:
    """Keep a parameter whole if the program uses it in several layouts; the changes become operations again."""
    forms: dict[str, set[Node]] = {}
    for node in network.nodes:
        if node.leaf is not None and node.leaf.is_parameter:
            forms.setdefault(node.leaf.source, set()).add(node)
    tied = {source for source, nodes in forms.items() if len(nodes) > 1}
    bases: dict[str, Node] = {}

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        leaf = node.leaf
        if leaf is None or leaf.source not in tied or not leaf.is_parameter:
            return None
        if leaf.source not in bases:
            bases[leaf.source] = rewriter.add(_original(node))
        current = bases[leaf.source]
        for change in leaf.changes:
            current = rewriter.add(_operation(change, current))
        return current

    if tied:
        Rewriter(network).run(rule)


def _original(node: Node) -> Node:
    """Return the leaf without its changes."""
    leaf = node.leaf
    assert leaf is not None
    tensor = leaf.original if leaf.original is not None else leaf.tensor
    original = dataclasses.replace(leaf, tensor=tensor, changes=())
    return Node("leaf", {"leaf": original}, tuple(tensor.shape), tensor.dtype, node.label)


def _operation(change: Change, node: Node) -> Node:
    assert node.shape is not None
    if change[0] == "permute":
        shape = tuple(node.shape[axis] for axis in change[1:])
        return Node("permute", {"self": node, "dims": list(change[1:])}, shape, node.dtype, node.label)
    return Node("reshape", {"self": node, "shape": list(change[1:])}, change[1:], node.dtype, node.label)


def inverse(dims: Sequence[int]) -> tuple[int, ...]:
    """Return the permutation that undoes another."""
    return tuple(sorted(range(len(dims)), key=lambda axis: dims[axis]))
