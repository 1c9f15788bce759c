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

from collections.abc import Iterator

import numpy as np

from .._typing import ByteView
from ..coding import varint
from ..errors import CorruptionError, TruncatedError, shown_key


class Block:
    """One block's contents, its restart points checked for order when made, its entries as they are read."""

    __slots__ = ("_contents", "_limit", "_offset", "_restarts", "_what")

    def __init__(self, contents: ByteView, *, what: str = "block", offset: int = 0) -> None:
        """`what` and `offset`, the block's place in the file in bytes, are for messages."""
        self._what = what
        self._offset = offset
        size = len(contents)
        if size < 4:
            raise self._truncated(f"{size} bytes have no room for a restart count", 0, needed=4, available=size)
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
        restarts, limit = self._restarts, self._limit
        if limit == 0 and len(restarts) == 1:
            return
        number, restart = 0, 0
        position, key = 0, b""
        while position < limit:
            start, previous = position, key
            key, value, position, shared = self._entry(start, previous)
            if start == restart:
                if shared:
                    raise self._corrupt(f"restart point at an entry that shares {shared} bytes", start)
                number += 1
                restart = int(restarts[number]) if number < len(restarts) else limit
            if key <= previous and start:
                raise self._corrupt(
                    f"key {shown_key(key)} does not come after the key before it, {shown_key(previous)}", start
                )
            if restart < position:
                raise self._corrupt(f"restart point {restart} is inside an entry", start)
            yield key, value
        if number < len(restarts):
            raise self._corrupt(f"restart point {restarts[number]} is not at an entry", limit + 4 * number)

    def seek(self, target: bytes) -> tuple[bytes, ByteView] | None:
        """The first (key, value) whose key is not less than `target`; None when there is none.

        Reads O(log R) entries at restart points and then one restart interval.
        """
        if self._limit == 0:
            return None
        low, high = 0, len(self._restarts) - 1
        while low < high:
            middle = (low + high + 1) // 2
            offset = int(self._restarts[middle])
            if offset >= self._limit:
                raise self._corrupt(f"restart point {offset} is not at an entry", self._limit + 4 * middle)
            key, _, _, shared = self._entry(offset, b"")
            if shared:
                raise self._corrupt(f"restart point at an entry that shares {shared} bytes", offset)
            if key < target:
                low = middle
            else:
                high = middle - 1
        position, key, first = int(self._restarts[low]), b"", True
        while position < self._limit:
            start, previous = position, key
            key, value, position, _ = self._entry(position, key)
            if key <= previous and not first:
                raise self._corrupt(
                    f"key {shown_key(key)} does not come after the key before it, {shown_key(previous)}", start
                )
            if key >= target:
                return key, value
            first = False
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
            raise self._truncated(
                f"table entry claims {unshared} key bytes and {length} value bytes, {limit - at} are left",
                position,
                needed=unshared + length,
                available=limit - at,
            )
        if shared > len(previous):
            raise self._corrupt(f"table entry shares {shared} bytes with a key of {len(previous)} bytes", position)
        middle = at + unshared
        return previous[:shared] + bytes(contents[at:middle]), contents[middle:end], end, shared

    def _corrupt(self, message: str, position: int) -> CorruptionError:
        return CorruptionError(self._located(message, position), offset=self._offset)

    def _truncated(self, message: str, position: int, *, needed: int, available: int) -> TruncatedError:
        located = self._located(message, position)
        return TruncatedError(located, needed=needed, available=available, offset=self._offset)

    def _located(self, message: str, position: int) -> str:
        return f"{self._what} is damaged: {message}, {position} bytes into the contents"
