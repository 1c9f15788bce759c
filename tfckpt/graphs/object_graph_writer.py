"""Object graphs for new checkpoints: built from names, copied, or with other keys.

The graph is a TrackableObjectGraph message under the key `_CHECKPOINTABLE_OBJECT_GRAPH`.
TensorFlow restores by walking it from node 0 in step with the Python objects, child by child, by local name.

::

    net/layers/0/kernel                            object path: local names, escaped, joined by slashes
    net/layers/0/kernel/.ATTRIBUTES/VARIABLE_VALUE                         its checkpoint key
    net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE
                                                   key of its slot variable m, which the object `optimizer` keeps
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from .. import protos
from ..errors import error_context, printable
from .object_graph import GRAPH_KEY, SLOT_MARK, VALUE_SUFFIX, VARIABLE_VALUE, unescape

_COUNTER = "save_counter"


class GraphSource(Protocol):
    """The object graph of a checkpoint that is being written."""

    def add(self, name: str) -> str:
        """Add a tensor and return its checkpoint key; `ValueError` if the graph cannot hold the name."""

    def finish(self) -> dict[str, object]:
        """Return the tensors to write after the added ones, the serialized graph last.

        Raises `ValueError` if the added tensors are not complete.
        """


class BuiltGraph:
    """A graph built from names: each part of an object path becomes a node, the last one a variable."""

    def __init__(self) -> None:
        self._root = _Object()
        self._slots: list[tuple[_Object, _Object, str, _Object]] = []

    def add(self, name: str) -> str:
        """Add a variable by its object path or its key, and return the key."""
        path = name.removesuffix(VALUE_SUFFIX)
        variable, mark, slot = path.partition(SLOT_MARK)
        if mark:
            optimizer, slash, slot_name = slot.rpartition("/")
            if not slash:
                raise ValueError(
                    f"{printable(name)!r} is not the name of a slot, expected VARIABLE{SLOT_MARK}OPTIMIZER/SLOT"
                )
            node = _Object()
            local_name = _local_name(slot_name, name)
            self._slots.append((self._find(optimizer, name), self._find(variable, name), local_name, node))
        else:
            node = self._find(path, name)
        node.key = path + VALUE_SUFFIX
        return node.key

    def finish(self) -> dict[str, object]:
        """Return the graph, and before it the counter that `tf.train.Checkpoint.restore` expects, if it is missing."""
        counter: dict[str, object] = {}
        if _COUNTER not in self._root.children:
            counter[self.add(_COUNTER)] = np.int64(1)
        return counter | {GRAPH_KEY: self._serialize()}

    def _serialize(self) -> bytes:
        """Return the message; nodes are numbered as in TensorFlow, breadth first and slot variables last."""
        nodes = [self._root]
        for node in nodes:  # the list grows during the loop
            nodes.extend(node.children.values())
        nodes.extend(slot for _, _, _, slot in self._slots)
        numbers = {id(node): number for number, node in enumerate(nodes)}
        message = protos.message_class("TrackableObjectGraph")()
        for node in nodes:
            item = message.nodes.add()
            for local_name, child in node.children.items():
                item.children.add(node_id=numbers[id(child)], local_name=local_name)
            if node.key is not None:
                if node.children:
                    path = node.key.removesuffix(VALUE_SUFFIX)
                    raise ValueError(f"{printable(path)!r} is a tensor, so it cannot have children in the object graph")
                item.attributes.add(name=VARIABLE_VALUE, checkpoint_key=node.key)
            item.has_checkpoint_values.value = True
        for optimizer, variable, slot_name, slot in self._slots:
            if variable.key is None:
                path = (slot.key or "").partition(SLOT_MARK)[0]
                raise ValueError(f"there is a slot for {printable(path)!r}, but no tensor with that object path")
            message.nodes[numbers[id(optimizer)]].slot_variables.add(
                original_variable_node_id=numbers[id(variable)],
                slot_name=slot_name,
                slot_variable_node_id=numbers[id(slot)],
            )
        return bytes(message.SerializeToString())

    def _find(self, path: str, name: str) -> _Object:
        """Return the object at a path; create it and its parents if necessary."""
        node = self._root
        for part in path.split("/"):
            node = node.children.setdefault(_local_name(part, name), _Object())
        return node


class _Object:
    """A node of a graph that is being built: children by local name, and the key if it is a variable."""

    def __init__(self) -> None:
        self.children: dict[str, _Object] = {}
        self.key: str | None = None


def parse_graph(payload: bytes) -> Any:
    """Parse a payload as a TrackableObjectGraph message, without checking its node numbers."""
    with error_context(tensor=GRAPH_KEY):
        return protos.parse("TrackableObjectGraph", payload)


def rename_keys(payload: bytes, keys: Mapping[str, str | None]) -> bytes:
    """Return the graph of a checkpoint whose tensors are renamed (key to new key) or dropped (key to None).

    The attribute of a dropped tensor is removed, and so is a slot variable without attributes.
    Nodes keep their numbers; a node without attributes does not affect the object that it is restored to.
    If nothing changes, the payload itself is returned.
    """
    message = parse_graph(payload)
    reduced: set[int] = set()
    changed = False
    for number, node in enumerate(message.nodes):
        for index in reversed(range(len(node.attributes))):
            old = node.attributes[index].checkpoint_key
            new = keys.get(old, old)
            changed = changed or new != old
            if new is None:
                del node.attributes[index]
                reduced.add(number)
            else:
                node.attributes[index].checkpoint_key = new
    if not changed:
        return payload
    for node in message.nodes:
        for index in reversed(range(len(node.slot_variables))):
            slot = node.slot_variables[index].slot_variable_node_id
            if slot in reduced and not message.nodes[slot].attributes:
                del node.slot_variables[index]
    return bytes(message.SerializeToString())


def _local_name(part: str, name: str) -> str:
    """Return the local name in one part of the object path `name`; `ValueError` if the part is not escaped."""
    try:
        if part:
            return unescape(part)
        what = "a part is empty"
    except ValueError as error:
        what = str(error)
    raise ValueError(
        f"{printable(name)!r} is not an object path: {what}; write a dot in a name as .. and a slash as .S"
    )
