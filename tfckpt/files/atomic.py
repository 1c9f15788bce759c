"""Files that appear whole or not at all.

A new file is written beside its final name, flushed to the disk, and then renamed in one step.
Killed at any moment, the process leaves the old file or the new one under the name, and at most a file ending in
`.writing-` and 16 hexadecimal digits beside it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

from .._typing import PathLike
from ..errors import CheckpointError, CheckpointExistsError, WriteError

#: Small writes are gathered up to this many bytes; larger ones go to the file at once.
_BUFFER_BYTES = 1 << 20
_LONGEST_NAME = 255
#: Stands between a file's name and 16 hexadecimal digits in the temporary name.
TEMPORARY_MARK = ".writing-"


def temporary_name(path: str) -> str:
    """Return a new name in the folder of `path`, to be renamed to `path`: there, renaming is one step."""
    folder, name = os.path.split(path)
    suffix = f"{TEMPORARY_MARK}{os.urandom(8).hex()}"
    return os.path.join(folder, name[: _LONGEST_NAME - len(suffix)] + suffix)


class PendingFile:
    """A file that has no name yet: written under a temporary one beside `path`, until `commit` renames it.

    Leaving it as a context manager without `commit` removes it.
    An `OSError` of the system becomes a `WriteError` with the path that was meant.
    """

    def __init__(self, path: PathLike, *, durable: bool = True) -> None:
        """Create the temporary file, with the permissions that files usually get here.

        Not `durable`, its bytes are left to the system, and a power cut after `commit` may lose them.
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
        """Close the file for the time being, for whoever writes more files than the system keeps open."""
        with writing(self.path):
            self.file.close()

    def resume(self) -> None:
        """Open the file at its end again, if it was suspended."""
        if self.file.closed:
            with writing(self.path):
                self.file = open(self.temporary, "r+b", buffering=_BUFFER_BYTES)  # noqa: SIM115  # closed by `sync`
                self.file.seek(0, os.SEEK_END)

    def sync(self) -> None:
        """Bring every byte to the disk, if the file is durable, and close it; it keeps its temporary name."""
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
        """Give the file its name, in place of what stands there; the folder is the caller's to sync."""
        self.sync()
        with writing(self.path):
            os.replace(self.temporary, self.path)
        self._is_pending = False

    def discard(self) -> None:
        """Remove the file if it has not got its name; harmless after `commit`."""
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


@contextlib.contextmanager
def atomic_file(path: PathLike, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a new file beside `path` for writing, and rename it to `path` when the block ends without an exception.

    The bytes are on the disk before the rename, the folder after it.
    On any exception the new file is removed and `path` is as it was; an `OSError` of the block becomes a `WriteError`.
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
    """Raise what says why a file cannot be written there: a folder or a file is in the way, or there is no folder."""
    if os.path.isdir(path):
        raise WriteError("a folder stands here, expected the name of a file", path=path)
    if os.path.lexists(path) and not overwrite:
        raise CheckpointExistsError(
            "the file exists already; it is overwritten only with --force (overwrite=True)", path=path
        )
    check_folder(path)


def check_folder(path: str) -> None:
    """Raise `WriteError` when the folder of a file is not there."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder or os.curdir):
        raise WriteError(f"cannot write: there is no folder {folder}; make it first", path=path)


def sync_folder(folder: str) -> None:
    """Bring the names in a folder to the disk, where the system can do that."""
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
    """Turn an `OSError` of the system into a `WriteError` for this path; errors of ours pass as they are."""
    try:
        yield
    except CheckpointError:  # some of them are an OSError too, such as a missing data shard
        raise
    except OSError as error:
        raise WriteError(f"cannot write the file: {error.strerror or error}", path=path) from error
