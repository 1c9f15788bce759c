"""Files behind a transport, read in few requests.

What is fetched, and when:

* Opening a table or a small file requests its last 64 KiB.
  The response shows whether the file exists, its size and version, and usually contains all that is needed.
* Reading a table sequentially reads ahead, twice as far every time.
* Of a data shard only the bytes of the requested tensors are fetched, at least 16 KiB at a time.
* Ranges announced by `read_ahead` are joined to pieces, which several connections fetch.

Bytes of two versions of a file are never combined. See `file` for how that is ensured.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..._typing import ByteSource, ByteView
from ...errors import CheckpointNotFoundError
from ..base import Range, Storage
from .file import RemoteFile, RemoteSource
from .read_ahead import CONNECTIONS, ReadAhead, join_ranges
from .transport import Facts, Sink, Transport

_FOLDER_MARKERS = ("checkpoint", "saved_model.pb")


class RemoteStorage(Storage):
    """Addresses below one root: a server, or the name space of a protocol."""

    is_remote = True

    def __init__(self, transport: Transport, root: str) -> None:
        """Serve addresses that start with `root`, such as `https://host/`; others name nothing here."""
        self._transport = transport
        self._root = root
        self._files: dict[str, RemoteFile] = {}
        self._aheads: set[ReadAhead] = set()

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
    def read_ahead(self, batches: Iterable[Sequence[Range]], connections: int) -> Iterator[None]:
        """Fetch ranges in the order of their batches, with `connections` requests in flight and bounded memory."""
        known = (
            [(file, offset, length) for path, offset, length in batch if (file := self._file(path)) is not None]
            for batch in batches
        )
        ahead = ReadAhead(join_ranges(known, self.piece_bytes), connections)
        self._aheads.add(ahead)
        try:
            yield
        finally:
            self._aheads.discard(ahead)
            ahead.close()

    def facts(self, path: str) -> Facts:
        """Return the size and version of a file, by a request that does not fetch it."""
        return self._transport.stat(path)

    def expect(self, path: str, facts: Facts) -> None:
        """Compare every response for a file with these facts, as if they were those of the first response.

        Raises `FileChangedError` if the first response came before and had others.
        """
        file = self._file(path)
        if file is not None:
            file.check_facts(facts)

    def confirm(self, path: str) -> None:
        """Raise `FileChangedError` if the file has changed since its facts or bytes were first known."""
        file = self._files.get(path)
        if file is not None:
            file.confirm()
            file.compare_first_range()

    @contextlib.contextmanager
    def same_version(self, path: str) -> Iterator[None]:
        """Raise `StorageError` on leaving the context if the file was changed by then."""
        file = None if self._transport.has_versions else self._file(path)
        if file is None:
            yield
            return
        file.exists()  # its facts are known from here on
        yield
        file.confirm()

    def iterate_pieces(self, path: str) -> Iterator[ByteView]:
        """Yield a whole file in pieces, one request each; raise `FileChangedError` if they are of two versions."""
        file = self._file(path)
        if file is None:
            raise CheckpointNotFoundError("file not found", path=path)
        yield from file.iterate_pieces()

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
        return self._files.get(path) or self._files.setdefault(path, RemoteFile(self._transport, path, self))

    def skip(self) -> None:
        """Make room in what is read ahead, because something else was read."""
        for ahead in tuple(self._aheads):
            ahead.skip()

    def _is_inside(self, path: str) -> bool:
        return path.startswith(self._root)

    def _normalize(self, address: str) -> str:
        """Resolve `.` and `..`, which do not lead out of the root."""
        if not address.startswith(self._root):
            return address
        path = posixpath.normpath("/" + address[len(self._root) :])
        return self._root + path.lstrip("/")
