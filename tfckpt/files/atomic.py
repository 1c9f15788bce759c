"""Files that appear whole or not at all.

A new file is written next to its final name, flushed to the disk, and then renamed in one step.
If the process is killed at any moment, the name has the old file or the new one, and at most a temporary file is left
next to it, whose name ends in `.writing-` and 16 hexadecimal digits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

from .._typing import PathLike
from ..errors import CheckpointError, CheckpointExistsError, WriteError

#: Buffer size; larger writes bypass the buffer.
_BUFFER_BYTES = 1 << 20
_MAX_NAME_CHARACTERS = 255
#: Codes of Windows for a file that cannot be replaced because it is open or mapped.
_IN_USE = (5, 32, 1224)
#: In a temporary name, separates the file's name from 16 hexadecimal digits.
TEMPORARY_MARK = ".writing-"


def temporary_name(path: str) -> str:
    """Return a new name in the folder of `path`, to be renamed to `path`: there, renaming is one step."""
    folder, name = os.path.split(path)
    suffix = f"{TEMPORARY_MARK}{os.urandom(8).hex()}"
    return os.path.join(folder, name[: _MAX_NAME_CHARACTERS - len(suffix)] + suffix)


class PendingFile:
    """A file written under a temporary name next to `path`, until `commit` renames it.

    Leaving the context without `commit` removes it.
    An `OSError` of the system becomes a `WriteError` with the final path.
    """

    def __init__(self, path: PathLike, *, durable: bool = True) -> None:
        """Create the temporary file, with the default permissions of new files.

        If not `durable`, the bytes are not synced, and a power failure after `commit` may lose them.
        """
        self.path = os.fspath(path)
        self._durable = durable
        self.temporary = temporary_name(self.path)
        with writing(self.path):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self.file: BinaryIO = open(os.open(self.temporary, flags, 0o666), "w+b", buffering=_BUFFER_BYTES)  # noqa: SIM115
        self._is_pending = True
        self._is_synced = False

    def suspend(self) -> None:
        """Close the file for now, so that a caller can write more files than the system keeps open."""
        with writing(self.path):
            self.file.close()

    def resume(self) -> None:
        """Reopen a suspended file at its end."""
        if self.file.closed:
            with writing(self.path):
                self.file = open(self.temporary, "r+b", buffering=_BUFFER_BYTES)  # noqa: SIM115  # closed by `sync`
                self.file.seek(0, os.SEEK_END)

    def sync(self) -> None:
        """Close the file, after flushing it to the disk if it is durable; it keeps its temporary name."""
        if self._is_synced:
            return
        self.resume()
        with writing(self.path):
            try:
                self.file.flush()
                if self._durable:
                    os.fsync(self.file.fileno())
            finally:
                self.file.close()
        self._is_synced = True

    def commit(self) -> None:
        """Rename the file to its final name, replacing any file there; syncing the folder is left to the caller."""
        self.sync()
        replace(self.temporary, self.path)
        self._is_pending = False

    def discard(self) -> None:
        """Remove the file unless it was committed; harmless after `commit`."""
        with contextlib.suppress(OSError):
            self.file.close()
        if self._is_pending:
            self._is_pending = False
            with contextlib.suppress(OSError):
                os.unlink(self.temporary)

    def __enter__(self) -> PendingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def replace(temporary: str, path: str) -> None:
    """Rename a file to its final name, replacing any file there.

    Windows refuses this while the old file is open or mapped: then the old file remains, and the error says so.
    """
    with writing(path):
        try:
            os.replace(temporary, path)
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _IN_USE:
                raise
            raise WriteError(
                "cannot replace the file while it is in use; close the checkpoint and the arrays that were read from "
                "it, or write to another name",
                path=path,
            ) from None


def strip_separators(path: str) -> str:
    """Return a path without separators at its end; the path of a root is returned unchanged."""
    separators = os.sep + (os.altsep or "")
    drive, rest = os.path.splitdrive(path)
    return drive + (rest.rstrip(separators) or rest[:1])


@contextlib.contextmanager
def atomic_file(path: PathLike, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a new file next to `path` for writing, and rename it to `path` when the block ends without an exception.

    The file is synced before the rename, and the folder after it.
    On any exception the new file is removed and `path` is unchanged; an `OSError` in the block becomes a `WriteError`.
    """
    path = os.fspath(path)
    check_free(path, overwrite=overwrite)
    with PendingFile(path) as pending:
        with writing(path):
            yield pending.file
        pending.sync()
        check_free(path, overwrite=overwrite)
        pending.commit()
    sync_folder(os.path.dirname(path))


def check_free(path: str, *, overwrite: bool) -> None:
    """Raise `WriteError` unless a file can be written to this path, which may exist only if `overwrite`."""
    if os.path.isdir(path):
        raise WriteError("is a directory, expected a file", path=path)
    if os.path.lexists(path) and not overwrite:
        raise CheckpointExistsError("file exists; use --force (overwrite=True) to overwrite it", path=path)
    check_folder(path)


def check_folder(path: str) -> None:
    """Raise `WriteError` if the folder of a file does not exist."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder or os.curdir):
        raise WriteError(f"cannot write: folder {folder} does not exist; create it first", path=path)


def sync_folder(folder: str) -> None:
    """Sync a folder's entries to the disk, if the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder or os.curdir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Convert an `OSError` of the system to a `WriteError` for this path; this package's own errors pass unchanged."""
    try:
        yield
    except CheckpointError:  # some are also an OSError, such as a missing data shard
        raise
    except OSError as error:
        raise WriteError(f"cannot write the file: {error.strerror or error}", path=path) from error
