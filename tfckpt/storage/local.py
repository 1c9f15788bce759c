"""Local files, memory-mapped or read with `pread`.

A mapped file returns views, and only the pages that are touched are loaded.
A file that is read copies every byte; if it changes while in use, the worst outcome is an error.
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import BinaryIO

from .._typing import ByteSource, ByteView
from ..errors import CheckpointNotFoundError, StorageError, past_end
from .base import Storage

#: Most bytes per system call, so that a copy costs little more memory than its result.
_READ_BYTES = 8 << 20


class LocalStorage(Storage):
    """Local paths, as in `os.path`."""

    def __init__(self, *, mmap: bool = True) -> None:
        """Map files into memory if `mmap` is true, else read them."""
        self._file_class = MappedFile if mmap else ReadFile

    def open(self, path: str) -> ByteSource:
        """Open a file; raise `StorageError` if it exists but cannot be read."""
        try:
            with open(path, "rb") as file:
                return self._file_class(file, path)
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointNotFoundError("file not found", path=path) from None
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
            return sorted(os.listdir(folder or os.curdir))
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

    Views share the map and keep it alive, so they stay valid after `close`.
    Each read first compares the file's current size, so that a truncated file raises an error instead of a fault.
    A file that shrinks while a view of it is in use can still end the process.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Map an open file, which may be closed afterwards."""
        self._name = name
        self._size = os.fstat(file.fileno()).st_size
        self._map: mmap.mmap | None = None
        self._view: ByteView | None = memoryview(b"")
        if self._size:
            self._map = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ)
            self._view = memoryview(self._map)

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
        view, mapped = self._view, self._map
        if view is None:
            raise ValueError(f"{self._name} is closed")
        check_range(self._name, offset, length, self._size if mapped is None else min(self._size, mapped.size()))
        return view[offset : offset + length]

    def close(self) -> None:
        """Release the map, which the system removes with the last view of it."""
        self._view = None
        self._map = None


class ReadFile:
    """A file whose bytes are copied with `pread` on every read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Duplicate the descriptor of an open file, which may be closed afterwards."""
        self._name = name
        self._size = os.fstat(file.fileno()).st_size
        self._descriptor: Descriptor | None = Descriptor(os.dup(file.fileno()))

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
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError(f"{self._name} is closed")
        try:
            check_range(self._name, offset, length, min(self._size, os.fstat(descriptor.number).st_size))
            data = bytearray(length)
            position = 0
            while position < length:
                piece = descriptor.read(offset + position, length - position)
                if not piece:
                    check_range(self._name, offset, length, offset + position)
                data[position : position + len(piece)] = piece
                position += len(piece)
        except OSError as error:
            raise StorageError(f"cannot read the file: {error.strerror}", path=self._name, offset=offset) from error
        return memoryview(data).toreadonly()

    def close(self) -> None:
        """Release the file; a read in another thread still finishes."""
        self._descriptor = None


class Descriptor:
    """A file descriptor that is closed when nothing refers to it any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; empty at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self.number, min(length, _READ_BYTES), offset)
        with self._lock:  # Windows has no pread: all reads share one position
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, min(length, _READ_BYTES))

    def __del__(self) -> None:
        os.close(self.number)


def check_range(name: str, offset: int, length: int, available: int) -> None:
    """Raise `TruncatedError` if the range reaches past the `available` bytes of a file."""
    if offset < 0 or length < 0:
        raise ValueError(f"offset {offset} and length {length} must not be negative")
    if offset + length > available:
        raise past_end(
            "read", needed=length, available=available - offset, file_size=available, path=name, offset=offset
        )
