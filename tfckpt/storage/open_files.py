"""Descriptors of local files: at most 64 stay open in a process, whatever the number of checkpoints and shards.

The least recently used descriptor is closed, and the file is opened again when it is needed.
There can be thousands of data shards, and a process may have only 256 or 1,024 descriptors for everything it does.
"""

from __future__ import annotations

import errno
import itertools
import os
import weakref
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from .._threads import Lock
from ..errors import ResourceError

_T = TypeVar("_T")
_MAX_OPEN = 64
#: Most bytes per system call, so that a copy costs little more memory than its result.
_READ_BYTES = 8 << 20


class Descriptor:
    """A file descriptor that is closed when nothing refers to it any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; empty at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self.number, min(length, _READ_BYTES), offset)
        with self._lock:  # Windows has no pread: all reads share one position
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, min(length, _READ_BYTES))

    def __del__(self) -> None:
        os.close(self.number)


class OpenFile:
    """A file whose descriptor may be closed between two uses."""

    def __init__(self, number: int, path: str | None, *, is_needed: bool) -> None:
        """Duplicate a descriptor of the file at `path`; without a path it cannot be opened again.

        `is_needed` is true if the file cannot be used without a descriptor: without a path it then stays open.
        """
        self._path = path
        self._descriptor: Descriptor | None = Descriptor(
            retry_with_fewer_files(lambda: os.dup(number), path or "a temporary file")
        )
        self._identity = _identify(number)
        self.last_used = next(_CLOCK)
        if path is not None or not is_needed:
            _keep(self)

    def find_descriptor(self) -> Descriptor | None:
        """Return the descriptor, opened again if necessary; None if the path now leads to another file, or nowhere.

        It stays open at least while the caller refers to it.
        """
        self.last_used = next(_CLOCK)
        descriptor = self._descriptor
        if descriptor is None and self._path is not None:
            path = self._path
            try:
                number = retry_with_fewer_files(lambda: os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), path)
            except ResourceError:
                raise
            except OSError:
                return None
            descriptor = Descriptor(number)
            if _identify(number) != self._identity:
                return None
            self._descriptor = descriptor
            _keep(self)
        return descriptor

    @property
    def is_open(self) -> bool:
        """Whether the descriptor is open now."""
        return self._descriptor is not None

    def release(self) -> None:
        """Close the descriptor, as soon as no read needs it."""
        self._descriptor = None

    def close(self) -> None:
        """Close the descriptor for good."""
        self._path = None
        self._descriptor = None


def open_patiently(path: str) -> BinaryIO:
    """Open a file for reading; if there are no descriptors left, close those that are kept for later and try again."""
    return retry_with_fewer_files(lambda: open(path, "rb"), path)


def retry_with_fewer_files(action: Callable[[], _T], path: str) -> _T:
    """Return the result of an action that needs a descriptor; `ResourceError` if there is none."""
    try:
        return action()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
    _release_all()
    try:
        return action()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise ResourceError(
            "too many files are open, and this says nothing about this one; "
            "close some, or raise the limit of the process (ulimit -n)",
            path=path,
        ) from error


def _identify(number: int) -> tuple[int, int]:
    status = os.fstat(number)
    return status.st_dev, status.st_ino


def _keep(file: OpenFile) -> None:
    """Count an open file, and close the least recently used ones beyond the maximum."""
    with _LOCK:
        others = [other for other in _OPEN if other is not file and other.is_open]
        others.sort(key=lambda other: other.last_used)
        for other in others[: max(len(others) + 1 - _MAX_OPEN, 0)]:
            other.release()
            _OPEN.discard(other)
        _OPEN.add(file)


def _release_all() -> None:
    with _LOCK:
        for file in list(_OPEN):
            file.release()
        _OPEN.clear()


_CLOCK = itertools.count()
_LOCK = Lock()
_OPEN: weakref.WeakSet[OpenFile] = weakref.WeakSet()
