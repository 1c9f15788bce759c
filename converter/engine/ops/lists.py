"""The TensorList operations: lists of tensors, in which loops collect their results."""

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
    make_shape_array,
    to_int,
    to_ints,
    to_tensor,
    to_tensors,
)
from converter.errors import GraphError


def _check_list(value: Value) -> TensorList:
    if not isinstance(value, TensorList):
        raise TypeError(f"expected a list of tensors, not a {type(value).__name__}")
    return value


def _read_element_shape(value: Value) -> tuple[int, ...] | None:
    """Return the shape of the elements; None for the scalar -1, which means an unknown rank."""
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 0:
        return None
    return tuple(to_ints(value))


def _list_tensors(elements: TensorList) -> list[Tensor | Array | None]:
    """Return the elements, which must not be lists themselves."""
    return [None if item is None else _check_item(item) for item in elements.items]


def _check_item(value: Value) -> Tensor | Array:
    if isinstance(value, Tensor | np.ndarray):
        return value
    raise TypeError(f"an element of a list must be a tensor, not a {type(value).__name__}")


@op("TensorListReserve", outputs=("handle",))
def reserve(call: Call, element_shape: Value, number: Value) -> Value:
    """Return a list of elements that are not set yet."""
    count = to_int(number)
    call.check_size([count], 8)
    return TensorList((None,) * count, _read_element_shape(element_shape), call.type_name("element_dtype"))


@op("EmptyTensorList", outputs=("handle",))
def empty_list(call: Call, element_shape: Value, max_num_elements: Value) -> Value:
    """Return a list without elements."""
    del max_num_elements
    return TensorList((), _read_element_shape(element_shape), call.type_name("element_dtype"))


@op("TensorListFromTensor", outputs=("output_handle",))
def from_tensor(call: Call, tensor: Value, element_shape: Value) -> Value:
    """Return the rows of a tensor as a list."""
    rows: Sequence[Value]
    if isinstance(tensor, np.ndarray):
        rows = [np.asarray(row) for row in tensor]
    else:
        rows = to_tensor(tensor, call.dtype).unbind(0)
    return TensorList(
        tuple(_check_item(row) for row in rows), _read_element_shape(element_shape), call.type_name("element_dtype")
    )


@op("TensorListGetItem", outputs=("item",))
def get_item(call: Call, handle: Value, index: Value, element_shape: Value) -> Value:
    """Return one element; zeros if it was never set."""
    elements, at = _check_list(handle), to_int(index)
    if not 0 <= at < len(elements.items):
        raise GraphError(f"element {at} does not exist in a list of {len(elements.items)}")
    item = elements.items[at]
    return _make_zeros(call, elements, _read_element_shape(element_shape)) if item is None else item


@op("TensorListSetItem", outputs=("output_handle",))
def set_item(call: Call, handle: Value, index: Value, item: Value) -> Value:
    """Return the list with one element replaced."""
    elements, at = _check_list(handle), to_int(index)
    items = list(elements.items)
    if call.flag("resize_if_index_out_of_bounds") and at >= len(items):
        call.check_size([at], 8)
        items += [None] * (at + 1 - len(items))
    if not 0 <= at < len(items):
        raise GraphError(f"element {at} does not exist in a list of {len(items)}")
    items[at] = _check_item(item)
    return dataclasses.replace(elements, items=tuple(items))


@op("TensorListPushBack", outputs=("output_handle",))
def push_back(call: Call, handle: Value, item: Value) -> Value:
    """Return the list with one more element, which may be a list: loops keep theirs for the gradient."""
    del call
    elements = _check_list(handle)
    element = item if isinstance(item, TensorList) else _check_item(item)
    return dataclasses.replace(elements, items=(*elements.items, element))


@op("TensorListPopBack", outputs=("output_handle", "tensor"))
def pop_back(call: Call, handle: Value, element_shape: Value) -> tuple[Value, Value]:
    """Return the list without its last element, and that element."""
    elements = _check_list(handle)
    if not elements.items:
        raise GraphError("an empty list has no last element")
    item = elements.items[-1]
    rest = dataclasses.replace(elements, items=elements.items[:-1])
    return rest, _make_zeros(call, elements, _read_element_shape(element_shape)) if item is None else item


@op("TensorListLength", outputs=("length",))
def length(call: Call, handle: Value) -> Value:
    """Return the number of elements."""
    del call
    return np.array(len(_check_list(handle).items), np.int32)


@op("TensorListElementShape", outputs=("element_shape",))
def element_shape_of(call: Call, handle: Value) -> Value:
    """Return the shape of the elements; the scalar -1 if it is unknown."""
    del call
    shape = _check_list(handle).element_shape
    return np.array(-1, np.int32) if shape is None else make_shape_array(shape, np.dtype(np.int32))


