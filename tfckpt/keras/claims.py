"""The bytes of an HDF5 file, of which every structure can claim only as many as there are.

HDF5 never stores two structures in the same bytes.
So all structures of a file together cannot be larger than the file, and reading them takes linear time: a file whose
structures overlap is rejected when its claims exceed its size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

from .._typing import ByteSource, ByteView
from ..errors import CorruptionError, past_end

#: Structures are small and often near each other; pages keep the number of requests and system calls low.
_PAGE_BYTES = 16 << 10
#: Bytes searched at a time for the end of a name, most of which are short.
_NAME_BYTES = 256
#: Most pages in memory at once: 64 MiB.
_PAGES = 4096

#: Fetches ranges, each with its offset and length, in parallel, and holds them while the context is open.
Prefetch: TypeAlias = Callable[[Sequence[tuple[int, int]]], AbstractContextManager[None]]


class Claims:
    """Bounded reads of the structures of one file."""

    def __init__(self, source: ByteSource, prefetch: Prefetch | None = None) -> None:
        """Read from `source`; a remote file needs `prefetch`, and a local one does not."""
        self._source = source
        self._prefetch = prefetch
        self.size = source.size
        self._claimed = 0
        self._pages: dict[int, ByteView] = {}

    def read(self, offset: int, length: int, what: str) -> ByteView:
        """Return the bytes of a structure; `TruncatedError` past the end, `CorruptionError` if structures overlap."""
        view = self.peek(offset, length, what)
        self.claim(length, offset)
        return view

    def claim(self, length: int, offset: int) -> None:
        """Count bytes of a structure that was not read with `read`."""
        self._claimed += length
        if self._claimed > self.size:
            raise CorruptionError(
                f"the structures of the file overlap: together they take more than its {self.size:,} bytes",
                offset=offset,
            )

    def peek(self, offset: int, length: int, what: str) -> ByteView:
        """Return bytes without claiming them."""
        if offset + length > self.size:
            raise past_end(what, needed=length, available=self.size - offset, file_size=self.size, offset=offset)
        number, inside = divmod(offset, _PAGE_BYTES)
        if inside + length > _PAGE_BYTES:
            return self._source.read(offset, length)
        return self._page(number)[inside : inside + length]

    def expect(self, offsets: Iterable[int]) -> None:
        """Fetch the pages of structures that will be read, and the next pages, in parallel if the file is remote.

        HDF5 writes the parts of a group near each other.
        """
        if self._prefetch is None:
            return
        last = (self.size - 1) // _PAGE_BYTES
        numbers = {number for offset in offsets for number in (offset // _PAGE_BYTES, offset // _PAGE_BYTES + 1)}
        missing = sorted(number for number in numbers if number <= last and number not in self._pages)[:_PAGES]
        with self._prefetch([self._locate(number) for number in missing]):
            for number in missing:
                self._page(number)

    def find_zero(self, offset: int, end: int) -> bytes | None:
        """Return the bytes from `offset` up to the first zero byte before `end`, and claim them; None without one."""
        pieces: list[bytes] = []
        position = offset
        while position < min(end, self.size):
            number, inside = divmod(position, _PAGE_BYTES)
            piece = bytes(self._page(number)[inside : inside + min(end - position, _NAME_BYTES)])
            name, zero, _ = piece.partition(b"\0")
            pieces.append(name)
            self.claim(len(name) + len(zero), offset)
            if zero:
                return b"".join(pieces)
            position += len(piece)
        return None

    def _page(self, number: int) -> ByteView:
        page = self._pages.get(number)
        if page is None:
            page = self._source.read(*self._locate(number))
            if len(self._pages) >= _PAGES:
                self._pages.pop(next(iter(self._pages)))
            self._pages[number] = page
        return page

    def _locate(self, number: int) -> tuple[int, int]:
        """Return the offset and the length of a page."""
        start = number * _PAGE_BYTES
        return start, min(_PAGE_BYTES, self.size - start)


class Fields:
    """The numbers in a structure, one after the other; little-endian, as HDF5 stores all of its own numbers."""

    def __init__(self, view: ByteView, offset: int, what: str) -> None:
        """Start at the beginning of a structure that is stored at `offset` in the file."""
        self._view = view
        self._start = offset
        self._position = 0
        self._what = what

    @property
    def offset(self) -> int:
        """Where the next field is in the file."""
        return self._start + self._position

    @property
    def left(self) -> int:
        """The number of bytes after the fields that were taken."""
        return len(self._view) - self._position

    def take(self, length: int) -> ByteView:
        """Return the next bytes; `TruncatedError` if the structure ends before."""
        if length > self.left:
            raise past_end(self._what, needed=length, available=self.left, offset=self.offset)
        self._position += length
        return self._view[self._position - length : self._position]

    def number(self, width: int) -> int:
        """Return the next unsigned number of `width` bytes."""
        position, end = self._position, self._position + width
        if end > len(self._view):
            self.take(width)
        self._position = end
        return int.from_bytes(self._view[position:end], "little")

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """Return the next numbers, all at once, which is several times as fast as one by one."""
        if layout.size > self.left:
            self.take(layout.size)
        self._position += layout.size
        return layout.unpack_from(self._view, self._position - layout.size)

    def skip(self, length: int) -> None:
        """Skip bytes."""
        self.take(length)

    def inside(self, length: int, what: str) -> Fields:
        """Return the next `length` bytes as a structure of their own."""
        start = self.offset
        return Fields(self.take(length), start, what)
