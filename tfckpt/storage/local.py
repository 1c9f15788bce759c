"""Local files, memory-mapped or read with `pread`.

A mapped file returns views, and only the pages that are touched are loaded.
A file that is read copies every byte; if it changes while in use, the worst outcome is an error.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from .._typing import ByteSource, ByteView
from ..errors import CheckpointNotFoundError, ResourceError, StorageError, past_end
from .base import Storage
from .mapping import map_privately
from .open_files import Descriptor, OpenFile, open_patiently, retry_with_fewer_files


class LocalStorage(Storage):
    """Local paths, as in `os.path`."""

    def __init__(self, *, mmap: bool = True) -> None:
        """Map files into memory if `mmap` is true, else read them."""
        self._open_source = map_or_read if mmap else ReadFile

    def open(self, path: str) -> ByteSource:
        """Open a file; raise `StorageError` if it exists but cannot be read."""
        try:
            with open_patiently(path) as file:
                return self._open_source(file, path, os.path.abspath(path))
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointNotFoundError("file not found", path=path) from None
        except StorageError:
            raise
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise StorageError(f"cannot open the file: {reason}", path=path) from error

    def is_file(self, path: str) -> bool:
        """Return whether the path is a regular file or a link to one."""
        return os.path.isfile(path)

    def is_folder(self, path: str) -> bool:
        """Return whether the path is a folder or a link to one."""
        return os.path.isdir(path)

    def list(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; empty if it is not a folder or cannot be read."""
        try:
            return sorted(retry_with_fewer_files(lambda: os.listdir(folder or os.curdir), folder))
        except ResourceError:
            raise
        except (OSError, ValueError):  # ValueError: a zero byte in the path
            return []

    def join(self, folder: str, *names: str) -> str:
        """Join paths as `os.path.join` does."""
        return os.path.join(folder, *names)

    def split(self, path: str) -> tuple[str, str]:
        """Split a path as `os.path.split` does."""
        return os.path.split(path)

    def address(self, path: str) -> str:
        """Return the absolute path."""
        return os.path.abspath(path)


class MappedFile:
    """A memory-mapped file.

    The map is private: if somebody writes to it through an array, as `torch.from_numpy` allows, only that page of
    memory is copied and changed, not the file.
    Views share the map and keep it alive, so they stay valid after `close`.
    Each read first compares the file's current size, so that a truncated file raises an error instead of a fault.
    A file that shrinks while a view of it is in use can still end the process.
    """

    def __init__(self, file: BinaryIO, name: str, path: str | None = None) -> None:
        """Map an open file, which may be closed afterwards; `path` is where it can be opened again."""
        self._name = name
        self._file = OpenFile(file.fileno(), path, is_needed=False)
        self._size = os.fstat(file.fileno()).st_size
        self._view: ByteView | None = memoryview(b"")
        if self._size:
            self._view = map_privately(file.fileno(), self._size)

    @property
    def name(self) -> str:
        """The path."""
        return self._name

    @property
    def size(self) -> int:
        """The size in bytes when the file was opened."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """Return a view of exactly these bytes."""
        view = self._view
        if view is None:
            raise ValueError(f"{self._name} is closed")
        descriptor = self._file.find_descriptor()
        current = self._size if descriptor is None else min(self._size, os.fstat(descriptor.number).st_size)
        check_range(self._name, offset, length, current)
        return view[offset : offset + length]

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return a copy of these bytes of the file, whatever was written to the map."""
        descriptor = self._file.find_descriptor()
        return self.read(offset, length) if descriptor is None else _copy(descriptor, self._name, offset, length)

    def close(self) -> None:
        """Release the map, which the system removes with the last view of it."""
        self._view = None
        self._file.close()


class ReadFile:
    """A file whose bytes are copied with `pread` on every read."""

    def __init__(self, file: BinaryIO, name: str, path: str | None = None) -> None:
        """Duplicate the descriptor of an open file, which may be closed; `path` is where it can be opened again."""
        self._name = name
        self._size = os.fstat(file.fileno()).st_size
        self._file: OpenFile | None = OpenFile(file.fileno(), path, is_needed=True)

    @property
    def name(self) -> str:
        """The path."""
        return self._name

    @property
    def size(self) -> int:
        """The size in bytes when the file was opened."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """Return a copy of exactly these bytes."""
        file = self._file
        if file is None:
            raise ValueError(f"{self._name} is closed")
        descriptor = file.find_descriptor()
        if descriptor is None:
            raise StorageError("the file was replaced while it was in use", path=self._name, offset=offset)
        try:
            check_range(self._name, offset, length, min(self._size, os.fstat(descriptor.number).st_size))
        except OSError as error:
            raise StorageError(f"cannot read the file: {error.strerror}", path=self._name, offset=offset) from error
        return _copy(descriptor, self._name, offset, length)

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return a new copy of these bytes."""
        return self.read(offset, length)

    def close(self) -> None:
        """Release the file; a read in another thread still finishes."""
        self._file = None


def map_or_read(file: BinaryIO, name: str, path: str | None = None) -> MappedFile | ReadFile:
    """Map an open file, or read it if the system cannot map it, for example because memory is limited."""
    try:
        return MappedFile(file, name, path)
    except ResourceError:
        raise
    except OSError:
        return ReadFile(file, name, path)


def _copy(descriptor: Descriptor, name: str, offset: int, length: int) -> ByteView:
    """Return a copy of exactly these bytes of an open file."""
    try:
        data = bytearray(length)
        position = 0
        while position < length:
            piece = descriptor.read(offset + position, length - position)
            if not piece:
                check_range(name, offset, length, offset + position)
            data[position : position + len(piece)] = piece
            position += len(piece)
    except OSError as error:
        raise StorageError(f"cannot read the file: {error.strerror}", path=name, offset=offset) from error
    return memoryview(data).toreadonly()


def check_range(name: str, offset: int, length: int, available: int) -> None:
    """Raise `TruncatedError` if the range reaches past the `available` bytes of a file."""
    if offset < 0 or length < 0:
        raise ValueError(f"offset {offset} and length {length} must not be negative")
    if offset + length > available:
        raise past_end(
            "read", needed=length, available=available - offset, file_size=available, path=name, offset=offset
        )
