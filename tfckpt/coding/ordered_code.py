"""Codes whose bytes sort in the order of the values (TensorFlow's `lib/strings/ordered_code.cc`).

The keys of V1 records and of the slices of partitioned variables consist of them.

::

    number N(u)   one byte k, then u in k big-endian bytes without leading zeros (0 is the single byte 00)
    string S(s)   00 -> 00 ff, ff -> ff 00, other bytes unchanged; ends with 00 01
    signed I(v)   the smallest n with -2**(7n-1) <= v < 2**(7n-1);
                  v as n big-endian bytes in two's complement, the top n bits inverted (a header that counts the bytes)

A decoder takes bytes and a position, and returns the value and the next position.
"""

from __future__ import annotations

from ..errors import CorruptionError, past_end

_ESCAPES = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}
_TERMINATOR = b"\x00\x01"


def encode_number(value: int) -> bytes:
    """Encode a number in [0, 2**64) as N(u)."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"an ordered number must be from 0 to 2**64 - 1, not {value}")
    length = (value.bit_length() + 7) // 8
    return bytes([length]) + value.to_bytes(length, "big")


def decode_number(data: bytes, position: int) -> tuple[int, int]:
    """Decode the N(u) at `position`; `CorruptionError` for more than 8 bytes or leading zeros."""
    length = _take(data, position, 1)[0]
    if length > 8:
        raise CorruptionError(f"ordered number of {length} bytes; at most 8 are possible", offset=position)
    digits = _take(data, position + 1, length)
    if digits[:1] == b"\x00":
        raise CorruptionError("ordered number with a leading zero byte", offset=position)
    return int.from_bytes(digits, "big"), position + 1 + length


def encode_string(value: bytes) -> bytes:
    """Encode a string as S(s)."""
    return _ESCAPES[0x00].join(part.replace(b"\xff", _ESCAPES[0xFF]) for part in value.split(b"\x00")) + _TERMINATOR


def decode_string(data: bytes, position: int) -> tuple[bytes, int]:
    """Decode the S(s) at `position`; `CorruptionError` for an unknown escape or a missing terminator."""
    out = bytearray()
    while True:
        byte = _take(data, position, 1)[0]
        if byte not in _ESCAPES:
            out.append(byte)
            position += 1
            continue
        pair = _take(data, position, 2)
        position += 2
        if pair == _TERMINATOR:
            return bytes(out), position
        if pair != _ESCAPES[byte]:
            raise CorruptionError(f"ordered string with the unknown escape {pair.hex(' ')}", offset=position - 2)
        out.append(byte)


def encode_signed(value: int) -> bytes:
    """Encode a number in [-2**63, 2**63) as I(v)."""
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"an ordered signed number must be from -2**63 to 2**63 - 1, not {value}")
    length = ((~value if value < 0 else value).bit_length() + 7) // 7
    header = ((1 << length) - 1) << 7 * length
    return ((value & ((1 << 8 * length) - 1)) ^ header).to_bytes(length, "big")


def decode_signed(data: bytes, position: int) -> tuple[int, int]:
    """Decode the I(v) at `position`; `CorruptionError` if a shorter code exists for the value."""
    negative = not _take(data, position, 1)[0] & 0x80
    # The header is the run of equal top bits: ones if the number is >= 0, zeros if it is negative.
    head = int.from_bytes(data[position : position + 2].ljust(2, b"\x00"), "big")
    run = (head if negative else head ^ 0xFFFF) | 1
    length = 16 - run.bit_length()
    if length > 10:
        raise CorruptionError(f"ordered signed number of {length} bytes; at most 10 are possible", offset=position)
    raw = int.from_bytes(_take(data, position, length), "big") ^ (((1 << length) - 1) << 7 * length)
    value = raw - (1 << 8 * length) if negative else raw
    if not -(1 << 63) <= value < 1 << 63 or len(encode_signed(value)) != length:
        raise CorruptionError("ordered signed number that is not in its shortest form", offset=position)
    return value, position + length


def _take(data: bytes, position: int, length: int) -> bytes:
    piece = data[position : position + length]
    if len(piece) < length:
        raise past_end("ordered code", needed=length, available=len(piece), offset=position)
    return piece
