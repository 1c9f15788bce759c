"""The contents of a table block (LevelDB `table/block.cc`, `block_builder.cc`).

::

    contents = table entry* | restart point, fixed32 * R | R, fixed32
    entry    = shared, varint32 | unshared, varint32 | value length, varint32 | unshared key bytes | value
    key      = the first `shared` bytes of the previous key | unshared key bytes

A restart point is the offset of an entry whose `shared` is 0.
The first one is 0, and R is at least 1, even in an empty block.
The entries end exactly where the restart points begin. Keys are strictly increasing, compared as unsigned bytes.
The `offset` of an error is that of the block in the file; its message has the position in the uncompressed contents.
"""

from __future__ import annotations

import bisect
import collections
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .._typing import ByteView
from ..coding import varint
from ..errors import CorruptionError, format_key, past_end
from ..limits import DEFAULT_LIMITS, Limits, check_limit

#: Contents up to this size are copied to `bytes` for iteration, since indexing is faster than with a view.
_COPIED_BYTES = 1 << 20
#: Entries between two marks; TensorFlow uses the same number between two restart points.
_MARK_INTERVAL = 16
#: Most entries of a batch; a block of TensorFlow's is one or two batches.
_BATCH_ENTRIES = 4096
#: A batch also ends after so many bytes of keys that may be long; thousands of them could take gigabytes.
_BATCH_KEY_BYTES = 256 << 10


class Batch(NamedTuple):
    """Consecutive entries of a block, one or more: their keys, and where in `contents` their values are."""

    contents: ByteView
    keys: list[bytes]
    starts: list[int]
    ends: list[int]

    def part(self, first: int, stop: int | None = None) -> Batch:
        """Return the entries from `first` to before `stop`."""
        part = slice(first, stop)
        return Batch(self.contents, self.keys[part], self.starts[part], self.ends[part])

    def value(self, number: int) -> ByteView:
        """Return a value as a view."""
        return self.contents[self.starts[number] : self.ends[number]]

    def pairs(self) -> Iterator[tuple[bytes, ByteView]]:
        """Yield every (key, value); values are views."""
        return zip(self.keys, map(self.value, range(len(self.keys))), strict=True)

    def marks(self) -> Iterator[tuple[bytes, int]]:
        """Yield some of the keys, at equal intervals, with the positions after their values."""
        part = slice(_MARK_INTERVAL - 1, None, _MARK_INTERVAL)
        return zip(self.keys[part], self.ends[part], strict=True)


class Budget:
    """Running totals of table entries and of the bytes of their uncompressed keys, checked against the limits."""

    __slots__ = ("_limits", "entries", "key_bytes")

    def __init__(self, limits: Limits) -> None:
        """Start at zero."""
        self._limits = limits
        self.entries = 0
        self.key_bytes = 0

    def add(self, keys: Sequence[bytes]) -> None:
        """Add entries with these keys; `LimitExceededError` if a total exceeds its limit."""
        self.entries += len(keys)
        self.key_bytes += sum(map(len, keys))
        check_limit(self._limits, "max_entries", self.entries, "table with too many entries")
        check_limit(self._limits, "max_key_bytes", self.key_bytes, "table with too many bytes of keys")


