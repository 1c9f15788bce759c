"""What a graph computes, as terms: an operation and the terms that it is applied to.

A term is made from a tensor of the graph.
What only organises a computation is gone from it: calls of functions, branches whose predicate is known, reads of
variables, casts between floating-point types, and operations that pass their input through.
Training is read as evaluation: a predicate that is fed is False, and dropout and stochastic depth, which keep the
expected value of their input, are gone too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .arithmetic import FLOATS, OPERATIONS, NotElementwiseError

Array: TypeAlias = npt.NDArray[Any]

#: Operations that pass their input through; those of TensorFlow with several inputs pass each to its own output.
_PASSING = {
    "CheckNumerics",
    "EnsureShape",
    "Identity",
    "IdentityN",
    "PreventGradient",
    "ReadVariableOp",
    "Snapshot",
    "StopGradient",
    "TPUReplicatedInput",
    "TPUReplicatedOutput",
}
_REPLICAS = {"TPUReplicatedInput", "TPUReplicatedOutput", "TPUPartitionedCall"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall", "TPUPartitionedCall"}
_BRANCHES = {"If", "StatelessIf"}
_VARIABLES = {"VarHandleOp", "VariableV2", "Variable"}
RANDOM = {"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"}
_NOISE = RANDOM | {"RandomStandardNormal", "StatelessRandomNormal", "StatelessRandomNormalV2", "TruncatedNormal"}
#: These read a tensor's shape, which is not its values.
_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}
#: Names of outputs in functions, for operations with more than one; an output's number is its position here.
_OUTPUTS = {
    "Switch": ("output_false", "output_true"),
    "RefSwitch": ("output_false", "output_true"),
    "Merge": ("output", "value_index"),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), ("y", "batch_mean", "batch_variance")),
}
#: The largest array that is computed from constants while a graph is read, in elements.
_MAX_FOLDED = 1 << 20
#: Calls in calls; a function that calls itself has no end.
_MAX_CALLS = 200
#: Values of a random number at which a mask is evaluated.
_DRAWS = 2000


class GraphNode(Protocol):
    """What is needed of a node; `tfckpt`'s nodes have it."""

    @property
    def name(self) -> str:
        """Unique in the graph."""

    @property
    def op(self) -> str:
        """Kind of operation."""

    @property
    def inputs(self) -> Sequence[str]:
        """Inputs as `node`, `node:output` or `^node` (control)."""

    @property
    def attributes(self) -> Mapping[str, object]:
        """Attributes by name; lists as tuples, strings as bytes, a function as its name, a tensor as an array."""


class GraphArgument(Protocol):
    """What is needed of a function's argument or output."""

    @property
    def name(self) -> str:
        """What inputs in the body call it."""


