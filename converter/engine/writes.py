"""Which operations change variables, and in which order variables are changed and read.

TensorFlow runs what the fetches need and all control dependencies of it. Between two operations on one variable, of
which one changes it, data and control dependencies have to determine the order; otherwise the result is left to chance,
and the plan is refused. In a function of TensorFlow 2 they always do.

A tensor that comes from a variable of TensorFlow 1 shares its memory, so every operation on it counts as a read.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from tfckpt.graphs.graph import Function, Node

from .bodies import CALLS, IFS, MAX_LINKS, MERGES, SWITCHES, data_inputs
from .scopes import Expansion, Scope, Site
from .variables import HANDLES

_WRITES = re.compile(
    r"(Resource)?(Assign(Add|Sub)?(VariableOp)?|Scatter(Nd)?(Add|Div|Max|Min|Mul|Sub|Update)|(Sparse)?Apply\w+"
    r"|StridedSliceAssign|CountUpTo)"
)
#: The writes that can be run: the value is assigned, added or subtracted.
ASSIGNS = {
    "Assign": "=",
    "AssignAdd": "+",
    "AssignSub": "-",
    "AssignVariableOp": "=",
    "AssignAddVariableOp": "+",
    "AssignSubVariableOp": "-",
}
#: Operations that pass a variable itself on, so that only what uses their output reads it.
REFERENCES = {"Identity", "RefIdentity", *SWITCHES, *MERGES}
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

Key: TypeAlias = tuple[int, str]
#: A variable: the key of its node, or the position of an argument of the outermost body.
Variable: TypeAlias = "Key | int"


class FunctionWrites:
    """The arguments that each function of a library writes, as variables."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._positions: dict[str, set[int]] = {}
        self._effects: dict[str, bool] = {}

    def written_inputs(self, node: Node) -> list[str]:
        """Return the references to the variables that an operation, or a function it calls, writes."""
        inputs = data_inputs(node)
        if _WRITES.fullmatch(node.op):
            return list(inputs if "Apply" in node.op else inputs[:1])
        names, first = self._called(node)
        positions = sorted(set().union(*map(self.positions, names)))
        return [inputs[first + position] for position in positions if first + position < len(inputs)]

    def has_effects(self, name: str) -> bool:
        """Return whether a function, or one that it calls, writes a variable."""
        if name not in self._effects:
            self._effects[name] = self._find_effects(name)
        return self._effects[name]

    def _find_effects(self, name: str) -> bool:
        pending, seen = [name], {name}
        while pending:
            function = self._functions.get(pending.pop())
            for node in () if function is None else function.nodes:
                if _WRITES.fullmatch(node.op):
                    return True
                new = set(self._called(node)[0]) - seen
                seen |= new
                pending += new
        return False

    def is_effect(self, node: Node) -> bool:
        """Return whether an operation writes a variable, itself or in a function that it calls."""
        return bool(_WRITES.fullmatch(node.op)) or any(map(self.has_effects, self._called(node)[0]))

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


@dataclasses.dataclass(slots=True)
class _Past:
    """What runs before a site: the operations directly before it, and all accesses to variables by then, as bits."""

    parents: list[Site]
    accesses: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """An operation that reads or writes a variable; `bit` marks it in the `_Past` of later operations."""

    site: Site
    variable: Variable
    is_write: bool
    bit: int


