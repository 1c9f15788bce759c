"""Files that get their names together, after they were checked: a program, and what belongs to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

from tfckpt.files.atomic import sync_folder, temporary_name

from ..errors import ExportError
from ..formats.atomic import check_free, export_errors


@contextlib.contextmanager
def staged_files(path: str, *, force: bool) -> Iterator[str]:
    """Create a folder next to `path` and yield the program's path in it; move all its files if the block succeeds.

    The program comes last, so that what it needs is there. On any exception nothing is left behind.
    """
    check_free(path, force=force)
    final = os.path.dirname(os.path.abspath(path))
    name = os.path.basename(path)
    folder = temporary_name(os.path.join(final, name))
    try:
        with export_errors(path):
            os.mkdir(folder)
        yield os.path.join(folder, name)
        with export_errors(path):
            others = sorted(other for other in os.listdir(folder) if other != name)
            for other in others:
                check_free(os.path.join(final, other), force=force)
            check_free(path, force=force)
            for file in (*others, name):
                _sync(os.path.join(folder, file))
            if others and os.path.lexists(path):
                os.unlink(path)  # an old program never has the new files of another
            for file in (*others, name):
                os.replace(os.path.join(folder, file), os.path.join(final, file))
            sync_folder(final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def precise_path(staged: str, *, apart: bool) -> Iterator[str]:
    """Yield the path for the float32 program: the staged one or, with `apart`, one that is removed after the block."""
    if not apart:
        yield staged
        return
    with tempfile.TemporaryDirectory(prefix="tf2torch-") as folder:
        yield os.path.join(folder, os.path.basename(staged))


def _sync(path: str) -> None:
    if not os.path.exists(path):
        raise ExportError("the program was not written", path=path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
