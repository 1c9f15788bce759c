"""Aliases and protocols that several layers share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from .errors import CheckpointError
    from .tensors.info import TensorInfo

PathLike: TypeAlias = str | os.PathLike[str]
#: What checksums take.
Buffer: TypeAlias = bytes | bytearray | memoryview
#: Bytes without a copy: a read-only, one-dimensional, contiguous view of format "B".
ByteView: TypeAlias = memoryview
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


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


class TensorReader(Protocol):
    """The tensors of one checkpoint, whatever its format; safe to use from several threads."""

    @property
    def format(self) -> str:
        """The format's name, such as "V2"."""

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that hold the checkpoint, the index first, whether or not all of them are there."""

    def names(self) -> tuple[str, ...]:
        """Every tensor's name in the order of its bytes."""

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of this name."""

    def info(self, name: str) -> TensorInfo:
        """What is known of a tensor without reading it; `TensorNotFoundError` if there is none."""

    def infos(self) -> Iterator[TensorInfo]:
        """What is known of every tensor, in the order of `names`."""

    def read(self, name: str, *, verify: bool = True, index: Any = None) -> Array:
        """The tensor, or the part of it that `index` selects (see `tensors.indexing`); read-only.

        If `verify`, the checksum of every payload that holds a selected element is compared, so that it is read whole;
        else only the contiguous bytes that hold the selected elements are read, where the format allows.
        """

    def prefetch(self, names: Iterable[str], threads: int) -> AbstractContextManager[None]:
        """Fetch what reading these tensors takes in few requests at once, and hold it while the context lasts.

        Called only where the storage is remote; does nothing where the format has nothing to gain.
        Names that are not there and faults are left to `read`, which says which tensor they concern.
        """

    def missing_shards(self) -> dict[str, tuple[str, ...]]:
        """The files that are not there, each with the names of the tensors it costs."""

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """The names that can still be found past damage, in order, and what is damaged in listing them."""

    def close(self) -> None:
        """Close the files; arrays that were read stay valid."""
