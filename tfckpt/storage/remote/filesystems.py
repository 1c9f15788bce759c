"""File systems of fsspec by address: `gs://`, `s3://`, `memory://` and so on.

fsspec, and the package for a protocol, are imported when an address needs them.
"""

from __future__ import annotations

import datetime
import errno
import re
from typing import Any

from ...addresses import AddressParts, split_address
from ...errors import (
    CheckpointError,
    CheckpointNotFoundError,
    MissingDependencyError,
    StorageError,
    UnsupportedFeatureError,
    WriteError,
    printable,
)

#: Names that file systems use for a string that changes with the content, the most reliable first.
VERSION_KEYS = (
    *("ETag", "etag", "e_tag", "generation", "version_id", "md5Hash", "md5", "content_md5", "checksum"),
    *("LastModified", "last_modified", "updated", "mtime", "created"),
)
#: Packages in the extra `remote`, by protocol.
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "s3a": "s3fs"}
#: Codes of errors that the same request has again: an invalid range or name, or what it does not find or may not do.
_LASTING = (errno.EINVAL, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG)
_SPECIAL = re.compile("[?#!]")
_ESCAPED = re.compile("%(3F|23|21)", re.IGNORECASE)


class FileSystem:
    """The file system of an address. Paths are plain addresses; the secrets of the address are added in each call."""

    def __init__(self, address: str, *, writes: bool = False) -> None:
        """Create it; raise `MissingDependencyError` if a package for the protocol is missing."""
        parts = split_address(address)
        assert parts is not None, "only addresses have a file system"
        self.parts = parts
        self._writes = writes
        protocol = parts.scheme.removesuffix("://")
        purpose = f"{'writing to' if writes else 'reading from'} {protocol}://"
        try:
            import fsspec
        except ImportError:
            raise MissingDependencyError("fsspec", extra="remote", purpose=purpose) from None
        try:
            known = fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            package = _PACKAGES.get(protocol)
            if package is None:
                raise StorageError(f"no support for {protocol}://: {error}", path=address) from error
            raise MissingDependencyError(package, extra="remote", purpose=purpose) from error
        except ValueError:
            raise UnsupportedFeatureError(f"unknown protocol {protocol}://", path=address) from None
        with self.translate(address):
            # A cached listing would hide that a file has changed.
            self.files: Any = known(**known._get_kwargs_from_urls(address), use_listings_cache=False)

    def path(self, address: str) -> str:
        """Return the path of a plain address in this file system."""
        full = self.parts.full(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), address))
        path: str = self.files._strip_protocol(full)
        return path

    def translate(self, address: str) -> TranslatedErrors:
        """Return a context that converts exceptions of the file system to this package's errors."""
        return TranslatedErrors(address, self.parts, writes=self._writes)


class TranslatedErrors:
    """Converts exceptions of file systems to this package's errors, and lets everything else pass."""

    def __init__(self, address: str, parts: AddressParts, *, writes: bool) -> None:
        self._address = address
        self._parts = parts
        self._writes = writes

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, CheckpointError) or not isinstance(error, Exception):
            return
        is_secret = self._parts.is_mentioned(error)
        cause = None if is_secret else error
        reason = ("" if is_secret else printable(str(error))) or type(error).__name__
        failure: CheckpointError
        if self._writes:
            failure = WriteError(f"cannot write: {reason}", path=self._address)
        elif isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise CheckpointNotFoundError("file not found", path=self._address) from cause
        else:
            failure = StorageError(f"cannot read: {reason}", path=self._address)
        failure.is_transient = (
            isinstance(error, OSError) and not isinstance(error, PermissionError) and error.errno not in _LASTING
        )
        raise failure from cause


def quote_name(name: str) -> str:
    """Escape the characters of a name that end the path of an address."""
    return _SPECIAL.sub(lambda match: f"%{ord(match[0]):02X}", name)


def find_version(info: dict[str, Any]) -> str | None:
    """Return the string in a file's description that changes with its content; None if there is none."""
    value = next((info[key] for key in VERSION_KEYS if info.get(key) is not None), None)
    if isinstance(value, datetime.datetime):  # listings of some file systems have the number of seconds instead
        value = value.timestamp()
    return None if value is None else str(value)
