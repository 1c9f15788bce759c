"""What a checkpoint offers to the rules: its variables under all their names, and what is no variable of a network.

A tensor of a name-based checkpoint has one name.
A variable of an object-based one has three: its key, its path through the object graph, and its full name, which was
its name in the program and need not be unique.
A rule table reads one of them; see `rules.Names`.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import tfckpt
from tfckpt.errors import printable
from tfckpt.graphs.object_graph import GRAPH_KEY, VALUE_SUFFIX
from tfckpt.graphs.training_state import OptimizerState, optimizer_state

from ..errors import Shape
from ..mapping.rules import Ignored, Names

_REASON_GRAPH = "the object graph, which is no variable"
_REASON_COUNTER = "counter of saves"
_REASON_OTHER = "no variable"
_REASON_COPY = "second copy of a variable, which Keras 3 exports twice"
#: Where `export` of Keras 3 keeps all variables of its functions, and where they stand once more among others.
_EXPORTED = "_all_variables/"
_EXPORT_COPIES = "variables/"


class SourceVariable(NamedTuple):
    """A variable under its names; all three are the same in a name-based checkpoint, and `full_name` may be empty."""

    key: str
    shape: Shape
    path: str
    full_name: str

    def name(self, names: Names) -> str:
        """Give the name a rule table asks for; a variable without full name has its path."""
        if names == "key":
            return self.key
        return (self.full_name or self.path) if names == "full_name" else self.path


class Inventory(NamedTuple):
    """A checkpoint's variables, in the order of their keys, and what is none of any network, with the reason."""

    variables: tuple[SourceVariable, ...]
    set_aside: tuple[Ignored, ...]
    object_based: bool


def inventory_of_names(shapes: Mapping[str, Shape]) -> Inventory:
    """Take stock of tensors by name, where there is no object graph to ask.

    Keys of an object-based checkpoint still give paths, and keys of slot variables show what they are.
    """
    variables = []
    set_aside = []
    state = optimizer_state(shapes, None)
    for name, shape in shapes.items():
        if name == GRAPH_KEY:
            set_aside.append(Ignored(name, _REASON_GRAPH))
        elif name in state:
            set_aside.append(Ignored(name, _state_reason(state[name])))
        else:
            path = name.removesuffix(VALUE_SUFFIX)
            variables.append(SourceVariable(name, shape, path, path))
    return Inventory(tuple(variables), tuple(set_aside), GRAPH_KEY in shapes)


def inventory_of_checkpoint(checkpoint: tfckpt.Checkpoint, graph: tfckpt.ObjectGraph) -> Inventory:
    """Take stock of an object-based checkpoint, with its object graph."""
    state = optimizer_state(checkpoint, graph)
    copies = exported_copies(checkpoint)
    variables = []
    reasons = {GRAPH_KEY: _REASON_GRAPH, **{key: _state_reason(of) for key, of in state.items()}}
    for row in checkpoint.variables():
        path = row.path if row.path is not None else row.key.removesuffix(VALUE_SUFFIX)
        reason = _REASON_COPY if row.key in copies else reasons.get(row.key) or _reason(path)
        if reason is None:
            variables.append(SourceVariable(row.key, row.info.shape, path, row.full_name))
        else:
            reasons[row.key] = reason
    used = {variable.key for variable in variables}
    set_aside = tuple(Ignored(key, reasons.get(key, _REASON_OTHER)) for key in checkpoint if key not in used)
    return Inventory(tuple(variables), set_aside, True)


def exported_copies(checkpoint: tfckpt.Checkpoint) -> dict[str, str]:
    """Give the key of the variable that each second copy is of, where `export` of Keras 3 saved every variable twice.

    TensorFlow 2 gives the functions of such a SavedModel the copies, and a session of TensorFlow 1 the others.
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


def duplicates(names: Iterable[str]) -> set[str]:
    """Give the names that occur more than once."""
    return {name for name, count in collections.Counter(names).items() if count > 1}


def _reason(path: str) -> str | None:
    """Say why a variable is none of a network's, None if it may be one."""
    if path == "save_counter":
        return _REASON_COUNTER
    return "state of a metric" if "keras_api/metrics/" in path else None


def _state_reason(state: OptimizerState) -> str:
    """Say which state of which optimizer a tensor is."""
    what = "state" if state.slot is None else f"slot {printable(state.slot)}" if state.slot else "slot"
    return f"{what} of the optimizer {printable(state.optimizer)}"
