"""The inventory of a checkpoint: its variables under all their names, and the tensors that cannot belong to a network.

A tensor of a name-based checkpoint has one name.
A variable of an object-based checkpoint has three: its key, its path through the object graph, and its full name, which
is its name in the program and not necessarily unique.
A rule set matches one of them; see `rules.Names`.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import tfckpt
from tfckpt.errors import printable
from tfckpt.graphs.object_graph import GRAPH_KEY, VALUE_SUFFIX
from tfckpt.graphs.training_state import (
    AVERAGE_SUFFIX,
    OptimizerState,
    model_paths,
    moving_averages,
    optimizer_state,
)

from ..errors import Shape
from ..mapping.planning import Ignored
from ..mapping.rules import Names

_REASON_GRAPH = "object graph"
_REASON_COUNTER = "save counter"
_REASON_OTHER = "not a variable"
_REASON_COPY = "second copy of a variable that Keras 3 exported twice"
#: Paths of the variables in a SavedModel that `export` of Keras 3 wrote, and paths of their second copies.
_EXPORTED = "_all_variables/"
_EXPORT_COPIES = "variables/"


class SourceVariable(NamedTuple):
    """A variable and its names; a name-based checkpoint has the same for all three, and `full_name` may be empty.

    A moving average in an optimizer has the names of its variable, with the suffix of moving averages; `variable_key`
    is the key of that variable, and empty for others.
    """

    key: str
    shape: Shape
    path: str
    full_name: str
    variable_key: str = ""

    def name(self, names: Names) -> str:
        """Return the name that a rule set matches; the path replaces an empty full name."""
        if names == "key":
            return self.variable_key + AVERAGE_SUFFIX if self.variable_key else self.key
        return (self.full_name or self.path) if names == "full_name" else self.path


class Inventory(NamedTuple):
    """The variables of a checkpoint, in the order of their keys, and all other tensors with reasons to ignore them."""

    variables: tuple[SourceVariable, ...]
    set_aside: tuple[Ignored, ...]
    object_based: bool


def inventory_from_names(
    shapes: Mapping[str, Shape], full_names: Mapping[str, str] = MappingProxyType({})
) -> Inventory:
    """Return the inventory of tensors by name, without using an object graph.

    `full_names` has the full names of those that have one besides their name, as variables in Keras files do.
    The keys of an object-based checkpoint still contain paths, and the keys of slot variables identify them.
    """
    variables = []
    set_aside = []
    state = optimizer_state(shapes, None)
    for name, shape in shapes.items():
        if name == GRAPH_KEY:
            set_aside.append(Ignored(name, _REASON_GRAPH))
        elif name in state:
            set_aside.append(Ignored(name, _describe_state(state[name])))
        else:
            path = name.removesuffix(VALUE_SUFFIX)
            full_name = full_names.get(name, name).removesuffix(VALUE_SUFFIX)
            variables.append(SourceVariable(name, shape, path, full_name))
    return Inventory(tuple(variables), tuple(set_aside), GRAPH_KEY in shapes)


def inventory_from_checkpoint(checkpoint: tfckpt.Checkpoint, graph: tfckpt.ObjectGraph) -> Inventory:
    """Return the inventory of an object-based checkpoint."""
    state = optimizer_state(checkpoint, graph)
    copies = find_exported_copies(checkpoint)
    paths = model_paths(graph)
    variables = []
    reasons = {GRAPH_KEY: _REASON_GRAPH, **{key: _describe_state(of) for key, of in state.items()}}
    for row in checkpoint.variables():
        path = paths.get(row.key, row.path)
        path = path if path is not None else row.key.removesuffix(VALUE_SUFFIX)
        reason = _REASON_COPY if row.key in copies else reasons.get(row.key) or _find_reason(path)
        if reason is None:
            variables.append(SourceVariable(row.key, row.info.shape, path, row.full_name))
        else:
            reasons[row.key] = reason
    variables += _list_averages(checkpoint, graph, {variable.key: variable for variable in variables})
    variables.sort(key=lambda variable: variable.key)
    used = {variable.key for variable in variables}
    set_aside = tuple(Ignored(key, reasons.get(key, _REASON_OTHER)) for key in checkpoint if key not in used)
    return Inventory(tuple(variables), set_aside, True)


def _list_averages(
    checkpoint: tfckpt.Checkpoint, graph: tfckpt.ObjectGraph, variables: Mapping[str, SourceVariable]
) -> list[SourceVariable]:
    """Return the moving averages in optimizers; those with names of their own are variables already."""
    return [
        SourceVariable(
            average,
            checkpoint.info(average).shape,
            variables[key].path + AVERAGE_SUFFIX,
            variables[key].full_name and variables[key].full_name + AVERAGE_SUFFIX,
            key,
        )
        for average, key in moving_averages(checkpoint, graph).items()
        if key in variables and average not in variables
    ]


def find_exported_copies(checkpoint: tfckpt.Checkpoint) -> dict[str, str]:
    """Return the key of each second copy -> the key of its variable; `export` of Keras 3 saves every variable twice.

    TensorFlow 2 passes the copies to the functions of such a SavedModel; a TensorFlow 1 session reads the originals.
    """
    if checkpoint.object_graph is None:
        return {}
    rows = [(row.path or row.key, row) for row in checkpoint.variables()]
    exported = {row.full_name: row.key for path, row in rows if path.startswith(_EXPORTED)}
    return {
        row.key: exported[row.full_name]
        for path, row in rows
        if path.startswith(_EXPORT_COPIES) and row.full_name in exported
    }


def find_duplicates(names: Iterable[str]) -> set[str]:
    """Return the names that occur more than once."""
    return {name for name, count in collections.Counter(names).items() if count > 1}


def _find_reason(path: str) -> str | None:
    """Return the reason to ignore a variable, or None if it may belong to a network."""
    if path == "save_counter":
        return _REASON_COUNTER
    return "state of a metric" if "keras_api/metrics/" in path else None


def _describe_state(state: OptimizerState) -> str:
    """Return the reason to ignore the state of an optimizer."""
    kind = "state" if state.slot is None else f"slot {printable(state.slot)}" if state.slot else "slot"
    return f"{kind} of the optimizer {printable(state.optimizer)}"
