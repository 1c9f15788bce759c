"""The functions of `tf.io.gfile` that change files and folders, and those of `tensorflow.python.lib.io.file_io`.

They work on local paths only.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..train.errors import (
    AlreadyExistsError,
    NotFoundError,
    UnimplementedError,
    as_tensorflow,
)
from ..train.paths import as_text, is_folder
from . import gfile


class FileStatistics(NamedTuple):
    """What `stat` returns: the size in bytes, the time of the last change in nanoseconds, whether it is a folder."""

    length: int
    mtime_nsec: int
    is_directory: bool


def join(path: Any, *paths: Any) -> Any:
    """Return the parts of a path joined by slashes; a part that begins with a slash replaces those before."""
    return posixpath.join(os.fspath(path), *map(os.fspath, paths))


def path_to_str(path: Any) -> Any:
    """Return a path object as text, and anything else unchanged."""
    return os.fspath(path) if hasattr(path, "__fspath__") else path


def makedirs(path: Any) -> None:
    """Create a folder and those above it; it may exist."""
    text = _local(path)
    with gfile.converted_errors(text):
        os.makedirs(text, exist_ok=True)


def mkdir(path: Any) -> None:
    """Create a folder, which may exist; `NotFoundError` if the one above does not."""
    text = _local(path)
    with gfile.converted_errors(text):
        if not os.path.isdir(text):
            os.mkdir(text)


def copy(src: Any, dst: Any, overwrite: bool = False) -> None:
    """Copy a file; `AlreadyExistsError` if the target exists and `overwrite` is not set."""
    source, target = as_text(src, or_path=True), _local(dst)
    _check_free(target, overwrite)
    with gfile.GFile(source, "rb") as reader, gfile.GFile(target, "wb") as writer:
        writer.write(reader.read())


def rename(src: Any, dst: Any, overwrite: bool = False) -> None:
    """Rename a file or a folder; `AlreadyExistsError` if the target exists and `overwrite` is not set."""
    source, target = _local(src), _local(dst)
    _check_free(target, overwrite)
    with gfile.converted_errors(source):
        os.replace(source, target)


def remove(path: Any) -> None:
    """Remove a file; `NotFoundError` if it does not exist."""
    text = _local(path)
    with gfile.converted_errors(text):
        os.remove(text)


def rmtree(path: Any) -> None:
    """Remove a folder and all that is in it; `NotFoundError` if it does not exist."""
    text = _local(path)
    if not os.path.isdir(text):
        raise NotFoundError(None, None, f"{text}; No such file or directory", path=text)
    with gfile.converted_errors(text):
        shutil.rmtree(text)


@as_tensorflow()
def stat(path: Any) -> FileStatistics:
    """Return the size of a file, the time of its last change, and whether it is a folder."""
    text = as_text(path, or_path=True)
    if "://" in text:
        with gfile.GFile(text, "rb") as file:
            return FileStatistics(len(file.read()), 0, is_folder(text))
    with gfile.converted_errors(text):
        found = os.stat(text)
    return FileStatistics(found.st_size, found.st_mtime_ns, os.path.isdir(text))


def walk(
    top: Any, topdown: bool = True, onerror: Callable[[Exception], Any] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (folder, names of folders, names of files) for a folder and all below; nothing if it does not exist."""
    text = as_text(top, or_path=True)
    try:
        names = gfile.listdir(text)
    except NotFoundError as error:
        if onerror is not None:
            onerror(error)
        return
    folders = [name for name in names if gfile.isdir(join(text, name))]
    here = (text, folders, [name for name in names if name not in folders])
    if topdown:
        yield here
    for name in folders:
        yield from walk(join(text, name), topdown, onerror)
    if not topdown:
        yield here


def read_file_to_string(filename: Any, binary_mode: bool = False) -> Any:
    """Return the contents of a file as text, or as bytes."""
    with gfile.GFile(filename, "rb" if binary_mode else "r") as file:
        return file.read()


def write_string_to_file(filename: Any, file_content: str | bytes) -> None:
    """Replace the contents of a file."""
    with gfile.GFile(filename, "w") as file:
        file.write(file_content)


def _check_free(target: str, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(target):
        raise AlreadyExistsError(None, None, f"file already exists: {target}", path=target)


def _local(path: Any) -> str:
    text = as_text(path, or_path=True)
    if "://" in text:
        raise UnimplementedError(None, None, f"{text}; remote files are read-only", path=text)
    if not text:
        raise NotFoundError(None, None, "; No such file or directory", path=text)
    return text
