"""The storage contract, run for every storage."""

from __future__ import annotations

import contextlib
import pathlib
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping

import fsspec

from tests.contracts.places import tar_of, write_folder, zip_of
from tests.contracts.server import serving
from tests.contracts.storage import StorageContract
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.storage.archives.storage import ArchiveStorage
from tfckpt.storage.base import Storage
from tfckpt.storage.local import LocalStorage
from tfckpt.storage.memory import MemorySource, MemoryStorage
from tfckpt.storage.remote.fsspec import FsspecTransport
from tfckpt.storage.remote.http import HttpTransport
from tfckpt.storage.remote.storage import RemoteStorage

StorageAndRoot = Iterator[tuple[Storage, str]]


class TestMappedFiles(StorageContract):
    """Local files, mapped."""

    mmap = True

    @contextlib.contextmanager
    def make(self, files: Mapping[str, bytes]) -> StorageAndRoot:
        """Yield a local folder."""
        with tempfile.TemporaryDirectory() as folder:
            yield LocalStorage(mmap=self.mmap), str(write_folder(pathlib.Path(folder), files))


class TestReadFiles(TestMappedFiles):
    """Local files, read."""

    mmap = False


class TestMemory(StorageContract):
    """Files in memory."""

    @contextlib.contextmanager
    def make(self, files: Mapping[str, bytes]) -> StorageAndRoot:
        """Yield a mapping."""
        yield MemoryStorage(files), ""


class TestTar(StorageContract):
    """Members of a tar archive."""

    mode, kind = "w", tarfile.PAX_FORMAT

    @contextlib.contextmanager
    def make(self, files: Mapping[str, bytes]) -> StorageAndRoot:
        """Yield an archive in memory."""
        storage = ArchiveStorage(MemorySource(tar_of(files, self.mode, kind=self.kind), "a.tar"), DEFAULT_LIMITS)
        yield storage, storage.root


class TestGnuTarXz(TestTar):
    """Members of a tar archive compressed with xz, with names as GNU tar writes them."""

    mode, kind = "w:xz", tarfile.GNU_FORMAT


class TestOldTarBzip2(TestTar):
    """Members of a tar archive compressed with bzip2, with names as in POSIX.1-1988."""

    mode, kind = "w:bz2", tarfile.USTAR_FORMAT


class TestTgz(StorageContract):
    """Members of a folder of a tar archive compressed with gzip, read instead of mapped."""

    @contextlib.contextmanager
    def make(self, files: Mapping[str, bytes]) -> StorageAndRoot:
        """Yield a folder of an archive in memory."""
        source = MemorySource(tar_of(files, "w:gz", under="top/"), "a.tgz")
        storage = ArchiveStorage(source, DEFAULT_LIMITS, mmap=False)
        yield storage, storage.join(storage.root, "top")


class TestStoredZip(StorageContract):
    """Stored members of a zip archive."""

    method = zipfile.ZIP_STORED

    @contextlib.contextmanager
    def make(self, files: Mapping[str, bytes]) -> StorageAndRoot:
        """Yield an archive in memory."""
        storage = ArchiveStorage(MemorySource(zip_of(files, self.method), "a.zip"), DEFAULT_LIMITS)
        yield storage, storage.root


class TestDeflatedZip(TestStoredZip):
    """Deflated members of a zip archive."""

    method = zipfile.ZIP_DEFLATED


class TestHttp(StorageContract):
    """Files on a web server."""

    lists = False

    @contextlib.contextmanager
    def make(self, files: Mapping[str, bytes]) -> StorageAndRoot:
        """Yield a server on the loopback interface."""
        with serving(files) as server:
            yield RemoteStorage(HttpTransport(), server.url), server.url


class TestFsspec(StorageContract):
    """Files of a file system of fsspec."""

    @contextlib.contextmanager
    def make(self, files: Mapping[str, bytes]) -> StorageAndRoot:
        """Yield fsspec's file system in memory."""
        system = fsspec.filesystem("memory")
        for name, data in files.items():
            system.pipe_file(f"/contract/{name}", data)
        try:
            yield RemoteStorage(FsspecTransport("memory://contract"), "memory://"), "memory://contract"
        finally:
            system.rm("/contract", recursive=True)
