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
from tfckpt.errors import ChecksumError, CorruptionError, LimitExceededError, TruncatedError, UnsupportedFeatureError
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
    """The payload consists of the lengths, their checksum, and the bytes of the elements."""
    data = bytes.fromhex(payload)

    array, computed = decode_strings(memoryview(data), shape, DEFAULT_LIMITS)

    assert array.shape == shape
    assert array.reshape(-1).tolist() == values
    assert encode_strings(values)[0] == data
    assert checksum is None or computed == checksum


@given(st.lists(st.binary(max_size=300), max_size=12), st.booleans())
def test_strings_round_trip(values: list[bytes], big_endian: bool) -> None:
    """Values and checksum round-trip in both byte orders, and the payload agrees with an independent implementation."""
    payload, checksum = encode_strings(values, big_endian=big_endian)

    array, computed = decode_strings(memoryview(payload), (len(values),), DEFAULT_LIMITS, big_endian=big_endian)

    assert (payload, checksum) == builders.string_payload(values, big_endian=big_endian)
    assert array.dtype == object
    assert array.tolist() == values
    assert computed == checksum


def test_string_array_is_read_only_and_has_its_shape() -> None:
    """The elements are in C order, and a scalar is an array without dimensions."""
    payload, _ = builders.string_payload([b"a", b"b", b"c", b"d"])
    alone, _ = builders.string_payload([b"alone"])

    array, _ = decode_strings(memoryview(payload), (2, 2), DEFAULT_LIMITS)
    scalar, _ = decode_strings(memoryview(alone), (), DEFAULT_LIMITS)

    assert array.tolist() == [[b"a", b"b"], [b"c", b"d"]]
    assert (scalar.shape, scalar.item()) == ((), b"alone")
    assert not array.flags.writeable


def test_string_tensor_checks_lengths_checksum_before_payload() -> None:
    """The error has both checksums of the lengths."""
    payload, _ = builders.string_payload([b"ab", b"c"])
    exchanged = b"\x01\x02" + payload[2:]

    with pytest.raises(ChecksumError) as caught:
        decode_strings(memoryview(exchanged), (2,), DEFAULT_LIMITS)

    assert caught.value.stored == builders.crc32c(bytes([2, 0, 0, 0, 1, 0, 0, 0]))
    assert caught.value.computed == builders.crc32c(bytes([1, 0, 0, 0, 2, 0, 0, 0]))


def test_wrong_checksum_of_lengths_is_ignored_without_verification() -> None:
    """This recovers values from a damaged file; no checksum is computed."""
    payload, _ = builders.string_payload([b"ab", b"c"])
    damaged = payload[:2] + b"\0\0\0\0" + payload[6:]

    array, checksum = decode_strings(memoryview(damaged), (2,), DEFAULT_LIMITS, verify=False)

    assert array.tolist() == [b"ab", b"c"]
    assert checksum is None


def test_empty_payload_is_an_empty_string_tensor() -> None:
    """TensorFlow writes four bytes for an empty tensor, but an empty payload is accepted, too."""
    array, checksum = decode_strings(memoryview(b""), (0, 3), DEFAULT_LIMITS)
    _, unverified = decode_strings(memoryview(b""), (0, 3), DEFAULT_LIMITS, verify=False)

    assert array.shape == (0, 3)
    assert checksum == 0
    assert unverified is None


@pytest.mark.parametrize("change", [-1, 1], ids=["too small", "too large"])
def test_payload_of_the_wrong_size_is_rejected(change: int) -> None:
    """The lengths must account for every byte, although TensorFlow ignores the size of a string tensor."""
    payload, _ = builders.string_payload([b"ab", b"c"])
    broken = payload[:change] if change < 0 else payload + b"x"

    with pytest.raises(CorruptionError):
        decode_strings(memoryview(broken), (2,), DEFAULT_LIMITS)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_payload_too_short_for_its_lengths_is_rejected(size: int) -> None:
    """Each length takes at least one byte, and the checksum four."""
    with pytest.raises(TruncatedError) as caught:
        decode_strings(memoryview(bytes(size)), (2,), DEFAULT_LIMITS)

    assert (caught.value.needed, caught.value.available) == (6, size)


