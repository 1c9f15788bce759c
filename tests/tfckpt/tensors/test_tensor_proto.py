"""TensorProto messages: V1 records and graph constants."""

from __future__ import annotations

import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tfckpt import protos
from tfckpt.errors import CorruptionError, LimitExceededError, TruncatedError, UnsupportedFeatureError
from tfckpt.limits import Limits
from tfckpt.tensors.dtypes import data_type
from tfckpt.tensors.tensor_proto import decode_constant, decode_record

FLOAT, INT32, UINT8, STRING, COMPLEX64, HALF, VARIANT = 1, 3, 4, 7, 8, 19, 21


def proto(dtype: int = 0, shape: list[int] | None = None, **fields: Any) -> Any:
    """Return a TensorProto message."""
    message = protos.message_class("TensorProto")(dtype=dtype, **fields)
    for size in shape or []:
        message.tensor_shape.dim.add().size = size
    return message


#: DataType, the field and its values, and the elements that they encode.
VALUES = [
    pytest.param(1, {"float_val": [1.5, -2.0]}, np.array([1.5, -2.0], np.float32), id="float32"),
    pytest.param(2, {"double_val": [1.5, -2.0]}, np.array([1.5, -2.0]), id="float64"),
    pytest.param(3, {"int_val": [-1, 7]}, np.array([-1, 7], np.int32), id="int32"),
    pytest.param(4, {"int_val": [0, 255]}, np.array([0, 255], np.uint8), id="uint8"),
    pytest.param(5, {"int_val": [-32768, 32767]}, np.array([-32768, 32767], np.int16), id="int16"),
    pytest.param(6, {"int_val": [-128, 127]}, np.array([-128, 127], np.int8), id="int8"),
    pytest.param(7, {"string_val": [b"", b"\xff"]}, np.array([b"", b"\xff"], object), id="string"),
    pytest.param(8, {"scomplex_val": [1, 2, 3, 4]}, np.array([1 + 2j, 3 + 4j], np.complex64), id="complex64"),
    pytest.param(9, {"int64_val": [-(2**63), 5]}, np.array([-(2**63), 5]), id="int64"),
    pytest.param(10, {"bool_val": [True, False]}, np.array([True, False]), id="bool"),
    pytest.param(11, {"int_val": [-128, 127]}, np.array([-128, 127], np.int8), id="qint8"),
    pytest.param(12, {"int_val": [0, 255]}, np.array([0, 255], np.uint8), id="quint8"),
    pytest.param(13, {"int_val": [-1, 7]}, np.array([-1, 7], np.int32), id="qint32"),
    pytest.param(14, {"half_val": [0x3F80, 0xC000]}, np.array([1, -2], ml_dtypes.bfloat16), id="bfloat16"),
    pytest.param(15, {"int_val": [-32768, 1]}, np.array([-32768, 1], np.int16), id="qint16"),
    pytest.param(16, {"int_val": [65535, 1]}, np.array([65535, 1], np.uint16), id="quint16"),
    pytest.param(17, {"int_val": [65535, 1]}, np.array([65535, 1], np.uint16), id="uint16"),
    pytest.param(18, {"dcomplex_val": [1, 2, 3, 4]}, np.array([1 + 2j, 3 + 4j]), id="complex128"),
    pytest.param(19, {"half_val": [0x3C00, 0xFC00]}, np.array([1, -np.inf], np.float16), id="float16"),
    pytest.param(22, {"uint32_val": [2**32 - 1, 1]}, np.array([2**32 - 1, 1], np.uint32), id="uint32"),
    pytest.param(23, {"uint64_val": [2**64 - 1, 1]}, np.array([2**64 - 1, 1], np.uint64), id="uint64"),
    pytest.param(24, {"float8_val": b"\x3c\xc0"}, np.array([1, -2], ml_dtypes.float8_e5m2), id="float8_e5m2"),
    pytest.param(29, {"int_val": [-8, 7]}, np.array([-8, 7], ml_dtypes.int4), id="int4"),
    pytest.param(30, {"int_val": [0, 15]}, np.array([0, 15], ml_dtypes.uint4), id="uint4"),
]


@pytest.mark.parametrize(("dtype", "fields", "expected"), VALUES)
def test_record_reads_the_field_for_its_type(dtype: int, fields: Any, expected: Any) -> None:
    """Each type has one field; type and shape are not part of the message."""
    array = decode_record(proto(**fields), data_type(dtype), (2, 1))

    assert array.dtype == expected.dtype
    assert array.shape == (2, 1)
    assert array.ravel().tolist() == expected.tolist()
    assert not array.flags.writeable


@pytest.mark.parametrize(("dtype", "fields", "expected"), VALUES)
def test_constant_reads_the_field_for_its_type(dtype: int, fields: Any, expected: Any) -> None:
    """The last value fills all remaining elements."""
    array = decode_constant(proto(dtype, [2, 2], **fields))

    last = expected.tolist()[-1]
    assert array.dtype == expected.dtype
    assert array.ravel().tolist() == [*expected.tolist(), last, last]
    assert not array.flags.writeable


def test_constant_scalar_has_no_dimensions() -> None:
    """A message without a shape is a scalar."""
    assert decode_constant(proto(INT32, int_val=[5])).shape == ()
    assert decode_constant(proto(STRING, string_val=[b"x"])).item() == b"x"


