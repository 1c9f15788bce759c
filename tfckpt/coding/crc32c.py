"""CRC-32C (Castagnoli) and the mask that LevelDB puts over it where it is stored (`util/crc32c.h`).

A checksum of data that holds checksums is weak; so the stored form is rotated right by 15 bits and a constant is added.
The check value of b"123456789" is 0xe3069283 (RFC 3720, appendix B.4).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from .._typing import Buffer

_MASK_DELTA = 0xA282EAD8
_UINT32 = 0xFFFFFFFF


def crc32c(data: Buffer, value: int = 0) -> int:
    """The checksum of `data`, continuing from the checksum `value` of what stood before; any buffer, no copy."""
    return _library()(data, value)


def mask(checksum: int) -> int:
    """The stored form of a checksum."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & _UINT32


def unmask(stored: int) -> int:
    """The checksum behind its stored form."""
    rotated = (stored - _MASK_DELTA) & _UINT32
    return ((rotated >> 17) | (rotated << 15)) & _UINT32


@functools.cache
def _library() -> Callable[[Buffer, int], int]:
    """The crc32c package's function, imported at the first checksum: its import takes a third as long as NumPy's."""
    import crc32c as library

    return library.crc32c
