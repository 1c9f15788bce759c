"""Function calls expanded: where a reference leads, through calls and arguments, without running anything.

A call is replaced by the function's body, whose nodes are named after it: `call/node`.
Bodies are entered only where a reference leads, and every step is a turn of a loop, so that no depth of a graph is a
depth of Python's stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np

from converter.errors import GraphError, GraphLimitError, TensorNameError
from tfckpt.errors import find_close_names
from tfckpt.graphs.graph import Node

from .bodies import IFS, MAX_LINKS, SWITCHES, Body, Program, data_inputs
from .limits import ReferenceLimits

#: A tensor by the expanded name of its node, and which of the outputs.
TensorKey: TypeAlias = tuple[str, int]

#: Operations that hand their first input on, as far as a value known in advance is concerned.
_PASS_THROUGH = {"Identity", "StopGradient", "Snapshot", "PlaceholderWithDefault"}


class Scope:
    """A body in one place: the graph itself, or a function as one node calls it."""

    __slots__ = ("body", "caller", "depth", "identity", "inputs", "prefix")

    def __init__(
        self, identity: int, body: Body, prefix: str = "", *, caller: Scope | None = None, inputs: tuple[str, ...] = ()
    ) -> None:
        self.identity = identity
        self.body = body
        self.prefix = prefix
        self.caller = caller
        self.inputs = inputs
        self.depth: int = 0 if caller is None else caller.depth + 1


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """A node in a scope."""

    scope: Scope
    node: Node

    @property
    def name(self) -> str:
        """The expanded name."""
        return self.scope.prefix + self.node.name

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from all others."""
        return self.scope.identity, self.node.name


