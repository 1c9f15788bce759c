"""The lookup tables of a graph: finding what its initialization fills each of them with.

A table is filled by an operation in the graph, or in a function that initializes a SavedModel. Its keys and values are
tensors that depend on nothing but constants; files of words are not read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from converter.errors import GraphError
from tfckpt.graphs.graph import Node

from .bodies import TABLES, Program, data_inputs
from .limits import ReferenceLimits
from .scopes import Expansion, Scope
from .values import Array
from .variables import scopes_with, trace_back

_FILLS = {"InitializeTable", "InitializeTableV2", "LookupTableImport", "LookupTableImportV2"}
_FILES = {"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"}


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """The keys of a table and their values, as arrays of the same length."""

    keys: Array
    values: Array


#: The names of the tensors with the keys and the values; None if the table is filled from a file.
Filling = tuple[str, str] | None


def read_fillings(program: Program, limits: ReferenceLimits) -> Mapping[str, Filling]:
    """Return what every table is filled with, by the expanded name of the table and by its shared name."""
    expansion = Expansion(program, program.main, {}, limits)
    tables: dict[str, Filling] = {}
    for scope in scopes_with(program, expansion, {*_FILLS, *_FILES}):
        for node in scope.body.nodes.values():
            if node.op in _FILLS | _FILES:
                tables |= _read_fill(expansion, scope, node)
    return tables


def find_filling(fillings: Mapping[str, Filling], name: str, node: Node) -> tuple[str, str]:
    """Return the tensors that a table is filled with; raise `GraphError` if there are none."""
    names = [candidate for candidate in (name, *_shared_name(node)) if candidate in fillings]
    for candidate in names:
        filling = fillings[candidate]
        if filling is not None:
            return filling
    reason = "is filled from a file, which is not supported" if names else "is never filled"
    raise GraphError(f"the table {reason}", node=name, op=node.op)


def _shared_name(node: Node) -> list[str]:
    shared = node.attributes.get("shared_name")
    return [f"shared:{shared.decode('utf-8', 'replace')}"] if isinstance(shared, bytes) and shared else []


def _read_fill(expansion: Expansion, scope: Scope, node: Node) -> dict[str, Filling]:
    """Return what an operation fills a table with, by the names of the table."""
    inputs = data_inputs(node)
    handle = trace_back(expansion, scope, inputs[0], TABLES) if inputs else None
    if handle is None:
        return {}
    names = [handle[0].name, *_shared_name(handle[0].node)]
    ends = [expansion.follow(scope, reference) for reference in inputs[1:3]] if node.op in _FILLS else []
    tensors = [f"{end[0].name}:{end[1]}" for end in ends if isinstance(end, tuple)]
    return dict.fromkeys(names, (tensors[0], tensors[1]) if len(tensors) == 2 else None)
