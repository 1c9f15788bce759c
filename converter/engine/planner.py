"""Planning: the list of operations that are needed to compute some fetches.

There are three passes over the nodes that the fetches depend on. The first puts every node after its inputs.
The second marks the branches that a Switch with a known predicate does not take.
The third finds the nodes that are still needed without the dead inputs of each Merge.
Each pass is a loop, so that the depth of a graph is not limited by Python's stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from converter.errors import GraphError, GraphLimitError
from tfckpt.graphs.graph import Node

from .bodies import IFS, MERGES, SWITCHES, Body, Program, data_inputs
from .limits import ReferenceLimits
from .registry import is_supported
from .scopes import Argument, End, Expansion, Feed, Site, TensorKey
from .writes import FunctionWrites, find_earlier_write

_WHILES = {"While", "StatelessWhile"}
_CASES = {"Case", "StatelessCase"}


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One operation to run: its expanded name, its node, the slots it reads and fills, and those to release after it.

    Inputs are pairs of a slot and an output index. `branches` are the plans of the functions that it may run, in the
    order of its attributes.
    """

    name: str
    node: Node
    slot: int
    inputs: tuple[tuple[int, int], ...]
    #: Outputs of Switch nodes; if one of them is dead, this operation is dead too.
    pivots: tuple[tuple[int, int], ...]
    release: tuple[int, ...]
    branches: tuple[Plan, ...]
    #: The key of a constant: the names of its body and its node.
    constant: tuple[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The steps that compute some fetches; a slot holds the outputs of one step, or one argument or feed."""

    steps: tuple[Step, ...]
    slots: int
    arguments: Mapping[int, int]
    feeds: Mapping[TensorKey, int]
    fetches: tuple[tuple[int, int], ...]
    #: Whether a Switch is decided only at run time, so that values may be dead.
    may_be_dead: bool

    def read_arguments(self) -> set[int]:
        """Return the positions of the arguments that its steps use."""
        used = {slot for step in self.steps for slot, _ in step.inputs}
        return {position for position, slot in self.arguments.items() if slot in used}

    def all_plans(self) -> list[Plan]:
        """Return this plan and those of its branches and loops."""
        plans: list[Plan] = []
        pending, seen = [self], set()
        while pending:
            plan = pending.pop()
            if id(plan) not in seen:
                seen.add(id(plan))
                plans.append(plan)
                pending += [branch for step in plan.steps for branch in step.branches]
        return plans

    def all_steps(self) -> list[Step]:
        """Return every step, including those of branches and loops."""
        return [step for plan in self.all_plans() for step in plan.steps]


class Planner:
    """The maker of plans for one program; a function that an If, Case or While runs is planned once.

    What must not run is only noted, in `unsupported` and `changed`, so that a plan can also be shown.
    """

    def __init__(self, program: Program, limits: ReferenceLimits) -> None:
        self._program = program
        self._limits = limits
        self._branches: dict[str, Plan] = {}
        self._open: list[str] = []
        self._writes = FunctionWrites(program.graph.functions)
        self.unsupported: dict[str, str] = {}
        #: The first read of a variable after a control dependency that would change it.
        self.changed: GraphError | None = None

    def plan(self, fetches: Sequence[str], feeds: Mapping[str, bool | None]) -> Plan:
        """Return the plan for tensors of the graph."""
        expansion = Expansion(self._program, self._program.main, {}, self._limits)
        keys = {expansion.locate(name)[0]: value for name, value in feeds.items()}
        expansion = Expansion(self._program, self._program.main, keys, self._limits)
        ends = []
        for name in fetches:
            scope, reference = expansion.find(name)
            ends.append(expansion.follow(scope, reference))
        return _Planning(self, expansion, ends, "").build()

    def branch(self, name: str, caller: Node) -> Plan:
        """Return the plan of a whole function, for an If, Case or While."""
        if name in self._branches:
            return self._branches[name]
        if name in self._open:
            raise GraphError(f"the function {name} calls itself without end", node=caller.name, op=caller.op)
        if len(self._open) >= self._limits.max_branch_depth:
            raise GraphLimitError(
                f"branches and loops are nested too deeply at {name}",
                limit="max_branch_depth",
                maximum=self._limits.max_branch_depth,
                claimed=len(self._open) + 1,
            )
        self._open.append(name)
        body: Body = self._program.function(name, caller=caller)
        expansion = Expansion(self._program, body, {}, self._limits)
        ends = [expansion.follow(expansion.root, reference) for reference in body.returns]
        plan = _Planning(self, expansion, ends, f"{name}/").build()
        self._open.pop()
        self._branches[name] = plan
        return plan

    def check_writes(self, sites: Sequence[Site], expansion: Expansion) -> None:
        """Note the first site that reads a variable after a control dependency changes it."""
        if self.changed is None:
            self.changed = find_earlier_write(sites, expansion, self._writes, self._limits.max_operations)

    def check_loop(self, node: Node, name: str, branches: Sequence[Plan]) -> None:
        """Note a loop whose body changes a variable that the loop reads."""
        changed = set().union(*(self._writes.positions(function) for function in _branch_functions(node)))
        if self.changed is None and any(changed & plan.read_arguments() for plan in branches):
            self.changed = GraphError(
                "the loop reads a variable and changes it, which is not supported", node=name, op=node.op
            )

    @property
    def limits(self) -> ReferenceLimits:
        """The limits that every plan must keep."""
        return self._limits


class _Planning:
    """One plan under construction."""

    def __init__(self, planner: Planner, expansion: Expansion, ends: Sequence[End], prefix: str) -> None:
        self._planner = planner
        self._expansion = expansion
        self._ends = ends
        self._prefix = prefix
        self._sites: dict[tuple[int, str], Site] = {}
        self._inputs: dict[tuple[int, str], list[End]] = {}
        self._pivots: dict[tuple[int, str], list[End]] = {}
        self._order: list[tuple[int, str]] = []
        self._dead: set[tuple[tuple[int, str], int]] = set()
        self._all_dead: set[tuple[int, str]] = set()
        self._cycle: list[str] = []

    def build(self) -> Plan:
        """Return the finished plan."""
        self._sort()
        for key in self._order:
            self._mark_dead(key)
        needed = self._find_needed()
        unsupported = [self._sites[key] for key in self._order if key in needed and not self._is_supported(key)]
        self._planner.unsupported |= {self._prefix + site.name: site.node.op for site in unsupported}
        if self._cycle and not unsupported:
            raise GraphError(f"the graph has a cycle: {' -> '.join(self._cycle)}")
        self._planner.check_writes([self._sites[key] for key in self._order if key in needed], self._expansion)
        return self._assemble(needed)

    def _is_supported(self, key: tuple[int, str]) -> bool:
        return is_supported(self._sites[key].node.op)

    def _sort(self) -> None:
        """Collect every site that the fetches depend on, each after its inputs."""
        state: dict[tuple[int, str], bool] = {}  # False while its inputs are being visited
        stack = [end[0] for end in reversed(self._ends) if isinstance(end, tuple)]
        limit = self._planner.limits.max_operations
        while stack:
            site = stack[-1]
            key = site.key
            if key in state:
                stack.pop()
                if not state[key]:
                    state[key] = True
                    self._order.append(key)
                continue
            state[key] = False
            self._sites[key] = site
            if len(state) + self._expansion.count > limit:
                raise self._expansion.too_many()
            for end in reversed(self._visit(site)):
                if isinstance(end, tuple):
                    if state.get(end[0].key) is False:
                        self._note_cycle(stack, state, end[0])
                    elif end[0].key not in state:
                        stack.append(end[0])

    def _note_cycle(self, stack: list[Site], state: Mapping[tuple[int, str], bool], start: Site) -> None:
        """Remember the names of the first cycle.

        Loops of TensorFlow 1 (Enter, NextIteration, Exit) are cycles too, but are reported as unsupported operations.
        """
        if not self._cycle:
            path = [site for site in stack if state.get(site.key) is False]
            names = [site.name for site in path[[site.key for site in path].index(start.key) :]]
            self._cycle = [*reversed(names), names[-1]]

    def _visit(self, site: Site) -> list[End]:
        inputs = [self._expansion.follow(site.scope, name) for name in data_inputs(site.node)]
        pivots: list[End] = list(self._expansion.pivots(site))
        self._inputs[site.key] = inputs
        self._pivots[site.key] = pivots
        return inputs + pivots

    def _is_dead(self, end: End) -> bool:
        return isinstance(end, tuple) and (end[0].key in self._all_dead or (end[0].key, end[1]) in self._dead)

    def _mark_dead(self, key: tuple[int, str]) -> None:
        site, inputs = self._sites[key], self._inputs[key]
        dead = [self._is_dead(end) for end in inputs]
        is_merge = site.node.op in MERGES
        if (all(dead) if is_merge and dead else any(dead)) or any(self._is_dead(end) for end in self._pivots[key]):
            self._all_dead.add(key)
        elif site.node.op in SWITCHES and len(site.node.inputs) > 1:
            decision = self._expansion.decide(site.scope, site.node.inputs[1])
            if decision is not None:
                self._dead.add((key, 0 if decision else 1))

    def _find_needed(self) -> set[tuple[int, str]]:
        for end in self._ends:
            if self._is_dead(end) and isinstance(end, tuple):
                raise GraphError("is on a branch that is not taken", node=end[0].name, op=end[0].node.op)
        stack = [end[0].key for end in self._ends if isinstance(end, tuple)]
        needed: set[tuple[int, str]] = set()
        while stack:
            key = stack.pop()
            if key not in needed:
                needed.add(key)
                ends = [*self._live_inputs(key), *self._pivots[key]]
                stack += [end[0].key for end in ends if isinstance(end, tuple)]
        return needed

    def _live_inputs(self, key: tuple[int, str]) -> list[End]:
        inputs = self._inputs[key]
        if self._sites[key].node.op not in MERGES:
            return inputs
        return [end for end in inputs if not self._is_dead(end)]

    def _assemble(self, needed: set[tuple[int, str]]) -> Plan:
        order = [key for key in self._order if key in needed]
        slots = {key: position for position, key in enumerate(order)}
        arguments: dict[int, int] = {}
        feeds: dict[TensorKey, int] = {}

        def locate(end: End) -> tuple[int, int]:
            if isinstance(end, Argument):
                return arguments.setdefault(end.position, len(slots) + len(arguments) + len(feeds)), 0
            if isinstance(end, Feed):
                return feeds.setdefault(end.key, len(slots) + len(arguments) + len(feeds)), 0
            return slots[end[0].key], end[1]

        inputs = {key: tuple(locate(end) for end in self._live_inputs(key)) for key in order}
        pivots = {key: tuple(locate(end) for end in self._pivots[key]) for key in order}
        fetches = tuple(locate(end) for end in self._ends)
        kept = {slot for slot, _ in fetches}
        last: dict[int, tuple[int, str]] = {}
        for key in order:
            last |= {slot: key for slot, _ in (*inputs[key], *pivots[key])}
            last.setdefault(slots[key], key)  # its outputs are never read
        release: dict[tuple[int, str], list[int]] = {}
        for slot, key in last.items():
            if slot not in kept:
                release.setdefault(key, []).append(slot)
        steps = []
        may_be_dead = False
        for key in order:
            site = self._sites[key]
            may_be_dead |= site.node.op in SWITCHES
            branches = tuple(self._planner.branch(name, site.node) for name in _branch_functions(site.node))
            if site.node.op in _WHILES:
                self._planner.check_loop(site.node, self._prefix + site.name, branches)
            steps.append(
                Step(
                    name=self._prefix + site.name,
                    node=site.node,
                    slot=slots[key],
                    inputs=inputs[key],
                    pivots=pivots[key],
                    release=tuple(release.get(key, ())),
                    branches=branches,
                    constant=(site.scope.body.name, site.node.name),
                )
            )
        return Plan(tuple(steps), len(slots) + len(arguments) + len(feeds), arguments, feeds, fetches, may_be_dead)


def _branch_functions(node: Node) -> list[str]:
    """Return the functions among which a node chooses at run time."""
    if node.op in IFS:
        return [str(node.attributes.get(name)) for name in ("then_branch", "else_branch")]
    if node.op in _WHILES:
        return [str(node.attributes.get(name)) for name in ("cond", "body")]
    branches = node.attributes.get("branches") if node.op in _CASES else ()
    return [str(name) for name in branches] if isinstance(branches, tuple) else []
