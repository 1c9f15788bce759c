"""The lookup tables of a graph: finding the constants that its initialization fills each of them with.

A table is filled by an operation in the graph or in a function that initializes a SavedModel; both its keys and its
values have to be constants there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

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


def read_tables(program: Program, limits: ReferenceLimits) -> Mapping[str, Table | None]:
    """Return the contents of every table by its expanded name and by its shared name; None for one filled otherwise."""
    expansion = Expansion(program, program.main, {}, limits)
    tables: dict[str, Table | None] = {}
    for scope in scopes_with(program, expansion, {*_FILLS, *_FILES}):
        for node in scope.body.nodes.values():
            if node.op in _FILLS | _FILES:
                found = _read_fill(expansion, scope, node)
                tables |= {} if found is None else found
    return tables


def find_table(tables: Mapping[str, Table | None], name: str, node: Node) -> Table:
    """Return the contents of a table; raise `GraphError` if they are not constants of the graph."""
    names = [name, *_shared_name(node)]
    for candidate in names:
        table = tables.get(candidate)
        if table is not None:
            return table
    filled = any(candidate in tables for candidate in names)
    reason = "is filled from a file or with computed values" if filled else "is never filled"
    raise GraphError(f"the table {reason}, which is not supported", node=name, op=node.op)


def _shared_name(node: Node) -> list[str]:
    shared = node.attributes.get("shared_name")
    return [f"shared:{shared.decode('utf-8', 'replace')}"] if isinstance(shared, bytes) and shared else []


def _read_fill(expansion: Expansion, scope: Scope, node: Node) -> dict[str, Table | None] | None:
    """Return the contents that an operation fills a table with, by the names of the table."""
    inputs = data_inputs(node)
    handle = trace_back(expansion, scope, inputs[0], TABLES) if inputs else None
    if handle is None:
        return None
    names = [handle[0].name, *_shared_name(handle[0].node)]
    arrays = []
    for reference in inputs[1:3] if node.op in _FILLS else ():
        end = trace_back(expansion, scope, reference, {"Const"})
        value = end[0].node.attributes.get("value") if end is not None else None
        if isinstance(value, np.ndarray):
            arrays.append(value)
    if len(arrays) != 2 or arrays[0].shape[:1] != arrays[1].shape[:1]:
        return dict.fromkeys(names)
    return dict.fromkeys(names, Table(arrays[0].reshape(-1), arrays[1]))
