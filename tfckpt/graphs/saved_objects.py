"""The objects of a TF2 SavedModel, and which of them its functions captured (TensorFlow `saved_object_graph.proto`).

Nodes are numbered as in the file, node 0 is the root, and children have local names, as in the object graph of the
checkpoint beside it. The two are walked together: the same local names from both roots lead to the same object.
A function takes what it captured as its last arguments, in the order of its bound inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import CorruptionError
from ..tensors.dtypes import data_type
from .graph import shape_of
from .object_graph import VARIABLE_VALUE, ObjectGraph


@dataclasses.dataclass(frozen=True, slots=True)
class SavedVariable:
    """A variable of the program: its name, which need not be unique, its type and shape, and whether it was trained."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    trainable: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SavedObjects:
    """Numbers of nodes: children by local name for each node, variables, and for each function what it captured."""

    children: tuple[Mapping[str, int], ...]
    variables: Mapping[int, SavedVariable]
    bound_inputs: Mapping[str, tuple[int, ...]]

    def checkpoint_keys(self, graph: ObjectGraph) -> dict[int, str]:
        """The checkpoint's key for each variable that both graphs know, by the number of its node here."""
        keys: dict[int, str] = {}
        pairs, seen = [(0, graph.root)], {0}
        while pairs:
            number, node = pairs.pop()
            if number in self.variables:
                for attribute in node.attributes:
                    if attribute.name == VARIABLE_VALUE:
                        keys[number] = attribute.checkpoint_key
            for name, child in self.children[number].items():
                if child not in seen and name in node.children:
                    seen.add(child)
                    pairs.append((child, graph.nodes[node.children[name]]))
        return keys


def decode_saved_objects(message: Any) -> SavedObjects:
    """The objects in a SavedObjectGraph message; `CorruptionError` for a child or capture that does not exist."""
    count = len(message.nodes)
    if not count:
        raise CorruptionError("SavedModel's object graph without nodes")
    children = []
    for number, node in enumerate(message.nodes):
        for child in node.children:
            _check(child.node_id, count, f"child {child.local_name!r} of node {number}")
        children.append(MappingProxyType({child.local_name: child.node_id for child in node.children}))
    bound = {}
    for name in sorted(message.concrete_functions):
        bound[name] = tuple(message.concrete_functions[name].bound_inputs)
        for number in bound[name]:
            _check(number, count, f"a captured input of {name}")
    variables = {
        number: SavedVariable(
            node.variable.name,
            data_type(node.variable.dtype).name,
            shape_of(node.variable.shape),
            node.variable.trainable,
        )
        for number, node in enumerate(message.nodes)
        if node.HasField("variable")
    }
    return SavedObjects(tuple(children), MappingProxyType(variables), MappingProxyType(bound))


def _check(number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise CorruptionError(f"SavedModel's object graph: {what} is node {number}, there are {count} nodes")
