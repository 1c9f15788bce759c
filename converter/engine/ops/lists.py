"""Lists of tensors, in which loops collect what they make: the TensorList operations."""

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
        raise TypeError(f"a list of tensors is needed here and not a {type(value).__name__}")
    return value


def _read_element_shape(value: Value) -> tuple[int, ...] | None:
    """-1 as a scalar says that nothing is known."""
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 0:
        return None
    return tuple(to_ints(value))


def _check_item(value: Value) -> Tensor | Array:
    if isinstance(value, Tensor | np.ndarray):
        return value
    raise TypeError(f"lists hold tensors and not a {type(value).__name__}")


@op("TensorListReserve", outputs=("handle",))
def reserve(call: Call, element_shape: Value, number: Value) -> Value:
    """A list of elements that are not set yet."""
    count = to_int(number)
    call.check_size([count], 8)
    return TensorList((None,) * count, _read_element_shape(element_shape), call.type_name("element_dtype"))


@op("EmptyTensorList", outputs=("handle",))
def empty_list(call: Call, element_shape: Value, most: Value) -> Value:
    """A list without elements."""
    del most
    return TensorList((), _read_element_shape(element_shape), call.type_name("element_dtype"))


@op("TensorListFromTensor", outputs=("output_handle",))
def from_tensor(call: Call, tensor: Value, element_shape: Value) -> Value:
    """The rows of a tensor."""
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
    """One element; zeros if it was never set."""
    found, at = _check_list(handle), to_int(index)
    if not 0 <= at < len(found.items):
        raise GraphError(f"element {at} of a list of {len(found.items)}")
    item = found.items[at]
    return _zeros(call, found, _read_element_shape(element_shape)) if item is None else item


@op("TensorListSetItem", outputs=("output_handle",))
def set_item(call: Call, handle: Value, index: Value, item: Value) -> Value:
    """The list with another element."""
    found, at = _check_list(handle), to_int(index)
    items = list(found.items)
    if call.flag("resize_if_index_out_of_bounds") and at >= len(items):
        call.check_size([at], 8)
        items += [None] * (at + 1 - len(items))
    if not 0 <= at < len(items):
        raise GraphError(f"element {at} of a list of {len(items)}")
    items[at] = _check_item(item)
    return dataclasses.replace(found, items=tuple(items))


@op("TensorListPushBack", outputs=("output_handle",))
def push_back(call: Call, handle: Value, item: Value) -> Value:
    """The list with one more element."""
    del call
    found = _check_list(handle)
    return dataclasses.replace(found, items=(*found.items, _check_item(item)))


@op("TensorListPopBack", outputs=("output_handle", "tensor"))
def pop_back(call: Call, handle: Value, element_shape: Value) -> tuple[Value, Value]:
    """The list without its last element, and that element."""
    found = _check_list(handle)
    if not found.items:
        raise GraphError("an empty list has no last element")
    item = found.items[-1]
    rest = dataclasses.replace(found, items=found.items[:-1])
    return rest, _zeros(call, found, _read_element_shape(element_shape)) if item is None else item


@op("TensorListLength", outputs=("length",))
def length(call: Call, handle: Value) -> Value:
    """The number of elements."""
    del call
    return np.array(len(_check_list(handle).items), np.int32)


@op("TensorListElementShape", outputs=("element_shape",))
def element_shape_of(call: Call, handle: Value) -> Value:
    """What is known of the elements' shape."""
    del call
    shape = _check_list(handle).element_shape
    return np.array(-1, np.int32) if shape is None else make_shape_array(shape, np.dtype(np.int32))


@op("TensorListStack", outputs=("tensor",))
def stack(call: Call, handle: Value, element_shape: Value) -> Value:
    """All elements as the rows of a tensor."""
    found = _check_list(handle)
    shape = _read_element_shape(element_shape)
    known = next((item for item in found.items if item is not None), None)
    if known is not None:
        shape = tuple(known.shape)
    items = [_zeros(call, found, shape) if item is None else item for item in found.items]
    if not items:
        return _zeros(call, found, (0, *_sizes(shape if shape is not None else found.element_shape)))
    if all(isinstance(item, np.ndarray) for item in items):
        return np.stack([np.asarray(item) for item in items])
    return torch.stack(to_tensors(call.dtype, *items))


def _zeros(call: Call, of: TensorList, shape: tuple[int, ...] | None) -> Tensor:
    shape = of.element_shape if shape is None or -1 in shape else shape
    sizes = _sizes(shape)
    call.check_size(sizes)
    return torch.zeros(sizes, dtype=call.torch_dtype("element_dtype"))


def _sizes(shape: Sequence[int] | None) -> tuple[int, ...]:
    if shape is None or any(type(size) is int and size < 0 for size in shape):
        raise GraphError("an element of the list was never set, and its shape is not known")
    return tuple(shape)
