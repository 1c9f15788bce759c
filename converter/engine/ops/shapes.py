"""Shapes of tensors, and the operations that only change them."""

from __future__ import annotations

import math

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import (
    Array,
    Tensor,
    Value,
    make_shape_array,
    numpy_dtype,
    to_array,
    to_int,
    to_ints,
    to_tensor,
)
from converter.errors import GraphError


def shape_of(value: Value) -> tuple[int, ...]:
    """Return the dimensions of a tensor or host array."""
    if isinstance(value, Tensor | np.ndarray):
        return tuple(value.shape)
    raise TypeError(f"expected a tensor, not a {type(value).__name__}")


@op("Shape")
def shape(call: Call, value: Value) -> Value:
    """Return the dimensions as a host array."""
    return make_shape_array(shape_of(value), numpy_dtype(call.type_name("out_type", "int32"), call.dtype))


@op("ShapeN")
def shape_n(call: Call, *values: Value) -> Value | tuple[Value, ...]:
    """Return the dimensions of each input."""
    return tuple(shape(call, value) for value in values)


@op("Size")
def size(call: Call, value: Value) -> Value:
    """Return the number of elements."""
    count = make_shape_array([math.prod(shape_of(value))], numpy_dtype(call.type_name("out_type", "int32"), call.dtype))
    return count.reshape(())


@op("Rank")
def rank(call: Call, value: Value) -> Value:
    """Return the number of dimensions."""
    return np.array(len(shape_of(value)), np.int32)


@op("Reshape")
def reshape(call: Call, tensor: Value, new_shape: Value) -> Value:
    """Return the elements in a new shape; one dimension may be -1."""
    sizes = to_ints(new_shape)
    if isinstance(tensor, np.ndarray):
        return tensor.reshape(sizes)
    tensor = to_tensor(tensor, call.dtype)
    if -1 in sizes and 0 in sizes:
        # PyTorch cannot infer a dimension if another one is 0.
        rest = math.prod(number for number in sizes if number != -1)
        if rest == 0 and tensor.numel() == 0:
            sizes = [0 if number == -1 else number for number in sizes]
    return tensor.reshape(sizes)


@op("ExpandDims")
def expand_dims(call: Call, tensor: Value, axis: Value) -> Value:
    """Insert a dimension of 1 at `axis`."""
    at = to_int(axis)
    return np.expand_dims(tensor, at) if isinstance(tensor, np.ndarray) else to_tensor(tensor, call.dtype).unsqueeze(at)


@op("Squeeze")
def squeeze(call: Call, tensor: Value) -> Value:
    """Remove dimensions of 1: the given ones, or all of them."""
    sizes = shape_of(tensor)
    named = call.integers("squeeze_dims") or call.integers("axis")
    axes = {axis % len(sizes) for axis in named} if named else {i for i, number in enumerate(sizes) if number == 1}
    wrong = sorted(axis for axis in axes if sizes[axis] != 1)
    if wrong:
        raise GraphError(f"cannot squeeze axis {wrong[0]} of shape {list(sizes)}: its size is {sizes[wrong[0]]}, not 1")
    kept = [number for axis, number in enumerate(sizes) if axis not in axes]
    return tensor.reshape(kept) if isinstance(tensor, np.ndarray) else to_tensor(tensor, call.dtype).reshape(kept)


@op("Transpose", outputs=("y",))
def transpose(call: Call, x: Value, permutation: Value) -> Value:
    """Return a view with the axes in another order."""
    axes = to_ints(permutation)
    return np.transpose(x, axes) if isinstance(x, np.ndarray) else to_tensor(x, call.dtype).permute(axes)


@op("InvertPermutation", outputs=("y",))
def invert_permutation(call: Call, x: Value) -> Value:
    """Return the inverse of a permutation."""
    permutation = to_array(x)
    return np.argsort(permutation, kind="stable").astype(permutation.dtype)


@op("BroadcastTo")
def broadcast_to(call: Call, tensor: Value, new_shape: Value) -> Value:
    """Return a view with dimensions of 1 repeated."""
    sizes = to_ints(new_shape)
    call.check_size(sizes)
    if isinstance(tensor, np.ndarray) and all(type(number) is int for number in sizes):
        return np.broadcast_to(tensor, sizes)
    return to_tensor(tensor, call.dtype).broadcast_to(sizes)


@op("BroadcastArgs", outputs=("r0",))
def broadcast_args(call: Call, first: Value, second: Value) -> Value:
    """Return the shape that two shapes broadcast to."""
    left, right = to_ints(first), to_ints(second)
    width = max(len(left), len(right))
    pairs = zip([1] * (width - len(left)) + left, [1] * (width - len(right)) + right, strict=True)
    sizes = []
    for first_size, second_size in pairs:
        if first_size not in (1, second_size) and second_size != 1:
            raise GraphError(f"shapes {left} and {right} do not broadcast")
        sizes.append(second_size if first_size == 1 else first_size)
    return make_shape_array(sizes, numpy_dtype(call.type_name("T", "int32"), call.dtype))


@op("EnsureShape")
def ensure_shape(call: Call, tensor: Value) -> Value:
    """Return the tensor after checking that it has the shape in the node's attribute."""
    expected, actual = call.get("shape"), shape_of(tensor)
    if expected is not None and (
        len(expected) != len(actual) or any(size not in (-1, has) for size, has in zip(expected, actual, strict=True))
    ):
        raise GraphError(f"the tensor has shape {list(actual)}, expected {list(expected)}")
    return tensor


@op("ZerosLike", "OnesLike", outputs=("y",))
def constant_like(call: Call, x: Value) -> Value:
    """Return zeros or ones with the shape and dtype of a tensor."""
    if isinstance(x, np.ndarray):
        array: Array = np.zeros_like(x) if call.op == "ZerosLike" else np.ones_like(x)
        return array
    tensor = to_tensor(x, call.dtype)
    return torch.zeros_like(tensor) if call.op == "ZerosLike" else torch.ones_like(tensor)
