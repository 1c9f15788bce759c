"""A file behind a transport: its facts, and the parts of it that were fetched.

Bytes of two versions of a file are never combined:

* Over HTTP every response has the version, which is compared with that of the first one.
* Other file systems return only the bytes, and asking them for the version is a request more.
  The bytes of tensors have checksums, which show whether they belong to the index; so their version is asked for only
  if a checksum is wrong, or is not compared (`confirm`). If it was not known before, the first range is fetched again
  (`compare_first_range`), which shows that a data shard was replaced after its first use.
  For all other files the version is asked for after each range, or once after the last if the whole file is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ..._typing import ByteView
from ...coding.crc32c import crc32c
from ...errors import CheckpointNotFoundError, FileChangedError
from ..base import DATA_SHARD, Range
from ..local import check_range
from .http import file_changed_error
from .read_ahead import CONNECTIONS, Fetchable
from .transport import Facts, Part, Transport

#: Bytes fetched from the end of a file that is not a data shard. Most networks have a smaller index.
TAIL_BYTES = 64 << 10
#: Fewest bytes fetched from a data shard: the neighbours of a small tensor are usually requested next.
MIN_FETCH_BYTES = 16 << 10
#: Most bytes to read ahead in a table.
MAX_READ_AHEAD_BYTES = 4 << 20

_RECENT_PARTS = 2


class Owner(Protocol):
    """What a file needs from its storage."""

    piece_bytes: int

    def read_ahead(self, batches: Iterable[Sequence[Range]], connections: int) -> AbstractContextManager[None]:
        """Fetch ranges ahead of their reads; see `Storage`."""

    def skip(self) -> None:
        """Make room in what is read ahead, because something else was read."""


class RemoteFile(Fetchable):
    """One file: its facts, and the parts fetched so far. Shared by everyone who opens it."""

    def __init__(self, transport: Transport, address: str, storage: Owner) -> None:
        super().__init__()
        self._transport = transport
        self._storage = storage
        self._address = address
        self.is_data = DATA_SHARD.search(address) is not None
        # Threads share this state and change it atomically, without a lock: a fork could copy a lock while it is held.
        self._first_facts: dict[str, Facts] = {}
        #: Offset, length and checksum of the first range of a data shard, fetched before its facts were known.
        self._first_range: dict[str, tuple[int, int, int]] = {}
        self._end: Part | None = None
        self._recent: tuple[Part, ...] = ()
        self._next_offset, self._ahead = 0, 0
        self._is_missing = False

    @property
    def name(self) -> str:  # type: ignore[override]  # read-only here
        """The address."""
        return self._address

    @property
    def size(self) -> int:
        """The size in bytes; costs a request the first time."""
        return self._facts().size

    def exists(self) -> bool:
        """Return whether the file exists; costs a request the first time."""
        if self._is_missing:
            return False
        try:
            if not self._first_facts:
                self._fetch_facts()
        except CheckpointNotFoundError:
            self._is_missing = True
            return False
        return True

    def read(self, offset: int, length: int) -> ByteView:
        """Return exactly these bytes."""
        if self._first_facts or length == 0 or offset < 0 or length > self._storage.piece_bytes:
            check_range(self._address, offset, length, self.size)
        if length > self._storage.piece_bytes:
            return self._read_large(offset, length)
        if length == 0:
            return memoryview(b"")
        stop = offset + length
        pieces = self._cached_views(offset, stop)
        position = offset + sum(map(len, pieces))
        if position < stop:
            # One request for the gap between the cached parts at both ends.
            last = self._find_part(stop - 1)
            gap_stop = last.offset if last is not None and last.offset > position else stop
            if self.is_data:
                self._storage.skip()
            part = self.fetch(position, self._choose_stop(position, gap_stop) - position)
            if len(part.data) > gap_stop - position:
                self._recent = (part, *self._recent[: _RECENT_PARTS - 1])
            pieces.append(part.data[: gap_stop - position])
            if last is not None and gap_stop < stop:
                pieces.append(last.data[: stop - gap_stop])
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return exactly these bytes, fetched again even if they are cached."""
        check_range(self._address, offset, length, self.size)
        data = bytearray(length)
        piece_bytes = self._storage.piece_bytes
        for at in range(0, length, piece_bytes):
            piece = self.fetch(offset + at, min(piece_bytes, length - at)).data
            data[at : at + len(piece)] = piece
        return memoryview(data).toreadonly()

    def confirm(self) -> None:
        """Raise `FileChangedError` if the file has changed since its facts were first known."""
        if self._first_facts and not self._transport.has_versions:
            self.check_facts(self._transport.stat(self._address))

    def compare_first_range(self) -> None:
        """Raise `FileChangedError` if the bytes that were fetched first, before the facts were known, have changed."""
        if not self._first_range:
            return
        offset, length, checksum = self._first_range["range"]
        if crc32c(self._transport.read(self._address, offset, length).data) != checksum:
            raise FileChangedError(
                f"file changed while being read: {length} bytes from {offset} are no longer those first read; "
                "open the checkpoint again",
                path=self._address,
            )

    def iterate_pieces(self) -> Iterator[ByteView]:
        """Yield the whole file in pieces, one request each; afterwards compare versions if a response has none."""
        size, piece_bytes = self.size, self._storage.piece_bytes
        if self._end is not None and len(self._end.data) == size:
            yield self._end.data
            return
        for offset in range(0, size, piece_bytes):
            part = self._transport.read(self._address, offset, min(piece_bytes, size - offset))
            if part.facts is not None:
                self.check_facts(part.facts)
            yield part.data
        self.confirm()

    def fetch(self, offset: int, length: int) -> Part:
        """Fetch these bytes, and a little more of a data shard whose size is not known yet."""
        spare = 0 if self._first_facts or not self.is_data else max(MIN_FETCH_BYTES - length, 0)
        part = self._transport.read(self._address, offset, length, spare)
        if part.facts is not None:
            self.check_facts(part.facts)
        elif not self.is_data:
            self.check_facts(self._transport.stat(self._address))
        elif not self._first_facts:
            self._first_range.setdefault("range", (offset, len(part.data), crc32c(part.data)))
        return part

    def _read_large(self, offset: int, length: int) -> ByteView:
        """Read in pieces over several connections, into memory of the size of the result."""
        data = bytearray(length)
        piece_bytes = self._storage.piece_bytes
        ranges = [(at, min(piece_bytes, length - at)) for at in range(0, length, piece_bytes)]
        batches = [[Range(self._address, offset + at, size)] for at, size in ranges]
        is_held = self._find_part(offset) is not None
        with contextlib.nullcontext() if is_held else self._storage.read_ahead(batches, CONNECTIONS):
            for at, size in ranges:
                data[at : at + size] = self.read(offset + at, size)
        return memoryview(data).toreadonly()

    def _fetch_facts(self) -> None:
        """Fetch the facts, and the end of a table in the same request."""
        if self.is_data:
            self.check_facts(self._transport.stat(self._address))
        else:
            self._end = self._transport.read_end(self._address, TAIL_BYTES)
            assert self._end.facts is not None, "read_end always knows them"
            self.check_facts(self._end.facts)

    def _facts(self) -> Facts:
        if not self._first_facts:
            self._fetch_facts()
        return self._first_facts["facts"]

    def check_facts(self, facts: Facts) -> None:
        """Raise `FileChangedError` if these are not the facts of the first response, or take them as the first."""
        first = self._first_facts.setdefault("facts", facts)
        if first != facts:
            raise file_changed_error(self._address, first, facts)

    def _choose_stop(self, offset: int, stop: int) -> int:
        """Return where to stop fetching: beyond `stop` if the next read can be predicted."""
        if not self._first_facts:
            return stop
        size = self._first_facts["facts"].size
        if self.is_data:
            return min(max(stop, offset + MIN_FETCH_BYTES), size)
        is_next = 0 < offset == self._next_offset
        self._ahead = min(2 * max(self._ahead, stop - offset), MAX_READ_AHEAD_BYTES) if is_next else 0
        limit = size if self._end is None else self._end.offset
        stop = max(stop, min(offset + self._ahead, limit))
        self._next_offset = stop
        return stop

    def _find_part(self, position: int) -> Part | None:
        """Return a cached part that contains this byte, or None."""
        for piece in tuple(self.held.values()):
            if piece.offset <= position < piece.stop and (part := piece.wait()) is not None:
                return part
        parts = self._recent if self._end is None else (*self._recent, self._end)
        return next((part for part in parts if part.offset <= position < part.offset + len(part.data)), None)

    def _cached_views(self, offset: int, stop: int) -> list[ByteView]:
        """Return views of the bytes from `offset` up to `stop` or to the first one that is not cached."""
        pieces: list[ByteView] = []
        while offset < stop and (part := self._find_part(offset)) is not None:
            piece = part.data[offset - part.offset : stop - part.offset]
            pieces.append(piece)
            offset += len(piece)
        return pieces


class RemoteSource:
    """One user's handle on a remote file."""

    def __init__(self, file: RemoteFile) -> None:
        self._file: RemoteFile | None = file
        self._name = file.name

    @property
    def name(self) -> str:
        """The address."""
        return self._name

    @property
    def size(self) -> int:
        """The size in bytes; may cost a request."""
        return self._require_file().size

    def read(self, offset: int, length: int) -> ByteView:
        """Return exactly these bytes, a view of what was fetched."""
        return self._require_file().read(offset, length)

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return exactly these bytes, fetched again."""
        return self._require_file().read_again(offset, length)

    def close(self) -> None:
        """Release the file."""
        self._file = None

    def _require_file(self) -> RemoteFile:
        file = self._file
        if file is None:
            raise ValueError(f"{self._name} is closed")
        return file