class GraphFunction(Protocol):
    """What is needed of a function; `tfckpt`'s have it."""

    @property
    def inputs(self) -> Sequence[GraphArgument]:
        """Arguments in order."""

    @property
    def outputs(self) -> Sequence[GraphArgument]:
        """Outputs in order."""

    @property
    def returns(self) -> Mapping[str, str]:
        """For each output, the tensor of the body that it is."""

    @property
    def nodes(self) -> Sequence[GraphNode]:
        """The body; inputs there are `node:output:0` or an argument's name."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Term:
    """An operation applied to terms; each tensor has one term, so that two are equal if they are the same object.

    `node` is the name of the graph's node.
    `value` is that of a constant, if it is known.
    `has_data` is True if the image is among what it is computed from, `has_variable` if a variable is, and
    `has_noise` if a random number is.
    `depth` counts the layers below it.
    """

    op: str
    node: str
    args: tuple[Term, ...]
    attributes: Mapping[str, object]
    output: int
    value: Array | None
    has_data: bool
    has_variable: bool
    has_noise: bool
    depth: int

    @property
    def kernel(self) -> Term | None:
        """The variable that a convolution or a matrix product takes, None for other operations and computed kernels."""
        if self.op not in LAYER_OPS or len(self.args) < 2 or self.args[1].op != "Variable":
            return None
        return self.args[1]


LAYER_OPS = {"Conv2D", "DepthwiseConv2dNative", "MatMul"}


class _Frame:
    """The graph, or one call of a function: its nodes, and what its arguments are."""

    def __init__(self, nodes: Mapping[str, GraphNode], arguments: Mapping[str, _Key], level: int = 0) -> None:
        """`level` counts the calls that lead here."""
        self.level = level
        self.nodes = nodes
        self.arguments = arguments
        self.calls: dict[tuple[str, str], _Frame] = {}


#: A tensor: where it is, the name of its node, and the number of the output; -1 for a control dependency.
_Key: TypeAlias = "tuple[_Frame, str, int]"
_Needed: TypeAlias = "list[_Key]"

#: The term of a tensor in a branch that is not taken.
DEAD = Term("(branch not taken)", "", (), {}, 0, None, False, False, False, 0)


class TermReader:
    """The terms of a graph, each made once.

    `copies` is True if the graph was split for several devices, and `assumed` holds the predicates taken as False.
    """

    def __init__(self, nodes: Iterable[GraphNode], functions: Mapping[str, GraphFunction] | None = None) -> None:
        self._functions = functions or {}
        self._bodies: dict[str, Mapping[str, GraphNode]] = {}
        self._main = _Frame({node.name: node for node in nodes}, {})
        self._terms: dict[_Key, Term] = {}
        self.copies = False
        self.assumed: set[str] = set()

    @property
    def nodes(self) -> Mapping[str, GraphNode]:
        """The nodes of the graph itself."""
        return self._main.nodes

    @property
    def terms(self) -> list[Term]:
        """Every term made so far, in the order in which they were made."""
        return list(dict.fromkeys(self._terms.values()))

    def term(self, tensor: str) -> Term:
        """Return the term of a tensor of the graph, such as `logits` or `logits:0`."""
        return self._make(self._key(self._main, tensor))

    def calls(self, node: GraphNode) -> GraphFunction | None:
        """Return the function that a node calls."""
        name = self._called(node)
        return None if name is None else self._functions[name]

    def save_terms(self) -> Iterable[tuple[str, Term]]:
        """Return each key that the graph's save operations write, with the term that is saved under it."""
        frames = [self._main]
        for node in self._main.nodes.values():
            called = self._called(node)
            if called is not None and any(inner.op == "SaveV2" for inner in self._functions[called].nodes):
                frames.append(self._enter(self._main, node, called))
        for frame in frames:
            for node in frame.nodes.values():
                if node.op == "SaveV2" and len(node.inputs) >= 3:
                    names = self._make(self._key(frame, node.inputs[1])).value
                    for key, tensor in zip(_strings(names), node.inputs[3:], strict=False):
                        yield key, self._make(self._key(frame, tensor))

    def _key(self, frame: _Frame, reference: str) -> _Key:
        if reference.startswith("^"):
            return frame, reference[1:], -1
        name, _, output = reference.partition(":")
        if not output or output.isdecimal():
            return frame, name, int(output or 0)
        node = frame.nodes.get(name)
        kind, _, number = output.partition(":")
        names = _OUTPUTS.get(node.op, ()) if node is not None else ()
        first = names.index(kind) if kind in names else self._first_output(node, kind)
        return frame, name, first + (int(number) if number.isdecimal() else 0)

    def _first_output(self, node: GraphNode | None, kind: str) -> int:
        """Return the number of a named output of a node that calls a function by its op."""
        function = None if node is None else self._functions.get(node.op)
        names = [] if function is None else [output.name for output in function.outputs]
        return names.index(kind) if kind in names else 0

    def _make(self, wanted: _Key) -> Term:
        """Make a term and all that it needs; an explicit stack, since graphs are deeper than Python's."""
        stack = [wanted]
        expanded: set[_Key] = set()
        while stack:
            key = stack[-1]
            if key in self._terms:
                stack.pop()
                continue
            made = self._step(key)
            if isinstance(made, Term):
                self._terms[key] = made
                stack.pop()
                continue
            if key in expanded and any(one in expanded and one not in self._terms for one in made):
                self._terms[key] = _term("(loop)", key[1], (), {}, 0, has_data=True)
                continue
            expanded.add(key)
            stack += made
        return self._terms[wanted]

    def _step(self, key: _Key) -> Term | _Needed:
        """Return the term of a tensor, or the tensors whose terms have to be made before."""
        frame, name, output = key
        if name in frame.arguments:
            return self._same(frame.arguments[name])
        node = frame.nodes.get(name)
        if node is None:
            return _term("(missing)", name, (), {}, output, has_data=True)
        if node.op in _REPLICAS:
            self.copies = True
        called = self._called(node)
        if called is not None:
            return self._result(self._enter(frame, node, called), called, output)
        if node.op in _BRANCHES:
            return self._branch(frame, node, output)
        needed = [self._key(frame, one) for one in node.inputs if not one.startswith("^")]
        if not needed:  # a constant in a branch is known by its control inputs alone
            needed = [self._key(frame, one) for one in node.inputs]
        missing = [one for one in needed if one not in self._terms]
        if missing and node.op in _SHAPES:
            return _term(node.op, name, (), node.attributes, output)
        if missing:
            return missing
        return self._apply(node, [self._terms[one] for one in needed if one[2] >= 0 or self._is_dead(one)], output)

    def _is_dead(self, key: _Key) -> bool:
        return self._terms[key] is DEAD

    def _same(self, key: _Key) -> Term | _Needed:
        return self._terms.get(key, [key])

    def _apply(self, node: GraphNode, args: Sequence[Term], output: int) -> Term:
        """Apply an operation to terms."""
        op = node.op
        if op in {"Merge", "RefMerge"}:
            alive = [arg for arg in args if arg is not DEAD]
            return alive[0] if len(alive) == 1 else _term(op, node.name, alive, node.attributes, output)
        if any(arg is DEAD for arg in args):
            return DEAD
        if op in {"Switch", "RefSwitch"}:
            taken = self._truth(args[1]) if len(args) == 2 else None
            if taken is None:
                return _term(op, node.name, args, node.attributes, output)
            return DEAD if output >= 0 and output != taken else args[0]
        if op in _VARIABLES:
            return _term("Variable", node.name, (), node.attributes, 0, has_variable=True)
        if op in _PASSING and args:
            return args[output] if op == "IdentityN" and 0 <= output < len(args) else args[0]
        if op == "Cast" and {node.attributes.get("SrcT"), node.attributes.get("DstT")} <= FLOATS and args:
            return args[0]
        if op == "PlaceholderWithDefault" and args and args[0].value is not None and args[0].value.size == 1:
            if args[0].value.dtype == bool:
                self.assumed.add(node.name)
            return args[0]
        if op == "Placeholder" and node.attributes.get("dtype") == "bool":
            self.assumed.add(node.name)
            return _term("Const", node.name, (), {}, 0, value=np.array(False))
        if op == "Const":
            return _term(op, node.name, (), node.attributes, 0, value=_constant(node))
        if not args and op not in _NOISE and op not in _SHAPES:
            return _term(op, node.name, (), node.attributes, output, has_data=True)
        term = _term(op, node.name, args, node.attributes, output)
        return _without_mask(term) or _folded(term)

    def _branch(self, frame: _Frame, node: GraphNode, output: int) -> Term | _Needed:
        """Follow the branch that evaluation takes; a predicate that is not known keeps the node as it is."""
        data = [self._key(frame, one) for one in node.inputs if not one.startswith("^")]
        if data[0] not in self._terms:
            return [data[0]]
        taken = self._truth(self._terms[data[0]])
        branch = node.attributes.get("then_branch" if taken else "else_branch")
        if taken is None or not isinstance(branch, str) or branch not in self._functions:
            missing = [one for one in data if one not in self._terms]
            return missing or _term(node.op, node.name, [self._terms[one] for one in data], node.attributes, output)
        return self._result(self._enter(frame, node, branch, skip=1), branch, output)

    def _truth(self, term: Term) -> bool | None:
        """Return a predicate's value, None if it is not known."""
        return bool(term.value) if term.value is not None and term.value.size == 1 else None

    def _called(self, node: GraphNode) -> str | None:
        name = node.attributes.get("f") if node.op in _CALLS else node.op
        return name if isinstance(name, str) and name in self._functions else None

    def _enter(self, frame: _Frame, node: GraphNode, called: str, *, skip: int = 0) -> _Frame:
        """Return the call of a function by a node, with the arguments that it gets."""
        if (node.name, called) not in frame.calls:
            function = self._functions[called]
            body = self._bodies.setdefault(called, {inner.name: inner for inner in function.nodes})
            data = [self._key(frame, one) for one in node.inputs if not one.startswith("^")][skip:]
            arguments = {argument.name: one for argument, one in zip(function.inputs, data, strict=False)}
            frame.calls[node.name, called] = _Frame(body, arguments, frame.level + 1)
        return frame.calls[node.name, called]

    def _result(self, frame: _Frame, called: str, output: int) -> Term | _Needed:
        function = self._functions[called]
        if frame.level > _MAX_CALLS:
            return _term("(loop)", called, (), {}, 0, has_data=True)
        if not 0 <= output < len(function.outputs):
            return _term("(missing)", called, (), {}, output, has_data=True)
        return self._same(self._key(frame, function.returns.get(function.outputs[output].name, "")))


