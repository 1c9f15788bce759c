"""Files at any address that fsspec knows a file system for: `gs://`, `s3://`, `memory://` and the like.

fsspec and the package for a protocol are imported when an address needs them.
"""

from __future__ import annotations

import posixpath
from typing import Any

from ...errors import (
    CheckpointError,
    CheckpointNotFoundError,
    MissingDependencyError,
    StorageError,
    UnsupportedFeatureError,
    past_end,
    printable,
)
from ..local import check_range
from .http import changed
from .transport import Facts, Part, Sink

#: What the file systems call a text that changes with the content, in the order of how much it can be trusted.
_VERSION_KEYS = (
    *("ETag", "etag", "e_tag", "generation", "version_id", "md5Hash", "md5", "content_md5", "checksum"),
    *("LastModified", "last_modified", "updated", "mtime", "created"),
)
#: Bytes that a copy holds in memory.
_PIECE = 8 << 20
#: Packages that the extra `remote` brings, by protocol.
_EXTRA = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "s3a": "s3fs"}


class FsspecTransport:
    """Addresses of one protocol; faults are borne with as the file system itself does."""

    def __init__(self, address: str) -> None:
        """Find the file system of an address; `MissingDependencyError` where a package for it is missing."""
        protocol = address.partition("://")[0]
        try:
            import fsspec
        except ImportError:
            raise MissingDependencyError("fsspec", extra="remote", purpose=f"reading from {protocol}://") from None
        try:
            known = fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            package = _EXTRA.get(protocol)
            if package is None:
                raise StorageError(f"cannot read from {protocol}://: {error}", path=address) from error
            purpose = f"reading from {protocol}://"
            raise MissingDependencyError(package, extra="remote", purpose=purpose) from error
        except ValueError:
            raise UnsupportedFeatureError(f"no file system is known for {protocol}://", path=address) from None
        with _translated(address):
            # A listing that is kept would hide that a file has changed.
            self._files: Any = known(**known._get_kwargs_from_urls(address), use_listings_cache=False)

    def stat(self, address: str) -> Facts:
        """The facts of a file."""
        with _translated(address):
            info = self._files.info(self._path(address))
            if info.get("type") == "directory":
                raise CheckpointNotFoundError("this is a folder, not a file", path=address)
            if info.get("size") is None:
                raise StorageError("the file system does not say how long the file is", path=address)
            version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key) is not None), None)
            return Facts(int(info["size"]), version)

    def read(self, address: str, offset: int, length: int) -> Part:
        """Exactly these bytes, with the facts compared before and after."""
        return self._read(address, self.stat(address), offset, length)

    def read_end(self, address: str, length: int) -> Part:
        """The last bytes."""
        facts = self.stat(address)
        start = max(0, facts.size - length)
        return self._read(address, facts, start, facts.size - start)

    def copy(self, address: str, offset: int, length: int, sink: Sink, facts: Facts) -> None:
        """Write exactly these bytes to a sink, piece by piece."""
        stop = offset + length
        for start in range(offset, stop, _PIECE):
            sink.write(self._read(address, facts, start, min(_PIECE, stop - start)).data.tobytes())

    def full_address(self, address: str) -> str:
        """The address itself: access data is the business of fsspec's own settings."""
        return address

    def is_folder(self, address: str) -> bool:
        """Whether a folder stands there."""
        with _translated(address):
            return bool(self._files.isdir(self._path(address)))

    def list(self, address: str) -> list[str]:
        """Names in a folder, sorted; empty if there is none."""
        try:
            with _translated(address):
                paths = self._files.ls(self._path(address), detail=False)
        except CheckpointNotFoundError:
            return []
        return sorted({posixpath.basename(path.rstrip("/")) for path in paths} - {""})

    def _read(self, address: str, facts: Facts, offset: int, length: int) -> Part:
        check_range(address, offset, length, facts.size)
        data = b""
        if length:
            with _translated(address):
                data = self._files.cat_file(self._path(address), start=offset, end=offset + length)
        now = self.stat(address)
        if now != facts:
            raise changed(address, facts, now)
        if len(data) != length:
            raise past_end("answer", needed=length, available=len(data), path=address, offset=offset)
        return Part(offset, memoryview(data), facts)

    def _path(self, address: str) -> str:
        path: str = self._files._strip_protocol(address)
        return path


class _translated:  # noqa: N801  # used as a verb: with _translated(address)
    """Turns what the many file systems raise into our errors; misuse of our own interface is not among it."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, CheckpointError) or not isinstance(error, Exception):
            return
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise CheckpointNotFoundError("file not found", path=self._address) from error
        reason = printable(str(error)) or type(error).__name__
        raise StorageError(f"cannot read: {reason}", path=self._address) from error
