"""Integers as LevelDB writes them (`util/coding.h`).

::

    fixed32, fixed64   4 or 8 bytes, little-endian
    varint32, varint64 groups of 7 bits, low group first; bit 7 of a byte is set if another byte follows
                       at most 5 bytes for 32 bits, 10 bytes for 64

A decoder takes a view and a position in bytes, and returns the value and the next position.
Non-minimal varints are accepted, as in LevelDB and TensorFlow.
"""

from __future__ import annotations

import struct

from ..errors import CorruptionError, past_end

_FIXED32 = struct.Struct("<I")
_FIXED64 = struct.Struct("<Q")


def encode_fixed32(value: int) -> bytes:
    """Encode a number as four bytes, little-endian."""
    return _FIXED32.pack(value)


def decode_fixed32(view: bytes | memoryview, position: int) -> tuple[int, int]:
    """Decode the four bytes at `position` as an unsigned number."""
    _check_length(view, position, 4, "fixed32")
    return _FIXED32.unpack_from(view, position)[0], position + 4


def encode_fixed64(value: int) -> bytes:
    """Encode a number as eight bytes, little-endian."""
    return _FIXED64.pack(value)


def decode_fixed64(view: bytes | memoryview, position: int) -> tuple[int, int]:
    """Decode the eight bytes at `position` as an unsigned number."""
    _check_length(view, position, 8, "fixed64")
    return _FIXED64.unpack_from(view, position)[0], position + 8


def encode_varint(value: int) -> bytes:
    """Encode a number in [0, 2**64) as the shortest varint, which is the same for varint32 and varint64."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"a varint must be from 0 to 2**64 - 1, not {value}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint32(view: bytes | memoryview, position: int) -> tuple[int, int]:
    """Decode the varint at `position`; `CorruptionError` if it has more than 5 bytes or 32 bits."""
    return _decode(view, position, max_bytes=5, bits=32)


def decode_varint64(view: bytes | memoryview, position: int) -> tuple[int, int]:
    """Decode the varint at `position`; `CorruptionError` if it has more than 10 bytes or 64 bits."""
    return _decode(view, position, max_bytes=10, bits=64)


def _decode(view: bytes | memoryview, position: int, *, max_bytes: int, bits: int) -> tuple[int, int]:
    value = 0
    for index in range(max_bytes):
        if position + index >= len(view):
            raise past_end(f"varint{bits}", needed=index + 1, available=index, offset=position)
        byte = view[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value >> bits:
                raise CorruptionError(f"varint{bits} has more than {bits} bits", offset=position)
            return value, position + index + 1
    raise CorruptionError(f"varint{bits} continues past {max_bytes} bytes", offset=position)


def _check_length(view: bytes | memoryview, position: int, length: int, what: str) -> None:
    if len(view) - position < length:
        raise past_end(what, needed=length, available=len(view) - position, offset=position)
