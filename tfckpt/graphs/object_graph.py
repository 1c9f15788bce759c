"""The object graph of a TF2 checkpoint (TensorFlow `trackable_object_graph.proto`, `checkpoint/graph_view.py`).

An object-based checkpoint is a V2 bundle with one more tensor, a TrackableObjectGraph message under GRAPH_KEY.
Node 0 is the root.
Children have local names. The path of a node is the first one that a breadth-first walk from the root finds:
local names, escaped and joined by slashes.
It is a graph, not a tree: a node may have several names, and cycles are common.

::

    escape    . -> ..   then   / -> .S
    attribute PATH/.ATTRIBUTES/NAME                                        VARIABLE_VALUE for a variable's value
    slot      PATH(variable)/.OPTIMIZER_SLOT/PATH(optimizer)/SLOT/.ATTRIBUTES/VARIABLE_VALUE

Keys come from the graph and are not computed from paths. The key of an attribute need not be in the bundle:
a mutable hash table has the attribute `table`, and its tensors have that key with the suffixes `-keys` and `-values`.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
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
#: Separator of the path of an object and the name of an attribute in a key.
ATTRIBUTES_MARK = f"/{_ATTRIBUTES}/"
#: Suffix of the path of a variable in the key of its value.
VALUE_SUFFIX = ATTRIBUTES_MARK + VARIABLE_VALUE
#: Separator of the path of the variable and the path of the optimizer in the key of a slot.
SLOT_MARK = f"/{_SLOT}/"


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectAttribute:
    """A value that a node saved.

    `name` is the stored name, which is already escaped for objects that save several tensors.
    `full_name` is the name of a variable in its program, often not unique, and empty for other values.
    """

    name: str
    full_name: str
    checkpoint_key: str


@dataclasses.dataclass(frozen=True, slots=True)
class SlotReference:
    """A slot variable that an optimizer's node keeps for a variable; both are numbers of nodes."""

    slot_name: str
    variable: int
    slot_variable: int


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectNode:
    """An object that was saved.

    `path` is the path in its keys: escaped local names from the root, whose path is empty.
    The path of a slot variable is the path of its variable, `.OPTIMIZER_SLOT`, the path of the optimizer and the
    slot's name. `path` is None if the node cannot be reached from the root.
    `children` are numbers of nodes by unescaped local name, in stored order.
    `registered_saver` is the name of a saver and of an object, if custom code wrote the values, perhaps to other files.
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
    """A slot variable: its name, such as `m`, the path of its optimizer, and its key."""

    name: str
    optimizer: str
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a checkpoint with its three names.

    `key` is its key in the checkpoint, `path` its path in the object graph, and `full_name` its name in the program,
    which is often not unique and may be empty.
    In a name-based checkpoint every tensor is a variable without a path, and its name is also the full name.
    """

    key: str
    path: str | None
    full_name: str
    info: TensorInfo
    slots: tuple[Slot, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectKey:
    """The parts of a checkpoint key, each name unescaped once.

    `names` are the local names from the root to the object or, if `slot` is not None, to the slot's variable.
    `optimizer` are those to the optimizer of a slot.
    """

    names: tuple[str, ...]
    attribute: str
    optimizer: tuple[str, ...] = ()
    slot: str | None = None


class ObjectGraph:
    """The nodes of an object graph, with lookups by path and by full name."""

    def __init__(self, nodes: tuple[ObjectNode, ...]) -> None:
        """Index the nodes; `read_object_graph` and `decode_object_graph` call this."""
        self._nodes = nodes
        by_full_name: dict[str, dict[str, ObjectAttribute]] = {}
        for node in nodes:
            for attribute in node.attributes:
                if attribute.full_name:
                    by_full_name.setdefault(attribute.full_name, {})[attribute.checkpoint_key] = attribute
        self._by_full_name = {name: tuple(attributes.values()) for name, attributes in by_full_name.items()}

    @property
    def nodes(self) -> tuple[ObjectNode, ...]:
        """All nodes; the `id` of a node is its index here."""
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
        """Return the node at a path of escaped names, which need not be its `path`; None if there is none."""
        try:
            before, _, after = path.partition(SLOT_MARK)
            node = self._walk(split_path(before))
            if node is None or not after:
                return node
            *optimizer, slot = split_path(after)
        except ValueError:
            return None
        optimizer_node = self._walk(tuple(optimizer))
        for reference in optimizer_node.slot_variables if optimizer_node is not None else ():
            if (reference.variable, reference.slot_name) == (node.id, slot):
                return self._nodes[reference.slot_variable]
        return None

    def attributes_at(self, path: str) -> tuple[ObjectAttribute, ...]:
        """Return all attributes of the node at a path, or the one that a path ending in `/.ATTRIBUTES/NAME` names."""
        before, mark, name = path.rpartition(ATTRIBUTES_MARK)
        node = self.find(before if mark else path)
        if node is None:
            return ()
        return tuple(a for a in node.attributes if not mark or name in (a.name, escape(a.name)))

    def with_full_name(self, full_name: str) -> tuple[ObjectAttribute, ...]:
        """Return all attributes with this full name; none for the empty name."""
        return self._by_full_name.get(full_name, ())

    @property
    def full_names(self) -> tuple[str, ...]:
        """All full names without duplicates, in the order of the nodes."""
        return tuple(self._by_full_name)

    def slots(self) -> Iterator[tuple[ObjectNode, SlotReference]]:
        """Yield each optimizer with each of its slot variables."""
        return ((node, reference) for node in self._nodes for reference in node.slot_variables)

    def _walk(self, names: tuple[str, ...]) -> ObjectNode | None:
        node = self.root
        for name in names:
            if name not in node.children:
                return None
            node = self._nodes[node.children[name]]
        return node


def read_object_graph(reader: TensorReader, limits: Limits = DEFAULT_LIMITS) -> ObjectGraph | None:
    """Return the object graph of a checkpoint, or None if the checkpoint is name-based.

    Raises `CorruptionError`, which names the node, if the graph is inconsistent.
    """
    if GRAPH_KEY not in reader:
        return None
    with error_context(path=reader.files[0], tensor=GRAPH_KEY):
        return decode_object_graph(_stored_graph(reader), limits)


def read_graph_payload(reader: TensorReader, prefix: str) -> bytes:
    """Return the serialized graph of an object-based checkpoint; `ValueError` if the checkpoint is name-based."""
    if GRAPH_KEY not in reader:
        raise ValueError(f"{printable(prefix)} is not object-based: it has no object graph to copy")
    with error_context(path=prefix, tensor=GRAPH_KEY):
        return _stored_graph(reader)


def decode_object_graph(data: bytes, limits: Limits = DEFAULT_LIMITS) -> ObjectGraph:
    """Return the graph in a serialized TrackableObjectGraph message."""
    message = protos.parse("TrackableObjectGraph", data)
    count = len(message.nodes)
    if not count:
        raise CorruptionError("the object graph has no nodes")
    children = [_children(number, node, count) for number, node in enumerate(message.nodes)]
    slots = [_slots(number, node, count) for number, node in enumerate(message.nodes)]
    paths = find_paths(children, slots, limits)
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


def list_variables(reader: TensorReader, graph: ObjectGraph | None) -> tuple[Variable, ...]:
    """Return all variables in the order of their keys, each with its slot variables.

    Leaves out attributes whose keys are not in the checkpoint and objects that are not variables, such as hash tables.
    """
    if graph is None:
        return tuple(Variable(info.name, None, info.name, info) for info in reader.infos())
    values = [value_of(node) for node in graph.nodes]
    slots: dict[int, list[Slot]] = {}
    slot_nodes: set[int] = set()
    for optimizer, reference in graph.slots():
        value = values[reference.slot_variable]
        slot_nodes.add(reference.slot_variable)
        if value is not None and value.checkpoint_key in reader:
            slot = Slot(reference.slot_name, optimizer.path or "", value.checkpoint_key)
            slots.setdefault(reference.variable, []).append(slot)
    variables = {}
    for node, value in zip(graph.nodes, values, strict=True):
        if value is not None and node.id not in slot_nodes and value.checkpoint_key in reader:
            key = value.checkpoint_key
            variable = Variable(key, node.path, value.full_name, reader.info(key), tuple(slots.get(node.id, ())))
            variables[key] = variable
    return tuple(variables[key] for key in reader.names() if key in variables)


def find_paths(
    children: Sequence[Mapping[str, int]],
    slots: Sequence[Sequence[SlotReference]] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> list[str | None]:
    """Return the path of each node, or None: first breadth first, then those of the slot variables."""
    paths: list[str | None] = [None] * len(children)
    paths[0] = ""
    total = 0

    def set_path(number: int, path: str) -> None:
        nonlocal total
        paths[number] = path
        total += len(path)
        # The total grows with the square of the length of a chain of nodes, so a small file could claim any memory.
        check_limit(limits, "max_key_bytes", total, "the paths of the object graph are too long in total")

    queue = collections.deque([0])
    while queue:
        number = queue.popleft()
        for name, child in children[number].items():
            if paths[child] is None:
                set_path(child, f"{paths[number]}/{escape(name)}" if number else escape(name))
                queue.append(child)
    for number, references in enumerate(slots):
        for slot in references:
            variable, optimizer = paths[slot.variable], paths[number]
            if paths[slot.slot_variable] is None and variable is not None and optimizer is not None:
                set_path(slot.slot_variable, f"{variable}{SLOT_MARK}{optimizer}/{escape(slot.slot_name)}")
    return paths


def value_of(node: ObjectNode) -> ObjectAttribute | None:
    """Return the attribute of a variable's value, None if the node is not a variable."""
    return next((attribute for attribute in node.attributes if attribute.name == VARIABLE_VALUE), None)


def escape(name: str) -> str:
    """Return a name as one component of a path."""
    return name.replace(".", "..").replace("/", ".S")


def unescape(name: str) -> str:
    """Return the name in one component of a path; `ValueError` if it is not escaped, such as `.ATTRIBUTES`."""
    out, position = [], 0
    while position < len(name):
        character, pair = name[position], name[position : position + 2]
        if character != ".":
            out.append(character)
            position += 1
            continue
        if pair not in ("..", ".S"):
            raise ValueError(f"{name!r} is not an escaped name: expected '..' or '.S' at {position}, found {pair!r}")
        out.append("." if pair == ".." else "/")
        position += 2
    return "".join(out)


def split_path(path: str) -> tuple[str, ...]:
    """Return the unescaped names in a path, none for the root; `ValueError` if a component is not an escaped name."""
    return tuple(unescape(part) for part in path.split("/")) if path else ()


def parse_key(key: str) -> ObjectKey:
    """Split a checkpoint key into its parts; `ValueError` if it is not the key of an attribute."""
    before, mark, attribute = key.rpartition(ATTRIBUTES_MARK)
    if not mark or "/" in attribute:
        raise ValueError(f"{key!r} is not the key of an attribute, expected PATH/{_ATTRIBUTES}/NAME")
    variable, mark, rest = before.partition(SLOT_MARK)
    if not mark:
        return ObjectKey(split_path(before), unescape(attribute))
    *optimizer, slot = split_path(rest)
    return ObjectKey(split_path(variable), unescape(attribute), tuple(optimizer), slot)


def _stored_graph(reader: TensorReader) -> bytes:
    value = reader.read(GRAPH_KEY)
    if value.shape != () or not isinstance(value.item(), bytes):
        raise CorruptionError(f"the object graph is stored as {value.dtype} {list(value.shape)}, expected one string")
    payload: bytes = value.item()
    return payload


def _children(number: int, node: Any, count: int) -> dict[str, int]:
    children: dict[str, int] = {}
    for child in node.children:
        _check_node(child.node_id, count, f"child {child.local_name!r} of node {number}")
        if children.setdefault(child.local_name, child.node_id) != child.node_id:
            raise CorruptionError(
                f"object graph: node {number} has two children named {child.local_name!r}, "
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
            raise CorruptionError(f"object graph: {what} is a slot of itself, node {slot.slot_variable_node_id}")
        references.append(SlotReference(slot.slot_name, slot.original_variable_node_id, slot.slot_variable_node_id))
    return tuple(references)


def _check_node(number: int, count: int, what: str) -> None:
    if not 0 <= number < count:
        raise CorruptionError(f"object graph: {what} is node {number}, but there are only {count} nodes")
