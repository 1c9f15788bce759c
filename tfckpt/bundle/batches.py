"""Bundle entries decoded thousands at a time, with NumPy and without protobuf messages.

Almost every entry has the bytes that TensorFlow writes, its fields in this order, and those in brackets only if they
are not 0::

    08 dtype | 12 n, shape of n bytes | [18 shard] | [20 offset] | [28 size] | 35 masked crc32c, fixed32

dtype and n are less than 128; shard, offset and size are varints.
Any other entry, whatever is unusual or wrong about it, is left to `BundleEntry.decode`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from .._typing import Array, ByteView
from ..coding.crc32c import unmask
from ..errors import CheckpointError
from ..limits import Limits
from ..sstable.block import Batch
from ..tensors.dtypes import DataType
from .entry import BundleEntry, BundleHeader

#: Heads, that is, pairs of dtype and shape, that are remembered; a network has few different ones.
_REMEMBERED_HEADS = 1024
#: In place of dtype and shape.
_UNUSUAL = (None, ())
#: `BundleEntry._make` without its Python code, which takes longer than all else here.
_make_entry = functools.partial(tuple.__new__, BundleEntry)


class BatchDecoder:
    """Decodes the entries of one bundle."""

    def __init__(self, header: BundleHeader, limits: Limits) -> None:
        self._header = header
        self._limits = limits
        self._decode_head = functools.lru_cache(_REMEMBERED_HEADS)(self._decode_new_head)

    def decode(self, batch: Batch, decode_unusual: Callable[[bytes, ByteView], BundleEntry]) -> Iterator[BundleEntry]:
        """Return the entries of a batch; those that are not of the usual form are decoded by the given function.

        They are created one by one, since the garbage collector takes longer for thousands at a time.
        """
        first = batch.starts[0]
        values = bytes(batch.contents[first : batch.ends[-1]]) or b"\0"
        data = np.frombuffer(values, np.uint8)

        def byte_at(positions: Array) -> Array:
            return data.take(positions, mode="clip")

        starts, ends = np.array(batch.starts) - first, np.array(batch.ends) - first
        heads_end = at = starts + 4 + byte_at(starts + 3)
        is_usual = (byte_at(starts) == 0x08) & (byte_at(starts + 2) == 0x12)
        is_usual &= (byte_at(starts + 1) | byte_at(starts + 3)) < 0x80
        is_usual &= ends - starts <= self._limits.max_entry_bytes
        numbers = []
        for tag in (0x18, 0x20, 0x28):
            is_present = byte_at(at) == tag
            if is_present.any():
                number, after = _decode_varints(byte_at, at + 1)
                at = np.where(is_present, after, at)
                numbers.append(np.where(is_present, number, 0))
            else:
                numbers.append(np.zeros_like(at))
            is_usual &= numbers[-1] >= 0
        is_usual &= (numbers[0] < self._header.num_shards) & (byte_at(at) == 0x35) & (at + 5 == ends)
        masked = np.zeros_like(at)
        for place in range(4):
            masked |= byte_at(at + 1 + place).astype(np.int64) << 8 * place
        heads = [
            self._decode_head(values[start:end]) if usual else _UNUSUAL
            for usual, start, end in zip(is_usual.tolist(), starts.tolist(), heads_end.tolist(), strict=True)
        ]
        columns = (column.tolist() for column in (*numbers, unmask(masked)))
        types, shapes = zip(*heads, strict=True)
        entries = map(_make_entry, zip(types, shapes, *columns, itertools.repeat(()), strict=False))
        if all(types):
            return entries
        return (
            entry if entry.data_type else decode_unusual(batch.keys[place], batch.value(place))
            for place, entry in enumerate(entries)
        )

    def _decode_new_head(self, head: bytes) -> tuple[DataType | None, tuple[int, ...]]:
        """Decode dtype and shape, which are an entry without the other fields; `_UNUSUAL` if they are not valid."""
        try:
            entry = BundleEntry.decode(head, self._header, self._limits)
        except CheckpointError:
            return _UNUSUAL
        return entry.data_type, entry.shape


def _decode_varints(byte_at: Callable[[Array], Array], at: Array) -> tuple[Array, Array]:
    """Return the numbers at these positions and the positions after them; -1 for a number of 64 bits."""
    numbers = np.zeros_like(at)
    is_open = np.ones(len(at), bool)
    for shift in range(0, 63, 7):
        byte = byte_at(at)
        numbers |= (byte.astype(np.int64) & 0x7F) * is_open << shift
        at = at + is_open
        is_open &= byte >= 0x80
        if not is_open.any():
            return numbers, at
    return np.where(is_open, -1, numbers), at