def _term(
    op: str,
    node: str,
    args: Sequence[Term],
    attributes: Mapping[str, object],
    output: int,
    *,
    value: Array | None = None,
    has_data: bool = False,
    has_variable: bool = False,
) -> Term:
    reads_values = op not in _SHAPES
    depth = max((arg.depth for arg in args), default=0) + (op in LAYER_OPS)
    return Term(
        op,
        node,
        tuple(args),
        attributes,
        output,
        value,
        has_data or (reads_values and any(arg.has_data for arg in args)),
        has_variable or (reads_values and any(arg.has_variable for arg in args)),
        op in _NOISE or (reads_values and any(arg.has_noise for arg in args)),
        depth,
    )


def _folded(term: Term) -> Term:
    """Compute what is applied to constants alone; several parts of one variable are the variable."""
    args = term.args
    if term.op in {"ConcatV2", "Concat"} and term.has_variable and not term.has_data:
        parts = [arg for arg in args if arg.op == "Variable"]
        names = {part.node.rpartition("/part_")[0] for part in parts}
        if len(names) == 1 and "" not in names and len(parts) == len(args) - 1:
            return parts[0]
    if any(arg.value is None or arg.value.size > _MAX_FOLDED for arg in args) or not args or term.op not in OPERATIONS:
        return term
    try:
        value = np.asarray(OPERATIONS[term.op]([arg.value for arg in args if arg.value is not None], term.attributes))
    except (NotElementwiseError, ValueError, TypeError, IndexError):
        return term
    return dataclasses.replace(term, value=value)


