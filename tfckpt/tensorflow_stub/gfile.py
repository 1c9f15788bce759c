"""The functions of `tf.io.gfile` (TensorFlow `lib/io/file_io.py`)."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any

from ..train.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OpError,
    PermissionDeniedError,
    UnimplementedError,
    UnknownError,
    as_tensorflow,
)
from ..train.matching import exists as path_exists
from ..train.matching import find_matches
from ..train.paths import as_bytes, as_text, is_folder, resolve_path

_MODES = ("r", "w", "a", "r+", "w+", "a+")


@as_tensorflow()
def exists(path: Any) -> bool:
    """Return whether a file or a folder exists at a path."""
    return path_exists(*resolve_path(as_text(path, or_path=True)))


@as_tensorflow()
def isdir(path: Any) -> bool:
    """Return whether a folder exists at a path."""
    return is_folder(path)


@as_tensorflow()
def glob(pattern: Any) -> list[str]:
    """Return the paths that match a pattern, or any of a list of patterns, by the rules of `train.matching`."""
    patterns = [pattern] if isinstance(pattern, str) else [as_text(item, or_path=True) for item in pattern]
    return [path for item in patterns for path in find_matches(*resolve_path(item))]


@as_tensorflow()
def listdir(path: Any) -> list[str]:
    """Return the names in a folder, sorted."""
    text = as_text(path, or_path=True)
    storage, folder = resolve_path(text)
    if not storage.is_folder(folder):
        raise NotFoundError(None, None, f"Could not find directory {text}", path=text)
    return storage.list(folder)


class GFile:
    """A file that is opened on the first read or write; a remote file is downloaded as a whole and is read-only.

    As in TensorFlow, text is UTF-8, line ends are not translated, and carriage returns are removed from lines.
    Sizes and positions are in bytes, also for text.
    """

    def __init__(self, name: Any, mode: str = "r") -> None:
        """Create a file object; `mode` is r, w, a, r+, w+ or a+, with a b for bytes instead of text."""
        if mode.replace("b", "") not in _MODES:
            raise InvalidArgumentError(None, None, f"mode is not {' or '.join(map(repr, _MODES))}")
        self._name = name
        self._mode = mode
        self._file: IO[bytes] | None = None

    @property
    def name(self) -> Any:
        """The path, as passed to the constructor."""
        return self._name

    @property
    def mode(self) -> str:
        """The mode, as passed to the constructor."""
        return self._mode

    def read(self, n: int = -1) -> Any:
        """Read at most `n` bytes, or the rest of the file."""
        return self._decode(self._open_to("read").read(n))

    def readline(self) -> Any:
        """Read a line with its newline; empty at the end of the file."""
        return self._decode(self._open_to("read").readline().replace(b"\r", b""))

    def readlines(self) -> list[Any]:
        """Read the remaining lines."""
        return list(self)

    def write(self, file_content: str | bytes) -> None:
        """Append text as UTF-8, or bytes."""
        self._open_to("write").write(as_bytes(file_content))

    def seek(self, offset: int, whence: int = 0) -> None:
        """Move to an offset in bytes from the start, the current position (1) or the end (2)."""
        self._open_to("read").seek(offset, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return 0 if self._file is None else self._file.tell()

    def seekable(self) -> bool:
        """Return True, as TensorFlow does."""
        return True

    def size(self) -> int:
        """Return the size of the file in bytes."""
        self.flush()
        with converted_errors(self._path()):
            return os.stat(self._path()).st_size

    def flush(self) -> None:
        """Write buffered data to the file."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file; the next read opens it again at its start."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def next(self) -> Any:
        """Return the next line; `StopIteration` at the end."""
        return self.__next__()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __enter__(self) -> GFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _path(self) -> str:
        return as_text(self._name, or_path=True)

    def _open_to(self, purpose: str) -> IO[bytes]:
        mode = self._mode.replace("b", "")
        if purpose == "read" and mode in ("w", "a"):
            raise PermissionDeniedError(None, None, "File isn't open for reading")
        if purpose == "write" and mode == "r":
            raise PermissionDeniedError(None, None, "File isn't open for writing")
        if self._file is None and "://" in self._path():
            self._file = self._download(mode)
        if self._file is None:
            with converted_errors(self._path()):
                self._file = open(self._path(), mode + "b")  # noqa: SIM115 closed by `close`
        return self._file

    @as_tensorflow()
    def _download(self, mode: str) -> IO[bytes]:
        if mode != "r":
            raise UnimplementedError(None, None, f"{self._path()}; remote files are read-only")
        storage, path = resolve_path(self._path())
        source = storage.open(path)
        try:
            return io.BytesIO(source.read(0, source.size))
        finally:
            source.close()

    def _decode(self, data: bytes) -> Any:
        return data if "b" in self._mode else data.decode("utf-8")


@contextlib.contextmanager
def converted_errors(path: str) -> Iterator[None]:
    """Convert an `OSError` to the error that TensorFlow raises."""
    try:
        yield
    except OSError as error:
        kind = _CLASS_BY_ERRNO.get(error.errno or 0, UnknownError)
        raise kind(None, None, f"{path}; {error.strerror}", path=path) from error


_CLASS_BY_ERRNO: dict[int, type[OpError]] = {
    errno.EEXIST: AlreadyExistsError,
    errno.ENOTEMPTY: FailedPreconditionError,
    errno.ENOENT: NotFoundError,
    errno.EISDIR: FailedPreconditionError,
    errno.ENOTDIR: FailedPreconditionError,
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
}
