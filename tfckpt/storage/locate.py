"""What the user typed -> the storage that holds it, and the path in that storage.

::

    dir/model.ckpt-7                       files of this machine
    weights.tgz                            an archive, told by its content, whose one checkpoint is meant
    weights.tgz!model/ckpt                 a path inside an archive
    https://host/dir/model.ckpt-7          a web server
    https://host/weights.tgz!model/ckpt    an archive on one, which is downloaded to a temporary file without a name
    gs://bucket/dir/  s3://...  memory://  whatever fsspec has a file system for
    file:///dir/model.ckpt-7               files of this machine
    {"model.index": b"...", ...}           files in memory

A path of this machine that exists is that path, even with an exclamation mark in it.
In an address the mark always begins a path inside an archive; one that is part of a name is written %21.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from .._typing import Buffer, ByteSource, PathLike
from ..errors import CheckpointNotFoundError, StorageError, UnsupportedFeatureError
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from .archives.kinds import archive_kind
from .base import DATA_SHARD, SEPARATOR, Storage
from .local import LocalStorage, MappedFile, ReadFile
from .memory import MemoryStorage, TreeStorage

if TYPE_CHECKING:
    from .remote.storage import RemoteStorage

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)
_ARCHIVE_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_PIECE = 8 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A path in a storage.

    `tree` is the storage if the path is its root and any of its files may be meant; `remote` is the storage if it is a
    remote one.
    """

    storage: Storage
    path: str
    tree: TreeStorage | None = None
    remote: RemoteStorage | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How files are read."""

    mmap: bool = True
    limits: Limits = DEFAULT_LIMITS


def locate(given: PathLike | Mapping[str, Buffer], options: Options) -> Place:
    """The place that a path, an address or files in memory mean. Only archives are touched for it."""
    if isinstance(given, Mapping):
        memory = MemoryStorage(given)
        return Place(memory, memory.root, memory)
    path = os.fspath(given)
    if not isinstance(path, str):
        raise TypeError(f"a path is a str or os.PathLike of str, not {type(path).__name__}")
    if "://" in path.partition("::")[2]:
        raise UnsupportedFeatureError(
            "chained addresses are not read; give the plain address, with ADDRESS!MEMBER for archives",
            path=path,
        )
    address = _ADDRESS.fullmatch(path)
    if address is None:
        return _locate_local(path, options)
    scheme = address["scheme"].lower()
    if scheme == "file":
        from urllib.request import url2pathname

        return _locate_local(url2pathname(address["rest"].removeprefix("localhost")), options)
    outer, mark, inner = path.partition(SEPARATOR)
    storage, plain = _remote(outer, scheme)
    if mark or plain.lower().endswith(_ARCHIVE_ENDINGS):
        return _in_archive(_download(storage, plain, options), outer, inner, options)
    return Place(storage, plain, remote=storage)


def as_archive(place: Place, options: Options) -> Place | None:
    """The archive that stands at a remote address whose ending does not say that it is one; None if there is none."""
    storage, path = place.remote, place.path
    if storage is None or path.endswith("/") or not storage.is_file(path):
        return None
    if archive_kind(storage.open(path)) is None:
        return None
    return _in_archive(_download(storage, path, options), storage.address(path), "", options)


def _locate_local(path: str, options: Options) -> Place:
    storage = LocalStorage(mmap=options.mmap)
    if SEPARATOR in path and not os.path.lexists(path):
        at = path.find(SEPARATOR)
        while at >= 0:
            if os.path.isfile(path[:at]):
                outer = path[:at]
                return _in_archive(storage.open(outer), os.path.abspath(outer), path[at + 1 :], options)
            at = path.find(SEPARATOR, at + 1)
    if os.path.isfile(path) and not DATA_SHARD.search(path):
        source = storage.open(path)
        if archive_kind(source) is not None:
            return _in_archive(source, os.path.abspath(path), "", options)
        source.close()
    return Place(storage, path)


def _in_archive(source: ByteSource, address: str, inner: str, options: Options) -> Place:
    from .archives.storage import ArchiveStorage

    archive = ArchiveStorage(source, options.limits, address=address, mmap=options.mmap)
    inner = inner.strip("/")
    return Place(archive, archive.join(archive.root, inner)) if inner else Place(archive, archive.root, archive)


def _remote(address: str, scheme: str) -> tuple[RemoteStorage, str]:
    """The storage of an address, and the address without access data."""
    from .remote.storage import RemoteStorage

    if scheme in ("http", "https"):
        from urllib.parse import quote, urlsplit, urlunsplit

        from .remote.http import HttpTransport

        try:
            parts = urlsplit(address)
        except ValueError as error:
            raise CheckpointNotFoundError(f"this is no address: {error}", path=address) from None
        user, _, host = parts.netloc.rpartition("@")
        if not host:
            raise CheckpointNotFoundError("this address names no server", path=address)
        # Escapes stay as they are; what an address cannot hold, such as a space, is escaped.
        plain = urlunsplit((scheme, host, quote(parts.path or "/", safe="/%!$&'()*+,;=:@~-._"), "", ""))
        return RemoteStorage(HttpTransport(query=parts.query, user=user), f"{scheme}://{host}/"), plain
    from .remote.fsspec import FsspecTransport

    plain = scheme + address[len(scheme) :]
    return RemoteStorage(FsspecTransport(plain), f"{scheme}://"), plain


def _download(storage: RemoteStorage, address: str, options: Options) -> ByteSource:
    """All of a remote file, in a temporary file without a name."""
    import tempfile

    try:
        with tempfile.TemporaryFile(prefix="tfckpt-") as file:
            try:
                remote = storage.open(address)
                _check_download(remote.size, address, options.limits)
                for offset in range(0, remote.size, _PIECE):
                    file.write(remote.read(offset, min(_PIECE, remote.size - offset)))
            except UnsupportedFeatureError:
                # A server that gives no parts of files gives the whole.
                storage.copy(address, _Refilled(file), lambda size: _check_download(size, address, options.limits))
            file.flush()
            return (MappedFile if options.mmap else ReadFile)(file, address)
    except OSError as error:
        if isinstance(error, StorageError | CheckpointNotFoundError):
            raise
        raise StorageError(
            f"cannot download into the folder for temporary files, {tempfile.gettempdir()}: {error.strerror}",
            path=address,
        ) from error


def _check_download(size: int, address: str, limits: Limits) -> None:
    """Raise `LimitExceededError` for what is too large to download."""
    check_limit(limits, "max_download_bytes", size, "archive is too large to download", path=address)


class _Refilled:
    """A sink that fills a file from its beginning, at first and whenever the part begins anew."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.restart()

    def write(self, data: bytes) -> object:
        """Take the next bytes."""
        return self._file.write(data)

    def restart(self) -> None:
        """Drop what was written."""
        self._file.seek(0)
        self._file.truncate()
