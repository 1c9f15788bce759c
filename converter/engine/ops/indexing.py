"""Selecting parts of a tensor by position: slices with all their masks, gather, scatter, one-hot, and top-k."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import Array, Tensor, Value, to_dtype, to_int, to_ints, to_tensor, to_tensors
from converter.errors import GraphError

from .shapes import shape_of

Index = int | slice | None


@op("Slice")
def take_slice(call: Call, value: Value, begin: Value, size: Value) -> Value:
    """Cut a box out of a tensor; a size of -1 extends to the end."""
    sizes = shape_of(value)
    index = []
    for axis, (start, length) in enumerate(zip(to_ints(begin), to_ints(size), strict=True)):
        stop = sizes[axis] if length == -1 else start + length
        if type(stop) is int and type(sizes[axis]) is int and not 0 <= start <= stop <= sizes[axis]:
            raise GraphError(f"cannot slice elements {start} to {stop} of axis {axis}, which has size {sizes[axis]}")
        index.append(slice(start, stop))
    return value[tuple(index)] if isinstance(value, np.ndarray) else to_tensor(value, call.dtype)[tuple(index)]


@op("StridedSlice")
def strided_slice(call: Call, value: Value, begin: Value, end: Value, strides: Value) -> Value:
    """Index as in Python's `value[begin:end:stride, …]`; the bits of the masks mark entries with another meaning."""
    index = _to_python_index(call, len(shape_of(value)), to_ints(begin), to_ints(end), to_ints(strides))
    if isinstance(value, np.ndarray):
        return np.asarray(value[tuple(index)])
    return _index_tensor(to_tensor(value, call.dtype), index)


def _to_python_index(call: Call, rank: int, begin: list[int], end: list[int], strides: list[int]) -> list[Index]:
    masks = {name: int(call.get(name, 0)) for name in ("begin_mask", "end_mask", "new_axis_mask", "shrink_axis_mask")}
    ellipsis = int(call.get("ellipsis_mask", 0))
    entries = range(len(begin))
    is_ellipsis = [bool(ellipsis >> entry & 1) for entry in entries]
    if sum(is_ellipsis) > 1:
        raise GraphError("a strided slice has more than one ellipsis")
    is_new = [bool(masks["new_axis_mask"] >> entry & 1) and not is_ellipsis[entry] for entry in entries]
    taken = sum(1 for entry in entries if not is_ellipsis[entry] and not is_new[entry])
    if taken > rank:
        raise GraphError(f"a strided slice of {taken} axes does not fit a tensor with {rank}")
    index: list[Index] = []
    for entry in entries:
        if is_ellipsis[entry]:
            index += [slice(None)] * (rank - taken)
        elif is_new[entry]:
            index.append(None)
        elif masks["shrink_axis_mask"] >> entry & 1:
            index.append(begin[entry])
        elif strides[entry] == 0:
            raise GraphError("a strided slice has a stride of 0")
        else:
            start = None if masks["begin_mask"] >> entry & 1 else begin[entry]
            stop = None if masks["end_mask"] >> entry & 1 else end[entry]
            index.append(_make_slice(start, stop, strides[entry]))
    return index


def _make_slice(start: int | None, stop: int | None, stride: int) -> slice:
    return slice(start, stop, None if stride == 1 else stride)


def _index_tensor(tensor: Tensor, index: Sequence[Index]) -> Tensor:
    """Index a tensor; PyTorch has no negative strides, so these parts are taken forwards and then flipped."""
    forwards: list[Index] = []
    flipped = []
    axis = position = 0  # axis of the tensor, axis of the result
    for part in index:
        if part is None:
            position += 1
            forwards.append(None)
            continue
        if isinstance(part, slice):
            if part.step is not None and part.step < 0:
                steps = range(*part.indices(tensor.shape[axis]))
                part = slice(steps[-1], steps[0] + 1, -part.step) if steps else slice(0, 0)  # noqa: PLW2901
                flipped.append(position)
            position += 1
        forwards.append(part)
        axis += 1
    if any(isinstance(part, int) for part in forwards):
        taken = tensor[tuple(forwards)]
    else:
        taken = tensor[tuple(forwards)] if forwards else tensor
    return taken.flip(flipped) if flipped else taken


@op("Gather")
def gather(call: Call, params: Value, indices: Value) -> Value:
    """Select rows of a tensor by index."""
    return gather_rows(call, params, indices, 0, 0)


@op("GatherV2")
def gather_v2(call: Call, params: Value, indices: Value, axis: Value) -> Value:
    """Select slices of a tensor along an axis by index, for each element of the leading batch dimensions, if any."""
    return gather_rows(call, params, indices, to_int(axis), int(call.get("batch_dims", 0)))


def gather_rows(call: Call, params: Value, indices: Value, axis: int, batch_dims: int) -> Value:
    """Return the slices of `params` along `axis` at `indices`."""
    if isinstance(params, np.ndarray) and isinstance(indices, np.ndarray) and not batch_dims:
        _check_range(indices, params.shape[axis])
        return np.asarray(params.take(indices, axis))
    table, rows = to_tensors(call.dtype, params, indices)
    axis %= table.ndim
    batch_dims = batch_dims + rows.ndim if batch_dims < 0 else batch_dims
    if not batch_dims:
        taken = table.index_select(axis, to_dtype(rows.reshape(-1), torch.int64))
        return taken.reshape([*table.shape[:axis], *rows.shape, *table.shape[axis + 1 :]])
    moved = table.movedim(axis, batch_dims)
    index = [
        torch.arange(table.shape[batch], device=rows.device).reshape(
            [-1 if at == batch else 1 for at in range(rows.ndim)]
        )
        for batch in range(batch_dims)
    ]
    position = (*index, to_dtype(rows, torch.int64))
    taken = moved[position]  # batch…, rows…, the axes between the batch and the axis, the rest
    between = range(rows.ndim, rows.ndim + axis - batch_dims)
    return taken.movedim(tuple(between), tuple(range(batch_dims, axis))) if between else taken


