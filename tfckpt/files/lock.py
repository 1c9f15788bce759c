"""Locks between processes, by files that the system watches."""

from __future__ import annotations

import contextlib
import os
import sys
from types import TracebackType

from ..errors import WriteError
from .atomic import writing


class FileLock:
    """The right to do something that one process does at a time; the system takes it back from a killed one.

    Where the system or the file system has no locks, nobody is kept out.
    Leaving it as a context manager gives it back.
    """

    def __init__(self, lock: str, *, path: str, busy: str) -> None:
        """Take it, by the lock file `lock`; a `WriteError` about `path` says `busy` if another has it."""
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
                if self._still_has_its_name():
                    return
                os.close(self._descriptor)

    def release(self) -> None:
        """Give it back and remove the lock file."""
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

    def _still_has_its_name(self) -> bool:
        """False when another process removed the file between our opening and our locking it."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._lock))
        except FileNotFoundError:
            return False


def _lock(descriptor: int) -> bool:
    """Whether the lock on a file was taken; `BlockingIOError` if another has it, False where there are no locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
