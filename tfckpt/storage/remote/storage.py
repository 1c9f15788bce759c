"""Files behind a transport, read in few requests.

What is fetched, and when:

* Opening a table or a small file requests its last 64 KiB.
  The response shows whether the file exists, its size and version, and usually contains all that is needed.
* Reading a table sequentially reads ahead, twice as far every time.
* Of a data shard only the bytes of the requested tensors are fetched, at least 16 KiB at a time.
* Ranges announced together (`prefetch`) are merged over small gaps, and fetched by several connections.

Every response is compared with the first one of its file: a file that changes in between raises an error.
"""

from __future__ import annotations

import contextlib
import functools
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..._typing import ByteSource, ByteView
from ...errors import CheckpointError, CheckpointNotFoundError, ResourceError
from ..base import DATA_SHARD, Storage
from ..local import check_range
from .http import file_changed_error
from .transport import Facts, Part, Sink, Transport

#: Bytes fetched from the end of a file that is not a data shard. Most networks have a smaller index.
TAIL_BYTES = 64 << 10
#: Fewest bytes fetched from a data shard: the neighbours of a small tensor are usually requested next.
MIN_FETCH_BYTES = 16 << 10
#: Most bytes to read ahead.
MAX_READ_AHEAD_BYTES = 4 << 20
#: Ranges are merged over gaps up to this many bytes, which cost less than a request.
MAX_GAP_BYTES = 16 << 10
#: Merged ranges are split into pieces of this many bytes, so that several connections share a large one.
PIECE_BYTES = 8 << 20

#: Most requests at a time when many files are looked for.
CONNECTIONS = 8

_T = TypeVar("_T")
_RECENT_PARTS = 2
_FOLDER_MARKERS = ("checkpoint", "saved_model.pb")