def _check_range(indices: Array, size: int) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < size:
        raise GraphError(f"indices {int(indices.min())} to {int(indices.max())} are out of range for {size} rows")


@op("GatherNd")
def gather_nd(call: Call, params: Value, indices: Value) -> Value:
    """Select slices of a tensor, each by a vector of indices."""
    table, rows = to_tensors(call.dtype, params, indices)
    if rows.shape[-1] == 0:
        return table.expand([*rows.shape[:-1], *table.shape])
    return table[tuple(to_dtype(rows, torch.int64).unbind(-1))]


@op("ScatterNd")
def scatter_nd(call: Call, indices: Value, updates: Value, shape: Value) -> Value:
    """Return zeros with the updates added at their positions."""
    sizes = to_ints(shape)
    call.check_size(sizes)
    rows, new = to_tensors(call.dtype, indices, updates)
    return new.new_zeros(sizes).index_put(tuple(to_dtype(rows, torch.int64).unbind(-1)), new, accumulate=True)


@op("TensorScatterUpdate")
def tensor_scatter_update(call: Call, tensor: Value, indices: Value, updates: Value) -> Value:
    """Return the tensor with the values at some positions replaced."""
    table, rows, new = to_tensors(call.dtype, tensor, indices, updates)
    return table.index_put(tuple(to_dtype(rows, torch.int64).unbind(-1)), new)


@op("TensorScatterAdd", "TensorScatterSub")
def tensor_scatter_add(call: Call, tensor: Value, indices: Value, updates: Value) -> Value:
    """Return the tensor with values added or subtracted at some positions."""
    table, rows, new = to_tensors(call.dtype, tensor, indices, updates)
    new = -new if call.op == "TensorScatterSub" else new
    return table.index_put(tuple(to_dtype(rows, torch.int64).unbind(-1)), new, accumulate=True)


@op("OneHot")
def one_hot(call: Call, indices: Value, depth: Value, on: Value, off: Value) -> Value:
    """Return `on` at each index along a new axis, and `off` everywhere else."""
    rows, yes, no = to_tensors(call.dtype, indices, on, off)
    count, axis = to_int(depth), int(call.get("axis", -1))
    axis = rows.ndim if axis == -1 else axis
    call.check_size([*rows.shape, count])
    numbers = torch.arange(count, device=rows.device).reshape([-1] + [1] * (rows.ndim - axis))
    return torch.where(rows.unsqueeze(axis) == numbers, yes, no)


@op("TopKV2", outputs=("values", "indices"))
def top_k_v2(call: Call, value: Value, k: Value) -> tuple[Value, Value]:
    """Return the largest entries of each row and their indices; among equal entries the first comes first."""
    tensor, count = to_tensor(value, call.dtype), to_int(k)
    if count > tensor.shape[-1]:
        raise GraphError(f"cannot take the largest {count} of {tensor.shape[-1]} entries")
    values, order = tensor.sort(dim=-1, descending=True, stable=True)
    return values[..., :count], to_dtype(order[..., :count], call.torch_dtype("index_type", "int32"))


@op("SegmentSum", "SegmentMean", "SegmentMax", "SegmentMin", "SegmentProd")
def segment(call: Call, data: Value, segments: Value) -> Value:
    """Reduce the rows of each segment; the segment numbers are sorted."""
    rows, numbers = to_tensors(call.dtype, data, segments)
    count = int(numbers[-1]) + 1 if numbers.numel() else 0
    return _reduce_segments(call, rows, numbers, count, empty_is_zero=True)


@op("UnsortedSegmentSum", "UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd")
def unsorted_segment(call: Call, data: Value, segments: Value, number: Value) -> Value:
    """Reduce the rows of each segment; rows with a negative segment number are ignored."""
    rows, numbers = to_tensors(call.dtype, data, segments)
    rows = rows.reshape([-1, *rows.shape[numbers.ndim :]])
    numbers = numbers.reshape(-1)
    return _reduce_segments(call, rows[numbers >= 0], numbers[numbers >= 0], to_int(number), empty_is_zero=False)


def _reduce_segments(call: Call, rows: Tensor, numbers: Tensor, count: int, *, empty_is_zero: bool) -> Tensor:
    shape = [count, *rows.shape[1:]]
    call.check_size(shape)
    kind = next(kind for kind in ("Sum", "Mean", "Max", "Min", "Prod") if call.op.endswith(kind))
    reduction = {"Sum": "sum", "Mean": "mean", "Max": "amax", "Min": "amin", "Prod": "prod"}[kind]
    start: float = 1 if kind == "Prod" else 0
    if kind in ("Max", "Min") and not empty_is_zero:
        limits = torch.finfo(rows.dtype) if rows.is_floating_point() else torch.iinfo(rows.dtype)
        start = limits.min if kind == "Max" else limits.max
    target = rows.new_full(shape, start)
    width = math.prod(rows.shape[1:])
    index = to_dtype(numbers, torch.int64).reshape(-1, 1).expand(-1, width).reshape(rows.shape)
    return target.scatter_reduce(0, index, rows, reduction, include_self=False)
