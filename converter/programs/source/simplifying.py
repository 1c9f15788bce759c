"""One form for each operation that can be written in several ways, and the removal of those that do nothing.

Axes and shapes are those of TensorFlow here; `layouts` changes them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from .folding import Leaves
from .network import Leaf, Network, Node, Rewriter, Shape, new

Rule = Callable[[Node, Rewriter], "Node | None"]
#: Operations that may return their input itself.
_COPIES = {"alias", "clone", "detach_", "contiguous", "lift_fresh_copy", "view_as", "_to_copy", "to", "type_as"}
#: Operations with a tensor or a number on either side.
_WITH_NUMBERS = {"add", "sub", "mul", "div", "pow", "gt", "ge", "lt", "le", "eq", "ne", "remainder", "floor_divide"}
_MAX_PASSES = 12


def simplify(network: Network, leaves: Leaves, *, merges: bool = False) -> None:
    """Apply all rules until nothing changes; with `merges` keep one of several nodes that compute the same."""
    rules = _Rules(leaves)
    for _ in range(_MAX_PASSES):
        changed = Rewriter(network).run(rules.apply)
        if not (merges and _merge_equal(network)) and not changed:
            return


def drop_copies(network: Network) -> None:
    """Remove operations that return their input itself."""

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        return _drop_copy(node) if node.op in _COPIES else None

    Rewriter(network).run(rule)


#: Operations with a different result each time.
_RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "bernoulli", "multinomial", "normal"}
_RANDOM |= {"dropout", "feature_dropout", "uniform", "native_dropout", "rrelu"}


def _merge_equal(network: Network) -> bool:
    """Keep one of several nodes that compute the same."""
    known: dict[Any, Node] = {}

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node.op in ("input", "leaf") or node.op in _RANDOM:
            return None
        return known.setdefault((node.op, freeze(node.args), node.dtype), node)

    return Rewriter(network).run(rule)


def freeze(value: Any) -> Any:
    """Return arguments in a form that can be compared and hashed; 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return tuple((key, freeze(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(freeze, value))
    return value if isinstance(value, Node) else (type(value), repr(value))


class _Rules:
    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._table: dict[str, tuple[Rule, ...]] = {
            "permute": (_merge_permutes, self._fold_permute),
            "transpose": (_permute_of_transpose,),
            "swapaxes": (_permute_of_transpose,),
            "t": (_permute_of_t,),
            "numpy_T": (_permute_of_t,),
            "mT": (_permute_of_matrices,),
            "mH": (_permute_of_matrices,),
            "movedim": (_permute_of_movedim,),
            "view": (_reshape_of_view,),
            "_unsafe_view": (_reshape_of_view,),
            "reshape": (
                self._fold_reshape,
                _drop_same_shape,
                _matmul_without_flattening,
                _embedding_without_flattening,
                _merge_reshapes,
                _regrid_of_reshape,
                _infer_size,
            ),
            "squeeze": (_regrid_of_squeeze,),
            "unsqueeze": (_regrid_of_unsqueeze,),
            "regrid": (self._fold_regrid, _merge_regrids, _keep_reduced_axes),
            "expand": (_drop_same_shape,),
            "pad": (_drop_empty_pad,),
            "constant_pad_nd": (_pad_of_constant_pad,),
            "slice": (_drop_same_shape,),
            "index_select": (_embedding_of_selection,),
            "add": (_drop_neutral(0.0),),
            "sub": (_drop_neutral(0.0, only_second=True),),
            "mul": (_drop_neutral(1.0),),
            "div": (_drop_neutral(1.0, only_second=True),),
            "matmul": (self._pointwise_convolution,),
            "mm": (_matmul_of_mm,),
            "bmm": (_matmul_of_mm,),
            "maximum": (_clamp_of("min"),),
            "minimum": (_clamp_of("max"),),
            "hardtanh": (_clamp_of_hardtanh,),
        }

    def apply(self, node: Node, rewriter: Rewriter) -> Node | None:
        """Apply the first rule that changes a node."""
        if node.op in _COPIES:
            return _drop_copy(node)
        if node.op in _WITH_NUMBERS:
            _inline_numbers(node)
        for rule in self._table.get(node.op, ()):
            replacement = rule(node, rewriter)
            if replacement is not None:
                return replacement
        return None

    def _fold_permute(self, node: Node, rewriter: Rewriter) -> Node | None:
        return self._fold(node, ("permute", *node.args["dims"]), rewriter)

    def _fold_reshape(self, node: Node, rewriter: Rewriter) -> Node | None:
        if node.shape is None or any(type(size) is not int for size in node.shape):
            return None
        return self._fold(node, ("reshape", *node.shape), rewriter)

    _fold_regrid = _fold_reshape

    def _fold(self, node: Node, change: tuple[Any, ...], rewriter: Rewriter) -> Node | None:
        source = node.args["self"]
        if source.leaf is None:
            return None
        return rewriter.add(self._leaves.change(source, change))

    def _pointwise_convolution(self, node: Node, rewriter: Rewriter) -> Node | None:
        """Undo the engine's matrix product for a convolution with a kernel of one pixel."""
        x, weight = node.args["self"], node.args["other"]
        leaf = weight.leaf
        if leaf is None or node.shape is None or len(leaf.changes) != 1 or leaf.original is None:
            return None
        kernel = leaf.original
        spatial = kernel.ndim - 2
        if spatial < 1 or x.rank != kernel.ndim or set(kernel.shape[:-2]) != {1} or weight.rank != 2:
            return None
        base = Node("leaf", {"leaf": _without_changes(leaf)}, tuple(kernel.shape), weight.dtype, weight.label)
        turned = rewriter.add(self._leaves.change(base, ("permute", spatial + 1, spatial, *range(spatial))))
        first, last = (0, spatial + 1, *range(1, spatial + 1)), (0, *range(2, spatial + 2), 1)
        inputs = rewriter.add(_permute(x, first))
        shape = tuple(node.shape[axis] for axis in first)
        args = {"input": inputs, "weight": turned}
        result = rewriter.add(new(f"conv{spatial}d", args, node, shape))
        return rewriter.add(_permute(result, last))


def _without_changes(leaf: Leaf) -> Leaf:
    assert leaf.original is not None
    return dataclasses.replace(leaf, tensor=leaf.original, changes=(), original=None)


def _permute(node: Node, dims: tuple[int, ...]) -> Node:
    assert node.shape is not None
    shape = tuple(node.shape[axis] for axis in dims)
    return new("permute", {"self": node, "dims": list(dims)}, node, shape)


def _drop_copy(node: Node) -> Node | None:
    source: Node = node.args["self"]
    return source if source.dtype == node.dtype and source.shape == node.shape else None


def _drop_same_shape(node: Node, rewriter: Rewriter) -> Node | None:
    source: Node = node.args["self"]
    if node.op == "slice" and node.get("step", 1) != 1:
        return None
    return source if source.shape == node.shape else None


def _drop_empty_pad(node: Node, rewriter: Rewriter) -> Node | None:
    source: Node = node.args["self"]
    return source if all(type(size) is int and size == 0 for size in node.args["pad"]) else None


def _pad_of_constant_pad(node: Node, rewriter: Rewriter) -> Node:
    args = {"self": node.args["self"], "pad": node.args["pad"], "mode": "constant", "value": node.get("value", 0)}
    return rewriter.add(new("pad", args, node))


def _drop_neutral(neutral: float, *, only_second: bool = False) -> Rule:
    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node.get("alpha", 1) != 1 or node.get("rounding_mode") is not None:
            return None
        pairs = [(node.args["self"], node.args["other"])]
        if not only_second:
            pairs.append(pairs[0][::-1])
        for kept, number in pairs:
            is_number = isinstance(number, int | float) and number == neutral
            if is_number and isinstance(kept, Node) and kept.dtype == node.dtype and kept.shape == node.shape:
                return kept
        return None

    return rule


def _inline_numbers(node: Node) -> None:
    """Write a constant of one element as a number, if that changes neither shape nor dtype."""
    for name, other in (("self", "other"), ("other", "self"), ("exponent", "self"), ("self", "exponent")):
        constant, operand = node.get(name), node.get(other)
        if not isinstance(constant, Node) or not isinstance(operand, Node) or operand.shape is None:
            continue
        number = as_number(constant)
        if number is not None and operand.rank >= constant.rank and as_number(operand) is None:
            is_weaker = isinstance(number, bool | int) or (
                operand.dtype is not None and operand.dtype.is_floating_point
            )
            if is_weaker or node.dtype == constant.dtype:
                node.args[name] = number


def as_number(node: Node) -> float | int | bool | None:
    """Return the value of a constant with one element; None for parameters and everything else.

    A float32 is the decimal number with the fewest digits that is stored so.
    """
    if node.op in _FILLED and node.shape is not None and all(size == 1 for size in node.shape):
        value = node.get("fill_value", _FILLED[node.op])
        return value if isinstance(value, bool | int | float) else None
    leaf = node.leaf
    if leaf is None or leaf.is_parameter or leaf.tensor.numel() != 1 or leaf.tensor.is_complex():
        return None
    if leaf.source.rpartition(".")[2].startswith(_CONSTANTS):
        return number_of(leaf.tensor)
    return None


#: Operations that fill a tensor, with the value.
_FILLED = {"zeros": 0.0, "ones": 1.0, "full": None}
#: What the names of constants begin with, given by the engine and by `torch.export`.
_CONSTANTS = ("_constant_", "_tensor_constant", "lifted_tensor", "c_")


def number_of(tensor: torch.Tensor) -> float | int | bool | None:
    """Return the only element of a tensor; None if it is not finite."""
    value: float | int | bool = tensor.reshape(()).item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        if tensor.dtype == torch.float32:
            return shortest(value)
    return value


def shortest(value: float) -> float:
    """Return the decimal number with the fewest digits that is stored as the same float32."""
    import numpy as np

    return float(str(np.float32(value)))


def _permute_of_transpose(node: Node, rewriter: Rewriter) -> Node:
    source: Node = node.args["self"]
    dims = list(range(source.rank))
    first = node.get("dim0", node.get("axis0", 0)) % source.rank
    second = node.get("dim1", node.get("axis1", 0)) % source.rank
    dims[first], dims[second] = dims[second], dims[first]
    return rewriter.add(_permute(source, tuple(dims)))


def _permute_of_t(node: Node, rewriter: Rewriter) -> Node:
    source: Node = node.args["self"]
    return rewriter.add(_permute(source, tuple(reversed(range(source.rank)))))


def _permute_of_matrices(node: Node, rewriter: Rewriter) -> Node | None:
    """Write the transposition of the last two axes, which is the adjoint too unless numbers are complex."""
    source: Node = node.args["self"]
    if node.op == "mH" and (node.dtype is None or node.dtype.is_complex):
        return None
    *batch, first, second = range(source.rank)
    return rewriter.add(_permute(source, (*batch, second, first)))


def _permute_of_movedim(node: Node, rewriter: Rewriter) -> Node:
    source: Node = node.args["self"]
    rank = source.rank
    moved_from = [axis % rank for axis in _as_list(node.args["source"])]
    moved_to = [axis % rank for axis in _as_list(node.args["destination"])]
    rest = iter(axis for axis in range(rank) if axis not in moved_from)
    places = dict(zip(moved_to, moved_from, strict=True))
    return rewriter.add(_permute(source, tuple(places[axis] if axis in places else next(rest) for axis in range(rank))))


def _as_list(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _merge_permutes(node: Node, rewriter: Rewriter) -> Node | None:
    source: Node = node.args["self"]
    dims = [axis % source.rank for axis in node.args["dims"]]
    if dims == list(range(len(dims))):
        return source
    if source.op == "permute":
        inner = source.args["dims"]
        return rewriter.add(_permute(source.args["self"], tuple(inner[axis] for axis in dims)))
    node.args["dims"] = dims
    return None


def _reshape_of_view(node: Node, rewriter: Rewriter) -> Node:
    sizes = node.get("size", node.get("shape"))
    if not isinstance(sizes, list):
        return node  # a view as another dtype
    return rewriter.add(new("reshape", {"self": node.args["self"], "shape": sizes}, node))


def _merge_reshapes(node: Node, rewriter: Rewriter) -> Node | None:
    source: Node = node.args["self"]
    if source.op in ("reshape", "regrid"):
        return rewriter.add(new("reshape", {**node.args, "self": source.args["self"]}, node))
    return None


def _regrid_of_reshape(node: Node, rewriter: Rewriter) -> Node | None:
    """Recognize a reshape that only adds or removes axes of one element."""
    source: Node = node.args["self"]
    assert node.shape is not None and source.shape is not None
    axes = match_ones(source.shape, node.shape)
    return None if axes is None else rewriter.add(new("regrid", {"self": source, "axes": axes}, node))


def _infer_size(node: Node, rewriter: Rewriter) -> Node | None:
    """Leave the only size that is not a number to `reshape`; a size of 0 elsewhere would make it ambiguous."""
    assert node.shape is not None
    sizes = node.args["shape"]
    unknown = [axis for axis, size in enumerate(node.shape) if type(size) is not int]
    if len(unknown) == 1 and sizes[unknown[0]] != -1 and all(size != 0 for size in node.shape if type(size) is int):
        inferred = [size if type(size) is int else -1 for size in node.shape]
        return rewriter.add(new("reshape", {"self": node.args["self"], "shape": inferred}, node))
    return None


def match_ones(before: Shape, after: Shape) -> tuple[int | None, ...] | None:
    """Return the old axis of each new axis, None for a new axis of one element; None if more changes than such axes."""
    kept = [axis for axis, size in enumerate(before) if size != 1]
    if [before[axis] for axis in kept] != [size for size in after if size != 1]:
        return None
    axes: list[int | None] = []
    position = 0
    for size in after:
        if size == 1 and position < len(before) and before[position] == 1:
            axes.append(position)
            position += 1
        elif size == 1:
            axes.append(None)
        else:
            while before[position] == 1:
                position += 1
            axes.append(position)
            position += 1
    return tuple(axes)


def _regrid_of_squeeze(node: Node, rewriter: Rewriter) -> Node:
    source: Node = node.args["self"]
    assert source.shape is not None
    if "dim" in node.args:
        dims = {axis % source.rank for axis in _as_list(node.args["dim"])}
    else:
        dims = set(range(source.rank))
    axes = tuple(axis for axis, size in enumerate(source.shape) if axis not in dims or size != 1)
    return rewriter.add(new("regrid", {"self": source, "axes": axes}, node))


def _regrid_of_unsqueeze(node: Node, rewriter: Rewriter) -> Node:
    source: Node = node.args["self"]
    axes: list[int | None] = list(range(source.rank))
    axes.insert(node.args["dim"] % (source.rank + 1), None)
    return rewriter.add(new("regrid", {"self": source, "axes": tuple(axes)}, node))


def _merge_regrids(node: Node, rewriter: Rewriter) -> Node | None:
    source: Node = node.args["self"]
    axes = node.args["axes"]
    if axes == tuple(range(source.rank)):
        return source
    if source.op == "regrid":
        inner = source.args["axes"]
        merged = tuple(None if axis is None else inner[axis] for axis in axes)
        return rewriter.add(new("regrid", {"self": source.args["self"], "axes": merged}, node))
    return None


def _keep_reduced_axes(node: Node, rewriter: Rewriter) -> Node | None:
    """Recognize a reduction whose axes are added again, as in squeeze and excitation."""
    source: Node = node.args["self"]
    if source.op not in ("mean", "sum", "amax", "amin") or source.get("keepdim") or not rewriter.has_one_user(source):
        return None
    before: Node = source.args["self"]
    if "dim" not in source.args or source.args["dim"] is None:
        return None
    dims = {axis % before.rank for axis in _as_list(source.args["dim"])}
    rest = iter(range(source.rank))
    expected = tuple(None if axis in dims else next(rest) for axis in range(before.rank))
    if node.args["axes"] != expected:
        return None
    return rewriter.add(new(source.op, {**source.args, "keepdim": True}, node))


def _matmul_of_mm(node: Node, rewriter: Rewriter) -> Node:
    return rewriter.add(new("matmul", {"self": node.args["self"], "other": node.args["mat2"]}, node))


def _matmul_without_flattening(node: Node, rewriter: Rewriter) -> Node | None:
    """Give the result's axes to a product of a flattened tensor with a matrix before the product, not after it."""
    product: Node = node.args["self"]
    if product.op != "matmul" or product.rank != 2 or not rewriter.has_one_user(product) or node.shape is None:
        return None
    x, weight = product.args["self"], product.args["other"]
    if (
        weight.leaf is None
        or weight.rank != 2
        or x.op != "reshape"
        or node.rank <= 2
        or node.shape[-1] != weight.shape[1]
    ):
        return None
    shape = (*node.shape[:-1], weight.shape[0])
    sizes = [*node.args["shape"][:-1], weight.shape[0]]
    whole = rewriter.add(new("reshape", {"self": x.args["self"], "shape": sizes}, x, shape))
    return rewriter.add(new("matmul", {"self": whole, "other": weight}, product, node.shape))


def _embedding_of_selection(node: Node, rewriter: Rewriter) -> Node | None:
    """Recognize the choice of rows of a table."""
    table, indices = node.args["self"], node.args["index"]
    if table.leaf is None or not table.leaf.is_parameter or table.rank != 2 or node.args["dim"] not in (0, -2):
        return None
    return rewriter.add(new("embedding", {"weight": table, "indices": _drop_widening(indices)}, node))


def _embedding_without_flattening(node: Node, rewriter: Rewriter) -> Node | None:
    """Recognize rows of a table for indices of any shape, which are chosen for one list of them."""
    rows: Node = node.args["self"]
    if rows.op != "embedding" or not rewriter.has_one_user(rows) or node.shape is None:
        return None
    flat = rows.args["indices"]
    if flat.op != "reshape" or flat.rank != 1:
        return None
    indices: Node = flat.args["self"]
    if indices.shape is None or rows.shape is None or (*indices.shape, rows.shape[-1]) != node.shape:
        return None
    return rewriter.add(new("embedding", {**rows.args, "indices": _drop_widening(indices)}, node))


def _drop_widening(indices: Node) -> Node:
    """Return indices before their conversion from int32 to int64, which an embedding does not need."""
    if indices.op in ("to", "_to_copy") and indices.dtype == torch.int64:
        source: Node = indices.args["self"]
        if source.dtype == torch.int32:
            return source
    return indices


def _clamp_of(bound: str) -> Rule:
    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        for x, limit in ((node.args["self"], node.args["other"]), (node.args["other"], node.args["self"])):
            number = as_number(limit)
            if number is not None and x.shape == node.shape and x.dtype == limit.dtype:
                return rewriter.add(new("clamp", {"self": x, bound: number}, node))
        return None

    return rule


def _clamp_of_hardtanh(node: Node, rewriter: Rewriter) -> Node:
    bounds = {"min": node.get("min_val", -1.0), "max": node.get("max_val", 1.0)}
    return rewriter.add(new("clamp", {"self": node.args["self"], **bounds}, node))