class RemoteStorage(Storage):
    """Addresses below one root: a server, or the name space of a protocol."""

    is_remote = True

    def __init__(self, transport: Transport, root: str) -> None:
        """Serve addresses that start with `root`, such as `https://host/`; others name nothing here."""
        self._transport = transport
        self._root = root
        self._files: dict[str, RemoteFile] = {}

    def open(self, path: str) -> ByteSource:
        """Open a file; a missing data shard is noticed only when it is read."""
        file = self._file(path)
        if file is None or (not file.is_data and not file.exists()):
            raise CheckpointNotFoundError("file not found", path=path)
        return RemoteSource(file)

    def is_file(self, path: str) -> bool:
        """Return whether the file exists; costs a request the first time."""
        file = self._file(path)
        return file is not None and file.exists()

    def find_files(self, paths: Sequence[str]) -> set[str]:
        """Return those of the paths that are files: by one listing of each folder, else by parallel requests."""
        found: set[str] = set()
        unknown: list[str] = []
        folders: dict[str, list[str]] = {}
        for path in paths:
            folders.setdefault(self.split(path)[0], []).append(path)
        for folder, members in folders.items():
            names = {self.join(folder, name) for name in self.list(folder)} if len(members) > 1 else set()
            found.update(names.intersection(members))
            if not names:
                unknown += members
        if unknown:
            with ThreadPoolExecutor(min(CONNECTIONS, len(unknown))) as pool:
                exist = pool.map(self.is_file, unknown)
                found.update(path for path, exists in zip(unknown, exist, strict=True) if exists)
        return found

    def is_folder(self, path: str) -> bool:
        """Return whether the address is a folder.

        If the protocol cannot tell, it is one if the address ends in a slash, or has one of the files below it that
        only a folder of checkpoints has.
        """
        if not self._is_inside(path):
            return False
        answer = self._transport.is_folder(path)
        if answer is None:
            return path.endswith("/") or any(self.is_file(self.join(path, name)) for name in _FOLDER_MARKERS)
        return answer

    def list(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; empty if the protocol cannot list folders."""
        return self._transport.list(folder) if self._is_inside(folder) else []

    def join(self, folder: str, *names: str) -> str:
        """Return an address below a folder; an absolute path or an address replaces the path before it."""
        address = folder
        for name in names:
            if name.startswith("/") or "://" in name:
                address = name
            else:
                address = f"{address.rstrip('/')}/{self._transport.quote(name)}"
                if {".", ".."} & set(name.split("/")):
                    address = self._normalize(address)
        return address

    def split(self, path: str) -> tuple[str, str]:
        """Split an address into its folder and its last name."""
        folder, _, name = path.rpartition("/")
        return folder, name

    def address(self, path: str) -> str:
        """Return the address with its credentials."""
        return self._transport.full_address(path)

    @contextlib.contextmanager
    def prefetch(self, ranges: Mapping[str, Sequence[tuple[int, int]]], threads: int) -> Iterator[None]:
        """Fetch ranges of files, merged over small gaps, over at most `threads` connections."""
        files = [(file, wanted) for path, wanted in ranges.items() if (file := self._file(path)) is not None]
        if not files:
            yield
            return
        with ThreadPoolExecutor(threads) as pool:
            exist = pool.map(lambda item: _attempt(item[0].exists), files)
            pieces = [
                (file, offset, length)
                for (file, wanted), exists in zip(files, exist, strict=True)
                if exists
                for offset, length in merge_ranges(wanted, file.size)
            ]
            parts = list(
                pool.map(lambda piece: _attempt(functools.partial(piece[0].read_part, piece[1], piece[2])), pieces)
            )
        held = [(file, part) for (file, _, _), part in zip(pieces, parts, strict=True) if part is not None]
        try:
            for file, part in held:
                file.hold(part)
            yield
        finally:
            for file, part in held:
                file.release(part)

    def copy(self, path: str, sink: Sink, check: Callable[[int], None]) -> None:
        """Write a whole file to a sink, after `check` has accepted its size in bytes."""
        facts = self._transport.stat(path)
        check(facts.size)
        if facts.size:
            self._transport.copy(path, 0, facts.size, sink, facts)

    def close(self) -> None:
        """Forget what was fetched; views already returned stay valid."""
        self._files = {}

    def _file(self, path: str) -> RemoteFile | None:
        if not self._is_inside(path):
            return None
        # `setdefault` is atomic, so threads share one file without a lock.
        return self._files.get(path) or self._files.setdefault(path, RemoteFile(self._transport, path))

    def _is_inside(self, path: str) -> bool:
        return path.startswith(self._root)

    def _normalize(self, address: str) -> str:
        """Resolve `.` and `..`, which do not lead out of the root."""
        if not address.startswith(self._root):
            return address
        path = posixpath.normpath("/" + address[len(self._root) :])
        return self._root + path.lstrip("/")


class RemoteFile:
    """One file: its facts, and the parts fetched so far. Shared by everyone who opens it."""

    def __init__(self, transport: Transport, address: str) -> None:
        self._transport = transport
        self._address = address
        self.is_data = DATA_SHARD.search(address) is not None
        # Threads share this state and change it atomically, without a lock: a fork could copy a lock while it is held.
        self._first_facts: dict[str, Facts] = {}
        self._end: Part | None = None
        self._recent: tuple[Part, ...] = ()
        self._prefetched: dict[int, Part] = {}
        self._next_offset, self._ahead = 0, 0
        self._is_missing = False

    @property
    def name(self) -> str:
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
        if self._first_facts or length == 0 or offset < 0:
            check_range(self._address, offset, length, self.size)
        if length == 0:
            return memoryview(b"")
        stop = offset + length
        pieces = self._cached_views(offset, stop)
        position = offset + sum(map(len, pieces))
        if position < stop:
            # One request for the gap between the cached parts at both ends.
            last = self._find_part(stop - 1)
            gap_stop = last.offset if last is not None and last.offset > position else stop
            part = self._fetch(position, self._choose_stop(position, gap_stop) - position)
            if len(part.data) > gap_stop - position:
                self._recent = (part, *self._recent[: _RECENT_PARTS - 1])
            pieces.append(part.data[: gap_stop - position])
            if last is not None and gap_stop < stop:
                pieces.append(last.data[: stop - gap_stop])
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return exactly these bytes, fetched again even if they are cached."""
        return self._fetch(offset, length).data if length else memoryview(b"")

    def read_part(self, offset: int, length: int) -> Part:
        """Return a part with exactly these bytes, which the file is known to have."""
        return Part(offset, self.read(offset, length), self._facts())

    def hold(self, part: Part) -> None:
        """Keep a part for reads until it is released."""
        self._prefetched[id(part)] = part

    def release(self, part: Part) -> None:
        """Stop keeping a part."""
        self._prefetched.pop(id(part), None)

    def _fetch_facts(self) -> None:
        """Fetch the facts, and the end of a table in the same request."""
        if self.is_data:
            self._check_facts(self._transport.stat(self._address))
        else:
            self._end = self._transport.read_end(self._address, TAIL_BYTES)
            self._check_facts(self._end.facts)

    def _facts(self) -> Facts:
        if not self._first_facts:
            self._fetch_facts()
        return self._first_facts["facts"]

    def _check_facts(self, facts: Facts) -> None:
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
        parts = [*self._prefetched.values(), *self._recent]
        if self._end is not None:
            parts.append(self._end)
        return next((part for part in parts if part.offset <= position < part.offset + len(part.data)), None)

    def _cached_views(self, offset: int, stop: int) -> list[ByteView]:
        """Return views of the bytes from `offset` up to `stop` or to the first one that is not cached."""
        pieces: list[ByteView] = []
        while offset < stop and (part := self._find_part(offset)) is not None:
            piece = part.data[offset - part.offset : stop - part.offset]
            pieces.append(piece)
            offset += len(piece)
        return pieces

    def _fetch(self, offset: int, length: int) -> Part:
        part = self._transport.read(self._address, offset, length)
        self._check_facts(part.facts)
        return part


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


def _attempt(request: Callable[[], _T]) -> _T | None:
    """Return the result of a request, None if it fails: a later read of the same bytes raises the error."""
    try:
        return request()
    except ResourceError:
        raise
    except CheckpointError:
        return None


def merge_ranges(ranges: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Return the (offset, length) pieces to fetch, in order, that cover all ranges of a file of `size` bytes.

    Ranges that are empty or outside the file are left out.
    """
    merged: list[list[int]] = []
    for offset, length in sorted(ranges):
        if length <= 0 or offset < 0 or offset + length > size:
            continue
        if merged and offset <= merged[-1][1] + MAX_GAP_BYTES:
            merged[-1][1] = max(merged[-1][1], offset + length)
        else:
            merged.append([offset, offset + length])
    return [(at, min(PIECE_BYTES, stop - at)) for start, stop in merged for at in range(start, stop, PIECE_BYTES)]
