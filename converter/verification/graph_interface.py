"""Where a graph and the module of a conversion meet: the graph's inputs, and tensors that the module may return.

Names of nodes differ between programs, so both are found through variables: the tensors computed from a variable that
was converted, and what is fed to them.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from tfckpt.graphs.graph import Graph, Node

from ..errors import Shape

_VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}
_READS = {"Identity", "ReadVariableOp", "Enter"}
#: Operations without variables, after which the tensor is compared as well: activations, norms, residual additions.
_UNARY = {
    *("Identity", "Reshape", "Squeeze", "Relu", "Relu6", "Tanh", "Sigmoid", "Softmax", "LogSoftmax", "Elu", "Selu"),
    *("Mean", "Transpose", "Add", "AddV2", "Mul", "ConcatV2", "ReverseV2", "ReverseSequence"),
}
#: The same for operations that return several tensors, with the attribute that says how many.
_PARTING = {"Unpack": "num", "Split": "num_split"}
_LOOPS = {"While", "StatelessWhile"}
#: What leaves a loop.
_STACKS = {"TensorListStack", "TensorArrayGatherV3"}
_GATHERS = {"Gather", "GatherV2", "ResourceGather"}
#: Training, saving and summaries, which are not the network.
_OTHERS = {"L2Loss", "IsVariableInitialized", "VarIsInitializedOp", "SaveV2", "Save", "Assert"}
_OTHER_PREFIXES = ("Assign", "Apply", "ResourceApply", "Restore", "Scatter")
_OTHER_SUFFIXES = ("Summary", "SummaryV2")
#: Largest number of tensors of one operation that are compared.
_MAX_PARTS = 64
_ITERATORS = {"IteratorGetNext", "IteratorGetNextSync"}


@dataclasses.dataclass(frozen=True, slots=True)
class GraphInput:
    """A tensor of a graph that has to be fed: its name, dtype and shape, with -1 for open sizes; None if unknown.

    `first` are the variables that it meets first, `tables` those in which it looks up rows, and `rows` the size of the
    smallest of them.
    """

    tensor: str
    dtype: str
    shape: Shape | None
    first: tuple[str, ...]
    tables: tuple[str, ...]
    rows: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A tensor that a module may return; `is_last` is True unless another variable of the module comes after it."""

    tensor: str
    is_last: bool


