"""Files at any address that fsspec has a file system for: `gs://`, `s3://`, `memory://` and so on.

Paths are addresses without user information, query and fragment, which are added in each call.
So a `?`, `#` or `!` in a name is written `%3F`, `%23` or `%21`; other escapes are part of the name.
fsspec, and the package for a protocol, are imported when an address needs them.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from ..._typing import ByteView
from ...addresses import AddressParts, split_address
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
from .http import file_changed_error
from .transport import Facts, Part, Sink

#: Names that file systems use for a string that changes with the content, the most reliable first.
_VERSION_KEYS = (
    *("ETag", "etag", "e_tag", "generation", "version_id", "md5Hash", "md5", "content_md5", "checksum"),
    *("LastModified", "last_modified", "updated", "mtime", "created"),
)
#: Bytes that a copy holds in memory at a time.
_COPY_BYTES = 8 << 20
#: Packages in the extra `remote`, by protocol.
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "s3a": "s3fs"}
_SPECIAL = re.compile("[?#!]")
_ESCAPED = re.compile("%(3F|23|21)", re.IGNORECASE)


class FsspecTransport:
    """Addresses of one protocol; transient errors are left to the file system's own retries."""

    has_versions = False

    def __init__(self, address: str) -> None:
        """Create the file system of an address; raise `MissingDependencyError` if a package for it is missing."""
        parts = split_address(address)
        assert parts is not None, "only addresses have a file system"
        self._parts = parts
        protocol = parts.scheme.removesuffix("://")
        try:
            import fsspec
        except ImportError:
            raise MissingDependencyError("fsspec", extra="remote", purpose=f"reading from {protocol}://") from None
        try:
            known = fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            package = _PACKAGES.get(protocol)
            if package is None:
                raise StorageError(f"cannot read from {protocol}://: {error}", path=address) from error
            purpose = f"reading from {protocol}://"
            raise MissingDependencyError(package, extra="remote", purpose=purpose) from error
        except ValueError:
            raise UnsupportedFeatureError(f"unknown protocol {protocol}://", path=address) from None
        with self._translated_errors(address):
            # A cached listing would hide that a file has changed.
            self._files: Any = known(**known._get_kwargs_from_urls(address), use_listings_cache=False)

    @property
    def plain(self) -> str:
        """The address that was opened, without secrets."""
        return self._parts.plain

    def stat(self, address: str) -> Facts:
        """Return the facts of a file."""
        with self._translated_errors(address):
            info = self._files.info(self._path(address))
            if info.get("type") == "directory":
                raise CheckpointNotFoundError("is a directory, expected a file", path=address)
            if info.get("size") is None:
                raise StorageError("the file system does not report the size of the file", path=address)
            version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key) is not None), None)
            return Facts(int(info["size"]), version)

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
        return self._parts.full(address)

    def is_folder(self, address: str) -> bool:
        """Return whether the address is a folder."""
        with self._translated_errors(address):
            return bool(self._files.isdir(self._path(address)))

    def list(self, address: str) -> list[str]:
        """Return the sorted names in a folder; empty if it does not exist."""
        try:
            with self._translated_errors(address):
                paths = self._files.ls(self._path(address), detail=False)
        except CheckpointNotFoundError:
            return []
        return sorted({posixpath.basename(path.rstrip("/")) for path in paths} - {""})

    def quote(self, name: str) -> str:
        """Escape the characters of a name that end the path of an address."""
        return _SPECIAL.sub(lambda match: f"%{ord(match[0]):02X}", name)

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
        with self._translated_errors(address):
            return memoryview(self._files.cat_file(self._path(address), start=offset, end=offset + length))

    def _path(self, address: str) -> str:
        full = self._parts.full(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), address))
        path: str = self._files._strip_protocol(full)
        return path

    def _translated_errors(self, address: str) -> _translate_errors:
        return _translate_errors(address, self._parts)


class _translate_errors:  # noqa: N801  # used as a verb: with _translate_errors(...)
    """Translates exceptions of file systems into this package's errors, and lets everything else pass."""

    def __init__(self, address: str, parts: AddressParts) -> None:
        self._address = address
        self._parts = parts

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, CheckpointError) or not isinstance(error, Exception):
            return
        is_secret = self._parts.is_mentioned(error)
        cause = None if is_secret else error
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise CheckpointNotFoundError("file not found", path=self._address) from cause
        reason = "" if is_secret else printable(str(error))
        raise StorageError(f"cannot read: {reason or type(error).__name__}", path=self._address) from cause
