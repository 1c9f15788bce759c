"""The payload of a fixed-width tensor: its elements in C order, without padding.

A little-endian payload becomes a read-only view of the bytes it came in; anything else becomes a copy.
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
    """The number of elements; refuses what TensorFlow has no shape for.

    That is a negative dimension, more than 254 dimensions, and 2**63 elements and more.
    Dimensions of size 0 are left out of the product that is compared, so that their place does not matter.
    """
    elements = math.prod(shape)
    if 0 < elements < 1 << 63 and len(shape) <= _TENSORFLOW_MAX_RANK and min(shape, default=1) > 0:
        return elements  # nearly every shape
    if len(shape) > _TENSORFLOW_MAX_RANK:
        raise CorruptionError(f"shape has {len(shape)} dimensions, TensorFlow's have at most {_TENSORFLOW_MAX_RANK}")
    if any(size < 0 for size in shape):
        raise CorruptionError(f"shape {list(shape)} has a negative dimension")
    if math.prod(size for size in shape if size) >= 1 << 63:
        raise CorruptionError(f"shape {list(shape)} has 2**63 elements or more")
    return elements


def check_rank(shape: Sequence[int]) -> None:
    """Refuse a shape that NumPy has no array for: too many dimensions, or an empty one with absurd other dimensions.

    NumPy counts bytes without the dimensions of size 0, so that only an empty tensor can come so far.
    """
    if len(shape) > _NUMPY_MAX_RANK:
        raise UnsupportedFeatureError(
            f"shape has {len(shape)} dimensions, NumPy's arrays have at most {_NUMPY_MAX_RANK}"
        )
    if math.prod(size for size in shape if size) * _LARGEST_ITEM >= 1 << 63:
        raise UnsupportedFeatureError(f"shape {list(shape)} is too large for NumPy's arrays")


def decode_dense(payload: ByteView, data_type: DataType, shape: Sequence[int], *, big_endian: bool = False) -> Array:
    """The tensor in a payload of exactly its size, as a read-only array in native byte order.

    A view of `payload` where byte order and storage allow, else a copy.
    Elements of less than a byte are copied if a writer left anything in the upper bits, which do not count.
    """
    check_rank(shape)
    expected = math.prod(shape) * data_type.itemsize
    if len(payload) != expected:
        raise CorruptionError(
            f"{data_type.name} of shape {list(shape)} takes {expected} bytes, the payload has {len(payload)}"
        )
    dtype = data_type.to_numpy()
    raw: Array = np.frombuffer(payload, np.uint8)
    if data_type.unit > 1 and big_endian != (sys.byteorder == "big"):
        raw = np.ascontiguousarray(raw.reshape(-1, data_type.unit)[:, ::-1]).reshape(-1)
    elif data_type.bits and raw.max(initial=0) >> data_type.bits:
        raw = raw & ((1 << data_type.bits) - 1)
    elif data_type.name == "bool" and raw.size and raw.max(initial=0) > 1:
        raise CorruptionError(f"bool tensor holds the byte {raw.max(initial=0)}; 0 and 1 are defined")
    array: Array = raw.view(dtype).reshape(tuple(shape))
    array.flags.writeable = False
    return array


def encode_dense(array: Array, data_type: DataType) -> ByteView:
    """The payload of an array of this type's elements, little-endian.

    A view of the array where its layout allows, else a copy.
    Of elements of less than a byte the upper bits are written as zeros, as TensorFlow writes them.
    """
    raw: Array = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if data_type.unit > 1 and array.dtype.isnative == (sys.byteorder == "big"):
        raw = np.ascontiguousarray(raw.reshape(-1, data_type.unit)[:, ::-1]).reshape(-1)
    elif data_type.bits and raw.max(initial=0) >> data_type.bits:
        raw = raw & ((1 << data_type.bits) - 1)
    return raw.data.toreadonly()
