"""TensorFlow's data types and the corresponding NumPy types."""

from __future__ import annotations

import dataclasses
import pathlib

import ml_dtypes
import numpy as np
import pytest

import tfckpt
from tfckpt.tensors import dtypes
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
    *(
        (number, f"DT_{name.upper()}", getattr(ml_dtypes, name), 1, 1)
        for number, name in ((31, "int2"), (32, "uint2"), (33, "float4_e2m1fn"))
        if hasattr(ml_dtypes, name)  # releases before 0.5 do not have them
    ),
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


def test_type_that_ml_dtypes_lacks_is_listed_and_unsupported_when_read(
    data: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """As with its releases before 0.5; all other tensors are read, and a copy keeps the payload."""
    with tfckpt.open(data / "tensorflow" / "dtypes" / "ckpt") as checkpoint:
        expected = checkpoint["int4/grid"]
    with monkeypatch.context() as patch:
        patch.setitem(dtypes._BY_NUMBER, 29, dataclasses.replace(data_type(29), numpy_name="int4_of_the_future"))
        with tfckpt.open(data / "tensorflow" / "dtypes" / "ckpt") as checkpoint:
            infos = {info.name: info for info in checkpoint.infos()}

            assert infos["int4/grid"].tf_dtype == "DT_INT4"
            assert infos["int4/grid"].dtype == np.dtype("V")
            assert checkpoint["float32/grid"].dtype == np.float32
            verification = tfckpt.verify(checkpoint)
            assert {type(error) for error in verification.errors} == {tfckpt.UnsupportedFeatureError}
            assert {error.tensor for error in verification.errors} >= {name for name in infos if "int4/" in name[:5]}
            with pytest.raises(tfckpt.UnsupportedFeatureError, match="needs a newer ml_dtypes"):
                _ = checkpoint["int4/grid"]

        tfckpt.copy(data / "tensorflow" / "dtypes" / "ckpt", tmp_path / "copy")

    with tfckpt.open(tmp_path / "copy") as checkpoint:
        assert (checkpoint["int4/grid"] == expected).all()
