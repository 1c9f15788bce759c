"""The inside of a table block (LevelDB `table/block.cc`, `block_builder.cc`).

::

    contents = table entry* | restart point, fixed32 * R | R, fixed32
    entry    = shared, varint32 | unshared, varint32 | value length, varint32 | unshared key bytes | value
    key      = the first `shared` bytes of the key before | unshared key bytes

A restart point is the offset of an entry whose `shared` is 0.
The first is 0, and R is at least 1, even in an empty block.
Entries end exactly where the restart points begin; keys increase strictly, as unsigned bytes.
An error gives the block's offset in the file and, in its text, how far into the uncompressed contents it was found.
"""

from __future__ import annotations

import bisect
import collections
import operator
from collections.abc import Iterator

import numpy as np

from .._typing import ByteView
from ..coding import varint
from ..errors import CorruptionError, format_key, past_end
from ..limits import DEFAULT_LIMITS, Limits, check_limit

#: Contents up to this size are gone through as `bytes`, whose elements are quicker to get than those of a view.
_COPIED_BYTES = 1 << 20
#: Entries from one mark to the next; as many as TensorFlow puts between two restart points.
_MARK_INTERVAL = 16


class Budget:
    """How many table entries were met, and how many bytes their keys take spelled out, together and so far."""

    __slots__ = ("_limits", "entries", "key_bytes")

    def __init__(self, limits: Limits) -> None:
        """Nothing was met yet; `limits` has the most of both."""
        self._limits = limits
        self.entries = 0
        self.key_bytes = 0

    @property
    def most(self) -> tuple[int, int]:
        """The most entries and the most bytes of keys."""
        return self._limits.max_entries, self._limits.max_key_bytes

    def check(self) -> None:
        """`LimitExceededError` if more were met than the limits allow."""
        check_limit(self._limits, "max_entries", self.entries, "table with too many entries")
        check_limit(self._limits, "max_key_bytes", self.key_bytes, "table whose keys are too long together")


class Block:
    """One block's contents, its restart points checked for order when made, its entries as they are read."""

    __slots__ = ("_contents", "_limit", "_marks", "_offset", "_restarts", "_what")

    def __init__(self, contents: ByteView, *, what: str = "block", offset: int = 0) -> None:
        """`what` and `offset`, the block's place in the file in bytes, are for messages."""
        self._what = what
        self._offset = offset
        #: Some of the keys, each with the position after its entry; None until all entries were checked.
        self._marks: list[tuple[bytes, int]] | None = None
        size = len(contents)
        if size < 4:
            raise past_end(f"{what} without room for a restart count", needed=4, available=size, offset=offset)
        count, _ = varint.decode_fixed32(contents, size - 4)
        if not 1 <= count <= (size - 4) // 4:
            raise self._corrupt(f"{size} bytes cannot hold {count} restart points", size - 4)
        self._limit = size - 4 * (count + 1)
        # A view: as Python numbers the restart points of a hostile block would take eight times its size.
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
        """Every (key, value) in order, with every rule of the block checked; values are views."""
        return self.entries(Budget(DEFAULT_LIMITS))

    def entries(self, budget: Budget) -> Iterator[tuple[bytes, ByteView]]:
        """The same within a budget, which may be that of several blocks together.

        A listing runs this loop once for each tensor of a checkpoint, so that the common entry is read in place.
        """
        contents, limit, restarts = self._contents, self._limit, self._restarts
        if limit == 0 and len(restarts) == 1:
            return
        data = bytes(contents) if len(contents) <= _COPIED_BYTES else contents
        count, key_bytes = budget.entries, budget.key_bytes
        most_entries, most_key_bytes = budget.most
        number, restart = 0, 0
        position, key = 0, b""
        marks: list[tuple[bytes, int]] = []
        while position < limit:
            start, previous = position, key
            at = start + 3
            if (
                at <= limit
                and (shared := data[start]) < 0x80
                and (unshared := data[start + 1]) < 0x80
                and (length := data[start + 2]) < 0x80
                and shared <= len(previous)
                and (position := (middle := at + unshared) + length) <= limit
            ):  # nearly every entry: three numbers of one byte
                key = previous[:shared] + bytes(data[at:middle])
                value = contents[middle:position]
            else:
                key, value, position, shared = self._entry(start, previous)
            if start == restart:
                if shared:
                    raise self._corrupt(f"restart point at an entry that shares {shared} bytes", start)
                number += 1
                restart = int(restarts[number]) if number < len(restarts) else limit
            if key <= previous and start:
                raise self._corrupt(
                    f"key {format_key(key)} does not come after the key before it, {format_key(previous)}", start
                )
            if restart < position:
                raise self._corrupt(f"restart point {restart} is inside an entry", start)
            count += 1
            key_bytes += len(key)
            if count > most_entries or key_bytes > most_key_bytes:
                budget.entries, budget.key_bytes = count, key_bytes
                budget.check()
            if not count % _MARK_INTERVAL:
                marks.append((key, position))
            yield key, value
        budget.entries, budget.key_bytes = count, key_bytes
        if number < len(restarts):
            raise self._corrupt(f"restart point {restarts[number]} is not at an entry", limit + 4 * number)
        self._marks = marks

    def first(self) -> tuple[bytes, ByteView] | None:
        """The first (key, value) alone; None for an empty block."""
        if self._limit == 0:
            return None
        key, value, _, _ = self._entry(0, b"")
        return key, value

    def seek(self, target: bytes) -> tuple[bytes, ByteView] | None:
        """The first (key, value) whose key is not less than `target`; None when there is none.

        Checks all of the block if nobody did. After that a lookup takes few steps wherever the restart points are:
        a hostile block has one of them and half a million entries.
        """
        if self._marks is None:
            collections.deque(self, maxlen=0)
        marks = self._marks or []
        number = bisect.bisect_left(marks, target, key=operator.itemgetter(0))
        key, position = marks[number - 1] if number else (b"", 0)
        while position < self._limit:
            key, value, position, _ = self._entry(position, key)
            if key >= target:
                return key, value
        return None

    def _entry(self, position: int, previous: bytes) -> tuple[bytes, ByteView, int, int]:
        """Key, value, next position and `shared` of the entry at `position`, after the key `previous`."""
        contents, limit = self._contents, self._limit
        if (
            position + 3 <= limit
            and (shared := contents[position]) < 0x80
            and (unshared := contents[position + 1]) < 0x80
            and (length := contents[position + 2]) < 0x80
        ):  # nearly every entry: three numbers of one byte
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
        return previous[:shared] + bytes(contents[at:middle]), contents[middle:end], end, shared

    def _corrupt(self, message: str, position: int) -> CorruptionError:
        message = f"{self._what} is damaged: {message}, {position} bytes into the contents"
        return CorruptionError(message, offset=self._offset)