@pytest.mark.parametrize("length", [1 << 20, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1], ids=hex)
def test_wrong_string_length_is_rejected_before_memory_is_allocated(length: int) -> None:
    """It is rejected even if the checksum is correct, which makes TensorFlow crash."""
    lengths = length.to_bytes(4 if length < 1 << 32 else 8, "little")
    payload = builders.varint(length) + builders.fixed32(builders.mask(builders.crc32c(lengths))) + b"short"

    with pytest.raises(TruncatedError) as caught:
        decode_strings(memoryview(payload), (1,), DEFAULT_LIMITS)

    assert (caught.value.needed, caught.value.available) == (length, len(payload))


def test_string_lengths_that_wrap_round_together_are_rejected() -> None:
    """The sum of the two lengths would be small in 64-bit arithmetic."""
    lengths = [(1 << 63) + 2, (1 << 63) + 2]
    payload = b"".join(map(builders.varint, lengths)) + bytes(8)

    with pytest.raises(TruncatedError) as caught:
        decode_strings(memoryview(payload), (2,), DEFAULT_LIMITS)

    assert caught.value.needed == lengths[0]


def test_string_length_of_eleven_bytes_is_rejected() -> None:
    """A non-minimal varint may have up to ten bytes."""
    checksum = builders.fixed32(builders.mask(builders.crc32c(b"\x01\0\0\0")))
    longest = builders.varint(1, width=10)
    assert decode_strings(memoryview(longest + checksum + b"x"), (1,), DEFAULT_LIMITS)[0].tolist() == [b"x"]

    with pytest.raises(CorruptionError):
        decode_strings(memoryview(builders.varint(1, width=11) + checksum + b"x"), (1,), DEFAULT_LIMITS)


def test_too_many_strings_are_refused() -> None:
    """An element takes far more memory than its byte in the file."""
    payload, _ = builders.string_payload([b""] * 5)
    assert decode_strings(memoryview(payload), (5,), Limits(max_string_elements=5))[0].shape == (5,)

    with pytest.raises(LimitExceededError) as caught:
        decode_strings(memoryview(payload), (5,), Limits(max_string_elements=4))

    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_string_elements", 4, 5)


def test_empty_string_tensor_too_large_for_numpy_is_unsupported() -> None:
    """The rule is the same as for fixed-width tensors."""
    assert decode_strings(memoryview(b""), (0, 1 << 40), DEFAULT_LIMITS)[0].shape == (0, 1 << 40)

    with pytest.raises(UnsupportedFeatureError):
        decode_strings(memoryview(b""), (0, 1 << 62), DEFAULT_LIMITS)


@pytest.mark.parametrize(("byteorder", "order"), [("little", "<"), ("big", ">")])
def test_checksum_of_lengths_uses_eight_bytes_for_large_lengths(
    byteorder: Literal["little", "big"], order: str
) -> None:
    """Strings of 4 GiB and more may occur next to short ones."""
    lengths = [3, (1 << 32) - 1, 1 << 32, 0]

    checksum = _lengths_checksum(np.array(lengths, np.uint64), byteorder)

    assert checksum == builders.crc32c(struct.pack(order + "IIQI", *lengths))


@given(st.binary(max_size=40), st.lists(st.integers(0, 5), max_size=3), st.booleans(), st.booleans())
def test_arbitrary_payload_gives_strings_or_our_error(
    payload: bytes, shape: list[int], big_endian: bool, verify: bool
) -> None:
    """The strings contain exactly the bytes at the end of the payload."""
    try:
        array, _ = decode_strings(memoryview(payload), shape, DEFAULT_LIMITS, big_endian=big_endian, verify=verify)
    except CorruptionError:
        return

    assert array.shape == tuple(shape)
    assert b"".join(array.reshape(-1).tolist()) == payload[len(payload) - sum(map(len, array.reshape(-1))) :]
    assert array.size == math.prod(shape)
    assert isinstance(array, np.ndarray)