class GraphInterface:
    """The nodes of a graph that are downstream of some variables."""

    def __init__(self, graph: Graph, variables: Iterable[str], shapes: Mapping[str, Shape]) -> None:
        """`variables` are names of variables that were converted, and `shapes` the shapes of all variables by name."""
        self._nodes = {node.name: node for node in graph if not _is_other(node)}
        self._consumers: dict[str, list[Node]] = collections.defaultdict(list)
        for node in self._nodes.values():
            for name in dict.fromkeys(map(_owner, node.inputs)):
                self._consumers[name].append(node)
        self._shapes = shapes
        wanted = set(variables)
        self._variable_of: dict[str, str] = {}
        for node in self._nodes.values():
            if node.op in _VARIABLES and node.name in wanted:
                self._mark_reads(node.name, node.name)
        self._uses = {
            name: variables
            for name, node in self._nodes.items()
            if name not in self._variable_of and (variables := self._list_variables(node))
        }

    def list_candidates(self) -> list[Candidate]:
        """Return every tensor computed from a variable, in the order of the graph, with what is made of it alone."""
        found: dict[str, bool] = {}
        inside = self._list_inside()
        for name in self._uses:
            is_last = not self._reaches_another(name)
            pending = [name] if name not in inside else self._leave_loop(name)
            while pending:
                current = pending.pop()
                if current in found:
                    continue
                found |= dict.fromkeys(self._list_outputs(current), is_last)
                consumers = self._consumers.get(current, ())
                followers = [node for node in consumers if node.op in _UNARY or node.op in _PARTING]
                pending += [node.name for node in followers if node.name not in self._uses]
        return [Candidate(name, is_last) for name, is_last in found.items()]

    def list_inputs(self, tensors: Sequence[str]) -> list[GraphInput]:
        """Return what has to be fed to compute some tensors; placeholders with a default are left to it."""
        found: dict[str, GraphInput] = {}
        pending, seen = list(tensors), set()
        while pending:
            reference = pending.pop()
            name = _owner(reference)
            node = self._nodes.get(name)
            if node is None or reference in seen:
                continue
            seen.add(reference)
            if node.op == "Placeholder" or node.op in _ITERATORS:
                tensor = reference.removesuffix(":0")
                found[tensor] = self._describe_input(tensor, node)
            elif node.op not in _VARIABLES and node.op != "PlaceholderWithDefault":
                pending += [reference for reference in node.inputs if not reference.startswith("^")]
        return sorted(found.values(), key=lambda one: one.tensor)

    def _list_outputs(self, name: str) -> list[str]:
        """Return the tensors of a node."""
        node = self._nodes[name]
        count = node.attributes.get(_PARTING.get(node.op, ""))
        known = min(count, _MAX_PARTS) if isinstance(count, int) else 1
        return [name, *(f"{name}:{number}" for number in range(1, known))]

    def _list_inside(self) -> set[str]:
        """Return the nodes inside loops, and those that are loops."""
        pending = [node.name for node in self._nodes.values() if node.op in ("Enter", "RefEnter")]
        inside = {*pending, *(node.name for node in self._nodes.values() if node.op in _LOOPS)}
        while pending:
            for node in self._consumers.get(pending.pop(), ()):
                if node.name not in inside and node.op not in ("Exit", "RefExit"):
                    inside.add(node.name)
                    pending.append(node.name)
        return inside

    def _leave_loop(self, name: str) -> list[str]:
        """Return the stacked results of the loop around a node."""
        pending, seen, found = [name], {name}, []
        while pending:
            for node in self._consumers.get(pending.pop(), ()):
                if node.op in _STACKS:
                    found.append(node.name)
                elif node.name not in seen:
                    seen.add(node.name)
                    pending.append(node.name)
        return found

    def _mark_reads(self, name: str, variable: str) -> None:
        self._variable_of[name] = variable
        for node in self._consumers.get(name, ()):
            if node.op in _READS and node.name not in self._variable_of:
                self._mark_reads(node.name, variable)

    def _list_variables(self, node: Node) -> tuple[str, ...]:
        owners = (_owner(reference) for reference in node.inputs if not reference.startswith("^"))
        return tuple(dict.fromkeys(self._variable_of[owner] for owner in owners if owner in self._variable_of))

    def _reaches_another(self, name: str) -> bool:
        """Return whether a node computed from a variable comes after another one."""
        pending, seen = [name], {name}
        while pending:
            for node in self._consumers.get(pending.pop(), ()):
                if node.name in self._uses:
                    return True
                if node.name not in seen:
                    seen.add(node.name)
                    pending.append(node.name)
        return False

    def _find_factors(self, node: Node) -> list[str]:
        """Return the variables that a OneHot's result is multiplied with."""
        found: list[str] = []
        pending, seen = [node], {node.name}
        while pending:
            for consumer in self._consumers.get(pending.pop().name, ()):
                if consumer.name in self._uses:
                    found += self._uses[consumer.name]
                elif consumer.op in _UNARY and consumer.name not in seen:
                    seen.add(consumer.name)
                    pending.append(consumer)
        return found

    def _describe_input(self, tensor: str, node: Node) -> GraphInput:
        name, _, index = tensor.partition(":")
        dtype, shape = node.attributes.get("dtype"), node.attributes.get("shape")
        if node.op in _ITERATORS:
            number = int(index or 0)
            dtypes, shapes = node.attributes.get("output_types"), node.attributes.get("output_shapes")
            dtype = dtypes[number] if isinstance(dtypes, Sequence) and number < len(dtypes) else None
            shape = shapes[number] if isinstance(shapes, Sequence) and number < len(shapes) else None
        first: dict[str, None] = {}
        tables: dict[str, None] = {}
        pending, seen = [node for node in self._consumers.get(name, ()) if _takes(node, tensor)], set()
        while pending:
            current = pending.pop()
            if current.name in seen:
                continue
            seen.add(current.name)
            if current.op == "OneHot":  # words looked up by a product
                tables |= dict.fromkeys(self._find_factors(current))
            if current.name in self._uses:
                variables = self._uses[current.name]
                first |= dict.fromkeys(variables)
                if current.op in _GATHERS:
                    tables |= dict.fromkeys(variables)
                continue
            if current.op == "Shape":
                continue
            pending += self._consumers.get(current.name, ())
        known = shape if isinstance(shape, tuple) else None
        rows = [self._shapes[name][0] for name in tables if self._shapes.get(name)]
        return GraphInput(tensor, str(dtype), known, tuple(first), tuple(tables), min(rows, default=None))


def _takes(node: Node, tensor: str) -> bool:
    return any(reference.removesuffix(":0") == tensor for reference in node.inputs)


def _owner(reference: str) -> str:
    return reference.removeprefix("^").partition(":")[0]


def _is_other(node: Node) -> bool:
    is_gradient = node.name.startswith(("gradients", "save/", "save_1/")) or "/gradients/" in node.name
    return is_gradient or node.op in _OTHERS or node.op.startswith(_OTHER_PREFIXES) or node.op.endswith(_OTHER_SUFFIXES)
