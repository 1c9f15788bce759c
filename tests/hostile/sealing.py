"""Damage and forgery of files: random mutations, and checksums recomputed to match."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests import builders


def reseal(index: bytes) -> bytes:
    """Return the index with the checksum of every uncompressed block that its footer leads to corrected."""
    out = bytearray(index)
    handles: list[tuple[int, int]] = []
    try:
        numbers = list(_varints(index[-48:-8], 4))
        handles += [(numbers[0], numbers[1]), (numbers[2], numbers[3])]
        contents = index[numbers[2] : numbers[2] + numbers[3]]
        entries = contents[: len(contents) - 4 - 4 * int.from_bytes(contents[-4:], "little")]
        position = 0
        while position < len(entries):
            _, unshared, size = entries[position : position + 3]
            start = position + 3 + unshared
            offset, length = _varints(entries[start : start + size], 2)
            handles.append((offset, length))
            position = start + size
    except (ValueError, IndexError):
        pass
    for offset, size in handles:
        end = offset + size + 1
        if end + 4 <= len(out):
            out[end : end + 4] = builders.fixed32(builders.mask(builders.crc32c(bytes(out[offset:end]))))
    return bytes(out)


def _varints(data: bytes, count: int) -> Iterator[int]:
    position = 0
    for _ in range(count):
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield value


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Return the bytes changed in one to four of the ways in which files are damaged or forged."""
    out = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(out)) if out else 0
        length = generator.choice((1, 1, 1, 2, 4, 8, 16))
        kind = generator.randrange(7)
        if kind == 0:
            out[place : place + length] = generator.randbytes(min(length, len(out) - place))
        elif kind == 1:
            out[place : place + 1] = bytes([generator.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))])
        elif kind == 2:
            del out[place : place + length]
        elif kind == 3:
            out[place:place] = generator.randbytes(length)
        elif kind == 4:
            out[place:place] = out[generator.randrange(len(out) + 1) :][:length]
        elif kind == 5:
            out[place : place + 1] = builders.varint(generator.choice((1 << 31, (1 << 32) - 1, 1 << 40, (1 << 64) - 1)))
        elif out:
            out[place] ^= 1 << generator.randrange(8)
    return bytes(out)


def nudge(data: bytes, generator: random.Random) -> bytes:
    """Return the bytes with one byte changed; the lengths around it still match, so deeper checks are reached."""
    out = bytearray(data)
    if out:
        place = generator.randrange(len(out))
        choices = (
            out[place] ^ 1 << generator.randrange(8),
            out[place] + 1,
            out[place] - 1,
            generator.randrange(256),
            0,
            0x7F,
        )
        out[place] = generator.choice(choices) & 0xFF
    return bytes(out)
