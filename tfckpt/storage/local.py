"""Files of this machine, mapped into memory or read with `pread`.

Mapped, reading gives views, and only touched pages are loaded.
Read, every byte is copied, and a file that changes while it is used can give no more than an error.
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import BinaryIO

from .._typing import ByteSource, ByteView
from ..errors import CheckpointNotFoundError, StorageError, past_end
from .base import Storage

#: One system call reads at most this, so that a copy costs little more memory than its result.
_PIECE = 8 << 20


class LocalStorage(Storage):
    """Paths as `os.path` knows them."""

    def __init__(self, *, mmap: bool = True) -> None:
        """`mmap` says whether files are mapped or read."""
        self._kind = MappedFile if mmap else ReadFile

    def open(self, path: str) -> ByteSource:
        """Open a file; `StorageError` where it stands but may not be read."""
        try:
            with open(path, "rb") as file:
                return self._kind(file, path)
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointNotFoundError("file not found", path=path) from None
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise StorageError(f"cannot open the file: {reason}", path=path) from error

    def is_file(self, path: str) -> bool:
        """Whether a file, or a link to one, stands there."""
        return os.path.isfile(path)

    def is_folder(self, path: str) -> bool:
        """Whether a folder, or a link to one, stands there."""
        return os.path.isdir(path)

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted; empty if it is none or may not be read."""
        try:
            return sorted(os.listdir(folder or os.curdir))
        except (OSError, ValueError):  # ValueError: a zero byte in the path
            return []

    def join(self, folder: str, *names: str) -> str:
        """`os.path.join`."""
        return os.path.join(folder, *names)

    def split(self, path: str) -> tuple[str, str]:
        """`os.path.split`."""
        return os.path.split(path)

    def address(self, path: str) -> str:
        """`os.path.abspath`."""
        return os.path.abspath(path)


class MappedFile:
    """A memory-mapped file.

    Views share the map and keep it alive, so they stay valid after `close`.
    Before each access the file's present size is compared, so that a file that was cut short gives an error
    and not a fault; a file that shrinks while a view of it is being used can still end the process.
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
        """Length when opened, in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """A view of exactly these bytes."""
        view, mapped = self._view, self._map
        if view is None:
            raise ValueError(f"{self._name} is closed")
        check_range(self._name, offset, length, self._size if mapped is None else min(self._size, mapped.size()))
        return view[offset : offset + length]

    def close(self) -> None:
        """Let go of the map; it ends when the last view of it does."""
        self._view = None
        self._map = None


class ReadFile:
    """A file whose bytes are copied out with `pread` when they are asked for."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Keep a descriptor of an open file, which may be closed afterwards."""
        self._name = name
        self._size = os.fstat(file.fileno()).st_size
        self._descriptor: Descriptor | None = Descriptor(os.dup(file.fileno()))

    @property
    def name(self) -> str:
        """The path."""
        return self._name

    @property
    def size(self) -> int:
        """Length when opened, in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """A copy of exactly these bytes."""
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError(f"{self._name} is closed")
        try:
            check_range(self._name, offset, length, min(self._size, os.fstat(descriptor.number).st_size))
            data = bytearray(length)
            done = 0
            while done < length:
                piece = descriptor.read(offset + done, length - done)
                if not piece:
                    check_range(self._name, offset, length, offset + done)
                data[done : done + len(piece)] = piece
                done += len(piece)
        except OSError as error:
            raise StorageError(f"cannot read the file: {error.strerror}", path=self._name, offset=offset) from error
        return memoryview(data).toreadonly()

    def close(self) -> None:
        """Let go of the file; a read that is under way in another thread still finishes."""
        self._descriptor = None


class Descriptor:
    """A file descriptor that is closed when nobody reads from it any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Some bytes from `offset`, at most `length`; none at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self.number, min(length, _PIECE), offset)
        with self._lock:  # Windows: all reads share one position
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, min(length, _PIECE))

    def __del__(self) -> None:
        os.close(self.number)


def check_range(name: str, offset: int, length: int, available: int) -> None:
    """Refuse bytes that a file of `available` bytes does not have."""
    if offset < 0 or length < 0:
        raise ValueError(f"offset {offset} and length {length} must not be negative")
    if offset + length > available:
        raise past_end(
            "read", needed=length, available=available - offset, file_size=available, path=name, offset=offset
        )
