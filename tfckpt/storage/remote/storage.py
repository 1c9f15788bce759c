"""Files behind a transport, read in few requests.

What is fetched, and when:

* A table or a small file is asked for its last 64 KiB when it is looked for; that answer tells whether it is there, how
  long it is, its version, and mostly all that is needed of it.
* Reading a table from front to back fetches ahead, twice as much every time.
* Of a data shard only the bytes of the tensors asked for are fetched, 16 KiB at least.
* Ranges that are announced together are merged where they lie close, and fetched at once.

Every answer is compared with the first of its file: a file that changes in between is an error.
"""

from __future__ import annotations

import contextlib
import posixpath
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..._typing import ByteSource, ByteView
from ...errors import CheckpointNotFoundError
from ..base import DATA_SHARD, Storage
from ..local import check_range
from .http import changed
from .transport import Facts, Part, Sink, Transport

#: What is fetched of the end of a file that is not a data shard. The index of a network has mostly less.
END = 64 << 10
#: The least that is fetched of a data shard: neighbours of a small tensor are mostly asked for next.
LEAST = 16 << 10
#: Reading ahead grows up to this.
MOST_AHEAD = 4 << 20
#: Announced ranges are merged over gaps up to this: a request costs more than that many bytes.
GAP = 16 << 10
#: Merged ranges are fetched in pieces of this size, so that a large one is fetched by several connections.
PIECE = 8 << 20
#: Connections at once when the caller does not say.
CONNECTIONS = 8

_KEPT_PARTS = 2
_FOLDER_MARKS = ("checkpoint", "saved_model.pb")


