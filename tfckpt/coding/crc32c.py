"""CRC-32C (Castagnoli), and the mask that LevelDB applies before storing it (`util/crc32c.h`).

A CRC of data that contains its own CRC is weak. Therefore the stored form is rotated right by 15 bits, and a constant
is added.
The check value of b"123456789" is 0xe3069283 (RFC 3720, appendix B.4).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from .._typing import Array, Buffer

_MASK_DELTA = 0xA282EAD8
_UINT32 = 0xFFFFFFFF
_Numbers = TypeVar("_Numbers", int, Array)


def crc32c(data: Buffer, value: int = 0) -> int:
    """Return the checksum of `data`, continuing from the checksum `value` of the data before it; copies nothing."""
    return _library()(data, value)


def mask(checksum: int) -> int:
    """Return the stored form of a checksum."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & _UINT32


def unmask(stored: _Numbers) -> _Numbers:
    """Return the checksum from its stored form; of an array with int64, each of them."""
    rotated = (stored - _MASK_DELTA) & _UINT32
    return ((rotated >> 17) | (rotated << 15)) & _UINT32


@functools.cache
def _library() -> Callable[[Buffer, int], int]:
    """Import the crc32c package at the first checksum; its import takes a third as long as NumPy's."""
    import crc32c as library

    return library.crc32c
