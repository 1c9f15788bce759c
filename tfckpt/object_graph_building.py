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

from . import protos
from .checkpoint import Checkpoint
from .errors import CorruptionError, error_context, join_some, pluralize, printable
from .object_graph import GRAPH_KEY, VARIABLE_VALUE, unescape

VALUE_SUFFIX = f"/.ATTRIBUTES/{VARIABLE_VALUE}"
_SLOT_MARK = "/.OPTIMIZER_SLOT/"
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
        variable, mark, slot = path.partition(_SLOT_MARK)
        if mark:
            optimizer, slash, slot_name = slot.rpartition("/")
            if not slash:
                raise ValueError(f"{printable(name)!r} names no slot; expected VARIABLE{_SLOT_MARK}OPTIMIZER/SLOT")
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
                path = (slot.key or "").partition(_SLOT_MARK)[0]
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


class CopiedGraph:
    """The graph of another checkpoint, as it is, for the same set of tensors."""

    def __init__(self, source: Checkpoint) -> None:
        """`source` is object-based and open; `ValueError` if it has no object graph."""
        self._payload = graph_payload(source)
        self._source = source
        self._missing = dict.fromkeys(name for name in source if name != GRAPH_KEY)

    def key(self, name: str) -> str:
        """The key that a key, an object path or a full name means there."""
        key = self._source.info(name).name
        self._missing.pop(key, None)
        return key

    def rest(self) -> dict[str, object]:
        """The graph as it was stored, once every key of its checkpoint was given."""
        if self._missing:
            missing = list(self._missing)
            raise ValueError(
                f"the object graph of {printable(self._source.prefix)} needs {pluralize(len(missing), 'more tensor')}: "
                f"{join_some(missing)}"
            )
        return {GRAPH_KEY: self._payload}


def graph_payload(source: Checkpoint) -> bytes:
    """The serialized graph of an object-based checkpoint; `ValueError` for one without."""
    if GRAPH_KEY not in source.reader:
        raise ValueError(f"{printable(source.prefix)} is not object-based: it has no object graph to copy")
    value = source.reader.read(GRAPH_KEY)
    if value.shape != () or not isinstance(value.item(), bytes):
        raise CorruptionError(
            f"object graph is stored as {value.dtype} {list(value.shape)}, expected one string",
            path=source.prefix,
            tensor=GRAPH_KEY,
        )
    payload: bytes = value.item()
    return payload


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


def optimizer_keys(payload: bytes) -> frozenset[str]:
    """Keys of the tensors that only the optimizers of a graph hold: slot variables, step counters, learning rates.

    An optimizer is a node with slot variables, or one with the lists that newer Keras optimizers keep.
    Variables of the model that an optimizer also refers to are not among them.
    """
    nodes = parse_graph(payload).nodes
    optimizers = {
        number
        for number, node in enumerate(nodes)
        if node.slot_variables or {"_variables", "_learning_rate"} <= {child.local_name for child in node.children}
    }
    without = _reachable(nodes, avoid=optimizers)
    own = _reachable(nodes, start=optimizers) - without
    own |= {slot.slot_variable_node_id for node in nodes for slot in node.slot_variables}
    return frozenset(
        attribute.checkpoint_key for number in own if 0 <= number < len(nodes) for attribute in nodes[number].attributes
    )


def _reachable(nodes: Any, *, start: set[int] | None = None, avoid: set[int] | None = None) -> set[int]:
    """Numbers of the nodes that children lead to from `start` (the root), without passing `avoid`."""
    seen = {0} if start is None else set(start)
    seen -= avoid or set()
    waiting = list(seen)
    while waiting:
        for child in nodes[waiting.pop()].children:
            if 0 <= child.node_id < len(nodes) and child.node_id not in seen and child.node_id not in (avoid or ()):
                seen.add(child.node_id)
                waiting.append(child.node_id)
    return seen


def _local_name(part: str, name: str) -> str:
    """The local name behind one part of an object path; `ValueError` if the path `name` is none."""
    try:
        if part:
            return unescape(part)
        what = "a part is empty"
    except ValueError as error:
        what = str(error)
    raise ValueError(f"{printable(name)!r} is no object path: {what}; a dot in a name is written .. and a slash .S")
