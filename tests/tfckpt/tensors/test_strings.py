"""Payloads of string tensors."""

from __future__ import annotations

import math
import struct
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tfckpt.errors import CheckpointError, ChecksumError, CorruptionError, LimitExceededError, TruncatedError
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.tensors.strings import _lengths_checksum, decode_strings, encode_strings


@pytest.mark.parametrize(
    ("values", "shape", "payload", "checksum"),
    [
        ([b"hi", b""], (2,), "020078270b346869", 0xD9E32562),
        ([], (0,), "d8ea82a2", None),
        ([b""], (), "00a67b113a", None),
    ],
    ids=["two", "none", "empty scalar"],
)
def test_strings_match_bytes_that_tensorflow_wrote(
    values: list[bytes], shape: tuple[int, ...], payload: str, checksum: int | None
) -> None:
    """Lengths, their checksum, and the bytes of the elements."""
    data = bytes.fromhex(payload)

    array, computed = decode_strings(memoryview(data), shape, DEFAULT_LIMITS)

    assert array.shape == shape
    assert array.reshape(-1).tolist() == values
    assert encode_strings(values)[0] == data
    assert checksum is None or computed == checksum


@given(st.lists(st.binary(max_size=300), max_size=12), st.booleans())
def test_strings_round_trip(values: list[bytes], big_endian: bool) -> None:
    """In both byte orders, as an object array of bytes with the checksum that was written, byte for byte ours."""
    payload, checksum = encode_strings(values, big_endian=big_endian)

    array, computed = decode_strings(memoryview(payload), (len(values),), DEFAULT_LIMITS, big_endian=big_endian)

    assert (payload, checksum) == builders.string_payload(values, big_endian=big_endian)
    assert array.dtype == object
    assert array.tolist() == values
    assert computed == checksum


def test_string_array_is_read_only_and_has_its_shape() -> None:
    """Elements stand in C order; a scalar is an array without dimensions."""
    payload, _ = builders.string_payload([b"a", b"b", b"c", b"d"])
    alone, _ = builders.string_payload([b"alone"])

    array, _ = decode_strings(memoryview(payload), (2, 2), DEFAULT_LIMITS)
    scalar, _ = decode_strings(memoryview(alone), (), DEFAULT_LIMITS)

    assert array.tolist() == [[b"a", b"b"], [b"c", b"d"]]
    assert (scalar.shape, scalar.item()) == ((), b"alone")
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = b"x"


def test_string_tensor_checks_lengths_checksum_before_payload() -> None:
    """Wrong lengths are named as such, with both checksums."""
    payload, _ = builders.string_payload([b"ab", b"c"])
    exchanged = b"\x01\x02" + payload[2:]

    with pytest.raises(ChecksumError, match="lengths of 2 strings") as caught:
        decode_strings(memoryview(exchanged), (2,), DEFAULT_LIMITS)

    assert caught.value.stored == builders.crc32c(bytes([2, 0, 0, 0, 1, 0, 0, 0]))
    assert caught.value.computed == builders.crc32c(bytes([1, 0, 0, 0, 2, 0, 0, 0]))


def test_string_tensor_is_read_past_a_wrong_lengths_checksum_without_verification() -> None:
    """To save what a damaged file still holds; no checksum is computed then."""
    payload, _ = builders.string_payload([b"ab", b"c"])
    damaged = payload[:2] + b"\0\0\0\0" + payload[6:]

    array, checksum = decode_strings(memoryview(damaged), (2,), DEFAULT_LIMITS, verify=False)

    assert array.tolist() == [b"ab", b"c"]
    assert checksum is None


def test_no_bytes_at_all_are_no_strings() -> None:
    """TensorFlow writes four bytes for an empty tensor; none are accepted too, with the checksum of nothing."""
    array, checksum = decode_strings(memoryview(b""), (0, 3), DEFAULT_LIMITS)
    _, unverified = decode_strings(memoryview(b""), (0, 3), DEFAULT_LIMITS, verify=False)

    assert array.shape == (0, 3)
    assert checksum == 0
    assert unverified is None


