"""TensorFlow's DataType numbers and what stands for them in NumPy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tfckpt.tensors.dtypes import STRING, VARIANT, data_type, data_type_of

#: Number, name in types.proto, NumPy scalar, bytes an element, bytes of a unit that a big-endian bundle turns round.
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
    """Number, name, NumPy type, size and unit of each fixed-width type that TensorFlow writes."""
    number, name, scalar, itemsize, unit = row

    found = data_type(number)

    assert found.enum_name == name
    assert found.to_numpy() == np.dtype(scalar)
    assert found.to_numpy().itemsize == found.itemsize == itemsize
    assert found.unit == unit
    assert found.is_readable
    assert not found.is_string


def test_strings_are_objects() -> None:
    """DT_STRING has no fixed width."""
    found = data_type(STRING)

    assert (found.number, found.enum_name, found.to_numpy()) == (7, "DT_STRING", np.dtype(object))
    assert found.is_string
    assert found.is_readable


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "DT_UNKNOWN_0"), (20, "DT_RESOURCE"), (VARIANT, "DT_VARIANT"), (34, "DT_UNKNOWN_34"), (101, "DT_UNKNOWN_101")],
)
def test_data_type_without_values_can_be_named_and_not_read(number: int, name: str) -> None:
    """Invalid, handles, variants, numbers of newer releases, and references, which no file holds."""
    found = data_type(number)

    assert found.enum_name == name
    assert not found.is_readable
    assert found.to_numpy().kind in "OV"


def test_numpy_dtype_that_tensorflow_lacks_is_refused() -> None:
    """With what can be done where strings were meant; objects are strings, and either byte order is meant."""
    assert data_type_of(np.dtype(object)).number == STRING
    assert data_type_of(np.dtype(">f4")).enum_name == "DT_FLOAT"

    with pytest.raises(TypeError, match=r"no data type for NumPy's \|S3; an object array of bytes can hold them$"):
        data_type_of(np.dtype("S3"))
    with pytest.raises(TypeError, match=r"no data type for NumPy's datetime64\[s\]$"):
        data_type_of(np.dtype("M8[s]"))
