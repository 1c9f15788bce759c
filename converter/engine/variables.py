"""The variables of a graph: finding the tensor of a checkpoint that holds the value of each, and reading it.

In a SavedModel of TensorFlow 2 the objects say which variable each captured argument of a function is.
Any graph can contain save operations (SaveV2 and its older forms), or else restore operations with assigns; they are in
the graph itself, or in the functions that save and restore a SavedModel.
A variable that none of these mentions is looked up by its name.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from converter.errors import GraphError
from tfckpt import Checkpoint
from tfckpt.errors import find_close_names, printable, say_close_names
from tfckpt.graphs.graph import Node
from tfckpt.graphs.object_graph import ObjectGraph
from tfckpt.graphs.saved_objects import SavedObjects
from tfckpt.graphs.training_state import AVERAGE_SUFFIX, moving_averages

from .bodies import MAX_LINKS, Program, data_inputs
from .limits import ReferenceLimits
from .scopes import Argument, End, Expansion, Feed, Scope, Site
from .values import Array

#: The values of the variables: those that the graph's own saver restores, the raw ones, or the moving averages.
Weights: TypeAlias = Literal["graph", "raw", "averages"]
HANDLES = {"VarHandleOp", "VariableV2", "Variable"}
_PASS_THROUGH = {"Identity", "ReadVariableOp", "Cast", "Snapshot", "CopyOnRead", "DisableCopyOnRead"}
_ASSIGNS = {"AssignVariableOp", "Assign"}
#: The number of inputs before the tensors, and whether the third input holds the slices.
_SAVES = {"SaveV2": (3, True), "SaveSlices": (3, True), "Save": (2, False)}
_RESTORES = {"RestoreV2", "RestoreSlice", "Restore"}


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The source of a variable's value: a name in the checkpoint, and a part of that tensor, or None for all of it."""

    name: str
    part: tuple[slice, ...] | None = None

    def with_weights(self, weights: Weights, averages: Mapping[str, str]) -> Source:
        """Return the source of the raw value, or of the average if `averages` has one for the variable."""
        if weights == "graph":
            return self
        raw = self.name.removesuffix(AVERAGE_SUFFIX)
        name = averages.get(raw, raw) if weights == "averages" else raw
        return dataclasses.replace(self, name=name)


def check_weights(weights: str) -> None:
    """Raise `ValueError` unless `weights` is one of the three choices."""
    if weights not in get_args(Weights):
        raise ValueError(f"weights must be one of {', '.join(get_args(Weights))}, not {weights!r}")


def read_sources(program: Program, limits: ReferenceLimits) -> dict[str, Source]:
    """Return the source of every variable that is saved or restored in the graph, by the variable's expanded name."""
    expansion = Expansion(program, program.main, {}, limits)
    ops = {*_SAVES, *_RESTORES, *_ASSIGNS}
    scopes = list(scopes_with(program, expansion, ops))
    sources: dict[str, Source] = {}
    for scope in scopes:
        for node in scope.body.nodes.values():
            if node.op in _ASSIGNS:
                sources |= _read_assign(expansion, scope, node)
    for scope in scopes:
        for node in scope.body.nodes.values():
            if node.op in _SAVES:
                sources |= _read_save(expansion, scope, node)
    return sources


def captured_sources(program: Program, objects: SavedObjects, graph: ObjectGraph | None) -> dict[str, Source]:
    """Return the source of every variable that a function of a SavedModel captures, by the name of its handle's node.

    `objects` maps each captured argument to a variable, and `graph`, stored in the checkpoint, maps it to its key.
    """
    keys = {} if graph is None else objects.checkpoint_keys(graph)
    return {name: Source(keys[number]) for name, number in _captured_handles(program, objects) if number in keys}


def captured_trainable(program: Program, objects: SavedObjects) -> dict[str, bool]:
    """Return whether each captured variable was trained, by the name of its handle's node."""
    return {name: objects.variables[number].trainable for name, number in _captured_handles(program, objects)}


def _captured_handles(program: Program, objects: SavedObjects) -> Iterator[tuple[str, int]]:
    """Yield the handles that the main graph passes to its functions, each with the object number of its variable."""
    for node in program.main.nodes.values():
        bound = objects.bound_inputs.get(program.called_function(node) or "", ())
        inputs = data_inputs(node)
        for reference, number in zip(inputs[len(inputs) - len(bound) :], bound, strict=False):
            name = reference.partition(":")[0]
            handle = program.main.nodes.get(name)
            if handle is not None and handle.op in HANDLES and number in objects.variables:
                yield name, number


