"""From what a user asked for to the keys that tensors are stored under.

A key of the checkpoint wins over a path through its object graph, and a path over a variable's full name.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from ..errors import TensorNotFoundError, find_close_names, join_some, say_close_names
from ..tensors.reading import TensorReader
from .object_graph import VARIABLE_VALUE, ObjectAttribute, ObjectGraph


def keys_meant(reader: TensorReader, graph: ObjectGraph, name: str) -> tuple[str, ...]:
    """The keys that a path or a full name means: none, one, or several when it is ambiguous.

    A path means the value of the variable there, or whatever tensors the object there has.
    """
    attributes = graph.attributes_at(name)
    values = [attribute for attribute in attributes if attribute.name == VARIABLE_VALUE]
    return _stored(reader, values or attributes) or _stored(reader, graph.with_full_name(name))


def not_found(reader: TensorReader, graph: ObjectGraph, name: str, *, path: str) -> TensorNotFoundError:
    """The error for a name that does not mean exactly one key."""
    keys = keys_meant(reader, graph, name)
    if keys:
        return TensorNotFoundError(
            f"this means {len(keys)} tensors, name one by its key: {join_some(keys)}",
            close_names=keys,
            path=path,
            tensor=name,
        )
    # A hash table's attribute has no tensor of its own; they stand under its key with a dash and more after it.
    stems = tuple(f"{attribute.checkpoint_key}-" for attribute in graph.attributes_at(name))
    parts = tuple(key for key in reader.names() if stems and key.startswith(stems))
    if parts:
        return TensorNotFoundError(
            f"this object is stored as several tensors, name one by its key: {join_some(parts)}",
            close_names=parts,
            path=path,
            tensor=name,
        )
    paths = [node.path for node in graph.nodes if node.path and node.attributes]
    close = find_close_names(name, dict.fromkeys((*paths, *graph.full_names, *reader.names())))
    message = f"not in the checkpoint{say_close_names(close)}"
    return TensorNotFoundError(message, close_names=close, path=path, tensor=name)


def _stored(reader: TensorReader, attributes: Sequence[ObjectAttribute]) -> tuple[str, ...]:
    """The keys of attributes that are in the checkpoint, each once."""
    return tuple(dict.fromkeys(one.checkpoint_key for one in attributes if one.checkpoint_key in reader))


def select(names: Iterable[str], include: Sequence[str], exclude: Sequence[str]) -> set[str]:
    """Return the names that match a glob of `include`, or all names if there is none, and no glob of `exclude`.

    Raises `ValueError` for a glob of `include` that matches no name.
    """
    names = list(names)
    for pattern in include:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"no tensor matches {pattern!r}")
    return {name for name in names if (not include or matches(name, include)) and not matches(name, exclude)}


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the globs matches the whole name; `*` also matches slashes."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
