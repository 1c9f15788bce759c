"""Outputs that appear completely or not at all: files by `tfckpt.files.atomic`, and folders in the same way."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from typing import BinaryIO

import tfckpt
from tfckpt.errors import WriteError, join_some
from tfckpt.files.atomic import PendingFile, strip_separators, sync_folder, temporary_name

from .._typing import PathLike
from ..errors import ExportError


def check_free(path: PathLike, *, force: bool) -> None:
    """Raise `ExportError` if a file cannot be written to `path`: the name is taken, or the folder does not exist."""
    path = os.fspath(path)
    if os.path.isdir(path):
        raise ExportError("the output is a folder, expected a file", path=path)
    _check_name(path, force=force)


@contextlib.contextmanager
def atomic_file(path: PathLike, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a new file next to `path` for writing, and rename it to `path` if the block raises no exception.

    The bytes are on disk before the rename.
    On any exception the new file is removed and `path` does not change; an `OSError` becomes an `ExportError`.
    """
    with pending_file(path, force=force) as pending:
        yield pending.file


@contextlib.contextmanager
def pending_file(path: PathLike, *, force: bool = False) -> Iterator[PendingFile]:
    """Open a new file as `atomic_file` does, for a block that also reads it under its temporary name."""
    path = os.fspath(path)
    check_free(path, force=force)
    with export_errors(path), PendingFile(path) as pending:
        yield pending
        pending.sync()
        check_free(path, force=force)
        pending.commit()
        sync_folder(os.path.dirname(path))


def check_free_folder(path: PathLike, *, force: bool, replaceable: re.Pattern[str]) -> None:
    """Raise `ExportError` if a folder cannot be written to `path`.

    An existing folder is only replaced if every name in it matches `replaceable`, so `force` can only delete an earlier
    output.
    """
    path = os.fspath(path)
    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        raise ExportError("the output is a folder, but a file or a link has this name", path=path)
    _check_name(path, force=force)
    others = sorted(name for name in _list(path) if not replaceable.fullmatch(name))
    if others:
        raise ExportError(f"the folder has other files and is not replaced ({join_some(others, most=3)})", path=path)


@contextlib.contextmanager
def atomic_folder(path: PathLike, *, force: bool = False, replaceable: re.Pattern[str]) -> Iterator[str]:
    """Create a folder next to `path`, and rename it to `path` if the block raises no exception.

    Every file in it is on disk before the rename. With `force`, an earlier output is renamed first and removed last.
    On any exception the new folder is removed and `path` does not change; an `OSError` becomes an `ExportError`.
    """
    path = strip_separators(os.fspath(path))
    check_free_folder(path, force=force, replaceable=replaceable)
    temporary = temporary_name(path)
    aside = temporary[:-1] + "-"
    try:
        with export_errors(path):
            os.mkdir(temporary)
            yield temporary
            for name in _list(temporary):
                _sync_file(os.path.join(temporary, name))
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
def export_errors(path: str) -> Iterator[None]:
    """Convert an `OSError`, or a `WriteError` of `tfckpt.files.atomic`, into an `ExportError` about `path`."""
    try:
        yield
    except WriteError as error:
        cause = error.__cause__
        reason = (cause.strerror or str(cause)) if isinstance(cause, OSError) else error.message
        raise ExportError(f"cannot write the output ({reason})", path=path) from error
    except tfckpt.CheckpointError:
        raise
    except OSError as error:
        raise ExportError(f"cannot write the output ({error.strerror or error})", path=path) from error


def _check_name(path: str, *, force: bool) -> None:
    """Raise `ExportError` if the name is taken or its folder does not exist."""
    if os.path.lexists(path) and not force:
        raise ExportError("the output exists; use --force (force=True) to overwrite it", path=path)
    folder = os.path.dirname(strip_separators(path)) or "."
    if not os.path.isdir(folder):
        raise ExportError(f"folder {folder} does not exist; create it first", path=path)


def _list(folder: str) -> Collection[str]:
    return os.listdir(folder) if os.path.isdir(folder) else ()


def _sync_file(path: str) -> None:
    """Flush a closed file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
