"""The contract of a storage: a place with folders and files whose bytes can be read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from .._typing import ByteSource

#: Between an archive's path and a path inside it.
SEPARATOR = "!"
#: Names of data shards of bundles: they are read at the places an index gives, from whatever is in them.
DATA_SHARD = re.compile(r"\.data-\d{5,}-of-\d{5,}\Z")


class Storage(Protocol):
    """Files by path; paths are strings of the storage's own form, and `tfckpt.open` takes them as they are."""

    #: Whether every read costs a request, so that it pays to fetch many ranges together.
    is_remote: bool = False

    def open(self, path: str) -> ByteSource:
        """The file's bytes; `CheckpointNotFoundError` if there is no such file.

        A remote storage may leave finding that out to the first read.
        """

    def is_file(self, path: str) -> bool:
        """Whether a file stands there."""

    def is_folder(self, path: str) -> bool:
        """Whether a folder stands there."""

    def list(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; empty if there is no such folder or it has no listing."""

    def join(self, folder: str, *names: str) -> str:
        """A path below a folder; an absolute name replaces what stands before it."""

    def split(self, path: str) -> tuple[str, str]:
        """The folder and the last name of a path."""

    def address(self, path: str) -> str:
        """What `tfckpt.open` takes for this path in any working directory and any process."""

    def prefetch(self, ranges: Mapping[str, Sequence[tuple[int, int]]], threads: int) -> AbstractContextManager[None]:
        """Fetch (offset, length) ranges, in bytes, of files by path, and hold them while the context lasts.

        A hint: reading gives the same without it. Faults are left to the reads.
        """
        return contextlib.nullcontext()

    def close(self) -> None:
        """Give back what the storage holds; views that were handed out stay valid. Closing twice is harmless."""
        return
