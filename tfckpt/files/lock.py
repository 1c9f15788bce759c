"""Locks between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from types import TracebackType

from ..errors import WriteError
from .atomic import writing


class FileLock:
    """An exclusive lock between processes, which the system releases if the process is killed.

    If the system or the file system has no locks, every process gets it.
    Leaving the context releases it.
    """

    def __init__(self, lock: str, *, path: str, busy: str) -> None:
        """Acquire the lock file `lock`; raise `WriteError` for `path`, saying `busy`, if another process has it."""
        self._lock = lock
        self.is_exclusive = False
        with writing(lock):
            while True:
                self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
                try:
                    self.is_exclusive = _lock(self._descriptor)
                except BlockingIOError:
                    os.close(self._descriptor)
                    raise WriteError(busy, path=path) from None
                if self._is_current():
                    return
                os.close(self._descriptor)

    def release(self) -> None:
        """Release the lock and remove the lock file."""
        if self._descriptor >= 0:
            if sys.platform == "win32":
                os.close(self._descriptor)
            with contextlib.suppress(OSError):
                os.unlink(self._lock)
            if sys.platform != "win32":
                os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _is_current(self) -> bool:
        """Return False if another process removed the file between opening and locking it."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._lock))
        except FileNotFoundError:
            return False


def _lock(descriptor: int) -> bool:
    """Lock a file, or return False if there are no locks here; raise `BlockingIOError` if another process has it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                raise BlockingIOError(error.errno, error.strerror) from None
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
