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
    """The array shares the payload's memory and cannot be written to."""
    payload = bytearray(struct.pack("<4f", 1, 2, 3, 4))

    array = decode_dense(memoryview(payload).toreadonly(), data_type(1), (2, 2))

    payload[:4] = struct.pack("<f", 9)
    assert array.tolist() == [[9, 2], [3, 4]]
    assert array.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_dense_view_cannot_be_made_writeable() -> None:
    """The flag is held by the read-only bytes behind it."""
    array = decode_dense(memoryview(bytes(8)), data_type(1), (2,))

    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_scalar_is_an_array_without_dimensions() -> None:
    """Not a NumPy scalar."""
    array = decode_dense(memoryview(struct.pack("<q", -5)), data_type(9), ())

    assert isinstance(array, np.ndarray)
    assert (array.shape, array.item()) == ((), -5)


@pytest.mark.parametrize("number", FIXED_WIDTH)
@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)], ids=str)
def test_empty_tensor_of_every_type_has_its_shape(number: int, big_endian: bool, shape: tuple[int, ...]) -> None:
    """No bytes at all are a payload too."""
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
def test_big_endian_payload_gives_the_values_of_the_little_endian_one(number: int, little: bytes, big: bytes) -> None:
    """Numbers are turned round, complex ones by component, single bytes not at all; the result is in native order."""
    expected = decode_dense(memoryview(little), data_type(number), (2,))

    array = decode_dense(memoryview(big), data_type(number), (2,), big_endian=True)

    assert array.tobytes() == expected.tobytes() == little
    assert array.dtype == expected.dtype
    assert array.dtype.isnative
    assert not array.flags.writeable


@pytest.mark.parametrize(("byte", "expected"), [(0x0E, -2), (0xFE, -2), (0x7E, -2), (0x07, 7), (0xF8, -8)])
def test_upper_bits_of_int4_do_not_count(byte: int, expected: int) -> None:
    """Whatever a writer left there, the low four bits are the value."""
    array = decode_dense(memoryview(bytes([byte, 0])), data_type(29), (2,))

    assert array.astype(np.int8).tolist() == [expected, 0]
    assert array.tobytes() == bytes([byte & 0x0F, 0])


@pytest.mark.parametrize(("number", "expected"), [(30, [14, 3]), (31, [-2, -1]), (32, [2, 3])])
def test_upper_bits_of_other_narrow_types_do_not_count(number: int, expected: list[int]) -> None:
    """uint4 has four bits, int2 and uint2 have two."""
    array = decode_dense(memoryview(b"\xfe\x03"), data_type(number), (2,))

    assert array.astype(np.int8).tolist() == expected


@pytest.mark.parametrize(("number", "bits"), [(29, 4), (30, 4), (31, 2), (32, 2)])
def test_upper_bits_of_narrow_types_are_written_as_zeros(number: int, bits: int) -> None:
    """Of every byte that an array can hold the low bits are kept."""
    every = np.arange(256, dtype=np.uint8)

    payload = encode_dense(every.view(data_type(number).to_numpy()), data_type(number))

    assert bytes(payload) == bytes(byte % (1 << bits) for byte in range(256))


def test_bool_bytes_other_than_zero_and_one_are_rejected() -> None:
    """NumPy would take any byte and then behave in undefined ways."""
    assert decode_dense(memoryview(b"\x00\x01"), data_type(10), (2,)).tolist() == [False, True]

    with pytest.raises(CorruptionError, match="holds the byte 2"):
        decode_dense(memoryview(b"\x02\x01"), data_type(10), (2,))


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_payload_of_another_size_than_shape_and_type_is_rejected(size: int) -> None:
    """Also one that would give a whole number of elements."""
    assert decode_dense(memoryview(bytes(16)), data_type(1), (2, 2)).shape == (2, 2)

    with pytest.raises(CorruptionError, match=f"takes 16 bytes, the payload has {size}"):
        decode_dense(memoryview(bytes(size)), data_type(1), (2, 2))


@pytest.mark.parametrize(
    ("shape", "count"),
    [((), 1), ((3, 4), 12), ((0,), 0), ((0, 1 << 62), 0), ((1 << 62,), 1 << 62), ((1,) * 254, 1)],
    ids=["scalar", "matrix", "empty", "empty and absurd", "absurd", "254 dimensions"],
)
def test_check_shape_counts_elements(shape: tuple[int, ...], count: int) -> None:
    """Whatever TensorFlow has a shape for."""
    assert check_shape(shape) == count


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ((2, -1), "negative"),
        ((-(1 << 63),), "negative"),
        ((1,) * 255, "255 dimensions"),
        ((1 << 62, 2), "2\\*\\*63"),
        ((0, 1 << 62, 1 << 62), "2\\*\\*63"),
        ((1 << 62, 1 << 62, 0), "2\\*\\*63"),
    ],
    ids=["negative", "most negative", "255 dimensions", "2**63", "zero first", "zero last"],
)
def test_check_shape_rejects_what_no_tensor_has(shape: tuple[int, ...], complaint: str) -> None:
    """A dimension of size 0 hides an absurd product neither before nor after it."""
    with pytest.raises(CorruptionError, match=complaint):
        check_shape(shape)


def test_rank_that_numpy_lacks_is_unsupported_and_not_corrupt() -> None:
    """TensorFlow has up to 254 dimensions, NumPy 64, or 32 before its second release."""
    assert decode_dense(memoryview(bytes(4)), data_type(1), (1,) * NUMPY_MAX_RANK).ndim == NUMPY_MAX_RANK

    with pytest.raises(UnsupportedFeatureError, match=f"{NUMPY_MAX_RANK + 1} dimensions"):
        decode_dense(memoryview(bytes(4)), data_type(1), (1,) * (NUMPY_MAX_RANK + 1))


@pytest.mark.parametrize("shape", [(0, 1 << 59), (0, 1 << 62), (1 << 61, 0, 2), (0, (1 << 63) - 1)], ids=str)
def test_empty_tensor_too_large_for_numpy_is_unsupported(shape: tuple[int, ...]) -> None:
    """NumPy counts the bytes without the dimension of size 0 and raises an error of its own."""
    assert decode_dense(memoryview(b""), data_type(1), (0, (1 << 59) - 1)).shape == (0, (1 << 59) - 1)

    with pytest.raises(UnsupportedFeatureError, match="too large for NumPy"):
        decode_dense(memoryview(b""), data_type(1), shape)


@given(st.lists(st.sampled_from([0, 1, 2, 1 << 20, 1 << 31, 1 << 58, 1 << 62, (1 << 63) - 1]), max_size=70))
def test_shape_that_passes_both_checks_is_one_that_numpy_has(shape: list[int]) -> None:
    """For empty tensors of any other dimensions, of the largest elements and of objects."""
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
    """Whatever the bytes, type and shape."""
    try:
        array = decode_dense(memoryview(payload), data_type(number), shape, big_endian=big_endian)
    except CorruptionError:
        return

    assert array.shape == tuple(shape)
    assert array.nbytes == len(payload)
