"""The sink contract: files that can be written, described and removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A file that exists: its path, its size in bytes, and a string that changes with its content, or None."""

    path: str
    size: int
    version: str | None


class Pending(Protocol):
    """A file being written; nobody sees it before `commit`."""

    path: str
    #: Written from the beginning to the end; a local file also has a descriptor, and can be written at any position.
    file: BinaryIO

    def __enter__(self) -> Pending:
        """Return the file."""

    def __exit__(self, *error: Any) -> None:
        """Discard the file unless it was committed."""

    def sync(self) -> None:
        """Finish writing; the file can still be discarded."""

    def commit(self) -> None:
        """Give the file its name, replacing any file there."""

    def discard(self) -> None:
        """Remove the file unless it was committed; harmless after `commit`."""


class Sink(Protocol):
    """Files by path; paths are strings in the sink's own form."""

    is_remote: bool

    def create(self, path: str, *, size: int = 0) -> Pending:
        """Begin a file of about `size` bytes, if that is known; raise `WriteError` if that is impossible."""

    def put(self, path: str, data: bytes) -> None:
        """Write a small file, whole or not at all, replacing any file there."""

    def check_free(self, path: str, *, overwrite: bool) -> None:
        """Raise `WriteError` unless a file can be written to this path, which may exist only if `overwrite`."""

    def make_folder(self, folder: str) -> None:
        """Create a folder where folders exist; nothing happens in object storage."""

    def remove_folder(self, folder: str) -> None:
        """Remove an empty folder where folders exist; harmless if it does not exist or is not empty."""

    def stat(self, path: str) -> Stored | None:
        """Describe a file; None if it does not exist."""

    def read(self, path: str, most: int) -> bytes | None:
        """Return the content of a small file; None if it does not exist; `LimitExceededError` over `most` bytes."""

    def iterate_bytes(self, path: str, piece_bytes: int) -> Iterator[bytes]:
        """Yield the content of a file in pieces; `WriteError` if it cannot be read."""

    def iterate_files(self, folder: str) -> Iterator[Stored]:
        """Yield the files in a folder and below it, in no particular order; none if the folder does not exist."""

    def remove(self, path: str) -> None:
        """Remove a file; harmless if it does not exist."""

    def join(self, folder: str, name: str) -> str:
        """Return the path of a name in a folder."""

    def split(self, path: str) -> tuple[str, str]:
        """Split a path into its folder and its last name."""
