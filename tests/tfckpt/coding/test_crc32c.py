"""CRC-32C and the mask of its stored form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfckpt.coding.crc32c import crc32c, mask, unmask

RFC_3720 = [
    ("zeros", bytes(32), 0x8A9136AA),
    ("ones", b"\xff" * 32, 0x62A8AB43),
    ("ascending", bytes(range(32)), 0x46DD794E),
    ("descending", bytes(reversed(range(32))), 0x113FDB5C),
    ("digits", b"123456789", 0xE3069283),
    ("nothing", b"", 0),
]


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in RFC_3720], ids=[row[0] for row in RFC_3720])
def test_crc32c_matches_rfc_vectors(data: bytes, expected: int) -> None:
    """The vectors are those of RFC 3720, appendix B.4, the usual check value, and the empty string."""
    assert crc32c(data) == expected


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in RFC_3720], ids=[row[0] for row in RFC_3720])
def test_masked_crc_matches_rfc_vectors_after_unmask(data: bytes, expected: int) -> None:
    """Unmasking the stored form restores the checksum."""
    assert unmask(mask(crc32c(data))) == expected


@pytest.mark.parametrize(
    ("checksum", "stored"),
    [(0, 0xA282EAD8), (0x9EBA690A, 0x7498284C), (0x1E5048C4, 0x340B2778), (0xD9E32562, 0xED489E9E)],
)
def test_mask_matches_checksums_that_tensorflow_stored(checksum: int, stored: int) -> None:
    """The pairs come from files that TensorFlow wrote."""
    assert mask(checksum) == stored
    assert unmask(stored) == checksum


@given(st.integers(0, 0xFFFFFFFF))
def test_unmask_inverts_mask(checksum: int) -> None:
    """The mask is a permutation of the 32-bit numbers."""
    assert unmask(mask(checksum)) == checksum
    assert 0 <= mask(checksum) <= 0xFFFFFFFF


@given(st.binary(max_size=200), st.integers(0, 200))
def test_crc32c_continues_over_pieces(data: bytes, cut: int) -> None:
    """Starting the second part from the checksum of the first gives the checksum of the whole."""
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


def test_crc32c_takes_read_only_views() -> None:
    """Views of a memory map need no copy."""
    assert crc32c(memoryview(b"x123456789")[1:]) == 0xE3069283
