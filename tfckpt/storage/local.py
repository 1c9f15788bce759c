"""Files of this machine, mapped into memory: reading gives views, and only touched pages are loaded."""

from __future__ import annotations

import mmap
import os

from .._typing import ByteView
from ..errors import CheckpointError, CheckpointNotFoundError, TruncatedError


class LocalStorage:
    """Paths as `os.path` knows them."""

    def open(self, path: str) -> LocalFile:
        """Map a file."""
        return LocalFile(path)

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
        except OSError:
            return []

    def join(self, folder: str, *names: str) -> str:
        """`os.path.join`."""
        return os.path.join(folder, *names)

    def split(self, path: str) -> tuple[str, str]:
        """`os.path.split`."""
        return os.path.split(path)


class LocalFile:
    """A memory-mapped file.

    Views share the map and keep it alive, so they stay valid after `close`.
    Before each access the file's present size is compared, so that a file that was cut short gives an error
    and not a fault; a file that shrinks while a view of it is being used can still end the process.
    """

    def __init__(self, path: str) -> None:
        self._name = path
        try:
            with open(path, "rb") as file:
                self._size = os.fstat(file.fileno()).st_size
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._size else None
        except FileNotFoundError:
            raise CheckpointNotFoundError("file not found", path=path) from None
        except OSError as error:
            raise CheckpointError(f"cannot open the file: {error.strerror}", path=path) from error
        self._view = memoryview(self._map) if self._map is not None else memoryview(b"")

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
        if offset < 0 or length < 0:
            raise ValueError(f"offset {offset} and length {length} must not be negative")
        available = self._size if self._map is None else min(self._size, self._map.size())
        if offset + length > available:
            raise TruncatedError(
                f"{length} bytes from byte {offset} reach past the end of the file, which has {available}",
                needed=length,
                available=max(available - offset, 0),
                path=self._name,
                offset=offset,
            )
        return self._view[offset : offset + length]

    def close(self) -> None:
        """Let go of the map; it ends when the last view of it does."""
        self._view = memoryview(b"")
        self._map = None
        self._size = 0
