"""Loops of TensorFlow 1 as structured loops.

::

    Enter -> Merge -> Switch -> ... -> NextIteration      for each variable; NextIteration is the other input of Merge
                 |       |
                 |       `-> Exit                         the value after the loop
                 `-> ... -> LoopCond                      the condition, which decides every Switch
    Enter (constant) -> ...                               a value from outside

A loop becomes one While node, whose condition and body are functions that are cut out of the graph: backwards from
LoopCond and from each NextIteration, as far as the Merge, Switch and Enter nodes of the loop.
Inner loops come first, so that a body contains While nodes and no frames.
What does not have this form stays as it is, and is reported as unsupported where it is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from tfckpt.graphs.graph import Argument, Function, Graph, Node

ENTERS = {"Enter", "RefEnter"}
_EXITS = {"Exit", "RefExit"}
_NEXT = {"NextIteration", "RefNextIteration"}
_MERGES = {"Merge", "RefMerge"}
_SWITCHES = {"Switch", "RefSwitch"}
#: The longest chain of Identity nodes between a control dependency and the Switch behind it.
_MAX_LINKS = 64
#: Loops inside each other; the search for inner loops is nested as deeply.
_MAX_DEPTH = 64


class _NotALoopError(Exception):
    """The nodes do not form a loop."""


@dataclasses.dataclass(slots=True)
class _Loop:
    """A loop while it is converted: its variables, and the values from outside, by the names of their nodes."""

    condition: Node
    #: The position of each variable, by the names of its Merge and its Switch.
    merges: dict[str, int]
    switches: dict[str, int]
    #: The Enter and NextIteration of each variable.
    enters: list[Node]
    nexts: list[Node]
    #: The position of each value from outside, by the name of its Enter, after the variables.
    constants: dict[str, int]

    def argument(self, reference: str) -> str | None:
        """Return the argument that a reference means inside the loop; None for any other node."""
        name, _, output = reference.partition(":")
        if name in self.switches:
            if output != "1":
                raise _NotALoopError  # the value after the loop, inside of it
            return _argument_name(self.switches[name])
        if name in self.constants:
            return _constant_name(name)
        return _argument_name(self.merges[name]) if name in self.merges else None


def structure_loops(graph: Graph) -> Graph:
    """Return the graph with its loops as While nodes; the same graph if it has none."""
    if not any(node.op == "LoopCond" for node in graph):
        return graph
    return _Structurer(graph).build()


def _argument_name(position: int) -> str:
    return f"loop^{position}"  # no node can have this name


def _constant_name(enter: str) -> str:
    """Return the argument of a value from outside until its position is known."""
    return f"constant^{enter}"


class _Structurer:
    """The conversion of one graph's loops."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph}
        self._functions: dict[str, Function] = {}
        self._switches: dict[str, list[Node]] = {}
        self._exits: dict[str, list[Node]] = {}
        for node in graph:
            if node.op in _EXITS and node.inputs:
                self._exits.setdefault(_node_of(node.inputs[0]), []).append(node)
            if node.op in _SWITCHES and len(node.inputs) > 1:
                condition = self._nodes.get(_node_of(node.inputs[1]))
                if condition is not None and condition.op == "LoopCond":
                    self._switches.setdefault(condition.name, []).append(node)
        self._open: set[str] = set()
        self._failed: set[str] = set()

    def build(self) -> Graph:
        """Return the graph with every loop that could be converted."""
        for node in self._graph:
            if node.op == "LoopCond":
                self._convert(node)
        return Graph(tuple(self._nodes.values()), {**self._graph.functions, **self._functions})

    def _convert(self, condition: Node) -> None:
        """Replace the Exit nodes of a loop by the outputs of a While node."""
        name = condition.name
        if name in self._failed or name in self._open or self._nodes[name].op != "LoopCond":
            return
        if len(self._open) >= _MAX_DEPTH:
            return
        self._open.add(name)
        try:
            self._replace(self._read(condition))
        except _NotALoopError:
            self._failed.add(name)
        finally:
            self._open.discard(name)

    def _read(self, condition: Node) -> _Loop:
        """Find the variables of a loop."""
        loop = _Loop(condition, {}, {}, [], [], {})
        for switch in self._switches.get(condition.name, ()):
            merge = self._nodes.get(_node_of(switch.inputs[0]))
            if merge is None or merge.op not in _MERGES:
                raise _NotALoopError
            loop.switches[switch.name] = self._add_variable(loop, merge)
        return loop

    def _add_variable(self, loop: _Loop, merge: Node) -> int:
        if merge.name in loop.merges:
            return loop.merges[merge.name]
        sources = [self._nodes.get(_node_of(name)) for name in _data(merge)]
        enters = [source for source in sources if source is not None and source.op in ENTERS]
        nexts = [source for source in sources if source is not None and source.op in _NEXT]
        if len(sources) != 2 or len(enters) != 1 or len(nexts) != 1:
            raise _NotALoopError
        loop.merges[merge.name] = len(loop.enters)
        loop.enters.append(enters[0])
        loop.nexts.append(nexts[0])
        return loop.merges[merge.name]

    def _replace(self, loop: _Loop) -> None:
        condition, condition_ends = self._cut(loop, loop.condition.inputs[:1])
        count = -1
        while count != len(loop.nexts):  # a body may lead to variables that no Switch has
            count = len(loop.nexts)
            body, ends = self._cut(loop, [node.inputs[0] for node in loop.nexts])
        constants = [self._nodes[name] for name in loop.constants]
        # The positions of values from outside follow those of all variables, which are known only now.
        final = {_constant_name(name): _argument_name(count + at) for at, name in enumerate(loop.constants)}
        arguments = [_argument_name(position) for position in range(count + len(constants))]
        name = loop.condition.name
        inputs = tuple(node.inputs[0] for node in (*loop.enters, *constants))
        functions = {}
        for kind, nodes, returns in (
            ("cond", condition, condition_ends),
            ("body", body, [*ends, *map(_constant_name, loop.constants)]),
        ):
            function = _make_function(f"{name}/{kind}", nodes, arguments, returns, final)
            functions[kind] = function.name
            self._functions[function.name] = function
        # The While node takes the name of LoopCond, which nothing outside the loop needs.
        self._nodes[name] = Node(name, "While", inputs, functions)
        for switch, position in loop.switches.items():
            for node in self._exits.get(switch, ()):
                self._nodes[node.name] = Node(node.name, "Identity", (f"{name}:{position}",), node.attributes)

    def _cut(self, loop: _Loop, ends: Sequence[str]) -> tuple[list[Node], list[str]]:
        """Return the nodes between the loop's variables and some tensors, and the references to these tensors."""
        found: dict[str, Node] = {}
        pending = [_node_of(end) for end in ends if self._resolve(loop, end) is None]
        while pending:
            name = pending.pop()
            if name in found:
                continue
            node = self._nodes.get(name)
            if node is None or node.op in _NEXT or name == loop.condition.name:
                raise _NotALoopError
            if node.op in _EXITS:
                inner = self._loop_of(node)
                self._convert(inner)
                node = self._nodes[name]
                if node.op in _EXITS:
                    raise _NotALoopError
            inputs = []
            for reference in node.inputs:
                if reference.startswith("^"):
                    pivot = self._pivot(loop, reference[1:])
                    if pivot:
                        inputs.append(reference)
                        pending += pivot
                    continue
                argument = self._resolve(loop, reference)
                inputs.append(reference if argument is None else argument)
                if argument is None:
                    pending.append(_node_of(reference))
            found[name] = Node(name, node.op, tuple(inputs), node.attributes)
        return list(found.values()), [self._resolve(loop, end) or end for end in ends]

    def _resolve(self, loop: _Loop, reference: str) -> str | None:
        """Return the argument that a reference means; a value from outside becomes a new one."""
        argument = loop.argument(reference)
        if argument is not None:
            return argument
        node = self._nodes.get(_node_of(reference))
        if node is None:
            raise _NotALoopError
        if node.op in ENTERS:
            loop.constants[node.name] = len(loop.constants)
            return _constant_name(node.name)
        if node.op in _MERGES and any(self._op(name) in _NEXT for name in _data(node)):
            return _argument_name(self._add_variable(loop, node))
        return None

    def _loop_of(self, node: Node) -> Node:
        """Return the condition of the loop that an Exit belongs to."""
        switch = self._nodes.get(_node_of(node.inputs[0])) if node.inputs else None
        condition = None
        if switch is not None and switch.op in _SWITCHES and len(switch.inputs) > 1:
            condition = self._nodes.get(_node_of(switch.inputs[1]))
        if condition is None or condition.op != "LoopCond":
            raise _NotALoopError
        return condition

    def _pivot(self, loop: _Loop, name: str) -> list[str]:
        """Return the nodes from a control dependency to the Switch behind it, unless that is one of the loop's."""
        path = []
        for _ in range(_MAX_LINKS):
            node = self._nodes.get(_node_of(name))
            if node is None or node.name in loop.switches:
                return []
            path.append(node.name)
            if node.op in _SWITCHES:
                return path
            if node.op != "Identity" or not node.inputs or node.inputs[0].startswith("^"):
                return []
            name = node.inputs[0]
        return []

    def _op(self, reference: str) -> str:
        node = self._nodes.get(_node_of(reference))
        return "" if node is None else node.op


def _make_function(
    name: str, nodes: Iterable[Node], arguments: Sequence[str], returns: Sequence[str], names: Mapping[str, str]
) -> Function:
    """Return a function; `names` are the final names of arguments."""
    renamed = tuple(
        Node(node.name, node.op, tuple(names.get(reference, reference) for reference in node.inputs), node.attributes)
        for node in nodes
    )
    outputs = [f"output_{number}" for number, _ in enumerate(returns)]
    return Function(
        name,
        tuple(Argument(argument, None) for argument in arguments),
        tuple(Argument(output, None) for output in outputs),
        renamed,
        {output: names.get(reference, reference) for output, reference in zip(outputs, returns, strict=True)},
        {},
        {},
    )


def _node_of(reference: str) -> str:
    return reference.partition(":")[0]


def _data(node: Node) -> list[str]:
    return [name for name in node.inputs if not name.startswith("^")]
