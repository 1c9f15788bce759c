"""What a tensor's shape is, and the same elements in another shape."""

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
    """The dimensions of a tensor, wherever it lives."""
    if isinstance(value, Tensor | np.ndarray):
        return tuple(value.shape)
    raise TypeError(f"a tensor is needed here and not a {type(value).__name__}")


@op("Shape")
def shape(call: Call, value: Value) -> Value:
    """The dimensions, on the host."""
    return make_shape_array(shape_of(value), numpy_dtype(call.type_name("out_type", "int32"), call.dtype))


@op("ShapeN")
def shape_n(call: Call, *values: Value) -> Value | tuple[Value, ...]:
    """The dimensions of each input."""
    return tuple(shape(call, value) for value in values)


@op("Size")
def size(call: Call, value: Value) -> Value:
    """The number of elements."""
    count = make_shape_array([math.prod(shape_of(value))], numpy_dtype(call.type_name("out_type", "int32"), call.dtype))
    return count.reshape(())


@op("Rank")
def rank(call: Call, value: Value) -> Value:
    """The number of dimensions."""
    return np.array(len(shape_of(value)), np.int32)


@op("Reshape")
def reshape(call: Call, tensor: Value, new_shape: Value) -> Value:
    """The same elements in another shape; one dimension may be -1."""
    sizes = to_ints(new_shape)
    if isinstance(tensor, np.ndarray):
        return tensor.reshape(sizes)
    tensor = to_tensor(tensor, call.dtype)
    if -1 in sizes and 0 in sizes:
        # PyTorch cannot infer a dimension beside an empty one.
        rest = math.prod(number for number in sizes if number != -1)
        if rest == 0 and tensor.numel() == 0:
            sizes = [0 if number == -1 else number for number in sizes]
    return tensor.reshape(sizes)


@op("ExpandDims")
def expand_dims(call: Call, tensor: Value, axis: Value) -> Value:
    """A dimension of 1 put in at `axis`."""
    at = to_int(axis)
    return np.expand_dims(tensor, at) if isinstance(tensor, np.ndarray) else to_tensor(tensor, call.dtype).unsqueeze(at)


@op("Squeeze")
def squeeze(call: Call, tensor: Value) -> Value:
    """Dimensions of 1 taken out: those named, or all."""
    sizes = shape_of(tensor)
    named = call.integers("squeeze_dims") or call.integers("axis")
    axes = {axis % len(sizes) for axis in named} if named else {i for i, number in enumerate(sizes) if number == 1}
    wrong = sorted(axis for axis in axes if sizes[axis] != 1)
    if wrong:
        raise GraphError(f"cannot squeeze axis {wrong[0]} of shape {list(sizes)}: it is {sizes[wrong[0]]} and not 1")
    kept = [number for axis, number in enumerate(sizes) if axis not in axes]
    return tensor.reshape(kept) if isinstance(tensor, np.ndarray) else to_tensor(tensor, call.dtype).reshape(kept)


@op("Transpose", outputs=("y",))
def transpose(call: Call, x: Value, permutation: Value) -> Value:
    """The axes in another order; no copy."""
    axes = to_ints(permutation)
    return np.transpose(x, axes) if isinstance(x, np.ndarray) else to_tensor(x, call.dtype).permute(axes)


@op("InvertPermutation", outputs=("y",))
def invert_permutation(call: Call, x: Value) -> Value:
    """The permutation that undoes this one."""
    permutation = to_array(x)
    return np.argsort(permutation, kind="stable").astype(permutation.dtype)


@op("BroadcastTo")
def broadcast_to(call: Call, tensor: Value, new_shape: Value) -> Value:
    """The tensor repeated along dimensions of 1; no copy."""
    sizes = to_ints(new_shape)
    call.check_size(sizes)
    if isinstance(tensor, np.ndarray) and all(type(number) is int for number in sizes):
        return np.broadcast_to(tensor, sizes)
    return to_tensor(tensor, call.dtype).broadcast_to(sizes)


@op("BroadcastArgs", outputs=("r0",))
def broadcast_args(call: Call, first: Value, second: Value) -> Value:
    """The shape that two shapes broadcast to."""
    left, right = to_ints(first), to_ints(second)
    width = max(len(left), len(right))
    pairs = zip([1] * (width - len(left)) + left, [1] * (width - len(right)) + right, strict=True)
    sizes = []
    for one, other in pairs:
        if one not in (1, other) and other != 1:
            raise GraphError(f"shapes {left} and {right} do not broadcast")
        sizes.append(other if one == 1 else one)
    return make_shape_array(sizes, numpy_dtype(call.type_name("T", "int32"), call.dtype))


@op("EnsureShape")
def ensure_shape(call: Call, tensor: Value) -> Value:
    """The tensor itself, once its shape is what the node says."""
    wanted, found = call.get("shape"), shape_of(tensor)
    if wanted is not None and (
        len(wanted) != len(found) or any(want not in (-1, have) for want, have in zip(wanted, found, strict=True))
    ):
        raise GraphError(f"a shape of {list(wanted)} is asked for and {list(found)} found")
    return tensor


@op("ZerosLike", "OnesLike", outputs=("y",))
def constant_like(call: Call, x: Value) -> Value:
    """Zeros or ones in the shape and type of a tensor."""
    if isinstance(x, np.ndarray):
        array: Array = np.zeros_like(x) if call.op == "ZerosLike" else np.ones_like(x)
        return array
    tensor = to_tensor(x, call.dtype)
    return torch.zeros_like(tensor) if call.op == "ZerosLike" else torch.ones_like(tensor)
