"""From what the user passed to a storage, and a path in that storage.

::

    dir/model.ckpt-7                       local files
    weights.tgz                            an archive, recognised by content, that contains one checkpoint
    weights.tgz!model/ckpt                 a path inside an archive
    https://host/dir/model.ckpt-7          a web server
    https://host/weights.tgz!model/ckpt    a remote archive, downloaded to a temporary file without a name
    gs://bucket/dir/  s3://...  memory://  any file system that fsspec knows
    file:///dir/model.ckpt-7               local files
    {"model.index": b"...", ...}           files in memory

A local path that exists is used as it is, even if it contains an exclamation mark.
In an address the mark always starts a path inside an archive; a mark in a name is written %21.
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
from .archives.kinds import detect_archive
from .base import DATA_SHARD, SEPARATOR, Storage
from .local import LocalStorage, ReadFile, map_or_read
from .memory import MemoryStorage, TreeStorage

if TYPE_CHECKING:
    from .remote.storage import RemoteStorage

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)
_ARCHIVE_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A path in a storage.

    `tree` is the storage if the path is its root, so that any of its files may be meant.
    `remote` is the storage if it is remote.
    """

    storage: Storage
    path: str
    tree: TreeStorage | None = None
    remote: RemoteStorage | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options for reading files."""

    mmap: bool = True
    writable: bool = False
    limits: Limits = DEFAULT_LIMITS


def locate(path_or_files: PathLike | Mapping[str, Buffer], options: Options) -> Place:
    """Return the storage and path that a path, an address or files in memory refer to.

    Only archives are opened; other files are not touched.
    """
    if isinstance(path_or_files, Mapping):
        memory = MemoryStorage(path_or_files)
        return Place(memory, memory.root, memory)
    path = os.fspath(path_or_files)
    if not isinstance(path, str):
        raise TypeError(f"path must be str or os.PathLike[str], not {type(path).__name__}")
    if "://" in path.partition("::")[2]:
        raise UnsupportedFeatureError(
            "chained addresses are not supported; use the plain address, with ADDRESS!MEMBER for archives",
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
    storage, plain = _open_remote(outer, scheme)
    if mark or plain.lower().endswith(_ARCHIVE_ENDINGS):
        return _open_archive(_download(storage, plain, options), outer, inner, options)
    return Place(storage, plain, remote=storage)


def locate_path(path: str, options: Options) -> tuple[Storage, str]:
    """Return the storage and the path in it that a path or an address refers to; the caller closes the storage.

    For a whole archive, also one at an address without an archive's extension, this is its top folder.
    """
    place = locate(path, options)
    try:
        archive = open_as_archive(place, options)
    except BaseException:
        place.storage.close()
        raise
    if archive is not None:
        place.storage.close()
        place = archive
    return place.storage, place.path if place.tree is None else place.tree.top_folder()


def open_as_archive(place: Place, options: Options) -> Place | None:
    """Open a remote file as an archive if its content says that it is one; else return None."""
    storage, path = place.remote, place.path
    if storage is None or path.endswith("/") or not storage.is_file(path):
        return None
    if detect_archive(storage.open(path)) is None:
        return None
    return _open_archive(_download(storage, path, options), storage.address(path), "", options)


def _locate_local(path: str, options: Options) -> Place:
    storage = LocalStorage(mmap=options.mmap)
    if SEPARATOR in path and not os.path.lexists(path):
        at = path.find(SEPARATOR)
        while at >= 0:
            if os.path.isfile(path[:at]):
                outer = path[:at]
                return _open_archive(storage.open(outer), os.path.abspath(outer), path[at + 1 :], options)
            at = path.find(SEPARATOR, at + 1)
    if os.path.isfile(path) and not DATA_SHARD.search(path):
        source = storage.open(path)
        if detect_archive(source) is not None:
            return _open_archive(source, os.path.abspath(path), "", options)
        source.close()
    return Place(storage, path)


def _open_archive(source: ByteSource, address: str, inner: str, options: Options) -> Place:
    from .archives.storage import ArchiveStorage

    archive = ArchiveStorage(source, options.limits, address=address, mmap=options.mmap)
    inner = inner.strip("/")
    return Place(archive, archive.join(archive.root, inner)) if inner else Place(archive, archive.root, archive)


def _open_remote(address: str, scheme: str) -> tuple[RemoteStorage, str]:
    """Return the storage of an address, and the address without credentials."""
    from .remote.storage import RemoteStorage

    if scheme in ("http", "https"):
        from urllib.parse import quote, urlsplit, urlunsplit

        from .remote.http import HttpTransport

        try:
            parts = urlsplit(address)
            parts.port  # noqa: B018  # raises if it is not a number
        except ValueError:  # its text contains a part of the address
            raise CheckpointNotFoundError(
                "invalid URL: check the name of the server and the port; "
                "in a password, write / as %2F, ? as %3F, # as %23 and @ as %40",
                path=address,
            ) from None
        user, _, host = parts.netloc.rpartition("@")
        if not host:
            raise CheckpointNotFoundError("invalid URL: no host", path=address)
        # "%" is safe, so existing escapes are kept; other characters that a URL cannot contain are escaped.
        plain = urlunsplit((scheme, host, quote(parts.path or "/", safe="/%!$&'()*+,;=:@~-._"), "", ""))
        query = quote(parts.query, safe="/%!$&'()*+,;=:@~-._?")
        return RemoteStorage(HttpTransport(query=query, user=user), f"{scheme}://{host}/"), plain
    from .remote.fsspec import FsspecTransport

    transport = FsspecTransport(scheme + address[len(scheme) :])
    return RemoteStorage(transport, f"{scheme}://"), transport.plain


def _download(storage: RemoteStorage, address: str, options: Options) -> ByteSource:
    """Download a remote file to a temporary file without a name, and open that."""
    import tempfile

    try:
        with tempfile.TemporaryFile(prefix="tfckpt-") as file:
            try:
                _check_download(storage.open(address).size, address, options.limits)
                for piece in storage.iterate_pieces(address):
                    file.write(piece)
            except UnsupportedFeatureError:
                # A server without range requests can still send the whole file.
                sink = _RestartableFile(file)
                storage.copy(address, sink, lambda size: _check_download(size, address, options.limits))
            file.flush()
            return (map_or_read if options.mmap else ReadFile)(file, address)
    except OSError as error:
        if isinstance(error, StorageError | CheckpointNotFoundError):
            raise
        raise StorageError(
            f"cannot download into the temporary folder {tempfile.gettempdir()}: {error.strerror}; "
            "set TMPDIR to a folder with more space",
            path=address,
        ) from error


def _check_download(size: int, address: str, limits: Limits) -> None:
    """Raise `LimitExceededError` if the file is too large to download."""
    check_limit(limits, "max_download_bytes", size, "archive too large to download", path=address)


class _RestartableFile:
    """A sink that writes to a file, and empties it when the transfer starts over."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.restart()

    def write(self, data: bytes) -> object:
        """Append bytes."""
        return self._file.write(data)

    def restart(self) -> None:
        """Discard what was written."""
        self._file.seek(0)
        self._file.truncate()
