"""Tensor values for the cases: any dtype and shape from a seed, and the step from NumPy to TensorFlow.

Fixed-width values are random bits, so not-a-numbers, infinities, denormal numbers and extremes are among them;
bool is 0 or 1, and the types below one byte take only the patterns they have.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import dtypes as tf_dtypes

Array = NDArray[Any]

QUANTIZED = {
    "qint8": np.dtype(np.int8),
    "quint8": np.dtype(np.uint8),
    "qint32": np.dtype(np.int32),
    "qint16": np.dtype(np.int16),
    "quint16": np.dtype(np.uint16),
}
"""TensorFlow's quantized types and the integers that carry them."""

SUB_BYTE = {
    "int4": np.arange(-8, 8),
    "uint4": np.arange(16),
    "int2": np.arange(-2, 2),
    "uint2": np.arange(4),
    "float4_e2m1fn": np.array([0.0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]),
}
"""The types narrower than a byte, and every value each of them has."""

DTYPES = {
    dtype.name: dtype
    for dtype in sorted(
        {value for value in vars(tf_dtypes).values() if isinstance(value, tf.DType)},
        key=lambda value: value.as_datatype_enum,
    )
    if dtype.as_datatype_enum < 100
}
"""Every DataType by its TensorFlow name, in the order of its number."""

STORABLE = [name for name in DTYPES if name not in {"resource", "variant", "string"}]
"""The fixed-width types a checkpoint can hold."""


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype whose bytes are those of a TensorFlow type."""
    return QUANTIZED[name] if name in QUANTIZED else np.dtype(DTYPES[name].as_numpy_dtype)


def values(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """Values of a fixed-width type: random bits, all that the type can hold."""
    generator = np.random.default_rng(seed)
    count = int(np.prod(shape, dtype=np.int64))
    dtype = numpy_dtype(name)
    if name == "bool":
        return generator.integers(0, 2, count).astype(np.bool_).reshape(shape)
    if name in SUB_BYTE:
        return generator.choice(SUB_BYTE[name], count).astype(dtype).reshape(shape)
    return np.frombuffer(generator.bytes(count * dtype.itemsize), dtype).reshape(shape)


def every_value(name: str) -> Array:
    """Every value of a type of one byte or less."""
    dtype = numpy_dtype(name)
    if name == "bool":
        return np.array([False, True])
    if name in SUB_BYTE:
        return SUB_BYTE[name].astype(dtype)
    return np.arange(256, dtype=np.uint8).view(dtype)


def strings(items: list[bytes], shape: tuple[int, ...] | None = None) -> Array:
    """An object array of byte strings."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape((len(items),) if shape is None else shape)


def tensor(name: str, array: Array) -> tf.Tensor:
    """The TensorFlow tensor of a type with the bytes of an array."""
    if name in QUANTIZED:
        array = array.view(np.dtype(DTYPES[name].as_numpy_dtype))
    return tf.constant(array, dtype=DTYPES[name], shape=array.shape)


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of the types narrower than a byte."""
    return dtype in {np.dtype(getattr(ml_dtypes, name)) for name in SUB_BYTE}
