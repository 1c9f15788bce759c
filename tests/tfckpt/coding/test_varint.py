"""Fixed-width and variable-width integers in LevelDB's format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tfckpt.coding import varint
from tfckpt.errors import CorruptionError, TruncatedError

BOUNDARIES = sorted({value for bits in range(65) for value in ((1 << bits) - 1, 1 << bits) if value < 1 << 64})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (16384, "808001"),
        ((1 << 64) - 1, "ff" * 9 + "01"),
    ],
)
def test_encode_varint_writes_groups_of_seven_bits_low_first(value: int, expected: str) -> None:
    """The result is the shortest LEB128 encoding."""
    assert varint.encode_varint(value).hex() == expected


@pytest.mark.parametrize("value", BOUNDARIES)
def test_varint64_round_trips_every_power_of_two_boundary(value: int) -> None:
    """Both sides of each power of two round-trip, and the next position is directly after the varint."""
    data = varint.encode_varint(value)

    assert varint.decode_varint64(b"\xff" + data + b"\xff", 1) == (value, 1 + len(data))


@given(st.integers(0, (1 << 64) - 1), st.integers(1, 10))
def test_varint64_accepts_non_minimal_encodings(value: int, width: int) -> None:
    """LevelDB and TensorFlow accept them, too."""
    data = builders.varint(value, width=width)

    assert varint.decode_varint64(data, 0) == (value, len(data))


def test_varint_rejects_an_eleventh_byte() -> None:
    """64 bits need at most ten bytes."""
    assert varint.decode_varint64(b"\x80" * 9 + b"\x01", 0) == (1 << 63, 10)

    with pytest.raises(CorruptionError):
        varint.decode_varint64(b"\x80" * 10 + b"\x01", 0)


def test_varint64_rejects_a_sixty_fifth_bit() -> None:
    """The tenth byte holds only one bit of a 64-bit number."""
    assert varint.decode_varint64(b"\xff" * 9 + b"\x01", 0) == ((1 << 64) - 1, 10)

    with pytest.raises(CorruptionError):
        varint.decode_varint64(b"\xff" * 9 + b"\x02", 0)


def test_varint32_rejects_a_sixth_byte_and_a_thirty_third_bit() -> None:
    """The same rules as for 64 bits apply at 5 bytes and 32 bits."""
    assert varint.decode_varint32(b"\xff\xff\xff\xff\x0f", 0) == (0xFFFFFFFF, 5)

    for data in (b"\xff\xff\xff\xff\x10", b"\x80" * 5 + b"\x00"):
        with pytest.raises(CorruptionError):
            varint.decode_varint32(data, 0)


def test_truncated_varint_is_located_at_its_first_byte() -> None:
    """The error also has the number of bytes needed and available."""
    with pytest.raises(TruncatedError) as caught:
        varint.decode_varint64(b"\x00\x80\x80", 1)

    assert (caught.value.offset, caught.value.needed, caught.value.available) == (1, 3, 2)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_encode_varint_refuses_numbers_out_of_range(value: int) -> None:
    """Misuse is a plain ValueError."""
    with pytest.raises(ValueError, match=str(value)):
        varint.encode_varint(value)


@given(st.integers(0, (1 << 32) - 1))
def test_fixed32_round_trips(value: int) -> None:
    """The number takes four little-endian bytes."""
    data = varint.encode_fixed32(value)

    assert data == value.to_bytes(4, "little")
    assert varint.decode_fixed32(b"." + data, 1) == (value, 5)


@given(st.integers(0, (1 << 64) - 1))
def test_fixed64_round_trips(value: int) -> None:
    """The number takes eight little-endian bytes."""
    data = varint.encode_fixed64(value)

    assert data == value.to_bytes(8, "little")
    assert varint.decode_fixed64(b"." + data, 1) == (value, 9)


@pytest.mark.parametrize("position", [0, 1, 2, 100])
def test_fixed_width_numbers_reject_data_that_ends_early(position: int) -> None:
    """A position past the end of the data does not raise `struct.error` either."""
    data = b"\x01\x02\x03\x04"
    assert varint.decode_fixed32(data, 0) == (0x04030201, 4)

    with pytest.raises(TruncatedError) as caught:
        varint.decode_fixed64(data, position)

    assert (caught.value.needed, caught.value.available) == (8, max(4 - position, 0))


@given(st.binary(max_size=14), st.integers(0, 16))
def test_decoding_arbitrary_bytes_gives_a_number_or_our_error(data: bytes, position: int) -> None:
    """The number fits its width, and the next position is inside the data."""
    for decode, bits in (
        (varint.decode_varint32, 32),
        (varint.decode_varint64, 64),
        (varint.decode_fixed32, 32),
        (varint.decode_fixed64, 64),
    ):
        try:
            value, end = decode(data, position)
        except CorruptionError:
            continue

        assert 0 <= value < 1 << bits
        assert position < end <= len(data)
