"""The contract of a storage: a place with folders and files whose bytes can be read."""

from __future__ import annotations

from typing import Protocol

from .._typing import ByteSource


class Storage(Protocol):
    """Files by path; paths are strings of the storage's own form."""

    def open(self, path: str) -> ByteSource:
        """The file's bytes; `CheckpointNotFoundError` if there is no such file."""

    def is_file(self, path: str) -> bool:
        """Whether a file stands there."""

    def is_folder(self, path: str) -> bool:
        """Whether a folder stands there."""

    def list(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; empty if there is no such folder."""

    def join(self, folder: str, *names: str) -> str:
        """A path below a folder; an absolute name replaces what stands before it."""

    def split(self, path: str) -> tuple[str, str]:
        """The folder and the last name of a path."""
