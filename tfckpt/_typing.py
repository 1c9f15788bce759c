"""Aliases and protocols that several layers share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

PathLike: TypeAlias = str | os.PathLike[str]
#: What checksums take.
Buffer: TypeAlias = bytes | bytearray | memoryview
#: Bytes without a copy: a read-only, one-dimensional, contiguous view of format "B".
ByteView: TypeAlias = memoryview
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
#: Called with the bytes done and the bytes in all, from time to time.
Progress: TypeAlias = Callable[[int, int], None]


class ByteSource(Protocol):
    """One file's bytes, wherever it lives; read-only and safe to use from several threads."""

    @property
    def name(self) -> str:
        """Path or address, as it appears in messages."""

    @property
    def size(self) -> int:
        """Length of the file when it was opened, in bytes."""

    def read(self, offset: int, length: int) -> ByteView:
        """Exactly `length` bytes from `offset`, a view where possible; `TruncatedError` if the file is shorter.

        The view stays valid after `close`.
        """

    def close(self) -> None:
        """Give back the file; views that were handed out stay valid."""
