"""Files at any address that fsspec has a file system for: `gs://`, `s3://`, `memory://` and so on.

Paths are addresses without user information, query and fragment, which are added in each call.
So a `?`, `#` or `!` in a name is written `%3F`, `%23` or `%21`; other escapes are part of the name.
fsspec, and the package for a protocol, are imported when an address needs them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import TypeVar

from ..._typing import ByteView
from ...errors import CheckpointNotFoundError, StorageError, past_end
from ..local import check_range
from .filesystems import FileSystem, find_version, quote_name
from .http import file_changed_error
from .pacing import Pace
from .transport import Facts, Part, Sink

#: Bytes that a copy holds in memory at a time.
_COPY_BYTES = 8 << 20

_T = TypeVar("_T")


class FsspecTransport:
    """Addresses of one protocol; transient errors are retried, also after the file system's own retries."""

    has_versions = False

    def __init__(self, address: str) -> None:
        """Create the file system of an address; raise `MissingDependencyError` if a package for it is missing."""
        self._system = FileSystem(address)
        self._pace = Pace()

    @property
    def plain(self) -> str:
        """The address that was opened, without secrets."""
        return self._system.parts.plain

    def stat(self, address: str) -> Facts:
        """Return the facts of a file."""
        info = self._call(address, self._system.files.info)
        if info.get("type") == "directory":
            raise CheckpointNotFoundError("is a directory, expected a file", path=address)
        if info.get("size") is None:
            raise StorageError("the file system does not report the size of the file", path=address)
        return Facts(int(info["size"]), find_version(info))

    def read(self, address: str, offset: int, length: int, spare: int = 0) -> Part:
        """Return these bytes and at most `spare` more, of whatever version the file has."""
        try:
            data = self._cat(address, offset, length + spare)
        except CheckpointNotFoundError:
            raise
        except StorageError:
            # Some file systems refuse a range past the end.
            check_range(address, offset, length, self.stat(address).size)
            raise
        if len(data) < length:
            check_range(address, offset, length, self.stat(address).size)
            raise past_end("response", needed=length, available=len(data), path=address, offset=offset)
        return Part(offset, data, None)

    def read_end(self, address: str, length: int) -> Part:
        """Return the last bytes; the facts are compared after the bytes have arrived."""
        facts = self.stat(address)
        start = max(0, facts.size - length)
        return self._read(address, facts, start, facts.size - start)

    def copy(self, address: str, offset: int, length: int, sink: Sink, facts: Facts) -> None:
        """Write exactly these bytes to a sink, piece by piece."""
        stop = offset + length
        for start in range(offset, stop, _COPY_BYTES):
            sink.write(self._read(address, facts, start, min(_COPY_BYTES, stop - start)).data.tobytes())

    def full_address(self, address: str) -> str:
        """Return the address with the user information, query and fragment of the one that was opened."""
        return self._system.parts.full(address)

    def is_folder(self, address: str) -> bool:
        """Return whether the address is a folder."""
        return self._call(address, lambda path: bool(self._system.files.isdir(path)))

    def list(self, address: str) -> list[str]:
        """Return the sorted names in a folder; empty if it does not exist."""
        try:
            paths = self._call(address, lambda path: list(self._system.files.ls(path, detail=False)))
        except CheckpointNotFoundError:
            return []
        return sorted({posixpath.basename(path.rstrip("/")) for path in paths} - {""})

    def quote(self, name: str) -> str:
        """Escape the characters of a name that end the path of an address."""
        return quote_name(name)

    def _read(self, address: str, facts: Facts, offset: int, length: int) -> Part:
        """Return exactly these bytes, if the file still has these facts afterwards."""
        data = self._cat(address, offset, length) if length else memoryview(b"")
        current = self.stat(address)
        if current != facts:
            raise file_changed_error(address, facts, current)
        if len(data) != length:
            raise past_end("response", needed=length, available=len(data), path=address, offset=offset)
        return Part(offset, data, facts)

    def _cat(self, address: str, offset: int, length: int) -> ByteView:
        return self._call(
            address, lambda path: memoryview(self._system.files.cat_file(path, start=offset, end=offset + length))
        )

    def _call(self, address: str, request: Callable[[str], _T]) -> _T:
        """Return the result of a request for the path of an address."""

        def attempt() -> _T:
            with self._system.translate(address):
                return request(self._system.path(address))

        return self._pace.call(attempt)
