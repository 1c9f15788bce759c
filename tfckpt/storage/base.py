"""The storage contract: folders and files whose bytes can be read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from .._typing import ByteSource

#: Separates an archive's path from a path inside it.
SEPARATOR = "!"
#: Names of a bundle's data shards. Their first bytes may be anything, so their content never decides their format.
DATA_SHARD = re.compile(r"\.data-\d{5,}-of-\d{5,}\Z")

#: Remote files are fetched, and large tensors are handed on, in pieces of this many bytes unless the storage says
#: otherwise. A multiple of every element.
PIECE_BYTES = 8 << 20


class Range(NamedTuple):
    """A range of a file, in bytes."""

    path: str
    offset: int
    length: int


def batch_ranges(ranges: Iterable[Range], piece_bytes: int = PIECE_BYTES) -> Iterator[list[Range]]:
    """Yield ranges in batches of about a piece for `Storage.read_ahead`; larger ranges are divided."""
    batch: list[Range] = []
    nbytes = 0
    for path, offset, length in ranges:
        for start in range(offset, offset + length, piece_bytes):
            batch.append(Range(path, start, min(piece_bytes, offset + length - start)))
            nbytes += batch[-1].length
            if nbytes >= piece_bytes:
                yield batch
                batch, nbytes = [], 0
    yield batch


class Storage(Protocol):
    """Files by path.

    Paths are strings in the storage's own form, and `tfckpt.open` accepts them unchanged.
    """

    #: True if every read costs a request, so that it pays to fetch many ranges together.
    is_remote: bool = False
    #: Most bytes of a request to a remote storage; to be changed before anything is read.
    piece_bytes: int = PIECE_BYTES

    def open(self, path: str) -> ByteSource:
        """Open a file for reading; raise `CheckpointNotFoundError` if it does not exist.

        A remote storage may leave that error to the first read.
        """

    def is_file(self, path: str) -> bool:
        """Return whether the path is a file."""

    def find_files(self, paths: Sequence[str]) -> set[str]:
        """Return those of the paths that are files; a remote storage needs few or parallel requests for many."""
        return {path for path in paths if self.is_file(path)}

    def is_folder(self, path: str) -> bool:
        """Return whether the path is a folder."""

    def list(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; empty if the folder does not exist or cannot be listed."""

    def join(self, folder: str, *names: str) -> str:
        """Return a path below a folder; an absolute name replaces the path before it, as in `os.path.join`."""

    def split(self, path: str) -> tuple[str, str]:
        """Split a path into its folder and its last name."""

    def address(self, path: str) -> str:
        """Return what `tfckpt.open` accepts for this path in any working directory and any process."""

    def read_ahead(self, batches: Iterable[Sequence[Range]], connections: int) -> AbstractContextManager[None]:
        """While the context lasts, fetch ranges that will be read in the order of their batches.

        Within a batch they can be read in any order. `connections` is the most requests in flight.
        Memory is bounded, whatever the ranges; batches are taken one by one, when there is room for more.
        This is a hint: reads return the same bytes without it, and errors are left to the reads.
        """
        return contextlib.nullcontext()

    def confirm(self, path: str) -> None:
        """Raise `StorageError` if a file has changed since its facts were first known; free unless remote."""
        return

    def same_version(self, path: str) -> AbstractContextManager[None]:
        """Raise `StorageError` on leaving the context if a file was changed by then.

        For bytes whose checksum is not compared, in storages whose reads cannot tell; free unless remote.
        """
        return contextlib.nullcontext()

    def close(self) -> None:
        """Release the storage's resources; views already returned stay valid. Closing twice is harmless."""
        return
