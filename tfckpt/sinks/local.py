"""Local folders as a sink."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..errors import LimitExceededError, WriteError
from ..files import atomic
from .contract import Stored


class LocalSink:
    """Files on disks; a file has its name after a rename, when all of its bytes are on the disk."""

    is_remote = False

    def create(self, path: str, *, size: int = 0) -> atomic.PendingFile:
        """Begin a file next to its final name."""
        return _SyncedFile(path)

    def put(self, path: str, data: bytes) -> None:
        """Write a small file."""
        with self.create(path) as pending:
            pending.file.write(data)
            pending.commit()

    def check_free(self, path: str, *, overwrite: bool) -> None:
        """Raise `WriteError` unless a file can be written to this path."""
        atomic.check_free(path, overwrite=overwrite)

    def make_folder(self, folder: str) -> None:
        """Create a folder whose parent exists."""
        if not os.path.isdir(folder or os.curdir):
            atomic.check_folder(folder)
            with atomic.writing(folder):
                os.makedirs(folder, exist_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Remove an empty folder."""
        with contextlib.suppress(OSError):
            os.rmdir(folder)

    def stat(self, path: str) -> Stored | None:
        """Describe a file; its version is the time of its last change, in nanoseconds."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return Stored(path, status.st_size, str(status.st_mtime_ns))

    def read(self, path: str, most: int) -> bytes | None:
        """Return the content of a small file."""
        try:
            with open(path, "rb") as file:
                data = file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WriteError(f"cannot read the file: {error.strerror or error}", path=path) from error
        return check_size(data, most, path)

    def iterate_bytes(self, path: str, piece_bytes: int) -> Iterator[bytes]:
        """Yield the content of a file in pieces."""
        with atomic.writing(path), open(path, "rb") as file:
            while piece := file.read(piece_bytes):
                yield piece

    def iterate_files(self, folder: str) -> Iterator[Stored]:
        """Yield the files in a folder and below it; links are not followed."""
        for parent, _, names in os.walk(folder or os.curdir):
            for name in names:
                stored = self.stat(os.path.join(parent, name))
                if stored is not None:
                    yield stored

    def remove(self, path: str) -> None:
        """Remove a file."""
        with atomic.writing(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def join(self, folder: str, name: str) -> str:
        """Return the path of a name in a folder."""
        return os.path.join(folder, name)

    def split(self, path: str) -> tuple[str, str]:
        """Split a path into its folder and its last name."""
        return os.path.split(path)


class _SyncedFile(atomic.PendingFile):
    """A pending file whose folder is synced after the rename."""

    def commit(self) -> None:
        """Rename the file, and sync its folder."""
        super().commit()
        atomic.sync_folder(os.path.dirname(self.path))


def check_size(data: bytes, most: int, path: str) -> bytes:
    """Return the data; raise `LimitExceededError` if it has more than `most` bytes."""
    if len(data) > most:
        raise LimitExceededError("file with too many bytes", limit=None, maximum=most, claimed=len(data), path=path)
    return data
