"""Which tensor of a checkpoint belongs to which variable of a graph.

For a SavedModel of TensorFlow 2 its objects say what each captured argument of a function is.
For every other graph its own save operations say it (SaveV2 and its older forms), or else its restore operations and
the assigns behind them, wherever they stand: in the graph, or in the functions a SavedModel saves and restores with.
A variable that none of them knows is looked up by its name, at last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from converter.errors import GraphError
from tfckpt import Checkpoint
from tfckpt.errors import find_close_names, printable, say_close_names
from tfckpt.graphs.graph import Function, Node
from tfckpt.graphs.object_graph import ObjectGraph
from tfckpt.graphs.saved_objects import SavedObjects
from tfckpt.graphs.training_state import AVERAGE_SUFFIX

from .bodies import MAX_LINKS, Program, data_inputs
from .limits import ReferenceLimits
from .scopes import Argument, End, Expansion, Feed, Scope, Site
from .values import Array

#: Which values the variables have: as the graph's own saver restores them, the raw ones, or the moving averages.
Weights: TypeAlias = Literal["graph", "raw", "averages"]
HANDLES = {"VarHandleOp", "VariableV2", "Variable"}
_PASS_THROUGH = {"Identity", "ReadVariableOp", "Cast", "Snapshot", "CopyOnRead", "DisableCopyOnRead"}
_ASSIGNS = {"AssignVariableOp", "Assign"}
#: How many inputs stand before the tensors, and whether the third is the slices.
_SAVES = {"SaveV2": (3, True), "SaveSlices": (3, True), "Save": (2, False)}
_RESTORES = {"RestoreV2", "RestoreSlice", "Restore"}


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where a variable's value stands: a name in the checkpoint, and which part of it if the variable is one part."""

    name: str
    part: tuple[slice, ...] | None = None

    def with_weights(self, weights: Weights, names: Checkpoint) -> Source:
        """The source of the raw value or of the average, where the checkpoint has one."""
        if weights == "graph":
            return self
        raw = self.name.removesuffix(AVERAGE_SUFFIX)
        name = raw + AVERAGE_SUFFIX if weights == "averages" and raw + AVERAGE_SUFFIX in names else raw
        return dataclasses.replace(self, name=name)


def check_weights(weights: str) -> None:
    """`ValueError` for a word that does not say which weights."""
    if weights not in get_args(Weights):
        raise ValueError(f"weights is one of {', '.join(get_args(Weights))}, not {weights!r}")


def read_sources(program: Program, limits: ReferenceLimits) -> dict[str, Source]:
    """The source of every variable that save or restore operations know, by the variable's expanded name."""
    expansion = Expansion(program, program.main, {}, limits)
    wanted = {*_SAVES, *_RESTORES, *_ASSIGNS}
    scopes = list(_scopes_with(program, expansion, wanted))
    found: dict[str, Source] = {}
    for scope in scopes:
        for node in scope.body.nodes.values():
            if node.op in _ASSIGNS:
                found |= _read_assign(expansion, scope, node)
    for scope in scopes:
        for node in scope.body.nodes.values():
            if node.op in _SAVES:
                found |= _read_save(expansion, scope, node)
    return found


def captured_sources(program: Program, objects: SavedObjects, graph: ObjectGraph | None) -> dict[str, Source]:
    """The source of every variable that a function of a SavedModel captured, by the name of its handle's node.

    The program's objects say which variable each captured argument is, and the checkpoint's which key it has.
    """
    keys = {} if graph is None else objects.checkpoint_keys(graph)
    return {name: Source(keys[number]) for name, number in _captured_handles(program, objects) if number in keys}


def captured_trainable(program: Program, objects: SavedObjects) -> dict[str, bool]:
    """Whether each captured variable was trained, by the name of its handle's node."""
    return {name: objects.variables[number].trainable for name, number in _captured_handles(program, objects)}


def _captured_handles(program: Program, objects: SavedObjects) -> Iterator[tuple[str, int]]:
    """The handles that are given to functions of the main graph, with the numbers of the variables they are."""
    for node in program.main.nodes.values():
        bound = objects.bound_inputs.get(program.called_function(node) or "", ())
        inputs = data_inputs(node)
        for reference, number in zip(inputs[len(inputs) - len(bound) :], bound, strict=False):
            name = reference.partition(":")[0]
            handle = program.main.nodes.get(name)
            if handle is not None and handle.op in HANDLES and number in objects.variables:
                yield name, number


def _scopes_with(program: Program, expansion: Expansion, ops: set[str]) -> Iterable[Scope]:
    """The graph, and every function called from it, directly or not, that has one of these operations."""
    functions = program.graph.functions
    interesting = {name for name, function in functions.items() if any(node.op in ops for node in function.nodes)}
    callers: dict[str, set[str]] = {}
    for function in functions.values():
        for name in _called(program, function):
            callers.setdefault(name, set()).add(function.name)
    open_names = list(interesting)
    while open_names:
        for caller in callers.get(open_names.pop(), ()):
            if caller not in interesting:
                interesting.add(caller)
                open_names.append(caller)
    scopes = [expansion.root]
    while scopes:
        scope = scopes.pop()
        yield scope
        for node in scope.body.nodes.values():
            if program.called_function(node) in interesting and (inner := expansion.enter(scope, node)) is not None:
                scopes.append(inner)


def _called(program: Program, function: Function) -> Iterable[str]:
    names = (program.called_function(node) for node in function.nodes)
    return [name for name in names if name is not None]


