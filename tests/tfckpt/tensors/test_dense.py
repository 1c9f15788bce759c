"""Payloads of fixed-width tensors."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfckpt.errors import CorruptionError, UnsupportedFeatureError
from tfckpt.tensors.dense import check_rank, check_shape, decode_dense, encode_dense
from tfckpt.tensors.dtypes import data_type

NUMPY_MAX_RANK = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
FIXED_WIDTH = [number for number in range(1, 34) if number not in {7, 20, 21}]


def test_dense_payload_becomes_a_read_only_view() -> None:
    """The array shares the memory of the payload."""
    payload = bytearray(struct.pack("<4f", 1, 2, 3, 4))

    array = decode_dense(memoryview(payload).toreadonly(), data_type(1), (2, 2))

    payload[:4] = struct.pack("<f", 9)
    assert array.tolist() == [[9, 2], [3, 4]]
    assert array.dtype == np.float32
    assert not array.flags.writeable


def test_dense_view_cannot_be_made_writeable() -> None:
    """The bytes behind it are read-only."""
    array = decode_dense(memoryview(bytes(8)), data_type(1), (2,))

    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_scalar_is_an_array_without_dimensions() -> None:
    """It is not a NumPy scalar."""
    array = decode_dense(memoryview(struct.pack("<q", -5)), data_type(9), ())

    assert isinstance(array, np.ndarray)
    assert (array.shape, array.item()) == ((), -5)


@pytest.mark.parametrize("number", FIXED_WIDTH)
@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)], ids=str)
def test_empty_tensor_of_every_type_has_its_shape(number: int, big_endian: bool, shape: tuple[int, ...]) -> None:
    """An empty payload is valid."""
    array = decode_dense(memoryview(b""), data_type(number), shape, big_endian=big_endian)

    assert array.shape == shape
    assert array.dtype == data_type(number).to_numpy()
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("number", "little", "big"),
    [
        (1, struct.pack("<2f", 1.5, -2), struct.pack(">2f", 1.5, -2)),
        (2, struct.pack("<2d", 1.5, -2), struct.pack(">2d", 1.5, -2)),
        (3, struct.pack("<2i", 1, -2), struct.pack(">2i", 1, -2)),
        (17, struct.pack("<2H", 1, 65534), struct.pack(">2H", 1, 65534)),
        (8, struct.pack("<4f", 1, 2, 3, 4), struct.pack(">4f", 1, 2, 3, 4)),
        (18, struct.pack("<4d", 1, 2, 3, 4), struct.pack(">4d", 1, 2, 3, 4)),
        (14, bytes.fromhex("c03f00c0"), bytes.fromhex("3fc0c000")),
        (10, b"\x01\x00", b"\x01\x00"),
        (29, b"\x0e\x03", b"\x0e\x03"),
    ],
    ids=["float", "double", "int32", "uint16", "complex64", "complex128", "bfloat16", "bool", "int4"],
)
def test_big_and_little_endian_payloads_have_equal_values(number: int, little: bytes, big: bytes) -> None:
    """The bytes of each number or component of a complex number are reversed; the result is in native order."""
    expected = decode_dense(memoryview(little), data_type(number), (2,))

    array = decode_dense(memoryview(big), data_type(number), (2,), big_endian=True)

    assert array.tobytes() == expected.tobytes() == little
    assert array.dtype == expected.dtype
    assert array.dtype.isnative
    assert not array.flags.writeable


@pytest.mark.parametrize(("byte", "expected"), [(0x0E, -2), (0xFE, -2), (0x7E, -2), (0x07, 7), (0xF8, -8)])
def test_upper_bits_of_int4_are_ignored(byte: int, expected: int) -> None:
    """The low four bits are the value, whatever the writer left in the others."""
    array = decode_dense(memoryview(bytes([byte, 0])), data_type(29), (2,))

    assert array.astype(np.int8).tolist() == [expected, 0]
    assert array.tobytes() == bytes([byte & 0x0F, 0])


@pytest.mark.parametrize(("number", "expected"), [(30, [14, 3]), (31, [-2, -1]), (32, [2, 3])])
def test_upper_bits_of_other_narrow_types_are_ignored(number: int, expected: list[int]) -> None:
    """Type uint4 has four bits, int2 and uint2 have two."""
    array = decode_dense(memoryview(b"\xfe\x03"), data_type(number), (2,))

    assert array.astype(np.int8).tolist() == expected


@pytest.mark.parametrize(("number", "bits"), [(29, 4), (30, 4), (31, 2), (32, 2)])
def test_upper_bits_of_narrow_types_are_written_as_zeros(number: int, bits: int) -> None:
    """Only the low bits of each byte of the array are kept."""
    all_bytes = np.arange(256, dtype=np.uint8)

    payload = encode_dense(all_bytes.view(data_type(number).to_numpy()), data_type(number))

    assert bytes(payload) == bytes(byte % (1 << bits) for byte in range(256))


def test_bool_bytes_other_than_zero_and_one_are_rejected() -> None:
    """NumPy would accept any byte and then behave unpredictably."""
    assert decode_dense(memoryview(b"\x00\x01"), data_type(10), (2,)).tolist() == [False, True]

    with pytest.raises(CorruptionError):
        decode_dense(memoryview(b"\x02\x01"), data_type(10), (2,))


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_payload_of_the_wrong_size_is_rejected(size: int) -> None:
    """It is rejected even if it contains a whole number of elements."""
    assert decode_dense(memoryview(bytes(16)), data_type(1), (2, 2)).shape == (2, 2)

    with pytest.raises(CorruptionError):
        decode_dense(memoryview(bytes(size)), data_type(1), (2, 2))


@pytest.mark.parametrize(
    ("shape", "count"),
    [((), 1), ((3, 4), 12), ((0,), 0), ((0, 1 << 62), 0), ((1 << 62,), 1 << 62), ((1,) * 254, 1)],
    ids=["scalar", "matrix", "empty", "empty and absurd", "absurd", "254 dimensions"],
)
def test_check_shape_counts_elements(shape: tuple[int, ...], count: int) -> None:
    """All shapes that TensorFlow allows are accepted."""
    assert check_shape(shape) == count


@pytest.mark.parametrize(
    "shape",
    [(2, -1), (-(1 << 63),), (1,) * 255, (1 << 62, 2), (0, 1 << 62, 1 << 62), (1 << 62, 1 << 62, 0)],
    ids=["negative", "most negative", "255 dimensions", "2**63", "zero first", "zero last"],
)
def test_check_shape_rejects_invalid_shapes(shape: tuple[int, ...]) -> None:
    """A dimension of size 0 does not hide an overflow before or after it."""
    with pytest.raises(CorruptionError):
        check_shape(shape)


def test_rank_that_numpy_does_not_allow_is_unsupported() -> None:
    """TensorFlow allows 254 dimensions, NumPy 64, or 32 before version 2."""
    assert decode_dense(memoryview(bytes(4)), data_type(1), (1,) * NUMPY_MAX_RANK).ndim == NUMPY_MAX_RANK

    with pytest.raises(UnsupportedFeatureError):
        decode_dense(memoryview(bytes(4)), data_type(1), (1,) * (NUMPY_MAX_RANK + 1))


@pytest.mark.parametrize("shape", [(0, 1 << 59), (0, 1 << 62), (1 << 61, 0, 2), (0, (1 << 63) - 1)], ids=str)
def test_empty_tensor_too_large_for_numpy_is_unsupported(shape: tuple[int, ...]) -> None:
    """NumPy multiplies the nonzero dimensions, and would raise its own error."""
    assert decode_dense(memoryview(b""), data_type(1), (0, (1 << 59) - 1)).shape == (0, (1 << 59) - 1)

    with pytest.raises(UnsupportedFeatureError):
        decode_dense(memoryview(b""), data_type(1), shape)


@given(st.lists(st.sampled_from([0, 1, 2, 1 << 20, 1 << 31, 1 << 58, 1 << 62, (1 << 63) - 1]), max_size=70))
def test_numpy_accepts_empty_shapes_that_pass_both_checks(shape: list[int]) -> None:
    """It accepts them for the largest elements and for objects."""
    try:
        check_shape(shape)
        check_rank(shape)
    except (CorruptionError, UnsupportedFeatureError):
        return

    if 0 in shape:
        assert np.empty(shape, np.complex128).shape == np.empty(shape, object).shape == tuple(shape)


@given(st.binary(max_size=40), st.sampled_from(FIXED_WIDTH), st.lists(st.integers(0, 4), max_size=3), st.booleans())
def test_arbitrary_payload_gives_an_array_or_our_error(
    payload: bytes, number: int, shape: list[int], big_endian: bool
) -> None:
    """The array has the given shape and the size of the payload."""
    try:
        array = decode_dense(memoryview(payload), data_type(number), shape, big_endian=big_endian)
    except CorruptionError:
        return

    assert array.shape == tuple(shape)
    assert array.nbytes == len(payload)