def scopes_with(program: Program, expansion: Expansion, ops: set[str]) -> Iterable[Scope]:
    """Yield the scopes of the graph and of every called function that leads to one of these operations."""
    functions = program.graph.functions
    relevant = {name for name, function in functions.items() if any(node.op in ops for node in function.nodes)}
    callers: dict[str, set[str]] = {}
    for function in functions.values():
        for name in filter(None, map(program.called_function, function.nodes)):
            callers.setdefault(name, set()).add(function.name)
    pending = list(relevant)
    while pending:
        for caller in callers.get(pending.pop(), ()):
            if caller not in relevant:
                relevant.add(caller)
                pending.append(caller)
    scopes = [expansion.root]
    while scopes:
        scope = scopes.pop()
        yield scope
        for node in scope.body.nodes.values():
            if program.called_function(node) in relevant and (inner := expansion.enter(scope, node)) is not None:
                scopes.append(inner)


def _read_save(expansion: Expansion, scope: Scope, node: Node) -> dict[str, Source]:
    first, has_slices = _SAVES[node.op]
    inputs = data_inputs(node)
    names = _read_strings(expansion, scope, inputs[1:2])
    parts = _read_strings(expansion, scope, inputs[2:3]) if has_slices else []
    parts += [""] * (len(names) - len(parts))
    sources: dict[str, Source] = {}
    for name, part, reference in zip(names, parts, inputs[first:], strict=False):
        site = trace_back(expansion, scope, reference, HANDLES)
        if site is not None:
            sources[site[0].name] = Source(name, _parse_part(part))
    return sources


def _read_assign(expansion: Expansion, scope: Scope, node: Node) -> dict[str, Source]:
    inputs = data_inputs(node)
    if len(inputs) < 2:
        return {}
    variable = trace_back(expansion, scope, inputs[0], HANDLES)
    restore = trace_back(expansion, scope, inputs[1], _RESTORES)
    if variable is None or restore is None:
        return {}
    site, output = restore
    # One restore operation has the names of all variables, so only one of them is decoded.
    names = _find_strings(expansion, site.scope, site.node.inputs[1:2])
    parts = _find_strings(expansion, site.scope, site.node.inputs[2:3])
    if output >= len(names):
        return {}
    part = _decode(parts[output]) if output < len(parts) else ""
    return {variable[0].name: Source(_decode(names[output]), _parse_part(part))}


def trace_back(expansion: Expansion, scope: Scope, reference: str, ops: set[str]) -> tuple[Site, int] | None:
    """Follow a reference back to an output of one of these operations; None if it leads to anything else."""
    for _ in range(MAX_LINKS):
        end: End = expansion.follow(scope, reference)
        if isinstance(end, Argument | Feed):
            return None
        site, _output = end
        if site.node.op in ops:
            return end
        if site.node.op not in _PASS_THROUGH or not site.node.inputs:
            return None
        scope, reference = site.scope, site.node.inputs[0]
    return None


def _read_strings(expansion: Expansion, scope: Scope, references: Iterable[str]) -> list[str]:
    """Return the strings of the first reference that leads to a constant; an empty list if none does."""
    return list(map(_decode, _find_strings(expansion, scope, references)))


def _decode(item: bytes) -> str:
    return item.decode("utf-8", "surrogateescape")


def _find_strings(expansion: Expansion, scope: Scope, references: Iterable[str]) -> Sequence[bytes]:
    """Return the bytes of the strings of the first reference that leads to a constant."""
    for reference in references:
        end = trace_back(expansion, scope, reference, {"Const"})
        value = end[0].node.attributes.get("value") if end is not None else None
        if isinstance(value, np.ndarray) and value.dtype == object:
            strings: list[bytes] = value.ravel().tolist()
            return strings
    return []


def _parse_part(specification: str) -> tuple[slice, ...] | None:
    """Parse a slice specification, such as `4 3 0,2:-`; return None if it is empty.

    It is the full shape, a space, and for each axis `-` (all of it) or `start,length`, joined by `:`.
    """
    extents = specification.rpartition(" ")[2]
    if not extents:
        return None
    part = []
    for extent in extents.split(":"):
        start, _, length = extent.partition(",")
        try:
            part.append(slice(None) if extent == "-" else slice(int(start), int(start) + int(length)))
        except ValueError:
            raise GraphError(f"invalid slice of a variable: {specification!r}") from None
    return tuple(part)


