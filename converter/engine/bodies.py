"""The nodes of a graph or of one of its functions, and the meaning of the references between them.

In a graph a reference is `name` or `name:1`.
In a function's body it is the name of an argument, or `name:output:0`: the second part names an output of the
node's operation, the third is an index into that output if it is a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from converter.errors import GraphError
from tfckpt.errors import find_close_names, say_close_names
from tfckpt.graphs.graph import Function, Graph, Node

from .dropout import replace_dropout
from .frames import structure_loops
from .registry import output_names
from .statistics import use_moving_statistics

#: Operations that call the function named in their attribute `f`.
CALLS = {"PartitionedCall", "StatefulPartitionedCall", "TPUPartitionedCall"}
IFS = {"If", "StatelessIf"}
SWITCHES = {"Switch", "RefSwitch"}
MERGES = {"Merge", "RefMerge"}
#: Operations that make a lookup table; their output is its handle.
TABLES = {"HashTableV2"}
PLACEHOLDERS = {"Placeholder", "PlaceholderWithDefault"}
#: The longest chain of operations that is followed to one particular node, such as the constant behind a predicate.
MAX_LINKS = 64


#: Operations without a value that anyone would fetch.
_NO_VALUES = {"Assert", "Const", "NoOp", "Placeholder", "RestoreV2", "SaveV2", "VarHandleOp", "VariableV2"}


def data_inputs(node: Node) -> tuple[str, ...]:
    """Return the references to a node's data inputs, without its control dependencies."""
    return tuple(name for name in node.inputs if not name.startswith("^"))


class Body:
    """The nodes of a graph or function by name, its arguments, and the references it returns."""

    def __init__(
        self,
        name: str,
        nodes: Sequence[Node],
        functions: Mapping[str, Function],
        *,
        arguments: Sequence[str] = (),
        returns: Sequence[str] = (),
        is_function: bool = False,
    ) -> None:
        self.name = name
        self.nodes = {node.name: node for node in nodes}
        self.arguments = {argument: position for position, argument in enumerate(arguments)}
        self.returns = tuple(returns)
        self.is_function = is_function
        self.has_switches = any(node.op in SWITCHES for node in nodes)
        self._functions = functions

    def parse(self, reference: str) -> tuple[str, int]:
        """Return the name of the node and the index of the output that a reference means.

        Raises `GraphError` if the node does not exist.
        """
        name, *rest = reference.split(":")
        node = self.nodes.get(name)
        if node is None:
            where = f" in the function {self.name}" if self.is_function else ""
            hint = say_close_names(find_close_names(name, self.nodes))
            raise GraphError(f"a node refers to {name}, which does not exist{where}{hint}")
        number = rest[-1] if rest else "0"
        if len(rest) > 2 or not (number.isascii() and number.isdecimal()):
            raise GraphError(f"invalid reference: {reference!r}")
        return name, int(number) + (self._output_index(node, rest[0]) if len(rest) == 2 else 0)

    def _output_index(self, node: Node, output: str) -> int:
        called = self._functions.get(node.op)
        names = tuple(argument.name for argument in called.outputs) if called else output_names(node.op)
        return names.index(output) if output in names else 0


class Program:
    """A graph and its library of functions, with structured loops; the body of a function is built on first use.

    Dropout is an operation of its own in the bodies, or left out unless `dropout`.
    With `moving_statistics`, batch norms of training are turned into those of evaluation, where that is certain;
    `has_moving_statistics` says whether any was, in the bodies built so far.
    """

    def __init__(self, graph: Graph, *, dropout: bool = False, moving_statistics: bool = False) -> None:
        self.graph = structure_loops(graph)
        self._dropout = dropout
        self._moving_statistics = moving_statistics
        self.has_moving_statistics = False
        self.main = Body("", self._prepare(self.graph.nodes), self.graph.functions)
        self._bodies: dict[str, Body] = {}

    def function(self, name: str, *, caller: Node) -> Body:
        """Return the body of a function; raise `GraphError` if the library does not contain it."""
        if name not in self._bodies:
            function = self.graph.functions.get(name)
            if function is None:
                hint = say_close_names(find_close_names(name, self.graph.functions))
                raise GraphError(
                    f"calls the function {name}, which the graph does not define{hint}", node=caller.name, op=caller.op
                )
            self._bodies[name] = _make_body(function, self._prepare(function.nodes), self.graph.functions)
        return self._bodies[name]

    def _prepare(self, nodes: Sequence[Node]) -> Sequence[Node]:
        """Return the nodes of a body with dropout and batch norms as they are wanted."""
        nodes = replace_dropout(nodes, is_active=self._dropout)
        if not self._moving_statistics:
            return nodes
        body = Body("", nodes, self.graph.functions)
        replaced = use_moving_statistics(body.nodes, body.parse)
        self.has_moving_statistics |= len(replaced) > len(nodes)
        return replaced

    def called_function(self, node: Node) -> str | None:
        """Return the function that a node always calls; None if it calls none, or if the choice depends on values."""
        if node.op in CALLS:
            return str(node.attributes.get("f"))
        return node.op if node.op in self.graph.functions else None


def _make_body(function: Function, nodes: Sequence[Node], functions: Mapping[str, Function]) -> Body:
    for argument in (*function.inputs, *function.outputs):
        if argument.number_attribute or argument.type_list_attribute:
            raise GraphError(
                f"the argument {argument.name} of the function {function.name} is a list, which is not supported"
            )
    missing = [output.name for output in function.outputs if output.name not in function.returns]
    if missing:
        raise GraphError(f"the function {function.name} has no value for its output {missing[0]}")
    return Body(
        function.name,
        nodes,
        functions,
        arguments=[argument.name for argument in function.inputs],
        returns=[function.returns[output.name] for output in function.outputs],
        is_function=True,
    )


def find_ends(graph: Graph) -> tuple[str, ...]:
    """Return the nodes with a value on which no other node depends, in stored order."""
    used = {reference.removeprefix("^").partition(":")[0] for node in graph for reference in node.inputs}
    return tuple(node.name for node in graph if node.name not in used and node.op not in _NO_VALUES)
