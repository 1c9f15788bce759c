"""The keys that a name from the user stands for.

A key of the checkpoint wins over a path through its object graph, because keys are what the file says.
A path wins over a variable's full name, because a path leads to one object and full names need not be unique.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from ..errors import TensorNotFoundError, find_close_names, join_some, say_close_names
from ..tensors.reading import TensorReader
from .object_graph import VARIABLE_VALUE, ObjectAttribute, ObjectGraph


def resolve_keys(reader: TensorReader, graph: ObjectGraph, name: str) -> tuple[str, ...]:
    """Return the keys that a path or a full name stands for; more than one if the name is ambiguous.

    A path stands for the value of a variable or, for any other object, for all its tensors.
    """
    attributes = graph.attributes_at(name)
    values = [attribute for attribute in attributes if attribute.name == VARIABLE_VALUE]
    return _stored(reader, values or attributes) or _stored(reader, graph.with_full_name(name))


def not_found_error(reader: TensorReader, graph: ObjectGraph, name: str, *, path: str) -> TensorNotFoundError:
    """Return the error for a name that does not stand for exactly one key."""
    keys = resolve_keys(reader, graph, name)
    if keys:
        return TensorNotFoundError(
            f"the name matches {len(keys)} tensors; use the key of one: {join_some(keys)}",
            close_names=keys,
            path=path,
            tensor=name,
        )
    # The attribute of a hash table has no tensor of its own key, only `KEY-keys` and `KEY-values`.
    stems = tuple(f"{attribute.checkpoint_key}-" for attribute in graph.attributes_at(name))
    parts = tuple(key for key in reader.names() if stems and key.startswith(stems))
    if parts:
        return TensorNotFoundError(
            f"the object is stored as several tensors; use the key of one: {join_some(parts)}",
            close_names=parts,
            path=path,
            tensor=name,
        )
    paths = [node.path for node in graph.nodes if node.path and node.attributes]
    close = find_close_names(name, dict.fromkeys((*paths, *graph.full_names, *reader.names())))
    message = f"not in the checkpoint{say_close_names(close)}"
    return TensorNotFoundError(message, close_names=close, path=path, tensor=name)


def _stored(reader: TensorReader, attributes: Sequence[ObjectAttribute]) -> tuple[str, ...]:
    """Return the keys of attributes that are in the checkpoint, without duplicates."""
    keys = [attribute.checkpoint_key for attribute in attributes]
    return tuple(dict.fromkeys(key for key in keys if key in reader))


def select(names: Iterable[str], include: Sequence[str], exclude: Sequence[str]) -> set[str]:
    """Return the names that match a glob of `include`, or all names if there is none, and no glob of `exclude`.

    Raises `ValueError` for a glob of `include` that matches no name.
    """
    names = list(names)
    for pattern in include:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"no tensor matches {pattern!r}")
    return {name for name in names if (not include or matches_any(name, include)) and not matches_any(name, exclude)}


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether any of the globs matches the whole name; `*` also matches slashes."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def matches(name: str, pattern: str | None) -> bool:
    """Return whether a name matches a glob, or contains a text without wildcards; every name matches None."""
    if pattern is None:
        return True
    if any(c in pattern for c in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return pattern in name
