"""Aliases and protocols that several layers share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

PathLike: TypeAlias = str | os.PathLike[str]
#: Bytes that can be checksummed without a copy.
Buffer: TypeAlias = bytes | bytearray | memoryview
#: A read-only, one-dimensional, contiguous view of format "B".
ByteView: TypeAlias = memoryview
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
#: Called with the bytes done and the bytes in all, from time to time.
Progress: TypeAlias = Callable[[int, int], None]


class ByteSource(Protocol):
    """The bytes of one file, wherever it is stored; read-only and thread-safe."""

    @property
    def name(self) -> str:
        """Path or URL, as shown in messages."""

    @property
    def size(self) -> int:
        """Size of the file in bytes when it was opened."""

    def read(self, offset: int, length: int) -> ByteView:
        """Return exactly `length` bytes from `offset`, as a view if possible; `TruncatedError` past the end.

        The view stays valid after `close`.
        """

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return these bytes from where they are stored, even if somebody wrote to a view of them."""

    def close(self) -> None:
        """Close the file; views that were returned stay valid."""
