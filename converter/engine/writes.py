"""Changes of variables that come before a read.

The engine runs what the fetches need and never changes a variable. A TensorFlow session also runs control dependencies.
If one of them writes a variable that is read afterwards, the engine would compute something else, so the plan is
refused. A write after the read, such as a training step that the loss waits for, changes nothing and is left out.

A tensor that comes from a variable of TensorFlow 1 may share its memory, so every operation on it counts as a read.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from converter.errors import GraphError
from tfckpt.graphs.graph import Function, Node

from .bodies import CALLS, IFS, MAX_LINKS, MERGES, SWITCHES, data_inputs
from .scopes import Expansion, Scope, Site
from .variables import HANDLES

_WRITES = re.compile(
    r"(Resource)?(Assign(Add|Sub)?(VariableOp)?|Scatter(Nd)?(Add|Div|Max|Min|Mul|Sub|Update)|(Sparse)?Apply\w+"
    r"|StridedSliceAssign|CountUpTo)"
)
#: Operations that pass a variable, or its memory, through from their first input.
_ALIASES = {"Enter", "ExpandDims", "Identity", "Reshape", "Snapshot", "Squeeze", "StopGradient", *SWITCHES}
_ALIASES |= {"RefEnter", "RefIdentity"}
#: Operations on a variable that do not read its value.
_NOT_READS = {"IsVariableInitialized", "Rank", "Shape", "Size", "VarIsInitializedOp", "VariableShape"}
#: The attributes that name the functions of a node, and the number of inputs before the arguments.
_FUNCTIONS = {
    **dict.fromkeys(CALLS, (("f",), 0)),
    **dict.fromkeys(IFS, (("then_branch", "else_branch"), 1)),
    **dict.fromkeys(("While", "StatelessWhile"), (("cond", "body"), 0)),
    **dict.fromkeys(("Case", "StatelessCase"), (("branches",), 1)),
}

#: Stands for the begin of a call: what runs before the call runs before everything in the function.
_BEGIN = Node("^begin", "NoOp", (), {})

_Key: TypeAlias = tuple[int, str]
#: A variable: the key of its node, or the position of an argument of the outermost body.
_Variable: TypeAlias = "_Key | int"


class FunctionWrites:
    """The arguments that each function of a library writes, as variables."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._positions: dict[str, set[int]] = {}

    def written_inputs(self, node: Node) -> list[str]:
        """Return the references to the variables that an operation, or a function it calls, writes."""
        inputs = data_inputs(node)
        if _WRITES.fullmatch(node.op):
            return list(inputs if "Apply" in node.op else inputs[:1])
        names, first = self._called(node)
        positions = sorted(set().union(*map(self.positions, names)))
        return [inputs[first + position] for position in positions if first + position < len(inputs)]

    def positions(self, name: str) -> set[int]:
        """Return the positions of the arguments that a function writes."""
        if name not in self._positions:
            self._positions[name] = set()  # of a function that calls itself
            function = self._functions.get(name)
            if function is not None:
                self._positions[name] = self._find_positions(function)
        return self._positions[name]

    def _find_positions(self, function: Function) -> set[int]:
        nodes = {node.name: node for node in function.nodes}
        arguments = {argument.name: position for position, argument in enumerate(function.inputs)}
        positions = set()
        for node in function.nodes:
            for reference in self.written_inputs(node):
                name = reference.partition(":")[0]
                for _ in range(MAX_LINKS):
                    inner = nodes.get(name)
                    if inner is None or not _passes_through(inner):
                        break
                    name = inner.inputs[0].partition(":")[0]
                if name in arguments:
                    positions.add(arguments[name])
        return positions

    def _called(self, node: Node) -> tuple[list[str], int]:
        if node.op in self._functions:
            return [node.op], 0
        attributes, first = _FUNCTIONS.get(node.op, ((), 0))
        names: list[str] = []
        for attribute in attributes:
            value = node.attributes.get(attribute)
            names += map(str, value if isinstance(value, tuple) else (value,))
        return names, first


def _passes_through(node: Node) -> bool:
    return bool(node.inputs) and (node.op in _ALIASES or _WRITES.fullmatch(node.op) is not None)


def find_earlier_write(
    sites: Sequence[Site], expansion: Expansion, functions: FunctionWrites, most: int
) -> GraphError | None:
    """Return an error for a site that reads a variable after a control dependency writes it; None if there is none.

    `sites` are all operations that will run. Raises `GraphLimitError` if they depend on more than `most` others.
    """
    return _Ancestry(expansion, functions, most).check(sites)


@dataclasses.dataclass(slots=True)
class _Past:
    """What runs before a site: the operations directly before it, and the variables written by then, as bits."""

    parents: list[Site]
    #: The variables that the site itself writes.
    own: int
    written: int = 0