class VariableStore:
    """The values of a graph's variables, read from the checkpoint on demand."""

    def __init__(self, sources: Callable[[], Mapping[str, Source]], checkpoint: Checkpoint | None) -> None:
        """Call `sources` on first use; it returns the sources that the graph itself determines."""
        self._sources = sources
        self._checkpoint = checkpoint

    @functools.cached_property
    def averages(self) -> dict[str, str]:
        """The moving average of each variable in the checkpoint, by name."""
        if self._checkpoint is None:
            return {}
        averages = moving_averages(self._checkpoint, self._checkpoint.object_graph)
        return {variable: average for average, variable in averages.items()}

    def source(self, name: str, node: Node, weights: Weights) -> Source:
        """Return the source of a variable's value, whether or not the checkpoint contains it."""
        source = self._sources().get(name)
        if source is None:
            shared = node.attributes.get("shared_name")
            names = [shared.decode("utf-8", "replace")] if isinstance(shared, bytes) and shared else []
            candidates = [*names, name]
            stored = self._checkpoint if self._checkpoint is not None else ()
            matches = [candidate for candidate in candidates if candidate in stored]
            source = Source((matches or candidates)[0])
        return source if self._checkpoint is None else source.with_weights(weights, self.averages)

    def shape(self, name: str, node: Node) -> tuple[int, ...] | None:
        """Return the shape of a variable, as stored or else as declared; None if it is not known."""
        source = self.source(name, node, "graph")
        if source.part is None and self._checkpoint is not None and source.name in self._checkpoint:
            return tuple(self._checkpoint.info(source.name).shape)
        declared = node.attributes.get("shape")
        return declared if isinstance(declared, tuple) and -1 not in declared else None

    def read(self, variables: Mapping[str, Node], weights: Weights) -> dict[str, Array]:
        """Return the values of variables.

        Raises one `GraphError` for all that are missing from the checkpoint or have a different shape there.
        """
        if not variables:
            return {}
        if self._checkpoint is None:
            raise GraphError(f"the graph has variables, such as {min(variables)}, but no checkpoint")
        sources = {name: self.source(name, node, weights) for name, node in variables.items()}
        problems = [
            problem
            for name, source in sources.items()
            if (problem := self._describe_problem(name, variables[name], source))
        ]
        if problems:
            count = f"{len(problems)} of {len(sources)} variables"
            raise GraphError(
                "\n".join([f"the graph does not match the checkpoint {self._checkpoint.prefix}: {count}", *problems])
            )
        averages = set(self.averages.values())
        if weights == "averages" and not any(source.name in averages for source in sources.values()):
            raise GraphError(f"the checkpoint {self._checkpoint.prefix} has no moving averages of these variables")
        arrays = self._checkpoint.read_many([source.name for source in sources.values()])
        return {
            name: array if source.part is None else array[source.part]
            for (name, source), (_, array) in zip(sources.items(), arrays, strict=True)
        }

    def _describe_problem(self, name: str, node: Node, source: Source) -> str | None:
        assert self._checkpoint is not None, "called only if there is a checkpoint"
        label = f"  {printable(name)}: {printable(source.name)}"
        if source.name not in self._checkpoint:
            hint = say_close_names(find_close_names(source.name, self._checkpoint))
            return f"{label} is not in the checkpoint{hint}"
        info = self._checkpoint.info(source.name)
        shape = info.shape
        if source.part is not None:
            if len(source.part) != len(shape):
                return f"{label} is a part with {len(source.part)} axes, but the stored tensor has shape {list(shape)}"
            shape = tuple(len(range(*extent.indices(size))) for extent, size in zip(source.part, shape, strict=True))
        declared: Any = node.attributes.get("shape")
        if isinstance(declared, tuple) and not _is_compatible(shape, declared):
            return f"{label} has shape {list(shape)}, but the graph's variable has shape {list(declared)}"
        return None


def _is_compatible(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return len(shape) == len(declared) and all(
        expected in (-1, size) for size, expected in zip(shape, declared, strict=True)
    )
