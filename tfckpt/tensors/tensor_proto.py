"""TensorProto messages: the records of a V1 checkpoint and the constants of a graph (TensorFlow `framework/tensor.cc`).

::

    dtype, tensor_shape             only in constants; for V1 records the checkpoint's list of tensors has them
    tensor_content                  the elements as in memory, little-endian; never in V1 records
    float_val, int_val, ...         or the values one by one, in the field for the type

The values fill a constant in C order. The last value fills all remaining elements; without any value they are zero.
A V1 record has exactly one value per element.
Small integers are stored in `int_val` with their sign, 16-bit floats in `half_val` as their bits, and complex numbers
as pairs of real and imaginary part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array
from ..coding import varint
from ..errors import CorruptionError, UnsupportedFeatureError, past_end
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from .dense import check_rank, check_shape, decode_dense, reshape_read_only
from .dtypes import DataType, data_type

#: The field for each type, and the NumPy type of the field's values.
_FIELDS: dict[str, tuple[str, str]] = {
    "float32": ("float_val", "float32"),
    "float64": ("double_val", "float64"),
    "complex64": ("scomplex_val", "float32"),
    "complex128": ("dcomplex_val", "float64"),
    "int64": ("int64_val", "int64"),
    "uint32": ("uint32_val", "uint32"),
    "uint64": ("uint64_val", "uint64"),
    "bool": ("bool_val", "bool"),
    "string": ("string_val", "object"),
    **dict.fromkeys(("float16", "bfloat16"), ("half_val", "int32")),
    **dict.fromkeys(("int32", "int16", "int8", "uint16", "uint8"), ("int_val", "int32")),
    **dict.fromkeys(("qint32", "qint16", "qint8", "quint16", "quint8"), ("int_val", "int32")),
    **dict.fromkeys(("int4", "uint4", "int2", "uint2"), ("int_val", "int32")),
    **dict.fromkeys(
        ("float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"),
        ("float8_val", "uint8"),
    ),
}


def decode_record(message: Any, dtype: DataType, shape: Sequence[int]) -> Array:
    """Decode the tensor of a V1 record, with type and shape from the list of tensors; read-only.

    Raises `CorruptionError` unless the field for the type has exactly one value per element.
    """
    check_rank(shape)
    field, _ = _find_field(dtype)
    values = _read_values(message, dtype)
    if len(values) != (count := math.prod(shape)):
        others = ", ".join(f"{other.name}" for other, _ in message.ListFields() if other.name != field)
        raise CorruptionError(
            f"record has {len(values)} values in {field}, but {dtype.name} of shape {list(shape)} has {count} elements"
            + (f"; other fields: {others}" if others else "")
        )
    return reshape_read_only(values, shape)


def decode_constant(message: Any, limits: Limits = DEFAULT_LIMITS) -> Array:
    """Decode the tensor of a constant, which has its own type and shape; read-only.

    More values than elements are refused, where TensorFlow ignores them.
    """
    dtype = data_type(message.dtype)
    if message.tensor_shape.unknown_rank:
        raise CorruptionError("constant of unknown rank")
    shape = tuple(dim.size for dim in message.tensor_shape.dim)
    count = check_shape(shape)
    check_rank(shape)
    if not dtype.is_readable:
        raise UnsupportedFeatureError(f"constants of type {dtype.enum_name} cannot be read")
    if message.tensor_content:
        if dtype.is_string:
            return reshape_read_only(_decode_strings(message.tensor_content, count), shape)
        return decode_dense(memoryview(message.tensor_content), dtype, shape)
    _check_limits(dtype, count, limits)
    values = _read_values(message, dtype)
    if len(values) > count:
        raise CorruptionError(
            f"constant has {len(values)} values, but {dtype.name} of shape {list(shape)} has {count} elements"
        )
    full = np.empty(count, values.dtype)
    full[: len(values)] = values
    full[len(values) :] = values[-1] if len(values) else (b"" if dtype.is_string else 0)
    return reshape_read_only(full, shape)


def _check_limits(dtype: DataType, count: int, limits: Limits) -> None:
    name, claimed = (
        ("max_string_elements", count) if dtype.is_string else ("max_constant_bytes", count * dtype.itemsize)
    )
    check_limit(limits, name, claimed, "constant is too large")


def _find_field(dtype: DataType) -> tuple[str, str]:
    """Return the field for a type and the NumPy type of its values."""
    if dtype.name not in _FIELDS:
        raise UnsupportedFeatureError(f"values of type {dtype.enum_name} cannot be read one by one")
    return _FIELDS[dtype.name]


def _read_values(message: Any, dtype: DataType) -> Array:
    """Return the values of the field for the type, as a one-dimensional array in the type's NumPy dtype."""
    field, kind = _find_field(dtype)
    if kind == "object":
        strings = list(message.string_val)
        objects = np.empty(len(strings), object)
        objects[:] = strings
        return objects
    if field == "float8_val":
        return np.frombuffer(message.float8_val, np.uint8).view(dtype.to_numpy())
    raw: Array = np.array(getattr(message, field), kind)
    if field in ("scomplex_val", "dcomplex_val"):
        if len(raw) % 2:
            raise CorruptionError(f"{field} has {len(raw)} numbers, expected two per complex value")
        return raw.view(dtype.to_numpy())
    if field == "half_val":
        return _cast_integers(raw, np.dtype(np.uint16), dtype).view(dtype.to_numpy())
    if field != "int_val":
        return raw
    if dtype.bits:
        low, high = (
            (0, (1 << dtype.bits) - 1)
            if dtype.name.startswith("u")
            else (-(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1)
        )
        _check_range(raw, low, high, dtype)
        return raw.astype(dtype.to_numpy())
    return _cast_integers(raw, dtype.to_numpy(), dtype)


def _cast_integers(raw: Array, target: np.dtype[Any], dtype: DataType) -> Array:
    """Cast integers to a narrower type; `CorruptionError` if one is out of range."""
    info = np.iinfo(target)
    _check_range(raw, int(info.min), int(info.max), dtype)
    return raw.astype(target)


def _check_range(raw: Array, low: int, high: int, dtype: DataType) -> None:
    if raw.size and not low <= int(raw.min()) <= int(raw.max()) <= high:
        wrong = int(raw.min()) if int(raw.min()) < low else int(raw.max())
        raise CorruptionError(f"value {wrong} is out of range for {dtype.name}")


def _decode_strings(content: bytes, count: int) -> Array:
    """Decode strings from `tensor_content`: a varint length for each, then their bytes."""
    view = memoryview(content)
    if count > len(view):
        raise past_end(f"content of {count} strings", needed=count, available=len(view))
    lengths, position = [], 0
    for _ in range(count):
        length, position = varint.decode_varint32(view, position)
        lengths.append(length)
    if position + sum(lengths) != len(view):
        raise CorruptionError(
            f"{count} strings with their lengths take {position + sum(lengths)} bytes, but there are {len(view)}"
        )
    values = np.empty(count, object)
    for number, length in enumerate(lengths):
        values[number] = bytes(view[position : position + length])
        position += length
    return values
