"""Fetching what a reader will read next: ranges joined to pieces, over several connections, and with bounded memory.

::

    batches   [A 0-3, A 3-9] [B 0-5] [A 9-12] ...       what will be read, in this order
    pieces    A 0-12          B 0-5                     neighbours in a file become one request

The pieces are requested in the order in which they will be read, until `HELD_BYTES` are fetched or under way.
Reading a piece of a later batch releases those of the batches before, which makes room for more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from ..._threads import Lock
from ...errors import CheckpointError
from ..base import PIECE_BYTES
from .transport import Part

#: Ranges are joined over gaps up to this many bytes, which cost less than a request.
MAX_GAP_BYTES = 16 << 10
#: Most requests at a time, unless the caller says otherwise.
CONNECTIONS = 8
#: Bytes that are fetched or under way: a piece for each of the usual connections, and the one that is read. A worker
#: that also uploads then stays under 256 MiB. Larger pieces may exceed this by less than one of them.
HELD_BYTES = 72 << 20
#: Most batches that a piece serves after its first: where the tensors of many shards alternate, none is held for long.
_MAX_SPAN = 8
#: Most pieces; each takes some memory even if it has few bytes.
_HELD_PIECES = 1024


class Fetchable:
    """What a file needs for pieces of it to be fetched ahead."""

    name: str

    def __init__(self) -> None:
        #: The pieces that are held; threads change this atomically, without a lock.
        self.held: dict[int, Piece] = {}
        #: True after a request failed: the rest is left to the reads, which report the error.
        self.has_failed = False

    def fetch(self, offset: int, length: int) -> Part:
        """Fetch these bytes."""
        raise NotImplementedError


class Piece:
    """A range of a file from `offset` to `stop`, in bytes, for the batches from `first` to `last`."""

    __slots__ = ("_process", "ahead", "file", "first", "future", "last", "offset", "stop")

    def __init__(self, file: Fetchable, offset: int, batch: int) -> None:
        self.file = file
        self.offset = self.stop = offset
        self.first = self.last = batch
        self.ahead: ReadAhead | None = None
        self.future: Future[Part | None] | None = None
        self._process = os.getpid()

    def __len__(self) -> int:
        return self.stop - self.offset

    def wait(self) -> Part | None:
        """Return the part as soon as it has arrived; None if the request failed or was cancelled."""
        future = self.future
        if future is None or (not future.done() and os.getpid() != self._process):  # a forked child has no threads
            return None
        try:
            part = future.result()
        except CancelledError:
            return None
        if self.ahead is not None:
            self.ahead.advance(self.first)
        return part


def join_ranges(
    batches: Iterable[Sequence[tuple[Fetchable, int, int]]], piece_bytes: int = PIECE_BYTES
) -> Iterator[Piece]:
    """Yield the pieces that cover all ranges, each (file, offset, length), in the order in which they are needed.

    Ranges are joined within a batch and with the batch before, over a few batches. Empty ranges are left out.
    """
    growing: dict[Fetchable, Piece] = {}
    for number, batch in enumerate(batches):
        for file in [file for file, piece in growing.items() if piece.last < number - 1]:
            yield growing.pop(file)
        for file, offset, length in sorted(batch, key=lambda item: (item[0].name, item[1])):
            stop = offset + length
            if length <= 0 or offset < 0 or file.has_failed:
                continue
            piece = growing.get(file)
            is_next = piece is not None and piece.offset <= offset <= piece.stop + MAX_GAP_BYTES
            if piece is not None and not (is_next and number - piece.first <= _MAX_SPAN):
                yield growing.pop(file)
                piece = None
            if piece is None:
                piece = growing[file] = Piece(file, offset, number)
            while stop - piece.offset > piece_bytes and not file.has_failed:
                piece.stop = max(piece.stop, piece.offset + piece_bytes)
                piece.last = number
                yield piece
                piece = growing[file] = Piece(file, piece.stop, number)
            piece.stop = max(piece.stop, min(stop, piece.offset + piece_bytes))
            piece.last = number
    yield from (piece for piece in growing.values() if len(piece))


class ReadAhead:
    """Pieces that are fetched ahead of one reader; thread-safe."""

    def __init__(self, pieces: Iterator[Piece], connections: int) -> None:
        """Begin to fetch."""
        self._pieces = pieces
        self._pool = ThreadPoolExecutor(connections)
        self._lock = Lock()
        self._process = os.getpid()
        self._held: list[Piece] = []
        self._held_bytes = 0
        self._position = 0
        self._is_open = True
        with self._lock:
            self._submit()

    def advance(self, batch: int) -> None:
        """Release the pieces of earlier batches, because one of this batch is being read."""
        if batch > self._position and os.getpid() == self._process:
            with self._lock:
                self._position = max(self._position, batch)
                self._release()
                self._submit()

    def skip(self) -> None:
        """Release the oldest piece, because something else is read than was planned."""
        if os.getpid() == self._process:
            with self._lock:
                if self._held:
                    self._position = max(self._position, self._held[0].last + 1)
                self._release()
                self._submit()

    def close(self) -> None:
        """Release everything, and wait for the requests under way."""
        with self._lock:
            self._is_open = False
            for piece in self._held:
                _drop(piece)
            self._held = []
        if os.getpid() == self._process:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _release(self) -> None:
        done = [piece for piece in self._held if piece.last < self._position]
        self._held = [piece for piece in self._held if piece.last >= self._position]
        for piece in done:
            self._held_bytes -= len(piece)
            _drop(piece)

    def _submit(self) -> None:
        while self._is_open and self._held_bytes < HELD_BYTES and len(self._held) < _HELD_PIECES:
            piece = next(self._pieces, None)
            if piece is None:
                return
            piece.ahead = self
            piece.future = self._pool.submit(_fetch, piece)
            piece.file.held[id(piece)] = piece
            self._held.append(piece)
            self._held_bytes += len(piece)


def _drop(piece: Piece) -> None:
    assert piece.future is not None, "it was submitted"
    piece.future.cancel()
    piece.file.held.pop(id(piece), None)


def _fetch(piece: Piece) -> Part | None:
    """Return the bytes of a piece; None if that fails, since a read of the same bytes raises the error."""
    if piece.file.has_failed:
        return None
    try:
        return piece.file.fetch(piece.offset, len(piece))
    except CheckpointError:
        piece.file.has_failed = True
        return None
