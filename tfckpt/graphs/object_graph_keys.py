"""What the keys of a checkpoint say about its object graph, for a checkpoint whose data is missing.

The graph itself is a tensor, so without data shards only the keys are left, and the objects of a SavedModel.
They show every object with values, its path and its slot variables.
Other names of an object, and objects without values, are lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from ..limits import DEFAULT_LIMITS, Limits, check_limit
from .object_graph import (
    GRAPH_KEY,
    SLOT_MARK,
    VARIABLE_VALUE,
    ObjectAttribute,
    ObjectGraph,
    ObjectNode,
    SlotReference,
    escape,
    parse_key,
)
from .saved_objects import SavedObjects


def graph_from_keys(
    keys: Iterable[str], saved: SavedObjects | None = None, limits: Limits = DEFAULT_LIMITS
) -> ObjectGraph:
    """Return the objects that the keys name; `saved` adds the full names of variables."""
    objects = _Objects(limits)
    for key in keys:
        if key == GRAPH_KEY:
            continue
        try:
            parts = parse_key(key)
        except ValueError:
            objects.attributes[0].append(ObjectAttribute(key, "", key))
            continue
        number = objects.find(parts.names)
        if parts.slot is not None:
            number = objects.add_slot(number, objects.find(parts.optimizer), parts.slot)
        full_name = (
            _find_full_name(saved, parts.names) if parts.slot is None and parts.attribute == VARIABLE_VALUE else ""
        )
        objects.attributes[number].append(ObjectAttribute(parts.attribute, full_name, key))
    return objects.build()


def _find_full_name(saved: SavedObjects | None, names: tuple[str, ...]) -> str:
    """Return the full name of the variable at a path in a SavedModel; the empty name if it is not there."""
    if saved is None:
        return ""
    number = 0
    for name in names:
        if name not in saved.children[number]:
            return ""
        number = saved.children[number][name]
    return saved.variables[number].name if number in saved.variables else ""


class _Objects:
    """The nodes found so far, by number."""

    def __init__(self, limits: Limits) -> None:
        self.attributes: list[list[ObjectAttribute]] = []
        self._limits = limits
        self._total = 0
        self._paths: list[str] = []
        self._children: list[dict[str, int]] = []
        self._slots: list[list[SlotReference]] = []
        self._add("")

    def find(self, names: tuple[str, ...]) -> int:
        """Return the node at a path; create it and its parents if necessary."""
        number = 0
        for name in names:
            if name not in self._children[number]:
                path = f"{self._paths[number]}/{escape(name)}" if number else escape(name)
                self._children[number][name] = self._add(path)
            number = self._children[number][name]
        return number

    def add_slot(self, variable: int, optimizer: int, name: str) -> int:
        """Return a new slot variable that an optimizer keeps for a variable."""
        slot = self._add(f"{self._paths[variable]}{SLOT_MARK}{self._paths[optimizer]}/{escape(name)}")
        self._slots[optimizer].append(SlotReference(name, variable, slot))
        return slot

    def build(self) -> ObjectGraph:
        """Return the graph of all nodes."""
        return ObjectGraph(
            tuple(
                ObjectNode(
                    number,
                    path,
                    MappingProxyType(self._children[number]),
                    tuple(self.attributes[number]),
                    tuple(self._slots[number]),
                    None,
                    None,
                )
                for number, path in enumerate(self._paths)
            )
        )

    def _add(self, path: str) -> int:
        # Every part of a key is a node with a path of its own, so the total grows with the square of the parts.
        self._total += len(path)
        check_limit(self._limits, "max_key_bytes", self._total, "the paths of the objects are too long in total")
        self._paths.append(path)
        self._children.append({})
        self._slots.append([])
        self.attributes.append([])
        return len(self._paths) - 1
