"""Ordered codes, whose bytes sort like their values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tfckpt.coding import ordered_code
from tfckpt.errors import CorruptionError, TruncatedError

unsigned = st.integers(0, (1 << 64) - 1)
signed = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "80"),
        (1, "81"),
        (63, "bf"),
        (64, "c040"),
        (-1, "7f"),
        (8191, "dfff"),
        (8192, "e02000"),
        (1 << 31, "f880000000"),
        (1 << 55, "ff80" + "80" + "00" * 6),
    ],
)
def test_signed_matches_bytes_that_tensorflow_writes(value: int, expected: str) -> None:
    """The examples include the boundaries where the code grows by a byte."""
    assert ordered_code.encode_signed(value).hex() == expected
    assert ordered_code.decode_signed(bytes.fromhex(expected), 0) == (value, len(expected) // 2)


@pytest.mark.parametrize("bits", range(64))
def test_signed_round_trips_every_length_boundary(bits: int) -> None:
    """Both sides of each power of two, positive and negative, agree with an independent implementation."""
    for value in ((1 << bits) - 1, 1 << bits, -(1 << bits), -(1 << bits) - 1):
        if -(1 << 63) <= value < 1 << 63:
            data = ordered_code.encode_signed(value)

            assert data == builders.ordered_signed(value)
            assert ordered_code.decode_signed(b"." + data + b".", 1) == (value, 1 + len(data))


@given(signed, signed)
def test_signed_codes_sort_like_their_numbers(one: int, other: int) -> None:
    """Comparing the codes is the same as comparing the numbers."""
    assert (ordered_code.encode_signed(one) < ordered_code.encode_signed(other)) == (one < other)


@given(unsigned, unsigned)
def test_number_codes_sort_like_their_numbers_and_round_trip(one: int, other: int) -> None:
    """Comparing the codes is the same as comparing the numbers, and decoding inverts encoding."""
    data = ordered_code.encode_number(one)

    assert (data < ordered_code.encode_number(other)) == (one < other)
    assert ordered_code.decode_number(data, 0) == (one, len(data))


@given(st.binary(), st.binary())
def test_string_codes_sort_like_their_strings_and_round_trip(one: bytes, other: bytes) -> None:
    """Escaping the bytes 0 and 255 preserves both order and content."""
    data = ordered_code.encode_string(one)

    assert data == builders.ordered_string(one)
    assert (data < ordered_code.encode_string(other)) == (one < other)
    assert ordered_code.decode_string(data + b"tail", 0) == (one, len(data))


@given(st.binary(max_size=4), st.binary(max_size=4), signed, signed)
def test_concatenated_codes_sort_like_tuples(one: bytes, other: bytes, a: int, b: int) -> None:
    """The terminator of a string makes the string decide before the code that follows it."""
    left = ordered_code.encode_string(one) + ordered_code.encode_signed(a)
    right = ordered_code.encode_string(other) + ordered_code.encode_signed(b)

    assert (left < right) == ((one, a) < (other, b))


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_encode_number_refuses_numbers_out_of_range(value: int) -> None:
    """Misuse is a plain ValueError."""
    with pytest.raises(ValueError, match=str(value)):
        ordered_code.encode_number(value)


@pytest.mark.parametrize("value", [-(1 << 63) - 1, 1 << 63])
def test_encode_signed_refuses_numbers_out_of_range(value: int) -> None:
    """Misuse is a plain ValueError."""
    with pytest.raises(ValueError, match=str(value)):
        ordered_code.encode_signed(value)


def test_number_rejects_leading_zeros_and_more_than_eight_bytes() -> None:
    """Each number has only one code, so that keys are unique."""
    assert ordered_code.decode_number(b"\x01\x05", 0) == (5, 2)

    for data in (b"\x02\x00\x05", b"\x09" + b"\x01" * 9):
        with pytest.raises(CorruptionError) as caught:
            ordered_code.decode_number(data, 0)
        assert caught.value.offset == 0


def test_string_rejects_an_unknown_escape() -> None:
    """A zero byte is followed by 01 (the end) or ff (an escaped zero byte)."""
    assert ordered_code.decode_string(b"a\x00\xffb\x00\x01", 0) == (b"a\x00b", 6)

    for data in (b"a\x00\x02b\x00\x01", b"a\xff\x01b\x00\x01"):
        with pytest.raises(CorruptionError) as caught:
            ordered_code.decode_string(data, 0)
        assert caught.value.offset == 1


def test_string_rejects_a_missing_terminator() -> None:
    """A string that ends with the data but without a terminator is truncated."""
    with pytest.raises(TruncatedError):
        ordered_code.decode_string(b"abc", 0)


def test_signed_rejects_a_longer_code_than_needed() -> None:
    """If the number 1 could take two bytes, a slice could have two keys."""
    assert ordered_code.decode_signed(b"\xc0\x40", 0) == (64, 2)

    with pytest.raises(CorruptionError):
        ordered_code.decode_signed(b"\xc0\x01", 0)


@pytest.mark.parametrize("data", [b"\xff\xff" + b"\x00" * 14, b"\x00\x00" + b"\xff" * 14], ids=["positive", "negative"])
def test_signed_rejects_a_header_of_more_than_ten_bytes(data: bytes) -> None:
    """A run of sixteen equal bits claims more bytes than any 64-bit number needs."""
    with pytest.raises(CorruptionError):
        ordered_code.decode_signed(data, 0)


@given(st.binary(max_size=24), st.integers(0, 24))
def test_decoding_arbitrary_bytes_gives_a_value_that_encodes_to_them_or_our_error(data: bytes, position: int) -> None:
    """Every accepted code is the only one for its value."""
    try:
        number, end = ordered_code.decode_number(data, position)
        assert ordered_code.encode_number(number) == data[position:end]
    except CorruptionError:
        pass
    try:
        text, end = ordered_code.decode_string(data, position)
        assert ordered_code.encode_string(text) == data[position:end]
    except CorruptionError:
        pass
    try:
        number, end = ordered_code.decode_signed(data, position)
        assert ordered_code.encode_signed(number) == data[position:end]
    except CorruptionError:
        pass