class RemoteStorage(Storage):
    """Addresses below one root: a server, or a protocol's own name space."""

    is_remote = True

    def __init__(self, transport: Transport, root: str) -> None:
        """`root` is what every address begins with, such as `https://host/`; others name nothing here."""
        self._transport = transport
        self._root = root
        self._files: dict[str, RemoteFile] = {}

    def open(self, path: str) -> ByteSource:
        """The file's bytes; whether a data shard is there shows when it is read."""
        file = self._file(path)
        if file is None or (not file.is_data and not file.exists()):
            raise CheckpointNotFoundError("file not found", path=path)
        return RemoteSource(file)

    def is_file(self, path: str) -> bool:
        """Whether a file stands there; costs a request the first time."""
        file = self._file(path)
        return file is not None and file.exists()

    def is_folder(self, path: str) -> bool:
        """Whether a folder stands there.

        Where the protocol cannot tell, it is one if the address ends in a slash, or a file stands in it that makes it a
        folder of checkpoints.
        """
        if not self._is_inside(path):
            return False
        answer = self._transport.is_folder(path)
        if answer is None:
            return path.endswith("/") or any(self.is_file(self.join(path, name)) for name in _FOLDER_MARKS)
        return answer

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted; empty where the protocol has no listing."""
        return self._transport.list(folder) if self._is_inside(folder) else []

    def join(self, folder: str, *names: str) -> str:
        """An address below a folder; an absolute path or an address replaces what stands before it."""
        address = folder
        for name in names:
            if name.startswith("/") or "://" in name:
                address = name
            else:
                address = f"{address.rstrip('/')}/{self._quoted(name)}"
                if {".", ".."} & set(name.split("/")):
                    address = self._normal(address)
        return address

    def split(self, path: str) -> tuple[str, str]:
        """The folder and the last name of an address."""
        folder, _, name = path.rpartition("/")
        return folder, name

    def address(self, path: str) -> str:
        """The address with whatever access data belongs to it."""
        return self._transport.full_address(path)

    @contextlib.contextmanager
    def prefetch(self, ranges: Mapping[str, Sequence[tuple[int, int]]], threads: int) -> Iterator[None]:
        """Fetch these ranges of files, merged where they lie close, over at most `threads` connections at once."""
        pieces: list[tuple[RemoteFile, int, int]] = []
        for path, wanted in ranges.items():
            file = self._file(path)
            if file is not None and file.exists():
                pieces += [(file, offset, length) for offset, length in merge(wanted, file.size)]
        if not pieces:
            yield
            return
        with ThreadPoolExecutor(max(1, min(threads, len(pieces)))) as pool:
            parts = list(pool.map(lambda piece: piece[0].part(*piece[1:]), pieces))
        try:
            for (file, _, _), part in zip(pieces, parts, strict=True):
                file.hold(part)
            yield
        finally:
            for (file, _, _), part in zip(pieces, parts, strict=True):
                file.let_go(part)

    def copy(self, path: str, sink: Sink, check: Callable[[int], None]) -> None:
        """Write a whole file to a sink, unless `check` raises an error for its size."""
        facts = self._transport.stat(path)
        check(facts.size)
        if facts.size:
            self._transport.copy(path, 0, facts.size, sink, facts)

    def close(self) -> None:
        """Forget what was fetched; views that were handed out stay valid."""
        self._files = {}

    def _file(self, path: str) -> RemoteFile | None:
        if not self._is_inside(path):
            return None
        # Setting a default is one step, so that threads share one file without a lock.
        return self._files.get(path) or self._files.setdefault(path, RemoteFile(self._transport, path))

    def _is_inside(self, path: str) -> bool:
        return path.startswith(self._root)

    def _quoted(self, name: str) -> str:
        """A name from a file as it stands in a web address."""
        return urllib.parse.quote(name, safe="/!$&'()*+,;=:@~-._") if self._root.startswith("http") else name

    def _normal(self, address: str) -> str:
        """The address without `.` and `..`, which do not lead out of the root."""
        if not address.startswith(self._root):
            return address
        path = posixpath.normpath("/" + address[len(self._root) :])
        return self._root + path.lstrip("/")


class RemoteFile:
    """One file: its facts, and the parts of it that are at hand. Shared by everyone who opens it."""

    def __init__(self, transport: Transport, address: str) -> None:
        self._transport = transport
        self._address = address
        self.is_data = DATA_SHARD.search(address) is not None
        # State that threads share changes in one step each, so that there is no lock, which a fork could catch closed.
        self._known: dict[str, Facts] = {}
        self._end: Part | None = None
        self._recent: tuple[Part, ...] = ()
        self._held: dict[int, Part] = {}
        self._next_offset, self._ahead = 0, 0
        self._is_missing = False

    @property
    def name(self) -> str:
        """The address."""
        return self._address

    @property
    def size(self) -> int:
        """Length in bytes; costs a request the first time."""
        return self._facts().size

    def exists(self) -> bool:
        """Whether the file is there; costs a request the first time."""
        if self._is_missing:
            return False
        try:
            if not self._known:
                self._look()
        except CheckpointNotFoundError:
            self._is_missing = True
            return False
        return True

    def read(self, offset: int, length: int) -> ByteView:
        """Exactly these bytes."""
        if self._known or length == 0 or offset < 0:
            check_range(self._address, offset, length, self.size)
        if length == 0:
            return memoryview(b"")
        stop = offset + length
        pieces = self._at_hand(offset, stop)
        position = offset + sum(map(len, pieces))
        if position < stop:
            # One request for what lies between the parts at hand at both ends.
            last = self._part_at(stop - 1)
            until = last.offset if last is not None and last.offset > position else stop
            part = self._fetch(position, self._foreseen(position, until) - position)
            if len(part.data) > until - position:
                self._recent = (part, *self._recent[: _KEPT_PARTS - 1])
            pieces.append(part.data[: until - position])
            if last is not None and until < stop:
                pieces.append(last.data[: stop - until])
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def part(self, offset: int, length: int) -> Part:
        """Exactly these bytes of a file that is known to have them."""
        return Part(offset, self.read(offset, length), self._facts())

    def hold(self, part: Part) -> None:
        """Keep a part for reads until it is let go."""
        self._held[id(part)] = part

    def let_go(self, part: Part) -> None:
        """Keep a part no longer."""
        self._held.pop(id(part), None)

    def _look(self) -> None:
        """Learn the facts, and of a table its end at the same time."""
        if self.is_data:
            self._learn(self._transport.stat(self._address))
        else:
            self._end = self._transport.read_end(self._address, END)
            self._learn(self._end.facts)

    def _facts(self) -> Facts:
        if not self._known:
            self._look()
        return self._known["facts"]

    def _learn(self, facts: Facts) -> None:
        first = self._known.setdefault("facts", facts)
        if first != facts:
            raise changed(self._address, first, facts)

    def _foreseen(self, offset: int, stop: int) -> int:
        """Where to stop fetching: later than is needed, where the next read can be foreseen."""
        if not self._known:
            return stop
        size = self._known["facts"].size
        if self.is_data:
            return min(max(stop, offset + LEAST), size)
        is_next = 0 < offset == self._next_offset
        self._ahead = min(2 * max(self._ahead, stop - offset), MOST_AHEAD) if is_next else 0
        limit = size if self._end is None else self._end.offset
        stop = max(stop, min(offset + self._ahead, limit))
        self._next_offset = stop
        return stop

    def _part_at(self, position: int) -> Part | None:
        """A part at hand that holds this byte."""
        parts = [*self._held.values(), *self._recent]
        if self._end is not None:
            parts.append(self._end)
        return next((part for part in parts if part.offset <= position < part.offset + len(part.data)), None)

    def _at_hand(self, offset: int, stop: int) -> list[ByteView]:
        """From `offset` on, as many of these bytes as are at hand without a gap."""
        pieces: list[ByteView] = []
        while offset < stop and (part := self._part_at(offset)) is not None:
            piece = part.data[offset - part.offset : stop - part.offset]
            pieces.append(piece)
            offset += len(piece)
        return pieces

    def _fetch(self, offset: int, length: int) -> Part:
        part = self._transport.read(self._address, offset, length)
        self._learn(part.facts)
        return part


class RemoteSource:
    """A remote file as one user of it has opened it."""

    def __init__(self, file: RemoteFile) -> None:
        self._file: RemoteFile | None = file
        self._name = file.name

    @property
    def name(self) -> str:
        """The address."""
        return self._name

    @property
    def size(self) -> int:
        """Length in bytes; may cost a request."""
        return self._opened().size

    def read(self, offset: int, length: int) -> ByteView:
        """Exactly these bytes, a view of what was fetched."""
        return self._opened().read(offset, length)

    def close(self) -> None:
        """Let go of the file."""
        self._file = None

    def _opened(self) -> RemoteFile:
        file = self._file
        if file is None:
            raise ValueError(f"{self._name} is closed")
        return file


def merge(ranges: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """(offset, length) to fetch so that all of these ranges of a file of `size` bytes are there, in order.

    Ranges that are empty, or that the file does not have, are left out.
    """
    merged: list[list[int]] = []
    for offset, length in sorted(ranges):
        if length <= 0 or offset < 0 or offset + length > size:
            continue
        if merged and offset <= merged[-1][1] + GAP:
            merged[-1][1] = max(merged[-1][1], offset + length)
        else:
            merged.append([offset, offset + length])
    return [(at, min(PIECE, stop - at)) for start, stop in merged for at in range(start, stop, PIECE)]
