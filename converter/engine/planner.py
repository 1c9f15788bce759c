"""Planning: the list of operations that are needed to compute some fetches.

There are three passes over the nodes that the fetches depend on. The first puts every node after its inputs.
The second marks the branches that a Switch with a known predicate does not take.
The third finds the nodes that are still needed without the dead inputs of each Merge.
If variables are changed, these changes are added, and everything is put in TensorFlow's order.
Each pass is a loop, so that the depth of a graph is not limited by Python's stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from converter.errors import GraphError, GraphLimitError, TensorNameError
from tfckpt.graphs.graph import Node

from .bodies import IFS, MERGES, SWITCHES, Body, Program, data_inputs
from .limits import ReferenceLimits
from .registry import is_supported
from .scopes import Argument, End, Expansion, Feed, Site, TensorKey
from .writes import ASSIGNS, FunctionWrites, Order

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
    #: The variables that its own steps change: names of nodes, and positions of arguments.
    written: frozenset[str | int] = frozenset()
    #: Arguments that TensorFlow would change in a way that cannot be run, and that nothing reads afterwards.
    skipped: frozenset[int] = frozenset()
    #: Changes of variables that are left out, as names with operations, in this plan and its branches and loops.
    left_out: tuple[str, ...] = ()

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

    @property
    def written_variables(self) -> frozenset[str]:
        """The names of the variables that it or one of its branches and loops changes."""
        return frozenset(name for plan in self.all_plans() for name in plan.written if isinstance(name, str))

    def all_steps(self) -> list[Step]:
        """Return every step, including those of branches and loops."""
        return [step for plan in self.all_plans() for step in plan.steps]


class Planner:
    """The maker of plans for one program; a function that an If, Case or While runs is planned once.

    What must not run is only noted, in `unsupported` and `changed`, so that a plan can also be shown. With
    `keeps_state`, all changes of variables are run, else only those that a fetch depends on.
    """

    def __init__(self, program: Program, limits: ReferenceLimits, *, keeps_state: bool = False) -> None:
        self._program = program
        self._limits = limits
        self._branches: dict[str, Plan] = {}
        self._open: list[str] = []
        self.writes = FunctionWrites(program.graph.functions)
        self.keeps_state = keeps_state
        #: Whether functions that change variables are run as a whole: not if a tensor in one is fed or fetched.
        self.runs_writes = True
        self.unsupported: dict[str, str] = {}
        #: Changes of variables that are left out: nothing reads them, and they cannot be run.
        self.skipped: dict[str, str] = {}
        #: The first read of a variable that is changed in a way that cannot be run.
        self.changed: GraphError | None = None

    def plan(self, fetches: Sequence[str], feeds: Mapping[str, bool | None]) -> Plan:
        """Return the plan for tensors of the graph."""
        try:
            return self._plan(fetches, feeds)
        except TensorNameError:
            if not self.runs_writes:
                raise
        self.runs_writes = False
        return self._plan(fetches, feeds)

    def _plan(self, fetches: Sequence[str], feeds: Mapping[str, bool | None]) -> Plan:
        expansion = self._expand(self._program.main, {})
        keys = {expansion.locate(name)[0]: value for name, value in feeds.items()}
        expansion = self._expand(self._program.main, keys)
        ends = []
        for name in fetches:
            scope, reference = expansion.find(name)
            ends.append(expansion.follow(scope, reference))
        plan = _Planning(self, expansion, ends, "").build()
        return dataclasses.replace(plan, left_out=tuple(f"{name} ({op})" for name, op in self.skipped.items()))

    def _expand(self, body: Body, feeds: Mapping[TensorKey, bool | None]) -> Expansion:
        def is_whole(name: str) -> bool:
            return self.runs_writes and self.writes.has_effects(name)

        return Expansion(self._program, body, feeds, self._limits, is_whole)

    def branch(self, name: str, caller: Node) -> Plan:
        """Return the plan of a whole function, for an If, Case or While, or for a call that changes variables."""
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
        expansion = self._expand(body, {})
        ends = [expansion.follow(expansion.root, reference) for reference in body.returns]
        plan = _Planning(self, expansion, ends, f"{name}/").build()
        self._open.pop()
        self._branches[name] = plan
        return plan

    def branches(self, node: Node) -> tuple[Plan, ...]:
        """Return the plans of the functions that a node runs, or among which it chooses at run time."""
        called = self._program.called_function(node)
        names = _branch_functions(node) if called is None else [called]
        return tuple(self.branch(name, node) for name in names)

    def can_run(self, node: Node) -> bool:
        """Return whether an operation is supported."""
        return is_supported(node.op) or self._program.called_function(node) is not None

    def note_change(self, message: str, site: Site, name: str) -> None:
        """Note why the order of changes cannot be followed; only the first reason is kept."""
        if self.changed is None:
            self.changed = GraphError(message, node=name, op=site.node.op)

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
        self._state: dict[tuple[int, str], bool] = {}  # False while its inputs are being visited
        self._written: set[str | int] = set()
        self._skipped: set[int] = set()

    def build(self) -> Plan:
        """Return the finished plan."""
        ends = [end[0] for end in self._ends if isinstance(end, tuple)]
        self._sort(ends)
        for end in self._ends:
            if self._is_dead(end) and isinstance(end, tuple):
                raise GraphError("is on a branch that is not taken", node=end[0].name, op=end[0].node.op)
        needed = self._add_changes(self._find_needed(ends), ends)
        unsupported = [self._sites[key] for key in self._order if key in needed and not self._is_supported(key)]
        self._planner.unsupported |= {self._prefix + site.name: site.node.op for site in unsupported}
        if self._cycle and not unsupported:
            raise GraphError(f"the graph has a cycle: {' -> '.join(self._cycle)}")
        return self._assemble(needed)

    def _is_supported(self, key: tuple[int, str]) -> bool:
        return self._planner.can_run(self._sites[key].node)

    def _sort(self, ends: Sequence[Site]) -> None:
        """Collect every site that these depend on, each after its inputs, and mark those that are dead."""
        state = self._state
        stack = list(reversed(ends))
        first = len(self._order)
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
        for key in self._order[first:]:
            self._mark_dead(key)

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

    def _find_needed(self, ends: Sequence[Site]) -> set[tuple[int, str]]:
        stack = [end.key for end in ends]
        needed: set[tuple[int, str]] = set()
        while stack:
            key = stack.pop()
            if key not in needed:
                needed.add(key)
                inputs = [*self._live_inputs(key), *self._pivots[key]]
                stack += [end[0].key for end in inputs if isinstance(end, tuple)]
        return needed

    def _add_changes(self, needed: set[tuple[int, str]], ends: Sequence[Site]) -> set[tuple[int, str]]:
        """Return what is needed with the changes of variables, and put everything in TensorFlow's order."""
        planner = self._planner
        root = self._expansion.root.body
        if planner.runs_writes and not any(map(planner.writes.is_effect, root.nodes.values())):
            return needed  # what is expanded changes nothing
        order = self._find_order(needed, ends)
        candidates = self._find_candidates(order)
        if not candidates:
            return needed
        cones = {site.key: self._find_cone(site) for site in candidates if site.key not in needed}
        runnable = {site.key for site in candidates if self._can_run(site, cones.get(site.key), needed)}
        every = needed.union(*(cone or () for cone in cones.values()))
        order = self._find_order(every, ends)
        forced = self._find_forced(order, needed, cones)
        for key in list(forced):
            op = self._sites[key].node.op
            if not planner.runs_writes or (key not in runnable and op not in ASSIGNS):
                self._refuse(order, key, needed)
                forced.remove(key)
        is_whole = planner.keeps_state or root.is_function
        chosen = forced | (runnable & cones.keys() if is_whole and planner.runs_writes else set())
        for site in candidates:
            if site.key not in chosen | needed:
                planner.skipped[self._prefix + site.name] = site.node.op
                self._skipped |= {at for at in map(order.variable_of, [site] * 64, range(64)) if isinstance(at, int)}
        needed = needed.union(*(cones[key] or () for key in chosen))
        self._check_order(order, needed)
        for site in candidates:
            if site.key in needed:
                self._note_written(order, site)
        self._order = sorted(needed, key=order.position)
        return needed

    def _find_order(self, keys: Collection[tuple[int, str]], ends: Sequence[Site]) -> Order:
        sites = [self._sites[key] for key in self._order if key in keys]
        limit = self._planner.limits.max_operations
        return Order(self._expansion, self._planner.writes, limit, sites, {end.key for end in ends})

    def _find_candidates(self, order: Order) -> list[Site]:
        """Return the operations that change variables when TensorFlow runs the fetches."""
        root = self._expansion.root
        writes = self._planner.writes
        if root.body.is_function:
            return [Site(root, node) for node in root.body.nodes.values() if writes.is_effect(node)]
        return [site for site in order.ancestors() if writes.is_effect(site.node) and not order.is_dead(site)]

    def _find_cone(self, site: Site) -> set[tuple[int, str]] | None:
        """Return what a change needs; None if it cannot be computed."""
        cycle = self._cycle
        self._sort([site])
        found, self._cycle = self._cycle, cycle
        return None if found != cycle or self._is_dead((site, 0)) else self._find_needed([site])

    def _can_run(self, site: Site, cone: set[tuple[int, str]] | None, needed: set[tuple[int, str]]) -> bool:
        """Return whether a change can be computed from supported operations and the inputs that are fed."""
        if cone is None or (site.node.op not in ASSIGNS and not self._planner.can_run(site.node)):
            return False
        is_fed = all(self._sites[key].node.op != "Placeholder" for key in cone - needed)
        return is_fed and all(map(self._is_supported, cone))

    def _find_forced(
        self, order: Order, needed: set[tuple[int, str]], cones: Mapping[tuple[int, str], set[tuple[int, str]] | None]
    ) -> set[tuple[int, str]]:
        """Return the changes that come before a read that is needed, and so on for what they need."""
        forced: set[tuple[int, str]] = set()
        current = set(needed)
        writes = [access for access in order.accesses if access.is_write and access.site.key in cones]
        while True:
            new = {
                write.site.key
                for write in writes
                if write.site.key not in forced
                for access in order.accesses
                if access.variable == write.variable and access.site.key in current and order.is_before(write, access)
            }
            if not new:
                return forced
            forced |= new
            current = current.union(*(cones[key] or () for key in new))

    def _refuse(self, order: Order, key: tuple[int, str], needed: set[tuple[int, str]]) -> None:
        """Note that a change cannot be run, and that something reads the variable afterwards."""
        for write in order.accesses:
            for access in order.accesses:
                if (
                    write.site.key == key
                    and access.variable == write.variable
                    and access.site.key in needed
                    and order.is_before(write, access)
                ):
                    self._planner.note_change(
                        f"reads a variable after {write.site.name} ({write.site.node.op}) changes it, which is not "
                        "supported: feed this tensor, or fetch one that does not depend on the change",
                        access.site,
                        self._prefix + access.site.name,
                    )

    def _check_order(self, order: Order, needed: set[tuple[int, str]]) -> None:
        """Note changes whose order is left to chance, or that cannot be followed."""
        accesses = [access for access in order.accesses if access.site.key in needed]
        for write in accesses:
            for access in accesses if write.is_write else ():
                if access.variable != write.variable or access.site.key == write.site.key:
                    continue
                if not order.is_before(write, access) and not order.is_before(access, write):
                    self._planner.note_change(
                        f"uses a variable that {write.site.name} ({write.site.node.op}) changes, and the graph does "
                        "not determine which of the two runs first",
                        access.site,
                        self._prefix + access.site.name,
                    )
        changed = {access.variable for access in accesses if access.is_write}
        for site in [self._sites[key] for key in self._order if key in needed]:
            if order.shares_memory(site) in changed:
                message = "shares the memory of a variable that changes, which is not supported"
                self._planner.note_change(message, site, self._prefix + site.name)

    def _note_written(self, order: Order, site: Site) -> None:
        """Note the variables that a step changes, and those that it leaves out although they are read afterwards."""
        first = 1 if site.node.op in IFS | _CASES else 0
        plans = self._planner.branches(site.node)
        written = {at for plan in plans for at in plan.written if isinstance(at, int)} if plans else {0}
        skipped = {at for plan in plans for at in plan.skipped}
        for position in written:
            variable = order.variable_of(site, (first if plans else 0) + position)
            if variable is not None:
                self._written.add(variable if isinstance(variable, int) else self._prefix + order.name_of(variable))
        for position in skipped:
            variable = order.variable_of(site, first + position)
            if isinstance(variable, int):
                self._skipped.add(variable)
            writes = [access for access in order.accesses if access.site.key == site.key]
            for access in order.accesses:
                if access.variable == variable and any(order.is_before(write, access) for write in writes):
                    self._planner.note_change(
                        f"reads a variable after {site.name} ({site.node.op}) changes it, which is not supported",
                        access.site,
                        self._prefix + access.site.name,
                    )
        if site.node.op in _WHILES and any(skipped & plan.read_arguments() for plan in plans):
            message = "the loop reads a variable and changes it, which is not supported"
            self._planner.note_change(message, site, self._prefix + site.name)

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
            steps.append(
                Step(
                    name=self._prefix + site.name,
                    node=site.node,
                    slot=slots[key],
                    inputs=inputs[key],
                    pivots=pivots[key],
                    release=tuple(release.get(key, ())),
                    branches=self._planner.branches(site.node),
                    constant=(site.scope.body.name, site.node.name),
                )
            )
        return Plan(
            tuple(steps),
            len(slots) + len(arguments) + len(feeds),
            arguments,
            feeds,
            fetches,
            may_be_dead,
            frozenset(self._written),
            frozenset(self._skipped),
        )


def _branch_functions(node: Node) -> list[str]:
    """Return the functions among which a node chooses at run time."""
    if node.op in IFS:
        return [str(node.attributes.get(name)) for name in ("then_branch", "else_branch")]
    if node.op in _WHILES:
        return [str(node.attributes.get(name)) for name in ("cond", "body")]
    branches = node.attributes.get("branches") if node.op in _CASES else ()
    return [str(name) for name in branches] if isinstance(branches, tuple) else []
