"""TensorFlow's data types and the corresponding NumPy types.

The numbers come from TensorFlow's `framework/types.proto`, sizes and storage from tests with TensorFlow 2.21.
Every element takes whole bytes: int4, uint4, int2, uint2 and float4 take one byte each, with the value in the low bits.
In a big-endian bundle the bytes of each unit are reversed: a component of a complex number, or any other element.

Types that NumPy lacks come from ml_dtypes, which is imported when the first of them is used.
Quantized types map to NumPy's integer types; their scale is not stored in checkpoints.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from ..errors import UnsupportedFeatureError

#: Types whose name in `types.proto` is not "DT_" followed by the short name in capitals.
_ENUM_NAMES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}


@dataclasses.dataclass(frozen=True, slots=True)
class DataType:
    """One row of the table: TensorFlow's number and short name, NumPy's or ml_dtypes' name, bytes per element, unit."""

    number: int
    name: str
    numpy_name: str
    itemsize: int
    unit: int
    #: Number of significant low bits if an element has less than a byte, else 0.
    bits: int = 0
    #: The name in `types.proto`, such as `DT_FLOAT`.
    enum_name: str = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = _ENUM_NAMES.get(self.name) or f"DT_{self.name.upper()}"
        object.__setattr__(self, "enum_name", name)  # frozen

    @property
    def is_readable(self) -> bool:
        """Whether tensors of this type can be read; variants and resources can only be listed."""
        return self.numpy_name != ""

    @property
    def is_string(self) -> bool:
        """Whether the elements are byte strings."""
        return self.number == STRING

    def to_numpy(self) -> np.dtype[Any]:
        """Return the NumPy dtype in native byte order: `object` for strings (`bytes`) and variants, else void."""
        return _numpy_dtype(self.numpy_name, self.number)

    def to_numpy_or_void(self) -> np.dtype[Any]:
        """Return what `to_numpy` returns, or void if the installed ml_dtypes does not have the type.

        Such a tensor can be listed and copied; reading it raises the error of `to_numpy`.
        """
        return _numpy_dtype_or_void(self.numpy_name, self.number)


STRING = 7
VARIANT = 21

_TABLE = (
    DataType(1, "float32", "float32", 4, 4),
    DataType(2, "float64", "float64", 8, 8),
    DataType(3, "int32", "int32", 4, 4),
    DataType(4, "uint8", "uint8", 1, 1),
    DataType(5, "int16", "int16", 2, 2),
    DataType(6, "int8", "int8", 1, 1),
    DataType(7, "string", "object", 0, 0),
    DataType(8, "complex64", "complex64", 8, 4),
    DataType(9, "int64", "int64", 8, 8),
    DataType(10, "bool", "bool", 1, 1),
    DataType(11, "qint8", "int8", 1, 1),
    DataType(12, "quint8", "uint8", 1, 1),
    DataType(13, "qint32", "int32", 4, 4),
    DataType(14, "bfloat16", "bfloat16", 2, 2),
    DataType(15, "qint16", "int16", 2, 2),
    DataType(16, "quint16", "uint16", 2, 2),
    DataType(17, "uint16", "uint16", 2, 2),
    DataType(18, "complex128", "complex128", 16, 8),
    DataType(19, "float16", "float16", 2, 2),
    DataType(20, "resource", "", 0, 0),
    DataType(21, "variant", "", 0, 0),
    DataType(22, "uint32", "uint32", 4, 4),
    DataType(23, "uint64", "uint64", 8, 8),
    DataType(24, "float8_e5m2", "float8_e5m2", 1, 1),
    DataType(25, "float8_e4m3fn", "float8_e4m3fn", 1, 1),
    DataType(26, "float8_e4m3fnuz", "float8_e4m3fnuz", 1, 1),
    DataType(27, "float8_e4m3b11fnuz", "float8_e4m3b11fnuz", 1, 1),
    DataType(28, "float8_e5m2fnuz", "float8_e5m2fnuz", 1, 1),
    DataType(29, "int4", "int4", 1, 1, bits=4),
    DataType(30, "uint4", "uint4", 1, 1, bits=4),
    DataType(31, "int2", "int2", 1, 1, bits=2),
    DataType(32, "uint2", "uint2", 1, 1, bits=2),
    DataType(33, "float4_e2m1fn", "float4_e2m1fn", 1, 1, bits=4),
)
_BY_NUMBER = {row.number: row for row in _TABLE}
_BY_NAME = {row.name: row for row in _TABLE} | {row.enum_name: row for row in _TABLE}


def data_type(number: int) -> DataType:
    """Return the row of a number; unknown numbers get a row that can be listed but not read."""
    return _BY_NUMBER.get(number) or DataType(number, f"unknown_{number}", "", 0, 0)


def data_type_named(name: str) -> DataType:
    """Return the row of a name such as `float32` or `DT_FLOAT`; `ValueError` if there is none."""
    row = _BY_NAME.get(name)
    if row is None:
        raise ValueError(f"TensorFlow has no data type {name!r}")
    return row


def data_type_of(dtype: np.dtype[Any]) -> DataType:
    """Return the row for a NumPy dtype of either byte order; `TypeError` if TensorFlow has no such type.

    The object dtype means strings, and integer dtypes never mean quantized types.
    """
    row = _BY_NAME.get("string" if dtype.hasobject else dtype.name)
    if row is None or row.numpy_name != dtype.name:
        hint = "; an object array of bytes can hold them" if dtype.kind in "SU" else ""
        raise TypeError(f"TensorFlow has no data type for NumPy's {dtype}{hint}")
    return row


@functools.lru_cache(256)
def _numpy_dtype(name: str, number: int) -> np.dtype[Any]:
    if name == "":
        return np.dtype(object if number == VARIANT else "V")
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        scalar = getattr(ml_dtypes, name, None)
        if scalar is None:
            raise UnsupportedFeatureError(
                f"data type {name} needs a newer ml_dtypes than {ml_dtypes.__version__}"
            ) from None
        dtype: np.dtype[Any] = np.dtype(scalar)
        return dtype


@functools.lru_cache(256)
def _numpy_dtype_or_void(name: str, number: int) -> np.dtype[Any]:
    try:
        return _numpy_dtype(name, number)
    except UnsupportedFeatureError:
        return np.dtype("V")
