"""Making and changing the object graph of a TF2 checkpoint: the side that is written.

The graph is a TrackableObjectGraph message under the key `_CHECKPOINTABLE_OBJECT_GRAPH`.
TensorFlow restores by walking it from node 0 beside the Python objects, child by child, by local name.

::

    net/layers/0/kernel                            object path: local names, escaped, joined by slashes
    net/layers/0/kernel/.ATTRIBUTES/VARIABLE_VALUE                         its checkpoint key
    net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE
                                                   the key of slot variable m that the object `optimizer` keeps for it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from .. import protos
from ..errors import error_context, printable
from .object_graph import GRAPH_KEY, SLOT_MARK, VALUE_SUFFIX, VARIABLE_VALUE, unescape

_COUNTER = "save_counter"


class KeysOfGraph(Protocol):
    """Names to checkpoint keys, and the graph that holds those keys."""

    def key(self, name: str) -> str:
        """The checkpoint key of a name; `ValueError` if it can have none."""

    def rest(self) -> dict[str, object]:
        """What belongs into the checkpoint beside the names that were asked for, the serialized graph last.

        `ValueError` if names are missing.
        """


class BuiltGraph:
    """A graph made from names: every part of an object path is a node, the last one a variable."""

    def __init__(self) -> None:
        self._root = _Object()
        self._slots: list[tuple[_Object, _Object, str, _Object]] = []

    def key(self, name: str) -> str:
        """The key of an object path; a name that already ends like a key is taken as one."""
        path = name.removesuffix(VALUE_SUFFIX)
        variable, mark, slot = path.partition(SLOT_MARK)
        if mark:
            optimizer, slash, slot_name = slot.rpartition("/")
            if not slash:
                raise ValueError(f"{printable(name)!r} names no slot; expected VARIABLE{SLOT_MARK}OPTIMIZER/SLOT")
            node = _Object()
            local_name = _local_name(slot_name, name)
            self._slots.append((self._find(optimizer, name), self._find(variable, name), local_name, node))
        else:
            node = self._find(path, name)
        node.key = path + VALUE_SUFFIX
        return node.key

    def rest(self) -> dict[str, object]:
        """The counter that `tf.train.Checkpoint.restore` looks for, unless it was given, and the graph."""
        counter: dict[str, object] = {}
        if _COUNTER not in self._root.children:
            counter[self.key(_COUNTER)] = np.int64(1)
        return counter | {GRAPH_KEY: self._serialize()}

    def _serialize(self) -> bytes:
        """Nodes in breadth-first order, slot variables last, as TensorFlow numbers them."""
        nodes = [self._root]
        for node in nodes:  # grows while it is walked
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
                    raise ValueError(f"{printable(path)!r} is a tensor and the beginning of another one's object path")
                item.attributes.add(name=VARIABLE_VALUE, checkpoint_key=node.key)
            item.has_checkpoint_values.value = True
        for optimizer, variable, slot_name, slot in self._slots:
            if variable.key is None:
                path = (slot.key or "").partition(SLOT_MARK)[0]
                raise ValueError(f"there is a slot for {printable(path)!r}, and no tensor of that object path")
            message.nodes[numbers[id(optimizer)]].slot_variables.add(
                original_variable_node_id=numbers[id(variable)],
                slot_name=slot_name,
                slot_variable_node_id=numbers[id(slot)],
            )
        return bytes(message.SerializeToString())

    def _find(self, path: str, name: str) -> _Object:
        """The object of a path, made with those on the way to it."""
        node = self._root
        for part in path.split("/"):
            node = node.children.setdefault(_local_name(part, name), _Object())
        return node


class _Object:
    """A node while the graph is being built: children by local name, and its variable's key."""

    def __init__(self) -> None:
        self.children: dict[str, _Object] = {}
        self.key: str | None = None


def parse_graph(payload: bytes) -> Any:
    """The TrackableObjectGraph message of a payload; `CorruptionError` if it is none. Numbers in it are not checked."""
    with error_context(tensor=GRAPH_KEY):
        return protos.parse("TrackableObjectGraph", payload)


def rename_keys(payload: bytes, keys: Mapping[str, str | None]) -> bytes:
    """The graph of a checkpoint whose tensors were renamed (key to new key) or dropped (key to None).

    An attribute of a dropped tensor goes, and so does a slot variable that has no attribute left;
    nodes keep their numbers, and nodes without attributes ask nothing of the objects they are restored to.
    Where nothing changes, the bytes do not either.
    """
    message = parse_graph(payload)
    gone: set[int] = set()
    changed = False
    for number, node in enumerate(message.nodes):
        for index in reversed(range(len(node.attributes))):
            old = node.attributes[index].checkpoint_key
            new = keys.get(old, old)
            changed = changed or new != old
            if new is None:
                del node.attributes[index]
                gone.add(number)
            else:
                node.attributes[index].checkpoint_key = new
    if not changed:
        return payload
    for node in message.nodes:
        for index in reversed(range(len(node.slot_variables))):
            slot = node.slot_variables[index].slot_variable_node_id
            if slot in gone and not message.nodes[slot].attributes:
                del node.slot_variables[index]
    return bytes(message.SerializeToString())


def _local_name(part: str, name: str) -> str:
    """The local name behind one part of an object path; `ValueError` if the path `name` is none."""
    try:
        if part:
            return unescape(part)
        what = "a part is empty"
    except ValueError as error:
        what = str(error)
    raise ValueError(f"{printable(name)!r} is no object path: {what}; a dot in a name is written .. and a slash .S")
