"""Reductions along axes: sums, means, extremes and their positions; and cumulative sums and products."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import Array, Tensor, Value, to_dtype, to_int, to_ints, to_tensor
from converter.errors import GraphError

Reduction = Callable[[Tensor, list[int], bool], Tensor]
HostReduction = Callable[[Array, tuple[int, ...], bool], object]


def _reduction(name: str, on_tensor: Reduction, on_host: HostReduction | None = None) -> None:
    def kernel(call: Call, value: Value, axes: Value) -> Value:
        keep = call.flag("keep_dims")
        if on_host is not None and isinstance(value, np.ndarray):
            along = tuple(sorted({_check_axis(axis, value.ndim) for axis in to_ints(axes)}))
            result = np.asarray(on_host(value, along, keep)) if along else value
            return result if object in (result.dtype, value.dtype) else result.astype(value.dtype, copy=False)
        tensor = to_tensor(value, call.dtype)
        chosen = sorted({_check_axis(axis, tensor.ndim) for axis in to_ints(axes)})
        # Without axes TensorFlow reduces nothing, but PyTorch would reduce all of them.
        reduced = to_dtype(on_tensor(tensor, chosen, keep), tensor.dtype) if chosen else tensor
        return reduced.abs() if name == "EuclideanNorm" else reduced

    op(name)(kernel)


def _check_axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} is out of range for a tensor with {rank} axes")
    return axis % rank


def _mean(tensor: Tensor, axes: list[int], keep: bool) -> Tensor:
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.mean(axes, keep)
    count = math.prod(tensor.shape[axis] for axis in axes)
    return torch.div(tensor.sum(axes, keep), count, rounding_mode="trunc")


def _sum_dtype(tensor: Tensor) -> torch.dtype | None:
    """Return the dtype in which integers are added: their own, as in TensorFlow; None for other tensors."""
    return None if tensor.is_floating_point() or tensor.is_complex() else tensor.dtype


def _one_by_one(function: Callable[[Tensor, int, bool], Tensor]) -> Reduction:
    """Reduce the axes one by one, starting with the last, for functions that accept a single axis."""

    def reduce(tensor: Tensor, axes: list[int], keep: bool) -> Tensor:
        for axis in reversed(axes):
            tensor = function(tensor, axis, keep)
        return tensor

    return reduce


def _extreme(function: Callable[[Tensor, list[int], bool], Tensor], *, largest: bool) -> Reduction:
    """Reduce to the largest or smallest; for no elements return the identity of the reduction, as TensorFlow does."""

    def reduce(tensor: Tensor, axes: list[int], keep: bool) -> Tensor:
        if all(tensor.shape[axis] for axis in axes):
            return function(tensor, axes, keep)
        shape = [1 if axis in axes else size for axis, size in enumerate(tensor.shape) if keep or axis not in axes]
        if tensor.is_floating_point():
            return tensor.new_full(shape, -math.inf if largest else math.inf)
        limits = torch.iinfo(tensor.dtype)
        return tensor.new_full(shape, limits.min if largest else limits.max)

    return reduce


_reduction(
    "All", _one_by_one(lambda x, axis, keep: x.all(axis, keep)), lambda x, axes, keep: x.all(axes, keepdims=keep)
)
_reduction(
    "Any", _one_by_one(lambda x, axis, keep: x.any(axis, keep)), lambda x, axes, keep: x.any(axes, keepdims=keep)
)
_reduction("EuclideanNorm", lambda x, axes, keep: torch.sqrt(torch.square(x).sum(axes, keep)))
_reduction(
    "Max",
    _extreme(lambda x, axes, keep: x.amax(axes, keep), largest=True),
    lambda x, axes, keep: x.max(axes, keepdims=keep),
)
_reduction("Mean", _mean)
_reduction(
    "Min",
    _extreme(lambda x, axes, keep: x.amin(axes, keep), largest=False),
    lambda x, axes, keep: x.min(axes, keepdims=keep),
)
_reduction(
    "Prod",
    _one_by_one(lambda x, axis, keep: x.prod(axis, keep, dtype=_sum_dtype(x))),
    lambda x, axes, keep: x.prod(axes, keepdims=keep),
)
_reduction(
    "Sum",
    lambda x, axes, keep: x.sum(axes, keep, dtype=_sum_dtype(x)),
    lambda x, axes, keep: x.sum(axes, keepdims=keep),
)


@op("ArgMax", "ArgMin")
def extreme_position(call: Call, value: Value, axis: Value) -> Value:
    """Return the index of the largest or smallest entry; the first one if several are equal."""
    tensor = to_tensor(value, call.dtype)
    if tensor.dtype == torch.bool:
        tensor = tensor.to(torch.uint8)
    function = torch.argmax if call.op == "ArgMax" else torch.argmin
    return to_dtype(function(tensor, to_int(axis)), call.torch_dtype("output_type", "int64"))


@op("Cumsum", "Cumprod", outputs=("out",))
def cumulative(call: Call, value: Value, axis: Value) -> Value:
    """Return cumulative sums or products, from the end if `reverse`, without the element itself if `exclusive`."""
    tensor, along = to_tensor(value, call.dtype), to_int(axis)
    is_sum, is_reversed = call.op == "Cumsum", call.flag("reverse")
    tensor = tensor.flip(along) if is_reversed else tensor
    if call.flag("exclusive") and tensor.shape[along]:
        start = torch.full_like(tensor.narrow(along, 0, 1), 0 if is_sum else 1)
        tensor = torch.cat([start, tensor.narrow(along, 0, tensor.shape[along] - 1)], along)
    total = tensor.cumsum(along, dtype=tensor.dtype) if is_sum else tensor.cumprod(along, dtype=tensor.dtype)
    return total.flip(along) if is_reversed else total
