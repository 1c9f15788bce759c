"""The tensor arrays of TensorFlow 1, in which loops collect their results.

TensorFlow changes an array in place, and a flow, a number without a meaning, orders the changes.
Here nothing changes: the flow is the list of tensors itself, so that the order of changes is that of the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import (
    Array,
    Tensor,
    TensorList,
    Value,
    to_int,
    to_ints,
    to_tensor,
    to_tensors,
    torch_dtype,
)
from converter.errors import GraphError

from .shapes import shape_of


def _check_flow(value: Value) -> TensorList:
    if not isinstance(value, TensorList):
        raise TypeError(f"expected the flow of a tensor array, not a {type(value).__name__}")
    return value


def _check_item(value: Value) -> Tensor | Array:
    if isinstance(value, Tensor | np.ndarray):
        return value
    raise TypeError(f"an element of an array must be a tensor, not a {type(value).__name__}")


@op("TensorArrayV3", outputs=("handle", "flow"))
def make_array(call: Call, size: Value) -> tuple[Value, Value]:
    """Return an array of elements that are not set yet, as the handle and as the flow."""
    count = to_int(size)
    call.check_size([count], 8)
    shape = call.get("element_shape")
    array = TensorList((None,) * count, shape if isinstance(shape, tuple) else None, call.type_name("dtype"))
    return array, array


def _place(call: Call, array: TensorList, positions: Sequence[int], values: Sequence[Value]) -> TensorList:
    """Return the array with some elements set; it grows if needed, as arrays of dynamic size do."""
    items = list(array.items)
    if positions and min(positions) < 0:
        raise GraphError(f"element {min(positions)} of an array does not exist")
    length = max(positions, default=-1) + 1
    if length > len(items):
        call.check_size([length], 8)
        items += [None] * (length - len(items))
    for position, value in zip(positions, values, strict=True):
        items[position] = _check_item(value)
    return dataclasses.replace(array, items=tuple(items))


@op("TensorArrayWriteV3", outputs=("flow_out",))
def write(call: Call, handle: Value, index: Value, value: Value, flow: Value) -> Value:
    """Return the array with one element set."""
    del handle
    return _place(call, _check_flow(flow), [to_int(index)], [value])


@op("TensorArrayScatterV3", outputs=("flow_out",))
def scatter(call: Call, handle: Value, indices: Value, value: Value, flow: Value) -> Value:
    """Return the array with the rows of a tensor as elements at some positions."""
    del handle
    return _place(call, _check_flow(flow), to_ints(indices), _unstack(call, value))


@op("TensorArraySplitV3", outputs=("flow_out",))
def split(call: Call, handle: Value, value: Value, lengths: Value, flow: Value) -> Value:
    """Return the array with consecutive parts of a tensor as elements."""
    del handle
    sizes = to_ints(lengths)
    if sum(sizes) != shape_of(value)[0]:
        raise GraphError(f"cannot split {shape_of(value)[0]} rows into parts of {sizes}")
    parts = torch.split(to_tensor(value, call.dtype), sizes)
    return _place(call, _check_flow(flow), range(len(sizes)), parts)


@op("TensorArrayReadV3", outputs=("value",))
def read(call: Call, handle: Value, index: Value, flow: Value) -> Value:
    """Return one element."""
    del handle
    array, at = _check_flow(flow), to_int(index)
    if not 0 <= at < len(array.items):
        raise GraphError(f"element {at} does not exist in an array of {len(array.items)}")
    item = array.items[at]
    return _make_zeros(call, array) if item is None else item


@op("TensorArrayGatherV3", outputs=("value",))
def gather(call: Call, handle: Value, indices: Value, flow: Value) -> Value:
    """Stack some elements as the rows of a tensor."""
    array = _check_flow(flow)
    positions = to_ints(indices)
    if positions and not 0 <= min(positions) <= max(positions) < len(array.items):
        raise GraphError(f"elements {positions} do not all exist in an array of {len(array.items)}")
    items = [array.items[position] for position in positions]
    if not items:
        return _make_zeros(call, array, rows=(0,))
    rows = [_make_zeros(call, array, like=items) if item is None else item for item in items]
    if all(isinstance(row, np.ndarray) for row in rows):
        return np.stack([np.asarray(row) for row in rows])
    return torch.stack(to_tensors(call.dtype, *rows))


@op("TensorArrayConcatV3", outputs=("value", "lengths"))
def concat(call: Call, handle: Value, flow: Value) -> tuple[Value, Value]:
    """Join all elements along their first axis, and return the number of rows of each."""
    del handle
    array = _check_flow(flow)
    items = [_make_zeros(call, array) if item is None else item for item in array.items]
    lengths = np.array([shape_of(item)[0] for item in items], np.int64)
    if not items:
        return _make_zeros(call, array), lengths
    return torch.cat(to_tensors(call.dtype, *items)), lengths


@op("TensorArraySizeV3", outputs=("size",))
def size_of(call: Call, handle: Value, flow: Value) -> Value:
    """Return the number of elements."""
    del call, handle
    return np.array(len(_check_flow(flow).items), np.int32)


def _unstack(call: Call, value: Value) -> Sequence[Value]:
    if isinstance(value, np.ndarray):
        return [np.asarray(row) for row in value]
    return to_tensor(value, call.dtype).unbind(0)


def _make_zeros(
    call: Call, array: TensorList, *, rows: tuple[int, ...] = (), like: Sequence[Value | None] = ()
) -> Tensor:
    """Return zeros in the place of elements that were never set; their shape must be known."""
    known = next((shape_of(item) for item in like if item is not None), array.element_shape)
    if known is None or any(type(size) is int and size < 0 for size in known):
        if not rows:
            raise GraphError("an element of the array was never set, and its shape is unknown")
        known = tuple(max(size, 0) if type(size) is int else size for size in known or ())
    call.check_size([*rows, *known])
    return torch.zeros([*rows, *known], dtype=torch_dtype(array.element_dtype, call.dtype))
