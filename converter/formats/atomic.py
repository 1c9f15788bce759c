"""Outputs that appear whole or not at all: files as `tfckpt.files.atomic` writes them, and folders the same way."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from typing import BinaryIO

import tfckpt.files.atomic
from tfckpt.errors import WriteError, join_some
from tfckpt.files.atomic import sync_folder, temporary_name

from .._typing import PathLike
from ..errors import ExportError


def check_free(path: PathLike, *, force: bool) -> None:
    """Raise `ExportError` when a file cannot be written there: something is in the way, or there is no folder."""
    path = os.fspath(path)
    if os.path.isdir(path):
        raise ExportError("the output is a folder, expected the name of a file", path=path)
    _check_place(path, force=force)


@contextlib.contextmanager
def atomic_file(path: PathLike, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a new file beside `path` for writing, and rename it to `path` when the block ends without an exception.

    The bytes are on disk before the rename.
    On any exception the new file is removed and `path` is as it was; an `OSError` becomes an `ExportError`.
    """
    path = os.fspath(path)
    check_free(path, force=force)
    with exporting(path), tfckpt.files.atomic.PendingFile(path) as pending:
        yield pending.file
        pending.sync()
        check_free(path, force=force)
        pending.commit()
        sync_folder(os.path.dirname(path))


def check_free_folder(path: PathLike, *, force: bool, replaceable: re.Pattern[str]) -> None:
    """Raise `ExportError` when a folder cannot be written there.

    An existing one is only ever replaced when every name in it is `replaceable`, so that `force` cannot delete anything
    but an earlier output.
    """
    path = os.fspath(path)
    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        raise ExportError("the output is a folder, but a file or a link stands there", path=path)
    _check_place(path, force=force)
    others = sorted(name for name in _names(path) if not replaceable.fullmatch(name))
    if others:
        raise ExportError(f"the folder holds other things ({join_some(others, most=3)}) and is not replaced", path=path)


@contextlib.contextmanager
def atomic_folder(path: PathLike, *, force: bool = False, replaceable: re.Pattern[str]) -> Iterator[str]:
    """Make a folder beside `path` for the block to fill, and rename it to `path` when the block ends well.

    Every file in it is on disk before the rename. With `force` an earlier output is put aside first and removed last.
    On any exception the new folder is removed and `path` is as it was; an `OSError` becomes an `ExportError`.
    """
    path = os.fspath(path).rstrip(os.sep) or os.sep
    check_free_folder(path, force=force, replaceable=replaceable)
    temporary = temporary_name(path)
    aside = temporary[:-1] + "-"
    try:
        with exporting(path):
            os.mkdir(temporary)
            yield temporary
            for written in _names(temporary):
                _sync_file(os.path.join(temporary, written))
            check_free_folder(path, force=force, replaceable=replaceable)
            if os.path.isdir(path):
                os.rename(path, aside)
            try:
                os.rename(temporary, path)
            except OSError:
                if os.path.isdir(aside):
                    os.rename(aside, path)
                raise
            sync_folder(os.path.dirname(path))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if os.path.isdir(path):
            shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def exporting(path: str) -> Iterator[None]:
    """Turn what the system or `tfckpt.files.atomic` says about writing `path` into an `ExportError`."""
    try:
        yield
    except WriteError as error:
        reason = error.__cause__
        said = (reason.strerror or str(reason)) if isinstance(reason, OSError) else error.message
        raise ExportError(f"cannot write the output ({said})", path=path) from error
    except tfckpt.CheckpointError:
        raise
    except OSError as error:
        raise ExportError(f"cannot write the output ({error.strerror or error})", path=path) from error


def _check_place(path: str, *, force: bool) -> None:
    """Raise what says why nothing can be written under this name."""
    if os.path.lexists(path) and not force:
        raise ExportError("the output exists already, and is only overwritten with --force (force=True)", path=path)
    folder = os.path.dirname(path.rstrip(os.sep)) or "."
    if not os.path.isdir(folder):
        raise ExportError(f"the folder {folder} does not exist; make it first, to write", path=path)


def _names(folder: str) -> Collection[str]:
    return os.listdir(folder) if os.path.isdir(folder) else ()


def _sync_file(path: str) -> None:
    """Bring a file that was written and closed to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