class Block:
    """The contents of one block; restart points are checked on creation, entries when they are read."""

    __slots__ = ("_contents", "_limit", "_marks", "_offset", "_restarts", "_what")

    def __init__(self, contents: ByteView, *, what: str = "block", offset: int = 0) -> None:
        """Check the restart points; `what` and `offset` (bytes in the file) describe the block in error messages."""
        self._what = what
        self._offset = offset
        #: Every 16th key with the position after its entry; None until all entries have been checked.
        self._marks: list[tuple[bytes, int]] | None = None
        size = len(contents)
        if size < 4:
            raise past_end(f"{what} without room for a restart count", needed=4, available=size, offset=offset)
        count, _ = varint.decode_fixed32(contents, size - 4)
        if not 1 <= count <= (size - 4) // 4:
            raise self._corrupt(f"{size} bytes cannot hold {count} restart points", size - 4)
        self._limit = size - 4 * (count + 1)
        # A view, because as Python integers the restart points of a malicious block would take 8 times its size.
        self._restarts = np.frombuffer(contents, "<u4", count, self._limit)
        self._contents = contents
        if self._restarts[0] != 0:
            raise self._corrupt(f"first restart point is {self._restarts[0]}, not 0", self._limit)
        unordered = self._restarts[1:] <= self._restarts[:-1]
        if unordered.any():
            number = int(unordered.argmax()) + 1
            raise self._corrupt(f"restart points do not increase at number {number}", self._limit + 4 * number)

    @property
    def nbytes(self) -> int:
        """Size of the contents in bytes."""
        return len(self._contents)

    def __iter__(self) -> Iterator[tuple[bytes, ByteView]]:
        """Yield every (key, value) in order, checking all rules of the format; values are views."""
        return self.entries(Budget(DEFAULT_LIMITS))

    def entries(self, budget: Budget) -> Iterator[tuple[bytes, ByteView]]:
        """Yield every (key, value) like `__iter__`, within a budget that several blocks may share."""
        for batch in self.batches(budget):
            yield from batch.pairs()

    def batches(self, budget: Budget) -> Iterator[Batch]:
        """Yield every entry like `entries`, thousands at a time; those before damage are yielded before its error.

        Listing a checkpoint runs this loop once per tensor. Therefore the common case is inlined, values are not cut
        out, and marks and totals are added once a batch.
        """
        contents, limit, restarts = self._contents, self._limit, self._restarts
        if limit == 0 and len(restarts) == 1:
            return
        data = bytes(contents) if len(contents) <= _COPIED_BYTES else contents
        number, restart = 0, 0
        position, key, long_bytes = 0, b"", 0
        error: CorruptionError | None = None
        marks: list[tuple[bytes, int]] = []
        _, keys, starts, ends = batch = Batch(contents, [], [], [])
        try:
            while position < limit:
                start, previous = position, key
                # The restart count comes after the entries, so that there are three bytes here.
                shared, unshared, length = data[start], data[start + 1], data[start + 2]
                if (
                    shared | unshared | length < 0x80
                    and shared <= len(previous)
                    and (position := (middle := start + 3 + unshared) + length) <= limit
                ):  # almost every entry: three one-byte varints
                    key = previous[:shared] + data[start + 3 : middle]
                else:
                    key, middle, position, shared = self._entry(start, previous)
                    long_bytes += len(key)  # other keys have less than 256 bytes
                if start == restart:
                    if shared:
                        raise self._corrupt(f"restart point at an entry that shares {shared} bytes", start)
                    number += 1
                    restart = int(restarts[number]) if number < len(restarts) else limit
                if key <= previous and start:
                    raise self._corrupt(
                        f"key {format_key(key)} does not come after the previous key, {format_key(previous)}", start
                    )
                if restart < position:
                    raise self._corrupt(f"restart point {restart} is inside an entry", start)
                keys.append(key)
                starts.append(middle)
                ends.append(position)
                if len(keys) == _BATCH_ENTRIES or long_bytes > _BATCH_KEY_BYTES:
                    budget.add(keys)
                    marks += batch.marks()
                    yield batch
                    long_bytes = 0
                    _, keys, starts, ends = batch = Batch(contents, [], [], [])
            if number < len(restarts):
                raise self._corrupt(f"restart point {restarts[number]} is not at an entry", limit + 4 * number)
        except CorruptionError as damage:
            error = damage
        if keys:
            budget.add(keys)
            marks += batch.marks()
            yield batch
        if error is not None:
            raise error
        self._marks = marks

    def first(self) -> tuple[bytes, ByteView] | None:
        """Return the first (key, value) without checking the others; None for an empty block."""
        if self._limit == 0:
            return None
        key, start, end, _ = self._entry(0, b"")
        return key, self._contents[start:end]

    def seek(self, target: bytes) -> tuple[bytes, ByteView] | None:
        """Return the first (key, value) whose key is not less than `target`; None if there is none.

        The first call checks the whole block (about 4 ms for 256 KiB), so that the result never depends on where the
        block is damaged: with keys out of order, a binary search could miss a key that a listing finds.
        Later calls are fast however few restart points there are; a malicious block may have one for 500,000 entries.
        """
        if self._marks is None:
            collections.deque(self.batches(Budget(DEFAULT_LIMITS)), maxlen=0)
        marks = self._marks or []
        number = bisect.bisect_left(marks, target, key=operator.itemgetter(0))
        key, position = marks[number - 1] if number else (b"", 0)
        while position < self._limit:
            key, start, position, _ = self._entry(position, key)
            if key >= target:
                return key, self._contents[start:position]
        return None

    def _entry(self, position: int, previous: bytes) -> tuple[bytes, int, int, int]:
        """Return the key, the positions of its value and after it, and `shared`, of the entry at `position`.

        `previous` is the key before it.
        """
        contents, limit = self._contents, self._limit
        if (
            position + 3 <= limit
            and (shared := contents[position]) < 0x80
            and (unshared := contents[position + 1]) < 0x80
            and (length := contents[position + 2]) < 0x80
        ):  # almost every entry: three one-byte varints
            at = position + 3
        else:
            entries = contents[:limit]
            try:
                shared, at = varint.decode_varint32(entries, position)
                unshared, at = varint.decode_varint32(entries, at)
                length, at = varint.decode_varint32(entries, at)
            except CorruptionError as error:
                raise self._corrupt(f"bad table entry: {error.message}", position) from error
        end = at + unshared + length
        if end > limit:
            entry = f"{self._what} is damaged: table entry at byte {position} of its contents"
            raise past_end(entry, needed=unshared + length, available=limit - at, offset=self._offset)
        if shared > len(previous):
            raise self._corrupt(f"table entry shares {shared} bytes with a key of {len(previous)} bytes", position)
        middle = at + unshared
        return previous[:shared] + bytes(contents[at:middle]), middle, end, shared

    def _corrupt(self, message: str, position: int) -> CorruptionError:
        message = f"{self._what} is damaged: {message}, {position} bytes into the contents"
        return CorruptionError(message, offset=self._offset)