@pytest.mark.parametrize("change", [-1, 1], ids=["too small", "too large"])
def test_payload_that_lengths_do_not_fill_is_rejected(change: int) -> None:
    """TensorFlow ignores the size of a string tensor; here every byte has to be accounted for."""
    payload, _ = builders.string_payload([b"ab", b"c"])
    broken = payload[:change] if change < 0 else payload + b"x"

    with pytest.raises(CorruptionError, match=f"take {len(payload)} bytes, the payload has {len(broken)}"):
        decode_strings(memoryview(broken), (2,), DEFAULT_LIMITS)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_payload_too_short_for_its_lengths_is_rejected(size: int) -> None:
    """Each string takes a byte of length at least, and the checksum four."""
    with pytest.raises(TruncatedError) as caught:
        decode_strings(memoryview(bytes(size)), (2,), DEFAULT_LIMITS)

    assert (caught.value.needed, caught.value.available) == (6, size)


@pytest.mark.parametrize("length", [1 << 20, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1], ids=hex)
def test_string_length_that_lies_is_rejected_before_memory_is_taken(length: int) -> None:
    """Also with a checksum that is right, where TensorFlow crashes."""
    lengths = length.to_bytes(4 if length < 1 << 32 else 8, "little")
    payload = builders.varint(length) + builders.fixed32(builders.mask(builders.crc32c(lengths))) + b"short"

    with pytest.raises(TruncatedError) as caught:
        decode_strings(memoryview(payload), (1,), DEFAULT_LIMITS)

    assert (caught.value.needed, caught.value.available) == (length, len(payload))


def test_string_lengths_that_wrap_round_together_are_rejected() -> None:
    """Two lengths whose sum is small in 64 bits."""
    lengths = [(1 << 63) + 2, (1 << 63) + 2]
    payload = b"".join(map(builders.varint, lengths)) + bytes(8)

    with pytest.raises(TruncatedError) as caught:
        decode_strings(memoryview(payload), (2,), DEFAULT_LIMITS)

    assert caught.value.needed == lengths[0]


def test_string_length_of_eleven_bytes_is_rejected() -> None:
    """Ten bytes are the most of a varint; needless ones up to there are accepted."""
    checksum = builders.fixed32(builders.mask(builders.crc32c(b"\x01\0\0\0")))
    longest = builders.varint(1, width=10)
    assert decode_strings(memoryview(longest + checksum + b"x"), (1,), DEFAULT_LIMITS)[0].tolist() == [b"x"]

    with pytest.raises(CorruptionError, match="past 10 bytes"):
        decode_strings(memoryview(builders.varint(1, width=11) + checksum + b"x"), (1,), DEFAULT_LIMITS)


def test_strings_over_the_limit_are_refused_by_name() -> None:
    """An element costs far more memory than its byte in the file."""
    payload, _ = builders.string_payload([b""] * 5)
    assert decode_strings(memoryview(payload), (5,), Limits(max_string_elements=5))[0].shape == (5,)

    with pytest.raises(LimitExceededError, match="max_string_elements=4"):
        decode_strings(memoryview(payload), (5,), Limits(max_string_elements=4))


def test_empty_string_tensor_too_large_for_numpy_is_ours_to_refuse() -> None:
    """The same rule as for fixed-width tensors."""
    assert decode_strings(memoryview(b""), (0, 1 << 40), DEFAULT_LIMITS)[0].shape == (0, 1 << 40)

    with pytest.raises(CheckpointError, match="too large for NumPy"):
        decode_strings(memoryview(b""), (0, 1 << 62), DEFAULT_LIMITS)


@pytest.mark.parametrize(("byteorder", "order"), [("little", "<"), ("big", ">")])
def test_checksum_of_lengths_takes_eight_bytes_for_those_that_need_them(
    byteorder: Literal["little", "big"], order: str
) -> None:
    """Each length by itself, as strings of 4 GiB have it beside short ones."""
    lengths = [3, (1 << 32) - 1, 1 << 32, 0]

    checksum = _lengths_checksum(np.array(lengths, np.uint64), byteorder)

    assert checksum == builders.crc32c(struct.pack(order + "IIQI", *lengths))


@given(st.binary(max_size=40), st.lists(st.integers(0, 5), max_size=3), st.booleans(), st.booleans())
def test_arbitrary_payload_gives_strings_or_our_error(
    payload: bytes, shape: list[int], big_endian: bool, verify: bool
) -> None:
    """Whatever the bytes and the shape, nothing is lost or made up."""
    try:
        array, _ = decode_strings(memoryview(payload), shape, DEFAULT_LIMITS, big_endian=big_endian, verify=verify)
    except CorruptionError:
        return

    assert array.shape == tuple(shape)
    assert b"".join(array.reshape(-1).tolist()) == payload[len(payload) - sum(map(len, array.reshape(-1))) :]
    assert array.size == math.prod(shape)
    assert isinstance(array, np.ndarray)