class _Ancestry:
    """The operations that run before some sites, followed through data inputs and control dependencies.

    A call is one operation here: its function is not entered.
    """

    def __init__(self, expansion: Expansion, functions: FunctionWrites, most: int) -> None:
        self._expansion = expansion
        self._functions = functions
        self._most = most
        self._bits: dict[_Variable, int] = {}
        self._past: dict[_Key, _Past] = {}
        self._finished: set[_Key] = set()
        self._dead: dict[_Key, set[int] | None] = {}  # dead outputs; None for all of them

    def check(self, sites: Sequence[Site]) -> GraphError | None:
        """Return an error for the first site that reads a variable after it is written."""
        readers = [(site, bits) for site in sites if (bits := self._read_bits(site))]
        for reader, bits in readers:
            self._walk(reader)
            if bits & self._past[reader.key].written and reader.node.op not in _NOT_READS:
                writer = self._find_writer(reader, bits)
                return GraphError(
                    f"reads a variable after {writer.name} ({writer.node.op}) changes it, which is not supported: "
                    "feed this tensor, or fetch one that does not depend on the change",
                    node=reader.name,
                    op=reader.node.op,
                )
        return None

    def _read_bits(self, site: Site) -> int:
        bits = 0
        for reference in data_inputs(site.node):
            variable = self._trace(site.scope, reference)
            if variable is not None:
                bits |= self._bits.setdefault(variable, 1 << len(self._bits))
        return bits

    def _written_bits(self, site: Site) -> int:
        bits = 0
        for reference in self._functions.written_inputs(site.node):
            variable = self._trace(site.scope, reference)
            bits |= 0 if variable is None else self._bits.get(variable, 0)
        return bits

    def _trace(self, scope: Scope, reference: str) -> _Variable | None:
        """Return the variable whose handle or memory a reference leads to."""
        for _ in range(MAX_LINKS):
            end = self._resolve(scope, reference)
            if isinstance(end, int):
                return end
            if end is None:
                return None
            scope, node = end[0].scope, end[0].node
            if node.op in HANDLES:
                return end[0].key
            if not _passes_through(node):
                return None
            reference = node.inputs[0]
        return None

    def _resolve(self, scope: Scope, reference: str) -> tuple[Site, int] | int | None:
        """Return the operation that a reference names, and its output; or the position of an outermost argument."""
        while (position := scope.body.arguments.get(reference)) is not None:
            if scope.caller is None:
                return position
            if position >= len(scope.inputs):
                return None
            scope, reference = scope.caller, scope.inputs[position]
        name, index = scope.body.parse(reference)
        if self._expansion.is_fed((scope.prefix + name, index)):
            return None
        return Site(scope, scope.body.nodes[name]), index

    def _walk(self, start: Site) -> None:
        """Find the past of a site, and of everything before it; each after what it depends on, except in loops."""
        stack = [start]
        while stack:
            site = stack[-1]
            if site.key not in self._past:
                if len(self._past) >= self._most:
                    raise self._expansion.too_many()
                self._past[site.key] = _Past(list(self._parents(site)), self._written_bits(site))
                stack += [parent for parent in self._past[site.key].parents if parent.key not in self._past]
                continue
            stack.pop()
            if site.key not in self._finished:
                self._finished.add(site.key)
                self._finish(site)

    def _parents(self, site: Site) -> Iterator[Site]:
        scope = site.scope
        if site.node is not _BEGIN:
            for reference in data_inputs(site.node):
                end = self._resolve(scope, reference)
                if isinstance(end, tuple):
                    yield end[0]
            yield from _control_inputs(scope, site.node)
            if scope.caller is not None:
                yield Site(scope, _BEGIN)
        elif scope.caller is not None:
            name = scope.prefix.removeprefix(scope.caller.prefix).removesuffix("/")
            yield from _control_inputs(scope.caller, scope.caller.body.nodes[name])
            if scope.caller.caller is not None:
                yield Site(scope.caller, _BEGIN)

    def _finish(self, site: Site) -> None:
        past = self._past[site.key]
        if self._mark_dead(site):
            return
        for parent in past.parents:
            if self._dead.get(parent.key, ()) is not None:
                past.written |= self._past[parent.key].written | self._past[parent.key].own

    def _mark_dead(self, site: Site) -> bool:
        """Return whether an operation is on a branch that is known not to be taken."""
        ends = [self._resolve(site.scope, reference) for reference in data_inputs(site.node)]
        dead = [isinstance(end, tuple) and self._is_dead(end) for end in ends]
        pivots = any(self._is_dead(end) for end in self._expansion.pivots(site))
        if pivots or (all(dead) if site.node.op in MERGES and dead else any(dead)):
            self._dead[site.key] = None
            return True
        if site.node.op in SWITCHES and len(site.node.inputs) > 1:
            decision = self._expansion.decide(site.scope, site.node.inputs[1])
            if decision is not None:
                self._dead[site.key] = {0 if decision else 1}
        return False

    def _is_dead(self, end: tuple[Site, int]) -> bool:
        outputs = self._dead.get(end[0].key, set())
        return outputs is None or end[1] in outputs

    def _find_writer(self, reader: Site, bits: int) -> Site:
        pending, seen = [reader], {reader.key}
        while pending:
            for parent in self._past[pending.pop().key].parents:
                if self._dead.get(parent.key, ()) is None:
                    continue
                if self._past[parent.key].own & bits:
                    return parent
                if parent.key not in seen:
                    seen.add(parent.key)
                    pending.append(parent)
        return reader


def _control_inputs(scope: Scope, node: Node) -> Iterator[Site]:
    for name in node.inputs:
        if name.startswith("^"):
            # In a function's body an argument can be one, too.
            target = scope.body.nodes.get(name[1:].partition(":")[0])
            if target is not None:
                yield Site(scope, target)