@dataclasses.dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the outermost body, which whoever runs it gives."""

    position: int


@dataclasses.dataclass(frozen=True, slots=True)
class Feed:
    """A tensor that is given instead of being computed."""

    key: TensorKey


#: Where a reference leads: to an output of a node, an argument, or a feed.
End: TypeAlias = tuple[Site, int] | Argument | Feed


class Expansion:
    """The scopes of one evaluation, each made when a reference first leads into it.

    `feeds` are the tensors that will be given, with their value where it is a single bool, which may decide branches.
    """

    def __init__(
        self, program: Program, body: Body, feeds: Mapping[TensorKey, bool | None], limits: ReferenceLimits
    ) -> None:
        self._program = program
        self._feeds = feeds
        self._limits = limits
        self._scopes: dict[tuple[int, str], Scope] = {}
        self.root = Scope(0, body)

    @property
    def count(self) -> int:
        """How many calls have been expanded."""
        return len(self._scopes)

    def follow(self, scope: Scope, reference: str) -> End:
        """Where a data reference of a node in `scope` leads.

        Calls and IdentityN are passed through: each output depends on one tensor only, whatever else they take.
        """
        for _ in range(self._limits.max_operations):
            position = scope.body.arguments.get(reference)
            if position is not None:
                if scope.caller is None:
                    return Argument(position)
                if position >= len(scope.inputs):
                    raise GraphError(f"the function {scope.body.name} is called with {len(scope.inputs)} arguments")
                scope, reference = scope.caller, scope.inputs[position]
                continue
            name, index = scope.body.parse(reference)
            if self._feeds and (key := (scope.prefix + name, index)) in self._feeds:
                return Feed(key)
            node = scope.body.nodes[name]
            if node.op == "IdentityN":
                data = data_inputs(node)
                if index >= len(data):
                    raise GraphError(f"output {index} of {len(data)} does not exist", node=name, op=node.op)
                reference = data[index]
                continue
            inner = self.enter(scope, node)
            if inner is None:
                return Site(scope, node), index
            if index >= len(inner.body.returns):
                raise GraphError(f"output {index} of the function {inner.body.name} does not exist")
            scope, reference = inner, inner.body.returns[index]
        raise self.too_many()

    def enter(self, scope: Scope, node: Node) -> Scope | None:
        """The scope behind a call; None if the node calls nothing, or which function it calls is not known yet."""
        key = scope.identity, node.name
        if key in self._scopes:
            return self._scopes[key]
        inputs = data_inputs(node)
        name = self._program.called_function(node)
        if name is None and node.op in IFS and inputs:
            decision = self.decide(scope, inputs[0])
            if decision is not None:
                name = str(node.attributes.get("then_branch" if decision else "else_branch"))
                inputs = inputs[1:]
        if name is None:
            return None
        if scope.depth >= self._limits.max_call_depth:
            raise GraphLimitError(
                f"functions are called inside each other, down to {name}",
                limit="max_call_depth",
                maximum=self._limits.max_call_depth,
                claimed=scope.depth + 1,
            )
        if len(self._scopes) >= self._limits.max_operations:
            raise self.too_many()
        body = self._program.function(name, caller=node)
        made = Scope(len(self._scopes) + 1, body, f"{scope.prefix}{node.name}/", caller=scope, inputs=inputs)
        self._scopes[key] = made
        return made

    def too_many(self) -> GraphLimitError:
        """The error for a graph that grows without end as its calls are expanded."""
        limit = self._limits.max_operations
        return GraphLimitError(
            "the graph has too many operations, function calls expanded",
            limit="max_operations",
            maximum=limit,
            claimed=limit + 1,
        )

    def decide(self, scope: Scope, reference: str) -> bool | None:
        """The value of a predicate if constants and feeds decide it; None if it has to be computed."""
        negated = False
        for _ in range(MAX_LINKS):
            end = self.follow(scope, reference)
            if isinstance(end, Argument):
                return None
            if isinstance(end, Feed):
                value = self._feeds[end.key]
                return None if value is None else value != negated
            site, _index = end
            scope, node = site.scope, site.node
            if node.op == "Const":
                constant = node.attributes.get("value")
                is_scalar = isinstance(constant, np.ndarray) and constant.size == 1 and constant.dtype.kind in "biu"
                return bool(constant) != negated if is_scalar else None
            if node.op == "LogicalNot":
                negated = not negated
            elif node.op not in _PASS_THROUGH:
                return None
            if not node.inputs:
                return None
            reference = node.inputs[0]
        return None

    def pivots(self, site: Site) -> Iterator[tuple[Site, int]]:
        """The outputs of Switch nodes that a node's control dependencies make it depend on."""
        if not site.scope.body.has_switches:
            return
        for name in site.node.inputs:
            if name.startswith("^"):
                found = self._switch_behind(site.scope, name[1:])
                if found is not None:
                    yield found

    def _switch_behind(self, scope: Scope, reference: str) -> tuple[Site, int] | None:
        for _ in range(MAX_LINKS):
            name, index = scope.body.parse(reference)
            node = scope.body.nodes[name]
            if node.op in SWITCHES:
                return Site(scope, node), index
            if node.op != "Identity" or not node.inputs or node.inputs[0] in scope.body.arguments:
                return None
            reference = node.inputs[0]
        return None

    def find(self, name: str) -> tuple[Scope, str]:
        """The scope and reference of a tensor by its expanded name; `TensorNameError` if there is none."""
        path, _, output = name.partition(":")
        if output and not output.isdecimal():
            raise TensorNameError(f"not the name of a tensor: {name!r}", name=name)
        open_ends = [(self.root, path)]
        deepest = self.root
        while open_ends:
            scope, rest = open_ends.pop()
            deepest = scope if scope.depth > deepest.depth else deepest
            if rest in scope.body.nodes:
                return scope, (f"{rest}:{output}" if output else rest)
            for position, character in enumerate(rest):
                if character == "/" and (node := scope.body.nodes.get(rest[:position])) is not None:
                    inner = self.enter(scope, node)
                    if inner is not None:
                        open_ends.append((inner, rest[position + 1 :]))
        close = find_close_names(path[len(deepest.prefix) :], deepest.body.nodes)
        raise TensorNameError(
            f"the graph has no tensor {name}", name=name, close_names=[deepest.prefix + other for other in close]
        )

    def locate(self, name: str) -> tuple[TensorKey, Node]:
        """Return the key under which a tensor is fed, and the node that computes it, by its expanded name."""
        scope, reference = self.find(name)
        node_name, _, output = reference.partition(":")
        return (scope.prefix + node_name, int(output or 0)), scope.body.nodes[node_name]