def test_constant_without_values_is_zero() -> None:
    """Numbers are 0, strings are empty, and the tensor may have no elements."""
    assert decode_constant(proto(FLOAT, [2])).tolist() == [0.0, 0.0]
    assert decode_constant(proto(STRING, [2])).tolist() == [b"", b""]
    assert decode_constant(proto(FLOAT, [0, 3])).shape == (0, 3)


def test_content_of_a_constant_takes_precedence_over_values() -> None:
    """As in TensorFlow, values are ignored if there is `tensor_content`."""
    array = decode_constant(proto(FLOAT, [2], tensor_content=struct.pack("<2f", 1, 2), float_val=[9]))

    assert array.tolist() == [1.0, 2.0]


def test_string_content_of_a_constant_begins_with_lengths() -> None:
    """The lengths are varints, followed by the bytes of the strings."""
    assert decode_constant(proto(STRING, [2], tensor_content=b"\x01\x02abb")).tolist() == [b"a", b"bb"]
    assert decode_constant(proto(STRING, [2], tensor_content=b"\0\0")).tolist() == [b"", b""]
    with pytest.raises(CorruptionError):
        decode_constant(proto(STRING, [2], tensor_content=b"\x01\x02abbc"))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param(proto(FLOAT, [2], tensor_content=bytes(7)), CorruptionError, id="content too short"),
        pytest.param(proto(FLOAT, [2], tensor_content=bytes(9)), CorruptionError, id="content too long"),
        pytest.param(proto(STRING, [2], tensor_content=b"\x01\x02abbc"), CorruptionError, id="bytes after strings"),
        pytest.param(proto(STRING, [9], tensor_content=b"\x01\x02abb"), TruncatedError, id="too few strings"),
        pytest.param(proto(FLOAT, [2], float_val=[1, 2, 3]), CorruptionError, id="too many values"),
        pytest.param(proto(COMPLEX64, [2], scomplex_val=[1, 2, 3]), CorruptionError, id="half a complex value"),
        pytest.param(proto(UINT8, [1], int_val=[256]), CorruptionError, id="value too large"),
        pytest.param(proto(UINT8, [1], int_val=[-1]), CorruptionError, id="negative value of an unsigned type"),
        pytest.param(proto(29, [1], int_val=[8]), CorruptionError, id="value too large for int4"),
        pytest.param(proto(29, [1], int_val=[-9]), CorruptionError, id="value too small for int4"),
        pytest.param(proto(HALF, [1], half_val=[65536]), CorruptionError, id="half of 17 bits"),
        pytest.param(proto(FLOAT, [-1]), CorruptionError, id="negative dimension"),
        pytest.param(proto(VARIANT), UnsupportedFeatureError, id="variant"),
        pytest.param(proto(0), UnsupportedFeatureError, id="no type"),
        pytest.param(proto(33, [1]), UnsupportedFeatureError, id="values of float4"),
        pytest.param(proto(FLOAT, [1] * 65, float_val=[1]), UnsupportedFeatureError, id="65 dimensions"),
    ],
)
def test_invalid_constant_is_refused(message: Any, error: type[Exception]) -> None:
    """The tests above show the nearest valid constants."""
    with pytest.raises(error):
        decode_constant(message)


@pytest.mark.parametrize(("values", "wrong"), [([0, 256], 256), ([-1, 255], -1), ([7, -9, 300], -9)], ids=str)
def test_error_names_the_value_that_is_out_of_range(values: list[int], wrong: int) -> None:
    """The ends of the range are valid."""
    assert decode_constant(proto(UINT8, [2], int_val=[0, 255])).tolist() == [0, 255]

    with pytest.raises(CorruptionError, match=f"value {wrong} "):
        decode_constant(proto(UINT8, [len(values)], int_val=values))


def test_record_with_values_elsewhere_names_the_fields() -> None:
    """Users can see in which fields the values are stored."""
    message = proto(double_val=[1], float_val=[1, 2], int_val=[3])

    with pytest.raises(CorruptionError, match="double_val, int_val"):
        decode_record(message, data_type(FLOAT), (3,))


def test_constant_of_unknown_rank_is_refused() -> None:
    """A constant must have a shape."""
    message = proto(FLOAT, float_val=[1])
    message.tensor_shape.unknown_rank = True

    with pytest.raises(CorruptionError):
        decode_constant(message)


def test_size_of_a_constant_is_limited() -> None:
    """A single value can fill any number of elements."""
    message = proto(FLOAT, [1000], float_val=[1])

    assert decode_constant(message, Limits(max_constant_bytes=4000)).sum() == 1000
    with pytest.raises(LimitExceededError) as caught:
        decode_constant(message, Limits(max_constant_bytes=3999))
    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_constant_bytes", 3999, 4000)
    with pytest.raises(LimitExceededError) as caught:
        decode_constant(proto(FLOAT, [1 << 40], float_val=[1]))
    assert (caught.value.limit, caught.value.claimed) == ("max_constant_bytes", 4 << 40)
    with pytest.raises(LimitExceededError) as caught:
        decode_constant(proto(STRING, [1 << 40], string_val=[b""]))
    assert (caught.value.limit, caught.value.claimed) == ("max_string_elements", 1 << 40)