def _without_mask(term: Term) -> Term | None:
    """Return what dropout or stochastic depth is applied to, None if the term is neither.

    A part of the values is replaced by zeros, and the others are scaled so that the expected value stays the same.
    """
    if term.op not in {"Mul", "Select", "SelectV2"} or not term.has_noise or not term.has_data:
        return None
    masks = [arg for arg in term.args if arg.has_noise and not arg.has_data]
    rest = [arg for arg in term.args if arg.has_data]
    if len(masks) != 1 or len(rest) != 1 or rest[0].has_noise:
        return None
    if term.op != "Mul" and not (masks[0] is term.args[0] and rest[0] is term.args[1] and _is_zero(term.args[2])):
        return None
    draws = _draw(masks[0], (np.arange(_DRAWS) + 0.5) / _DRAWS)
    if draws is None:
        return None
    kept, scale = rest[0], draws.astype(np.float64)
    while kept.op in {"Mul", "RealDiv"} and len(kept.args) == 2 and abs(scale.mean() - 1) > 2 * scale.max() / _DRAWS:
        factor = next((arg.value for arg in kept.args if arg.value is not None and arg.value.size == 1), None)
        if factor is None or (kept.op == "RealDiv" and kept.args[1].value is None):
            return None
        scale = scale * float(factor) if kept.op == "Mul" else scale / float(factor)
        kept = next(arg for arg in kept.args if arg.value is None)
    zero_or_scaled = len(np.unique(np.round(scale, 5))) <= 2 and (scale.min() == 0 or scale.min() == scale.max())
    return kept if zero_or_scaled and abs(scale.mean() - 1) <= 2 * scale.max() / _DRAWS else None


def _is_zero(term: Term) -> bool:
    return term.value is not None and not term.value.any()


def _draw(term: Term, draws: Array) -> Array | None:
    """Evaluate a mask for many values of its one random number."""
    if term.value is not None:
        return term.value if term.value.size == 1 else None
    if term.op in RANDOM:
        return draws
    values = [_draw(arg, draws) for arg in term.args] if term.op in OPERATIONS else []
    if not values or any(value is None for value in values):
        return None
    try:
        return np.asarray(OPERATIONS[term.op]([value for value in values if value is not None], term.attributes))
    except (NotElementwiseError, ValueError, TypeError, IndexError):
        return None


def _constant(node: GraphNode) -> Array | None:
    value = node.attributes.get("value")
    return value if isinstance(value, np.ndarray) else None


def _strings(value: Array | None) -> list[str]:
    """Return the strings of a constant, none if it is of another type."""
    if value is None or value.dtype != object:
        return []
    return [item.decode("utf-8", "surrogateescape") for item in value.ravel().tolist() if isinstance(item, bytes)]
