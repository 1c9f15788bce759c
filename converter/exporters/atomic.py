"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from ..conversion import PathLike
from ..errors import ExportError


def check_free(path: PathLike, *, force: bool) -> None:
    """Raise `ExportError` when a file cannot be written there: something is in the way, or there is no folder."""
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise ExportError("the output is a folder, expected the name of a file", path=path)
    if os.path.lexists(path) and not force:
        raise ExportError("the output exists already, and is only overwritten with --force (force=True)", path=path)
    if not os.path.isdir(folder):
        raise ExportError(f"the folder {folder} does not exist; make it first, to write", path=path)


@contextlib.contextmanager
def atomic_file(path: PathLike, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a new file beside `path` for writing, and rename it to `path` when the block ends without an exception.

    The bytes are on disk before the rename.
    On any exception the new file is removed and `path` is as it was; an `OSError` becomes an `ExportError`.
    """
    path = os.fspath(path)
    check_free(path, force=force)
    # The same folder is the same file system, where renaming is one step.
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with _new_file(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        check_free(path, force=force)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise ExportError(f"cannot write the output ({error.strerror or error})", path=path) from error
        raise


def _new_file(path: str) -> BinaryIO:
    """Create a file with the permissions that files usually get here."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb")
