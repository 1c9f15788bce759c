"""The object graph of a TF2 checkpoint (TensorFlow `trackable_object_graph.proto`, `checkpoint/graph_view.py`).

A checkpoint of objects is a V2 bundle with one more tensor, a TrackableObjectGraph message under GRAPH_KEY.
Node 0 is the root.
Children have local names; the path of a node is the first that a breadth-first walk from the root finds,
local names escaped and joined by slashes.
It is a graph and no tree: a node may have several names, and cycles are common.

::

    escape    . -> ..   then   / -> .S
    attribute PATH/.ATTRIBUTES/NAME                                        VARIABLE_VALUE for a variable's value
    slot      PATH(variable)/.OPTIMIZER_SLOT/PATH(optimizer)/SLOT/.ATTRIBUTES/VARIABLE_VALUE

The keys that a graph stores are trusted; an attribute's key need not be in the bundle:
a mutable hash table has the attribute `table`, and its tensors stand under the key with `-keys` and `-values` after it.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from .. import protos
from ..errors import CorruptionError, error_context, printable
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from ..tensors.info import TensorInfo
from ..tensors.reading import TensorReader

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VARIABLE_VALUE = "VARIABLE_VALUE"
_ATTRIBUTES = ".ATTRIBUTES"
_SLOT = ".OPTIMIZER_SLOT"
#: What follows the path of a variable in the key of its value.
VALUE_SUFFIX = f"/{_ATTRIBUTES}/{VARIABLE_VALUE}"
#: What stands between the path of a variable and that of the optimizer in the key of a slot.
SLOT_MARK = f"/{_SLOT}/"


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectAttribute:
    """A value that a node saved.

    `name` is as stored, which for objects that save several tensors is escaped already.
    `full_name` is a variable's name in its program, often not unique, empty for what is no variable.
    """

    name: str
    full_name: str
    checkpoint_key: str


@dataclasses.dataclass(frozen=True, slots=True)
class SlotReference:
    """A slot variable that a node, an optimizer, keeps for a variable; both are numbers of nodes."""

    slot_name: str
    variable: int
    slot_variable: int


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectNode:
    """An object that was saved.

    `path` is the one its keys have: escaped local names from the root, which has the empty path;
    for a slot variable that of its variable, `.OPTIMIZER_SLOT`, that of the optimizer and the slot's name.
    It is None for a node that nothing leads to.
    `children` are numbers of nodes by local name, unescaped, in stored order.
    `registered_saver` is a name and an object's name where code of the program's own wrote the values,
    perhaps to other files.
    """

    id: int
    path: str | None
    children: Mapping[str, int]
    attributes: tuple[ObjectAttribute, ...]
    slot_variables: tuple[SlotReference, ...]
    registered_saver: tuple[str, str] | None
    has_checkpoint_values: bool | None


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """A slot variable of a variable: its name, such as `m`, the path of the optimizer that keeps it, and its key."""

    name: str
    optimizer: str
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a checkpoint under its three names.

    `key` is what the checkpoint stores it under, `path` leads to it through the object graph, `full_name` is its name
    in the program, often not unique and empty where none was stored.
    In a name-based checkpoint every tensor is such a row, with the path None and its name as the full name.
    """

    key: str
    path: str | None
    full_name: str
    info: TensorInfo
    slots: tuple[Slot, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectKey:
    """A checkpoint key taken apart, every name unescaped once.

    `names` lead from the root to the object or, if `slot` is not None, to the variable;
    `optimizer` then leads to the optimizer.
    """

    names: tuple[str, ...]
    attribute: str
    optimizer: tuple[str, ...] = ()
    slot: str | None = None


class ObjectGraph:
    """The nodes of an object graph, and ways to find them."""

    def __init__(self, nodes: tuple[ObjectNode, ...]) -> None:
        """Use `read_object_graph`."""
        self._nodes = nodes
        by_full_name: dict[str, dict[str, ObjectAttribute]] = {}
        for node in nodes:
            for attribute in node.attributes:
                if attribute.full_name:
                    by_full_name.setdefault(attribute.full_name, {})[attribute.checkpoint_key] = attribute
        self._by_full_name = {name: tuple(attributes.values()) for name, attributes in by_full_name.items()}

    @property
    def nodes(self) -> tuple[ObjectNode, ...]:
        """Every node; a node's `id` is its place here."""
        return self._nodes

    @property
    def root(self) -> ObjectNode:
        """Node 0."""
        return self._nodes[0]

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"<ObjectGraph of {len(self._nodes)} nodes>"

    def find(self, path: str) -> ObjectNode | None:
        """The node that a path of escaped names leads to, by any of its names; None if there is none."""
        try:
            before, _, after = path.partition(SLOT_MARK)
            node = self._walk(split_path(before))
            if node is None or not after:
                return node
            *optimizer, slot = split_path(after)
        except ValueError:
            return None
        keeper = self._walk(tuple(optimizer))
        for reference in keeper.slot_variables if keeper is not None else ():
            if (reference.variable, reference.slot_name) == (node.id, slot):
                return self._nodes[reference.slot_variable]
        return None

    def attributes_at(self, path: str) -> tuple[ObjectAttribute, ...]:
        """The attributes that a path means: with `/.ATTRIBUTES/NAME` at its end that one, else all of the node's."""
        before, mark, name = path.rpartition(f"/{_ATTRIBUTES}/")
        node = self.find(before if mark else path)
        if node is None:
            return ()
        return tuple(one for one in node.attributes if not mark or name in (one.name, escape(one.name)))

    def with_full_name(self, full_name: str) -> tuple[ObjectAttribute, ...]:
        """Every attribute of this full name; the empty name has none."""
        return self._by_full_name.get(full_name, ())

    @property
    def full_names(self) -> tuple[str, ...]:
        """Every full name, once, in the order of the nodes."""
        return tuple(self._by_full_name)

    def slots(self) -> Iterator[tuple[ObjectNode, SlotReference]]:
        """Every optimizer with each of its slot variables."""
        return ((node, reference) for node in self._nodes for reference in node.slot_variables)

    def _walk(self, names: tuple[str, ...]) -> ObjectNode | None:
        node = self.root
        for name in names:
            if name not in node.children:
                return None
            node = self._nodes[node.children[name]]
        return node


def read_object_graph(reader: TensorReader, limits: Limits = DEFAULT_LIMITS) -> ObjectGraph | None:
    """The object graph of a checkpoint; None if it is name-based, `CorruptionError` naming the node if it is wrong."""
    if GRAPH_KEY not in reader:
        return None
    with error_context(path=reader.files[0], tensor=GRAPH_KEY):
        return decode_object_graph(_stored_graph(reader), limits)


def graph_payload(reader: TensorReader, prefix: str) -> bytes:
    """Return the serialized graph of an object-based checkpoint; `ValueError` if the checkpoint is name-based."""
    if GRAPH_KEY not in reader:
        raise ValueError(f"{printable(prefix)} is not object-based: it has no object graph to copy")
    with error_context(path=prefix, tensor=GRAPH_KEY):
        return _stored_graph(reader)


def decode_object_graph(data: bytes, limits: Limits = DEFAULT_LIMITS) -> ObjectGraph:
    """The graph in a TrackableObjectGraph message."""
    message = protos.parse("TrackableObjectGraph", data)
    count = len(message.nodes)
    if not count:
        raise CorruptionError("object graph without nodes")
    children = [_children(number, node, count) for number, node in enumerate(message.nodes)]
    slots = [_slots(number, node, count) for number, node in enumerate(message.nodes)]
    paths = _paths(children, slots, limits)
    return ObjectGraph(
        tuple(
            ObjectNode(
                number,
                paths[number],
                MappingProxyType(children[number]),
                tuple(ObjectAttribute(a.name, a.full_name, a.checkpoint_key) for a in node.attributes),
                slots[number],
                (node.registered_saver.name, node.registered_saver.object_name)
                if node.HasField("registered_saver")
                else None,
                node.has_checkpoint_values.value if node.HasField("has_checkpoint_values") else None,
            )
            for number, node in enumerate(message.nodes)
        )
    )


def variables_of(reader: TensorReader, graph: ObjectGraph | None) -> tuple[Variable, ...]:
    """A row for each variable, in the order of the keys; slot variables stand in the row of their variable.

    Attributes whose keys are not in the checkpoint are left out, and so is what is no variable, such as a hash table.
    """
    if graph is None:
        return tuple(Variable(info.name, None, info.name, info) for info in reader.infos())
    values = [_value_of(node) for node in graph.nodes]
    slots: dict[int, list[Slot]] = {}
    slot_nodes: set[int] = set()
    for optimizer, reference in graph.slots():
        value = values[reference.slot_variable]
        slot_nodes.add(reference.slot_variable)
        if value is not None and value.checkpoint_key in reader:
            slot = Slot(reference.slot_name, optimizer.path or "", value.checkpoint_key)
            slots.setdefault(reference.variable, []).append(slot)
    rows = {}
    for node, value in zip(graph.nodes, values, strict=True):
        if value is not None and node.id not in slot_nodes and value.checkpoint_key in reader:
            key = value.checkpoint_key
            rows[key] = Variable(key, node.path, value.full_name, reader.info(key), tuple(slots.get(node.id, ())))
    return tuple(rows[key] for key in reader.names() if key in rows)


def escape(name: str) -> str:
    """A name as it stands in a path."""
    return name.replace(".", "..").replace("/", ".S")


def unescape(name: str) -> str:
    """The name behind one component of a path; `ValueError` if it is none, such as `.ATTRIBUTES`."""
    out, position = [], 0
    while position < len(name):
        character, pair = name[position], name[position : position + 2]
        if character != ".":
            out.append(character)
            position += 1
            continue
        if pair not in ("..", ".S"):
            raise ValueError(f"{name!r} is no escaped name: {pair!r} at {position} is neither '..' nor '.S'")
        out.append("." if pair == ".." else "/")
        position += 2
    return "".join(out)


def split_path(path: str) -> tuple[str, ...]:
    """The unescaped names of a path; the root's path is empty. `ValueError` if a component is no escaped name."""
    return tuple(unescape(part) for part in path.split("/")) if path else ()


def parse_key(key: str) -> ObjectKey:
    """A checkpoint key taken apart; `ValueError` if it is none of an attribute."""
    before, mark, attribute = key.rpartition(f"/{_ATTRIBUTES}/")
    if not mark or "/" in attribute:
        raise ValueError(f"{key!r} is no key of an attribute: PATH/{_ATTRIBUTES}/NAME")
    variable, mark, rest = before.partition(SLOT_MARK)
    if not mark:
        return ObjectKey(split_path(before), unescape(attribute))
    *optimizer, slot = split_path(rest)
    return ObjectKey(split_path(variable), unescape(attribute), tuple(optimizer), slot)


def _stored_graph(reader: TensorReader) -> bytes:
    value = reader.read(GRAPH_KEY)
    if value.shape != () or not isinstance(value.item(), bytes):
        raise CorruptionError(f"object graph is stored as {value.dtype} {list(value.shape)}, expected one string")
    payload: bytes = value.item()
    return payload


def _children(number: int, node: Any, count: int) -> dict[str, int]:
    children: dict[str, int] = {}
    for child in node.children:
        _check_node(child.node_id, count, f"child {child.local_name!r} of node {number}")
        if children.setdefault(child.local_name, child.node_id) != child.node_id:
            raise CorruptionError(
                f"object graph: node {number} has two children {child.local_name!r}, "
                f"node {children[child.local_name]} and node {child.node_id}"
            )
    return children


def _slots(number: int, node: Any, count: int) -> tuple[SlotReference, ...]:
    references = []
    for slot in node.slot_variables:
        what = f"slot {slot.slot_name!r} of node {number}"
        _check_node(slot.original_variable_node_id, count, f"variable of {what}")
        _check_node(slot.slot_variable_node_id, count, what)
        if slot.original_variable_node_id == slot.slot_variable_node_id:
            raise CorruptionError(f"object graph: {what} is its own variable, node {slot.slot_variable_node_id}")
        references.append(SlotReference(slot.slot_name, slot.original_variable_node_id, slot.slot_variable_node_id))
    return tuple(references)


def _check_node(number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise CorruptionError(f"object graph: {what} is node {number}, there are {count} nodes")


def _paths(children: list[dict[str, int]], slots: list[tuple[SlotReference, ...]], limits: Limits) -> list[str | None]:
    """The path of every node, breadth first, then those of the slot variables."""
    paths: list[str | None] = [None] * len(children)
    paths[0] = ""
    spent = 0

    def give(number: int, path: str) -> None:
        nonlocal spent
        paths[number] = path
        spent += len(path)
        # a chain of nodes has paths of a total that grows with its square
        check_limit(limits, "max_key_bytes", spent, "object graph whose paths are too long together")

    queue = collections.deque([0])
    while queue:
        number = queue.popleft()
        for name, child in children[number].items():
            if paths[child] is None:
                give(child, f"{paths[number]}/{escape(name)}" if number else escape(name))
                queue.append(child)
    for number, references in enumerate(slots):
        for slot in references:
            variable, optimizer = paths[slot.variable], paths[number]
            if paths[slot.slot_variable] is None and variable is not None and optimizer is not None:
                give(slot.slot_variable, f"{variable}{SLOT_MARK}{optimizer}/{escape(slot.slot_name)}")
    return paths


def _value_of(node: ObjectNode) -> ObjectAttribute | None:
    return next((attribute for attribute in node.attributes if attribute.name == VARIABLE_VALUE), None)
