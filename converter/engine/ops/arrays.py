"""Joining, splitting, repeating, padding and filling tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import (
    Array,
    Value,
    numpy_dtype,
    to_int,
    to_ints,
    to_number,
    to_tensor,
    to_tensors,
    torch_dtype,
)
from converter.errors import GraphError

from .shapes import shape_of


def as_host_arrays(values: Sequence[Value]) -> list[Array] | None:
    """Return the values as host arrays; None if any of them is not on the host."""
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    return arrays if len(arrays) == len(values) else None


def _as_one_type(arrays: Sequence[Array]) -> list[Array]:
    """Convert all arrays to dtype object if any holds symbols of an export."""
    has_symbols = any(array.dtype == object for array in arrays)
    return [array.astype(object) for array in arrays] if has_symbols else list(arrays)


def _concatenate(call: Call, values: Sequence[Value], axis: int) -> Value:
    arrays = as_host_arrays(values)
    if arrays is not None:
        return np.concatenate(_as_one_type(arrays), axis)
    return torch.cat(to_tensors(call.dtype, *values), axis)


@op("ConcatV2")
def concat_v2(call: Call, *inputs: Value) -> Value:
    """Join tensors along an axis, which is the last input."""
    return _concatenate(call, inputs[:-1], to_int(inputs[-1]))


@op("Concat")
def concat(call: Call, *inputs: Value) -> Value:
    """Join tensors along an axis, which is the first input."""
    return _concatenate(call, inputs[1:], to_int(inputs[0]))


@op("Pack")
def pack(call: Call, *values: Value) -> Value:
    """Stack tensors along a new axis."""
    axis = int(call.get("axis", 0))
    arrays = as_host_arrays(values)
    if arrays is not None:
        return np.stack(_as_one_type(arrays), axis)
    return torch.stack(to_tensors(call.dtype, *values), axis)


@op("Unpack")
def unpack(call: Call, value: Value) -> Value | tuple[Value, ...]:
    """Split a tensor along an axis into parts without this axis."""
    axis, number = int(call.get("axis", 0)), int(call.get("num", 0))
    if shape_of(value)[axis] != number:
        raise GraphError(f"cannot unpack axis {axis} of shape {list(shape_of(value))} into {number} parts")
    if isinstance(value, np.ndarray):
        return tuple(np.asarray(part) for part in np.moveaxis(value, axis, 0))
    return to_tensor(value, call.dtype).unbind(axis)


def _split(call: Call, value: Value, sizes: list[int], axis: int) -> tuple[Value, ...]:
    if isinstance(value, np.ndarray):
        return tuple(np.split(value, np.cumsum(sizes)[:-1].tolist(), axis))
    return torch.split(to_tensor(value, call.dtype), sizes, axis)


@op("Split")
def split(call: Call, axis: Value, value: Value) -> Value | tuple[Value, ...]:
    """Split a tensor along an axis into equal parts."""
    at, number = to_int(axis), int(call.get("num_split", 1))
    length = shape_of(value)[at]
    if length % number:
        raise GraphError(f"cannot split axis {at} of size {length} into {number} equal parts")
    return _split(call, value, [length // number] * number, at)


@op("SplitV")
def split_v(call: Call, value: Value, size_splits: Value, axis: Value) -> Value | tuple[Value, ...]:
    """Split a tensor along an axis into parts of given sizes, one of which may be -1."""
    at, sizes = to_int(axis), to_ints(size_splits)
    length = shape_of(value)[at]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = length - sum(number for number in sizes if number != -1)
    if sum(sizes) != length or min(sizes, default=0) < 0:
        raise GraphError(f"cannot split axis {at} of size {length} into parts of sizes {to_ints(size_splits)}")
    return _split(call, value, sizes, at)


@op("Tile")
def tile(call: Call, value: Value, multiples: Value) -> Value:
    """Repeat a tensor along its axes."""
    times = to_ints(multiples)
    call.check_size([size * number for size, number in zip(shape_of(value), times, strict=True)])
    if isinstance(value, np.ndarray):
        return np.tile(value, times)
    return to_tensor(value, call.dtype).tile(times) if times else value


@op("Pad", "PadV2")
def pad(call: Call, value: Value, paddings: Value, constant: Value | None = None) -> Value:
    """Pad every axis with a constant before and after."""
    pairs = _read_pairs(paddings)
    _check_padded_size(call, value, pairs)
    fill = 0 if constant is None else to_number(constant)
    if isinstance(value, np.ndarray):
        return np.pad(value, pairs, constant_values=fill) if pairs else value
    return torch.nn.functional.pad(
        to_tensor(value, call.dtype), [n for pair in reversed(pairs) for n in pair], value=fill
    )


@op("MirrorPad")
def mirror_pad(call: Call, value: Value, paddings: Value) -> Value:
    """Pad with rows mirrored at the border, which is repeated (SYMMETRIC) or not (REFLECT)."""
    pairs = _read_pairs(paddings)
    _check_padded_size(call, value, pairs)
    offset = 0 if call.get("mode") == "SYMMETRIC" else 1
    tensor = to_tensor(value, call.dtype)
    for axis, (before, after) in enumerate(pairs):
        length = tensor.shape[axis]
        if max(before, after) > length - offset:
            raise GraphError(f"cannot mirror {max(before, after)} rows of axis {axis}, which has {length}")
        if before or after:
            rows = [*range(before + offset - 1, offset - 1, -1), *range(length)]
            rows += range(length - 1 - offset, length - 1 - offset - after, -1)
            tensor = tensor.index_select(axis, torch.tensor(rows, device=tensor.device))
    return tensor


def _read_pairs(paddings: Value) -> list[tuple[int, int]]:
    flat = to_ints(paddings)
    if any(type(number) is int and number < 0 for number in flat):
        raise GraphError(f"paddings must not be negative: {flat}")
    return list(zip(flat[::2], flat[1::2], strict=True))


def _check_padded_size(call: Call, value: Value, pairs: list[tuple[int, int]]) -> None:
    call.check_size([size + sum(pair) for size, pair in zip(shape_of(value), pairs, strict=True)])


@op("Fill")
def fill(call: Call, dims: Value, value: Value) -> Value:
    """Return a tensor filled with one value."""
    sizes = to_ints(dims)
    call.check_size(sizes)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iubO" and all(type(size) is int for size in sizes):
        return np.full(sizes, value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.full(sizes, value.item(), dtype=call.dtype)
    return to_tensor(value, call.dtype).reshape(()).expand(sizes)


@op("Range")
def make_range(call: Call, start: Value, limit: Value, delta: Value) -> Value:
    """Return the numbers from `start` to `limit`, exclusive, in steps of `delta`."""
    kind = call.type_name("Tidx", "int32")
    first, last, step = map(to_number, (start, limit, delta))
    if type(step) in (int, float) and step == 0:
        raise GraphError("the step of a range must not be 0")
    if any(type(number) not in (int, float) for number in (first, last, step)):
        return to_tensor(torch.arange(first, last, step, dtype=torch_dtype(kind, call.dtype)), call.dtype)
    call.check_size([max(0, int((last - first) / step))])
    if kind.startswith("int"):
        return np.arange(int(first), int(last), int(step)).astype(numpy_dtype(kind, call.dtype))
    count = max(0, int(np.ceil(np.float64(last - first) / np.float64(step))))
    return to_tensor(first + torch.arange(count, dtype=call.dtype) * step, call.dtype)


@op("LinSpace")
def linspace(call: Call, start: Value, stop: Value, number: Value) -> Value:
    """Return evenly spaced numbers from `start` to `stop`, inclusive."""
    first, last, count = to_tensor(start, call.dtype), to_tensor(stop, call.dtype), to_int(number)
    call.check_size([count])
    if count == 1:
        return first.reshape(1)
    steps = torch.arange(count - 1, dtype=call.dtype) * ((last - first) / (count - 1)) + first
    return torch.cat([steps, last.reshape(1)])


@op("ReverseV2")
def reverse_v2(call: Call, tensor: Value, axis: Value) -> Value:
    """Reverse the order along the given axes."""
    axes = to_ints(axis)
    return np.flip(tensor, tuple(axes)) if isinstance(tensor, np.ndarray) else to_tensor(tensor, call.dtype).flip(axes)


@op("Reverse")
def reverse(call: Call, tensor: Value, dims: Value) -> Value:
    """Reverse the order along each axis whose flag is true."""
    marked = to_tensor(dims, call.dtype).tolist()
    return to_tensor(tensor, call.dtype).flip([axis for axis, is_marked in enumerate(marked) if is_marked])


@op("Roll")
def roll(call: Call, value: Value, shift: Value, axis: Value) -> Value:
    """Shift elements along axes; those that leave at one end enter at the other."""
    axes, shifts = to_ints(axis), to_ints(shift)
    totals: dict[int, int] = {}
    for at, by in zip(axes, shifts, strict=True):
        totals[at] = totals.get(at, 0) + by
    return to_tensor(value, call.dtype).roll(list(totals.values()), list(totals))


@op("ReverseSequence")
def reverse_sequence(call: Call, value: Value, lengths: Value) -> Value:
    """Reverse the first rows of each element of the batch; `lengths` is their number."""
    tensor, count = to_tensors(call.dtype, value, lengths)
    along, batch = int(call.get("seq_dim", 0)), int(call.get("batch_dim", 0))
    steps = torch.arange(tensor.shape[along], device=tensor.device)
    order = torch.where(steps < count[:, None], count[:, None] - 1 - steps, steps)  # batch, sequence
    moved = tensor.movedim((batch, along), (0, 1))
    rows = torch.arange(moved.shape[0], device=tensor.device)[:, None]
    return moved[rows, order].movedim((0, 1), (batch, along))


@op("DynamicStitch", "ParallelDynamicStitch", outputs=("merged",))
def dynamic_stitch(call: Call, *inputs: Value) -> Value:
    """Place rows at the positions given by the indices; a later row replaces an earlier one."""
    half = len(inputs) // 2
    pairs = list(zip(inputs[:half], inputs[half:], strict=True))
    arrays = as_host_arrays([data for _, data in pairs])
    positions = [to_ints(index) for index, _ in pairs]
    count = 1 + max((max(rows, default=-1) for rows in positions), default=-1)
    trailing = shape_of(pairs[0][1])[len(shape_of(pairs[0][0])) :]
    call.check_size([count, *trailing])
    if arrays is not None:
        joined = _as_one_type(arrays)
        merged = np.zeros((count, *trailing), joined[0].dtype)
        for rows, array in zip(positions, joined, strict=True):
            merged[rows] = array.reshape(-1, *trailing)
        return merged
    tensors = to_tensors(call.dtype, *inputs[half:])
    result = tensors[0].new_zeros((count, *trailing))
    for rows, tensor in zip(positions, tensors, strict=True):
        result[rows] = tensor.reshape(-1, *trailing)
    return result


@op("DynamicPartition", outputs=("outputs",))
def dynamic_partition(call: Call, data: Value, partitions: Value) -> Value | tuple[Value, ...]:
    """Return the rows of each partition, in order."""
    rows, owners = to_tensors(call.dtype, data, partitions)
    count = int(call.get("num_partitions", 1))
    call.check_size([count], 8)
    if owners.numel() and not 0 <= int(owners.min()) <= int(owners.max()) < count:
        raise GraphError(f"a partition is not one of {count}")
    return tuple(rows[owners == number] for number in range(count))


@op("Unique", outputs=("y", "idx"))
def unique(call: Call, x: Value) -> tuple[Value, Value]:
    """Return the unique elements in the order of their first occurrence, and for each element its index among them."""
    array = x if isinstance(x, np.ndarray) else to_tensor(x, call.dtype).detach().cpu().numpy()
    _, first, inverse = np.unique(array, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    elements = array[first[order]]
    index = np.argsort(order, kind="stable")[inverse].astype(
        numpy_dtype(call.type_name("out_idx", "int32"), call.dtype)
    )
    return (elements if isinstance(x, np.ndarray) else torch.from_numpy(elements)), index


@op("ConcatOffset", outputs=("offset",))
def concat_offset(call: Call, axis: Value, *shapes: Value) -> Value | tuple[Value, ...]:
    """Return the offset of each tensor in the result of joining tensors of these shapes."""
    at = to_int(axis)
    sizes = [0, *(to_ints(shape)[at] for shape in shapes)]
    starts = np.cumsum(sizes)[:-1]
    offsets = []
    for shape, start in zip(shapes, starts, strict=True):
        offset = np.zeros(len(to_ints(shape)), np.int32)
        offset[at] = start
        offsets.append(offset)
    return tuple(offsets)
