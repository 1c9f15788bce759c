"""TensorFlow's data types and the corresponding NumPy types."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tfckpt.tensors.dtypes import STRING, VARIANT, data_type, data_type_of

#: Number, name in types.proto, NumPy scalar, bytes per element, bytes per unit that a big-endian bundle reverses.
TABLE = [
    (1, "DT_FLOAT", np.float32, 4, 4),
    (2, "DT_DOUBLE", np.float64, 8, 8),
    (3, "DT_INT32", np.int32, 4, 4),
    (4, "DT_UINT8", np.uint8, 1, 1),
    (5, "DT_INT16", np.int16, 2, 2),
    (6, "DT_INT8", np.int8, 1, 1),
    (8, "DT_COMPLEX64", np.complex64, 8, 4),
    (9, "DT_INT64", np.int64, 8, 8),
    (10, "DT_BOOL", np.bool_, 1, 1),
    (11, "DT_QINT8", np.int8, 1, 1),
    (12, "DT_QUINT8", np.uint8, 1, 1),
    (13, "DT_QINT32", np.int32, 4, 4),
    (14, "DT_BFLOAT16", ml_dtypes.bfloat16, 2, 2),
    (15, "DT_QINT16", np.int16, 2, 2),
    (16, "DT_QUINT16", np.uint16, 2, 2),
    (17, "DT_UINT16", np.uint16, 2, 2),
    (18, "DT_COMPLEX128", np.complex128, 16, 8),
    (19, "DT_HALF", np.float16, 2, 2),
    (22, "DT_UINT32", np.uint32, 4, 4),
    (23, "DT_UINT64", np.uint64, 8, 8),
    (24, "DT_FLOAT8_E5M2", ml_dtypes.float8_e5m2, 1, 1),
    (25, "DT_FLOAT8_E4M3FN", ml_dtypes.float8_e4m3fn, 1, 1),
    (26, "DT_FLOAT8_E4M3FNUZ", ml_dtypes.float8_e4m3fnuz, 1, 1),
    (27, "DT_FLOAT8_E4M3B11FNUZ", ml_dtypes.float8_e4m3b11fnuz, 1, 1),
    (28, "DT_FLOAT8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz, 1, 1),
    (29, "DT_INT4", ml_dtypes.int4, 1, 1),
    (30, "DT_UINT4", ml_dtypes.uint4, 1, 1),
    (31, "DT_INT2", ml_dtypes.int2, 1, 1),
    (32, "DT_UINT2", ml_dtypes.uint2, 1, 1),
    (33, "DT_FLOAT4_E2M1FN", ml_dtypes.float4_e2m1fn, 1, 1),
]


@pytest.mark.parametrize("row", TABLE, ids=[row[1] for row in TABLE])
def test_data_type_matches_tensorflow(row: tuple[int, str, type, int, int]) -> None:
    """The table has number, name, NumPy type, size and unit of each fixed-width type that TensorFlow writes."""
    number, name, scalar, itemsize, unit = row

    dtype = data_type(number)

    assert dtype.enum_name == name
    assert dtype.to_numpy() == np.dtype(scalar)
    assert dtype.to_numpy().itemsize == dtype.itemsize == itemsize
    assert dtype.unit == unit
    assert dtype.is_readable
    assert not dtype.is_string


def test_strings_are_objects() -> None:
    """Type DT_STRING has no fixed width."""
    dtype = data_type(STRING)

    assert (dtype.number, dtype.enum_name, dtype.to_numpy()) == (7, "DT_STRING", np.dtype(object))
    assert dtype.is_string
    assert dtype.is_readable


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "DT_UNKNOWN_0"), (20, "DT_RESOURCE"), (VARIANT, "DT_VARIANT"), (34, "DT_UNKNOWN_34"), (101, "DT_UNKNOWN_101")],
)
def test_unreadable_data_type_has_a_name(number: int, name: str) -> None:
    """Resources, variants, invalid numbers, numbers of newer releases, and references can be listed."""
    dtype = data_type(number)

    assert dtype.enum_name == name
    assert not dtype.is_readable
    assert dtype.to_numpy().kind in "OV"


def test_numpy_dtype_that_tensorflow_lacks_is_refused() -> None:
    """Objects are strings, and the byte order does not matter."""
    assert data_type_of(np.dtype(object)).number == STRING
    assert data_type_of(np.dtype(">f4")).enum_name == "DT_FLOAT"

    with pytest.raises(TypeError, match="object array"):
        data_type_of(np.dtype("S3"))
    with pytest.raises(TypeError):
        data_type_of(np.dtype("M8[s]"))
