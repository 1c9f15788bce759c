"""Expansion of function calls: following a reference through calls and arguments, without running anything.

A call is replaced by the body of the function, whose nodes are named after the call: `call/node`.
So every tensor has one name, and a variable is found through any number of captures.
Bodies are entered only when a reference leads into them, and every step is an iteration of a loop, so that the depth
of a graph is not limited by Python's stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from converter.errors import GraphError, GraphLimitError, TensorNameError
from tfckpt.errors import find_close_names
from tfckpt.graphs.graph import Node

from .bodies import IFS, MAX_LINKS, SWITCHES, Body, Program, data_inputs
from .limits import ReferenceLimits

#: A tensor: the expanded name of its node, and the index of the output.
TensorKey: TypeAlias = tuple[str, int]

#: Operations that pass the value of a constant or feed through.
_PASS_THROUGH = {"Identity", "StopGradient", "Snapshot", "PlaceholderWithDefault"}


class Scope:
    """One use of a body: the graph itself, or a function as one node calls it."""

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
        """A key that is unique in one expansion."""
        return self.scope.identity, self.node.name


@dataclasses.dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the outermost body; its caller passes the value."""

    position: int


@dataclasses.dataclass(frozen=True, slots=True)
class Feed:
    """A tensor that is fed instead of being computed."""

    key: TensorKey


#: The end of a reference: an output of a node, an argument, or a feed.
End: TypeAlias = tuple[Site, int] | Argument | Feed


class Expansion:
    """The scopes of one evaluation; a scope is created when a reference first leads into it.

    `feeds` are the tensors that will be fed, with the value of a bool scalar, which can decide branches, or None.
    Functions for which `is_whole` returns true are not expanded.
    """

    def __init__(
        self,
        program: Program,
        body: Body,
        feeds: Mapping[TensorKey, bool | None],
        limits: ReferenceLimits,
        is_whole: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._program = program
        self._feeds = feeds
        self._limits = limits
        self._is_whole = is_whole
        self._scopes: dict[tuple[int, str], Scope] = {}
        self.root = Scope(0, body)

    @property
    def count(self) -> int:
        """The number of calls expanded so far."""
        return len(self._scopes)

    def is_fed(self, key: TensorKey) -> bool:
        """Return whether a tensor is fed."""
        return key in self._feeds

    def follow(self, scope: Scope, reference: str) -> End:
        """Follow a data reference of a node in `scope` to its end.

        Calls and IdentityN are looked through: each of their outputs depends on one tensor only.
        """
        for _ in range(self._limits.max_operations):
            position = scope.body.arguments.get(reference)
            if position is not None:
                if scope.caller is None:
                    return Argument(position)
                if position >= len(scope.inputs):
                    raise GraphError(
                        f"the function {scope.body.name} is called with {len(scope.inputs)} arguments, too few"
                    )
                scope, reference = scope.caller, scope.inputs[position]
                continue
            name, index = scope.body.parse(reference)
            if self._feeds and (key := (scope.prefix + name, index)) in self._feeds:
                return Feed(key)
            node = scope.body.nodes[name]
            if node.op == "IdentityN":
                data = data_inputs(node)
                if index >= len(data):
                    raise GraphError(f"output {index} does not exist, there are {len(data)}", node=name, op=node.op)
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
        """Return the scope that a call enters; None if it calls none, a whole one, or one known only at run time."""
        key = scope.identity, node.name
        if key in self._scopes:
            return self._scopes[key]
        name = self._program.called_function(node)
        if name is None and node.op not in IFS:
            return None
        inputs = data_inputs(node)
        if name is None and inputs:
            decision = self.decide(scope, inputs[0])
            if decision is not None:
                name = str(node.attributes.get("then_branch" if decision else "else_branch"))
                inputs = inputs[1:]
        if name is None or self._is_whole(name):
            return None
        if scope.depth >= self._limits.max_call_depth:
            raise GraphLimitError(
                f"function calls are nested too deeply at {name}",
                limit="max_call_depth",
                maximum=self._limits.max_call_depth,
                claimed=scope.depth + 1,
            )
        if len(self._scopes) >= self._limits.max_operations:
            raise self.too_many()
        body = self._program.function(name, caller=node)
        inner = Scope(len(self._scopes) + 1, body, f"{scope.prefix}{node.name}/", caller=scope, inputs=inputs)
        self._scopes[key] = inner
        return inner

    def too_many(self) -> GraphLimitError:
        """Return the error for a graph that becomes too large when its calls are expanded."""
        limit = self._limits.max_operations
        return GraphLimitError(
            "the graph has too many operations after expanding its function calls",
            limit="max_operations",
            maximum=limit,
            claimed=limit + 1,
        )

    def decide(self, scope: Scope, reference: str) -> bool | None:
        """Return the value of a predicate if constants and feeds determine it; None if it must be computed.

        The branch that is not taken is then never entered, so it may contain unsupported operations, such as those of
        training.
        """
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
        """Yield the outputs of Switch nodes that a node depends on through its control dependencies."""
        if not site.scope.body.has_switches:
            return
        for name in site.node.inputs:
            if name.startswith("^"):
                pivot = self._switch_behind(site.scope, name[1:])
                if pivot is not None:
                    yield pivot

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
        """Return the scope and reference of a tensor by its expanded name; raise `TensorNameError` if there is none."""
        path, _, output = name.partition(":")
        if not path:
            raise TensorNameError("the name of a tensor is empty, as for a sparse tensor of a signature", name=name)
        if output and not output.isdecimal():
            raise TensorNameError(f"not the name of a tensor: {name!r}", name=name)
        pending = [(self.root, path)]
        deepest = self.root
        while pending:
            scope, rest = pending.pop()
            deepest = scope if scope.depth > deepest.depth else deepest
            if rest in scope.body.nodes:
                return scope, (f"{rest}:{output}" if output else rest)
            for position, character in enumerate(rest):
                if character == "/" and (node := scope.body.nodes.get(rest[:position])) is not None:
                    inner = self.enter(scope, node)
                    if inner is not None:
                        pending.append((inner, rest[position + 1 :]))
        close = find_close_names(path[len(deepest.prefix) :], deepest.body.nodes)
        raise TensorNameError(
            f"the graph has no tensor {name}", name=name, close_names=[deepest.prefix + other for other in close]
        )

    def locate(self, name: str) -> tuple[TensorKey, Node]:
        """Return the key under which a tensor is fed, and the node that computes it, by its expanded name."""
        scope, reference = self.find(name)
        node_name, _, output = reference.partition(":")
        return (scope.prefix + node_name, int(output or 0)), scope.body.nodes[node_name]
