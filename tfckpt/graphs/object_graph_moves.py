"""Moving objects of an object graph to other paths, when the keys of their values are renamed.

TensorFlow restores by local names, so values are found only if the objects move with their keys.

::

    model/discriminator/w/.ATTRIBUTES/VARIABLE_VALUE      renamed to model/w/.ATTRIBUTES/VARIABLE_VALUE
    root -model-> 1 -discriminator-> 2 -w-> 3             becomes    root -model-> 2 -w-> 3

An object moves as a whole, with all names inside it, if everything saved below it moves in the same way.
Otherwise its children move one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from ..errors import printable
from .object_graph import ATTRIBUTES_MARK, SLOT_MARK, ObjectGraph, ObjectNode, escape, split_path
from .object_graph_writer import parse_graph

_TABLE_SUFFIX = "-keys"
#: Unescaped local names from the root.
_Path: TypeAlias = tuple[str, ...]


def move_objects(payload: bytes, graph: ObjectGraph, keys: Mapping[str, str | None]) -> bytes:
    """Return the graph with objects moved to the paths that their new keys name; the keys are not changed.

    `payload` is the serialized graph, and `keys` maps keys to new keys, or to None for tensors that are left out.
    Slot variables stay with their optimizers.
    Raises `ValueError` if a new name is not the key of an object, or if two objects would get the same path.
    """
    nodes = graph.nodes
    targets: dict[_Path, _Path] = {}
    for node in nodes:
        for path, target in _read_targets(node, keys):
            if targets.setdefault(path, target) != target:
                raise ValueError(f"the values of the object {_show(path)} cannot be renamed apart")
    moves = [(path, target) for path, target in _place(targets) if path != target]
    if not moves:
        return payload
    message = parse_graph(payload)
    numbers = {split_path(node.path): node.id for node in nodes if node.path is not None and SLOT_MARK not in node.path}
    for path, _ in moves:
        children = message.nodes[numbers[path[:-1]]].children
        del children[[child.local_name for child in children].index(path[-1])]
    moved = _Moved(message, keys)
    for path, target in moves:
        moved.attach(numbers[path], target)
    return bytes(message.SerializeToString())


def rename_tables(graph: ObjectGraph, keys: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return `keys` with those of hash tables, whose two tensors have the key of the table with a suffix."""
    tables: dict[str, str | None] = {}
    for node in graph.nodes:
        for attribute in node.attributes:
            key = attribute.checkpoint_key
            if key not in keys and key + _TABLE_SUFFIX in keys:
                new = keys[key + _TABLE_SUFFIX]
                tables[key] = None if new is None else new.removesuffix(_TABLE_SUFFIX)
    return {**keys, **tables}


def _read_targets(node: ObjectNode, keys: Mapping[str, str | None]) -> Iterator[tuple[_Path, _Path]]:
    """Yield the path of a node, and its new path, for every value that is kept."""
    for attribute in node.attributes:
        old = attribute.checkpoint_key
        new = keys.get(old, old)
        path, mark, name = old.rpartition(ATTRIBUTES_MARK)
        # A key that does not follow from the path is only a name, and so is that of a slot variable.
        if new is None or not mark or path != node.path or SLOT_MARK in path:
            continue
        after, new_mark, new_name = new.rpartition(ATTRIBUTES_MARK)
        try:
            if new_mark + new_name != mark + name:
                raise ValueError(f"it must end in {mark}{name}")
            target = split_path(after)
            if not all(target):
                raise ValueError("a name in its path is empty")
        except ValueError as error:
            raise ValueError(
                f"{printable(old)!r} cannot be renamed to {printable(new)!r} in an object-based checkpoint: {error}"
            ) from None
        yield split_path(path), target


def _place(targets: Mapping[_Path, _Path]) -> Iterator[tuple[_Path, _Path]]:
    """Yield the highest objects that move, or stay, as a whole, with their new paths."""
    pending: list[tuple[_Path, Mapping[_Path, _Path]]] = [((), targets)]
    while pending:
        path, inside = pending.pop()
        starts = {_start(target, inner[len(path) :]) for inner, target in inside.items()}
        start = starts.pop() if len(starts) == 1 else None
        if start is not None and bool(start) == bool(path):  # only the root is at the root
            yield path, start
            continue
        if path in inside:
            raise ValueError(f"the object {_show(path)} cannot move apart from the objects in it")
        children: dict[_Path, dict[_Path, _Path]] = {}
        for inner, target in inside.items():
            children.setdefault(inner[: len(path) + 1], {})[inner] = target
        pending += children.items()


def _start(target: _Path, rest: _Path) -> _Path | None:
    """Return a path without the names at its end, or None if it does not end in them."""
    start = target[: len(target) - len(rest)]
    return start if target == start + rest else None


def _show(path: _Path) -> str:
    return repr(printable("/".join(map(escape, path))))


class _Moved:
    """A graph's message into which objects are put at new paths."""

    def __init__(self, message: Any, keys: Mapping[str, str | None]) -> None:
        self._message = message
        self._keys = keys

    def attach(self, number: int, path: _Path) -> None:
        """Put an object at a path; objects on the way are created if they do not exist."""
        parent = 0
        for name in path[:-1]:
            child = self._find(parent, name)
            if child is None:
                new = self._message.nodes.add()
                new.has_checkpoint_values.value = True
                child = len(self._message.nodes) - 1
                self._message.nodes[parent].children.add(node_id=child, local_name=name)
            elif self._has_own_values(child):
                raise ValueError(f"{_show(path)} would be inside a tensor")
            parent = child
        self._join(parent, path[-1], number, path)

    def _join(self, parent: int, name: str, number: int, path: _Path) -> None:
        """Give an object a child; if a child of this name has values, join the children of the two."""
        pending = [(parent, name, number)]
        while pending:
            parent, name, number = pending.pop()
            current = self._find(parent, name)
            if current is None:
                self._message.nodes[parent].children.add(node_id=number, local_name=name)
            elif current != number and not self._has_values(current):
                next(
                    child for child in self._message.nodes[parent].children if child.local_name == name
                ).node_id = number
            elif current != number:
                if self._has_own_values(current) or self._has_own_values(number):
                    raise ValueError(f"more than one object would be at {_show(path)}")
                pending += [
                    (current, child.local_name, child.node_id) for child in self._message.nodes[number].children
                ]

    def _find(self, parent: int, name: str) -> int | None:
        for child in self._message.nodes[parent].children:
            if child.local_name == name:
                return int(child.node_id)
        return None

    def _has_own_values(self, number: int) -> bool:
        attributes = self._message.nodes[number].attributes
        return any(self._keys.get(item.checkpoint_key, "") is not None for item in attributes)

    def _has_values(self, number: int) -> bool:
        """Return whether an object, or one that it leads to, has values that are kept."""
        pending, seen = [number], {number}
        while pending:
            number = pending.pop()
            if self._has_own_values(number):
                return True
            children = {child.node_id for child in self._message.nodes[number].children} - seen
            seen |= children
            pending += children
        return False