@op("TensorListStack", outputs=("tensor",))
def stack(call: Call, handle: Value, element_shape: Value) -> Value:
    """Stack all elements as the rows of a tensor."""
    elements = _check_list(handle)
    shape = _read_element_shape(element_shape)
    tensors = _list_tensors(elements)
    first = next((item for item in tensors if item is not None), None)
    if first is not None:
        shape = tuple(first.shape)
    items = [_make_zeros(call, elements, shape) if item is None else item for item in tensors]
    if not items:
        return _make_zeros(call, elements, (0, *_check_sizes(shape if shape is not None else elements.element_shape)))
    if all(isinstance(item, np.ndarray) for item in items):
        return np.stack([np.asarray(item) for item in items])
    return torch.stack(to_tensors(call.dtype, *items))


def _make_zeros(call: Call, elements: TensorList, shape: tuple[int, ...] | None) -> Tensor:
    shape = elements.element_shape if shape is None or -1 in shape else shape
    sizes = _check_sizes(shape)
    call.check_size(sizes)
    return torch.zeros(sizes, dtype=call.torch_dtype("element_dtype"))


def _check_sizes(shape: Sequence[int] | None) -> tuple[int, ...]:
    if shape is None or any(type(size) is int and size < 0 for size in shape):
        raise GraphError("an element of the list was never set, and its shape is unknown")
    return tuple(shape)


@op("TensorListConcat", "TensorListConcatV2", outputs=("tensor", "lengths"))
def concat(call: Call, handle: Value, *shapes: Value) -> tuple[Value, Value]:
    """Join all elements along their first axis, and return the number of rows of each."""
    elements = _check_list(handle)
    tensors = _list_tensors(elements)
    first = next((tuple(item.shape) for item in tensors if item is not None), None)
    shape = first or (_read_element_shape(shapes[0]) if shapes else call.get("element_shape"))
    items = [_make_zeros(call, elements, shape) if item is None else item for item in tensors]
    lengths = np.array([item.shape[0] for item in items], np.int64)
    if not items:
        known = shape if shape is not None else elements.element_shape
        return _make_zeros(call, elements, (0, *_check_sizes(None if known is None else known[1:]))), lengths
    return torch.cat(to_tensors(call.dtype, *items)), lengths


@op("TensorListGather", outputs=("values",))
def gather(call: Call, handle: Value, indices: Value, element_shape: Value) -> Value:
    """Stack some elements as the rows of a tensor."""
    elements = _check_list(handle)
    positions = to_ints(indices)
    if positions and not 0 <= min(positions) <= max(positions) < len(elements.items):
        raise GraphError(f"elements {positions} do not all exist in a list of {len(elements.items)}")
    chosen = dataclasses.replace(elements, items=tuple(elements.items[position] for position in positions))
    stacked: Value = stack(call, chosen, element_shape)
    return stacked


def _place(call: Call, elements: TensorList, tensor: Value, positions: Sequence[int]) -> TensorList:
    rows: Sequence[Value]
    if isinstance(tensor, np.ndarray):
        rows = [np.asarray(row) for row in tensor]
    else:
        rows = to_tensor(tensor, call.dtype).unbind(0)
    items = list(elements.items)
    if positions and min(positions) < 0:
        raise GraphError(f"element {min(positions)} of a list does not exist")
    length = max(positions, default=-1) + 1
    call.check_size([length], 8)
    items += [None] * (length - len(items))
    for position, row in zip(positions, rows, strict=True):
        items[position] = _check_item(row)
    return dataclasses.replace(elements, items=tuple(items))


@op("TensorListScatter", "TensorListScatterV2", outputs=("output_handle",))
def scatter(call: Call, tensor: Value, indices: Value, element_shape: Value, *number: Value) -> Value:
    """Return a list with the rows of a tensor at some positions."""
    count = max(to_int(number[0]), 0) if number else 0
    call.check_size([count], 8)
    empty = TensorList((None,) * count, _read_element_shape(element_shape), call.type_name("element_dtype"))
    return _place(call, empty, tensor, to_ints(indices))


@op("TensorListScatterIntoExistingList", outputs=("output_handle",))
def scatter_into(call: Call, handle: Value, tensor: Value, indices: Value) -> Value:
    """Return the list with the rows of a tensor at some positions."""
    return _place(call, _check_list(handle), tensor, to_ints(indices))


@op("TensorListResize", outputs=("output_handle",))
def resize(call: Call, handle: Value, size: Value) -> Value:
    """Return the list with another number of elements; new ones are not set."""
    elements, count = _check_list(handle), to_int(size)
    call.check_size([count], 8)
    items = elements.items[:count]
    return dataclasses.replace(elements, items=(*items, *[None] * (count - len(items))))


@op("TensorListSplit", outputs=("output_handle",))
def split(call: Call, tensor: Value, element_shape: Value, lengths: Value) -> Value:
    """Return consecutive parts of a tensor as a list."""
    parts = torch.split(to_tensor(tensor, call.dtype), to_ints(lengths))
    return TensorList(tuple(parts), _read_element_shape(element_shape), call.type_name("element_dtype"))


@op("TensorListConcatLists", outputs=("output",))
def concat_lists(call: Call, first: Value, second: Value) -> Value:
    """Return the elements of two lists as one."""
    del call
    elements = _check_list(first)
    return dataclasses.replace(elements, items=elements.items + _check_list(second).items)
