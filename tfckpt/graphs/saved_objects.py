"""The objects of a TF2 SavedModel, and which of them its functions capture (TensorFlow `saved_object_graph.proto`).

Nodes are numbered as in the file, node 0 is the root, and children have local names, as in the object graph of the
checkpoint in the same folder. The same local names lead from both roots to the same object.
Captured objects are the last arguments of a function, in the order of its bound inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import CorruptionError
from ..tensors.dtypes import data_type
from .graph import decode_shape
from .object_graph import VARIABLE_VALUE, ObjectGraph


@dataclasses.dataclass(frozen=True, slots=True)
class SavedVariable:
    """A variable of the program; `name` need not be unique."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    trainable: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SavedObjects:
    """The objects as numbers of nodes.

    `children` has the children of each node by local name, and `bound_inputs` the objects that each function captures.
    """

    children: tuple[Mapping[str, int], ...]
    variables: Mapping[int, SavedVariable]
    bound_inputs: Mapping[str, tuple[int, ...]]

    def checkpoint_keys(self, graph: ObjectGraph) -> dict[int, str]:
        """Return the checkpoint key of each variable that is in both graphs, by the number of its node here."""
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
    """Return the objects in a SavedObjectGraph message; `CorruptionError` for a reference to a missing node."""
    count = len(message.nodes)
    if not count:
        raise CorruptionError("the object graph of the SavedModel has no nodes")
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
            decode_shape(node.variable.shape),
            node.variable.trainable,
        )
        for number, node in enumerate(message.nodes)
        if node.HasField("variable")
    }
    return SavedObjects(tuple(children), MappingProxyType(variables), MappingProxyType(bound))


def _check(number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise CorruptionError(
            f"object graph of the SavedModel: {what} is node {number}, but there are only {count} nodes"
        )
