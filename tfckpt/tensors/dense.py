"""The payload of a fixed-width tensor: its elements in C order, without padding.

A little-endian payload is decoded as a read-only view of the given bytes, any other payload as a copy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np

from .._typing import Array, ByteView
from ..errors import CorruptionError, UnsupportedFeatureError
from .dtypes import DataType

_TENSORFLOW_MAX_RANK = 254
_NUMPY_MAX_RANK = 64 if int(np.__version__.split(".")[0]) >= 2 else 32
_LARGEST_ITEM = 16


def check_shape(shape: Sequence[int]) -> int:
    """Return the number of elements; `CorruptionError` if TensorFlow does not allow the shape.

    It does not allow negative dimensions, more than 254 dimensions, or 2**63 or more elements.
    The product of the nonzero dimensions must be below 2**63, too, so that the order of the dimensions does not matter.
    """
    elements = math.prod(shape)
    if 0 < elements < 1 << 63 and len(shape) <= _TENSORFLOW_MAX_RANK and min(shape, default=1) > 0:
        return elements  # almost every shape
    if len(shape) > _TENSORFLOW_MAX_RANK:
        raise CorruptionError(f"shape has {len(shape)} dimensions; TensorFlow allows at most {_TENSORFLOW_MAX_RANK}")
    if any(size < 0 for size in shape):
        raise CorruptionError(f"shape {list(shape)} has a negative dimension")
    if math.prod(size for size in shape if size) >= 1 << 63:
        raise CorruptionError(f"shape {list(shape)} has 2**63 elements or more")
    return elements


def check_rank(shape: Sequence[int]) -> None:
    """Raise `UnsupportedFeatureError` if NumPy does not allow the shape.

    It may have too many dimensions. Or it may be empty but have huge other dimensions, since NumPy multiplies the
    nonzero dimensions to compute the number of bytes.
    """
    if len(shape) > _NUMPY_MAX_RANK:
        raise UnsupportedFeatureError(f"shape has {len(shape)} dimensions; NumPy allows at most {_NUMPY_MAX_RANK}")
    if math.prod(size for size in shape if size) * _LARGEST_ITEM >= 1 << 63:
        raise UnsupportedFeatureError(f"shape {list(shape)} is too large for NumPy")


def reshape_read_only(values: Array, shape: Sequence[int]) -> Array:
    """Return the values in this shape, as a read-only array."""
    array: Array = values.reshape(tuple(shape))
    array.flags.writeable = False
    return array


def decode_dense(payload: ByteView, data_type: DataType, shape: Sequence[int], *, big_endian: bool = False) -> Array:
    """Decode a payload as a read-only array in native byte order; `CorruptionError` if its size is wrong.

    The array is a view of `payload` if possible.
    It is a copy if the byte order differs, or if the unused upper bits of a type like int4 are not zero.
    """
    check_rank(shape)
    expected = math.prod(shape) * data_type.itemsize
    if len(payload) != expected:
        raise CorruptionError(
            f"{data_type.name} of shape {list(shape)} takes {expected} bytes, but the payload has {len(payload)}"
        )
    dtype = data_type.to_numpy()
    raw: Array = np.frombuffer(payload, np.uint8)
    if data_type.unit > 1 and big_endian != (sys.byteorder == "big"):
        raw = np.ascontiguousarray(raw.reshape(-1, data_type.unit)[:, ::-1]).reshape(-1)
    elif data_type.bits and raw.max(initial=0) >> data_type.bits:
        raw = raw & ((1 << data_type.bits) - 1)
    elif data_type.name == "bool" and raw.size and raw.max(initial=0) > 1:
        # TensorFlow never writes other bytes, and NumPy would compute surprising results with them.
        raise CorruptionError(f"bool tensor contains the byte {raw.max(initial=0)}, expected 0 or 1")
    return reshape_read_only(raw.view(dtype), shape)


def encode_dense(array: Array, data_type: DataType) -> ByteView:
    """Return the little-endian payload of an array: a view if the array's layout allows it, else a copy.

    The unused upper bits of types like int4 are written as zeros, as TensorFlow does.
    """
    raw: Array = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if data_type.unit > 1 and array.dtype.isnative == (sys.byteorder == "big"):
        raw = np.ascontiguousarray(raw.reshape(-1, data_type.unit)[:, ::-1]).reshape(-1)
    elif data_type.bits and raw.max(initial=0) >> data_type.bits:
        raw = raw & ((1 << data_type.bits) - 1)
    return raw.data.toreadonly()
