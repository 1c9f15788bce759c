"""Files by the functions of `tf.io.gfile` (TensorFlow `lib/io/file_io.py`)."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any

from ..train.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OpError,
    PermissionDeniedError,
    UnimplementedError,
    UnknownError,
    as_tensorflow,
)
from ..train.matching import exists as stands
from ..train.matching import matching
from ..train.paths import as_bytes, as_text, is_folder, place_of

_MODES = ("r", "w", "a", "r+", "w+", "a+")


@as_tensorflow()
def exists(path: Any) -> bool:
    """Whether a file or a folder stands at a path."""
    return stands(*place_of(as_text(path, or_path=True)))


@as_tensorflow()
def isdir(path: Any) -> bool:
    """Whether a folder stands at a path."""
    return is_folder(path)


@as_tensorflow()
def glob(pattern: Any) -> list[str]:
    """The paths that match a pattern, or each of a list of patterns, by the rules of `train.matching`."""
    patterns = [pattern] if isinstance(pattern, str) else [as_text(one, or_path=True) for one in pattern]
    return [path for one in patterns for path in matching(*place_of(one))]


@as_tensorflow()
def listdir(path: Any) -> list[str]:
    """Names of what a folder holds, sorted."""
    text = as_text(path, or_path=True)
    storage, folder = place_of(text)
    if not storage.is_folder(folder):
        raise NotFoundError(None, None, f"Could not find directory {text}", path=text)
    return storage.list(folder)


class GFile:
    """A file, opened when it is first read or written; one at an address is fetched whole and can only be read.

    Text is UTF-8, line ends are not translated, and lines come without carriage returns, as in TensorFlow.
    Numbers of bytes are meant also in text.
    """

    def __init__(self, name: Any, mode: str = "r") -> None:
        """`mode` is r, w, a, r+, w+ or a+, with a b for bytes instead of text."""
        if mode.replace("b", "") not in _MODES:
            raise InvalidArgumentError(None, None, f"mode is not {' or '.join(map(repr, _MODES))}")
        self._name = name
        self._mode = mode
        self._file: IO[bytes] | None = None

    @property
    def name(self) -> Any:
        """The path as it was given."""
        return self._name

    @property
    def mode(self) -> str:
        """The mode as it was given."""
        return self._mode

    def read(self, n: int = -1) -> Any:
        """At most `n` bytes, or the rest of the file."""
        return self._give(self._open_to("read").read(n))

    def readline(self) -> Any:
        """A line with its newline; empty at the end of the file."""
        return self._give(self._open_to("read").readline().replace(b"\r", b""))

    def readlines(self) -> list[Any]:
        """The lines that are left."""
        return list(self)

    def write(self, file_content: str | bytes) -> None:
        """Append text as UTF-8, or bytes."""
        self._open_to("write").write(as_bytes(file_content))

    def seek(self, offset: int, whence: int = 0) -> None:
        """Go to a position in bytes from the start, from here (1), or from the end (2)."""
        self._open_to("read").seek(offset, whence)

    def tell(self) -> int:
        """The position in bytes."""
        return 0 if self._file is None else self._file.tell()

    def seekable(self) -> bool:
        """True."""
        return True

    def size(self) -> int:
        """The length of the file in bytes."""
        self.flush()
        with self._faults():
            return os.stat(self._path()).st_size

    def flush(self) -> None:
        """Hand what was written to the system."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file; reading again begins at its start."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def next(self) -> Any:
        """The next line; `StopIteration` at the end."""
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
            self._file = self._fetch(mode)
        if self._file is None:
            with self._faults():
                self._file = open(self._path(), mode + "b")  # noqa: SIM115 closed by `close`
        return self._file

    @as_tensorflow()
    def _fetch(self, mode: str) -> IO[bytes]:
        if mode != "r":
            raise UnimplementedError(None, None, f"{self._path()}; files at an address can only be read")
        storage, path = place_of(self._path())
        source = storage.open(path)
        try:
            return io.BytesIO(source.read(0, source.size))
        finally:
            source.close()

    def _give(self, data: bytes) -> Any:
        return data if "b" in self._mode else data.decode("utf-8")

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn a fault of the system into the error that TensorFlow has for it."""
        try:
            yield
        except OSError as error:
            kind = _FAULTS.get(error.errno or 0, UnknownError)
            raise kind(None, None, f"{self._path()}; {error.strerror}", path=self._path()) from error


_FAULTS: dict[int, type[OpError]] = {
    errno.ENOENT: NotFoundError,
    errno.EISDIR: FailedPreconditionError,
    errno.ENOTDIR: FailedPreconditionError,
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
}