class Order:
    """The order in which some sites run, followed through data inputs and control dependencies.

    `sites` are all operations that will run, and `ends` those whose values are fetched. A call is over when the sites
    in its function have run. Raises `GraphLimitError` if the sites depend on more than `most` others.
    """

    def __init__(
        self, expansion: Expansion, functions: FunctionWrites, most: int, sites: Sequence[Site], ends: Collection[Key]
    ) -> None:
        self._expansion = expansion
        self._functions = functions
        self._most = most
        self._sites: dict[Key, Site] = {}
        self._past: dict[Key, _Past] = {}
        self._finished: dict[Key, int] = {}
        self._dead: dict[Key, set[int] | None] = {}  # dead outputs; None for all of them
        self._inside: dict[Key, list[Site]] = {}
        for site in sites:
            scope = site.scope
            while scope.caller is not None:
                self._inside.setdefault((scope.caller.identity, _call_of(scope)), []).append(site)
                scope = scope.caller
        found = [
            (site, variable, is_write)
            for site in sites
            for variable, is_write in self._find_accesses(site, is_end=site.key in ends)
        ]
        changed = {variable for _, variable, is_write in found if is_write}
        self.accesses: list[Access] = []
        self._bits: dict[Key, int] = {}
        for site, variable, is_write in found:
            if variable in changed:
                bit = self._bits.setdefault(site.key, 1 << len(self._bits))
                self.accesses.append(Access(site, variable, is_write, bit))
        for site in sites:
            self._walk(site)

    def position(self, key: Key) -> int:
        """Return the position of a site among all."""
        return self._finished[key]

    def ancestors(self) -> Iterator[Site]:
        """Yield every operation that runs before one of the sites, and the sites."""
        for identity, name in self._finished:
            if name != _BEGIN.name:
                yield self._sites[identity, name]

    def is_before(self, first: Access, second: Access) -> bool:
        """Return whether one access is certain to come before another."""
        return bool(self._past[second.site.key].accesses & first.bit)

    def _find_accesses(self, site: Site, *, is_end: bool) -> Iterator[tuple[Variable, bool]]:
        """Yield the variables that an operation reads or writes, and whether it writes them."""
        if site.node.op in _NOT_READS:
            return
        written = {self._trace(site.scope, reference) for reference in self._functions.written_inputs(site.node)}
        yield from ((variable, True) for variable in written if variable is not None)
        if site.node.op in REFERENCES and not is_end:
            return
        read = {self._trace(site.scope, reference) for reference in data_inputs(site.node)} - written
        yield from ((variable, False) for variable in read if variable is not None)

    def variable_of(self, site: Site, position: int) -> Variable | None:
        """Return the variable that an input of an operation is, or shares its memory with."""
        inputs = data_inputs(site.node)
        return self._trace(site.scope, inputs[position]) if position < len(inputs) else None

    def shares_memory(self, site: Site) -> Variable | None:
        """Return the variable of TensorFlow 1 whose memory an operation passes on in another shape, or to gradients."""
        if site.node.op not in _ALIASES - REFERENCES - {"Enter", "RefEnter"}:
            return None
        variable = self.variable_of(site, 0)
        if not isinstance(variable, tuple) or variable not in self._sites:
            return None
        return None if self._sites[variable].node.op == "VarHandleOp" else variable

    def name_of(self, variable: Key) -> str:
        """Return the expanded name of a variable's node."""
        return self._sites[variable].name

    def _trace(self, scope: Scope, reference: str) -> Variable | None:
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
                self._sites[site.key] = site
                self._past[site.key] = _Past(list(self._parents(site)))
                stack += [parent for parent in self._past[site.key].parents if parent.key not in self._past]
                continue
            stack.pop()
            if site.key not in self._finished:
                self._finished[site.key] = len(self._finished)
                self._finish(site)

    def _parents(self, site: Site) -> Iterator[Site]:
        scope = site.scope
        if site.node is not _BEGIN:
            yield from self._inside.get(site.key, ())
            for reference in data_inputs(site.node):
                end = self._resolve(scope, reference)
                if isinstance(end, tuple):
                    yield end[0]
            yield from _control_inputs(scope, site.node)
            if scope.caller is not None:
                yield Site(scope, _BEGIN)
        elif scope.caller is not None:
            yield from _control_inputs(scope.caller, scope.caller.body.nodes[_call_of(scope)])
            if scope.caller.caller is not None:
                yield Site(scope.caller, _BEGIN)

    def _finish(self, site: Site) -> None:
        past = self._past[site.key]
        if self._mark_dead(site):
            return
        for parent in past.parents:
            if self._dead.get(parent.key, ()) is not None:
                past.accesses |= self._past[parent.key].accesses | self._bits.get(parent.key, 0)

    def is_dead(self, site: Site) -> bool:
        """Return whether an operation is on a branch that is known not to be taken."""
        return self._dead.get(site.key, ()) is None

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


def _call_of(scope: Scope) -> str:
    """Return the name of the node that calls a function, in the caller's scope."""
    assert scope.caller is not None, "the outermost scope is not called"
    return scope.prefix.removeprefix(scope.caller.prefix).removesuffix("/")


def _control_inputs(scope: Scope, node: Node) -> Iterator[Site]:
    for name in node.inputs:
        if name.startswith("^"):
            # In a function's body an argument can be one, too.
            target = scope.body.nodes.get(name[1:].partition(":")[0])
            if target is not None:
                yield Site(scope, target)