def _read_save(expansion: Expansion, scope: Scope, node: Node) -> dict[str, Source]:
    first, has_slices = _SAVES[node.op]
    inputs = data_inputs(node)
    names = _read_strings(expansion, scope, inputs[1:2])
    parts = _read_strings(expansion, scope, inputs[2:3]) if has_slices else []
    parts += [""] * (len(names) - len(parts))
    found: dict[str, Source] = {}
    for name, part, reference in zip(names, parts, inputs[first:], strict=False):
        site = _trace_back(expansion, scope, reference, HANDLES)
        if site is not None:
            found[site[0].name] = Source(name, _parse_part(part))
    return found


def _read_assign(expansion: Expansion, scope: Scope, node: Node) -> dict[str, Source]:
    inputs = data_inputs(node)
    if len(inputs) < 2:
        return {}
    variable = _trace_back(expansion, scope, inputs[0], HANDLES)
    restore = _trace_back(expansion, scope, inputs[1], _RESTORES)
    if variable is None or restore is None:
        return {}
    site, output = restore
    names = _read_strings(expansion, site.scope, site.node.inputs[1:2])
    parts = _read_strings(expansion, site.scope, site.node.inputs[2:3])
    if output >= len(names):
        return {}
    part = parts[output] if output < len(parts) else ""
    return {variable[0].name: Source(names[output], _parse_part(part))}


def _trace_back(expansion: Expansion, scope: Scope, reference: str, ops: set[str]) -> tuple[Site, int] | None:
    """The node of one of these operations whose output a reference hands on, and which output; None if none does."""
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
    """The strings of a constant; none if the reference leads to something else."""
    for reference in references:
        end = _trace_back(expansion, scope, reference, {"Const"})
        value = end[0].node.attributes.get("value") if end is not None else None
        if isinstance(value, np.ndarray) and value.dtype == object:
            return [item.decode("utf-8", "surrogateescape") for item in value.ravel().tolist()]
    return []


def _parse_part(specification: str) -> tuple[slice, ...] | None:
    """Which part of the full tensor: `full shape`, a blank, and for each axis `-` or `start,length`, joined by `:`."""
    extents = specification.rpartition(" ")[2]
    if not extents:
        return None
    part = []
    for extent in extents.split(":"):
        start, _, length = extent.partition(",")
        try:
            part.append(slice(None) if extent == "-" else slice(int(start), int(start) + int(length)))
        except ValueError:
            raise GraphError(f"not a part of a variable: {specification!r}") from None
    return tuple(part)


class VariableStore:
    """The values of a graph's variables, read from the checkpoint when they are first needed."""

    def __init__(self, sources: Callable[[], Mapping[str, Source]], checkpoint: Checkpoint | None) -> None:
        """`sources` gives what the graph itself says, when it is first needed."""
        self._sources = sources
        self._checkpoint = checkpoint

    def source(self, name: str, node: Node, weights: Weights) -> Source:
        """Where a variable's value stands, whether or not the checkpoint has it."""
        found = self._sources().get(name)
        if found is None:
            shared = node.attributes.get("shared_name")
            names = [shared.decode("utf-8", "replace")] if isinstance(shared, bytes) and shared else []
            candidates = [*names, name]
            known = self._checkpoint if self._checkpoint is not None else ()
            by_name = [other for other in candidates if other in known]
            found = Source((by_name or candidates)[0])
        return found if self._checkpoint is None else found.with_weights(weights, self._checkpoint)

    def read(self, variables: Mapping[str, Node], weights: Weights) -> dict[str, Array]:
        """The values of variables; one `GraphError` lists all that the checkpoint lacks or has in another shape."""
        if not variables:
            return {}
        if self._checkpoint is None:
            raise GraphError(f"the graph has variables, such as {min(variables)}, and there is no checkpoint with it")
        sources = {name: self.source(name, node, weights) for name, node in variables.items()}
        problems = [
            problem for name, source in sources.items() if (problem := self._problem(name, variables[name], source))
        ]
        if problems:
            count = f"{len(problems)} of {len(sources)} variables"
            raise GraphError(
                "\n".join([f"the graph and the checkpoint {self._checkpoint.prefix} do not fit: {count}", *problems])
            )
        if weights == "averages" and not any(source.name.endswith(AVERAGE_SUFFIX) for source in sources.values()):
            raise GraphError(f"the checkpoint {self._checkpoint.prefix} has no moving averages of these variables")
        return {name: self._value(source) for name, source in sources.items()}

    def _problem(self, name: str, node: Node, source: Source) -> str | None:
        assert self._checkpoint is not None, "asked only where there is a checkpoint"
        label = f"  {printable(name)}: {printable(source.name)}"
        if source.name not in self._checkpoint:
            hint = say_close_names(find_close_names(source.name, self._checkpoint))
            return f"{label} is not in the checkpoint{hint}"
        info = self._checkpoint.info(source.name)
        shape = info.shape
        if source.part is not None:
            if len(source.part) != len(shape):
                return f"{label} is a part of {len(source.part)} axes, and the checkpoint has {list(shape)}"
            shape = tuple(len(range(*extent.indices(size))) for extent, size in zip(source.part, shape, strict=True))
        wanted: Any = node.attributes.get("shape")
        if isinstance(wanted, tuple) and not _is_compatible(shape, wanted):
            return f"{label} has shape {list(shape)}, and the graph's variable {list(wanted)}"
        return None

    def _value(self, source: Source) -> Array:
        assert self._checkpoint is not None, "asked only where there is a checkpoint"
        value = self._checkpoint[source.name]
        return value if source.part is None else value[source.part]


def _is_compatible(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, size) for size, want in zip(shape, wanted, strict=True))
