"""What every reader of a checkpoint offers, and reading many tensors with several threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from .._typing import Array, ByteView
from ..errors import CheckpointError
from .dtypes import DataType
from .info import TensorInfo
from .slices import TensorSlice

#: Bytes of payload that make a task for a thread: enough that handing it over costs little.
_TASK = 4 << 20
#: Bytes of payload fetched together from a remote storage; as much is held at once.
_WINDOW = 64 << 20
#: Connections to a remote storage when the caller does not say.
_CONNECTIONS = 8


class Payload(NamedTuple):
    """Where bytes of one tensor are stored: `nbytes` of them from `offset` in a data shard, with their checksum.

    `shape` is that of the whole tensor, and `piece` the slice of it that the bytes hold.
    """

    data_type: DataType
    shape: tuple[int, ...]
    piece: TensorSlice
    shard_id: int
    offset: int
    nbytes: int
    crc32c: int


class TensorReader(Protocol):
    """The tensors of one checkpoint, whatever its format; safe to use from several threads."""

    @property
    def format(self) -> str:
        """The format's name, such as "V2"."""

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that hold the checkpoint, the index first, whether or not all of them are there."""

    @property
    def num_shards(self) -> int:
        """Number of data shards that `payloads` tells apart; 1 where it tells none."""

    @property
    def producer(self) -> int | None:
        """Version of the format that the writer declared; None for V1."""

    @property
    def big_endian(self) -> bool | None:
        """Whether the bytes of numbers are stored in this order; None where the format has only one."""

    @property
    def can_copy(self) -> bool:
        """Whether the bytes of `read_payload` can be written into a new V2 checkpoint as they are."""

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

    def payloads(self, name: str) -> list[Payload]:
        """Where a tensor is stored, one payload per slice; empty where the format does not say."""

    def read_payload(self, name: str, payload: Payload) -> ByteView:
        """Return the bytes of one of a tensor's payloads after comparing their checksum.

        Nothing is decoded, so this also gives what cannot be read, such as variants.
        """

    def shard_sizes(self) -> dict[str, int]:
        """Return how many bytes of each data shard its tensors reach over, by path; empty without `payloads`."""

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


def read_many(
    reader: TensorReader, names: Sequence[str], *, threads: int | None, verify: bool, is_remote: bool
) -> Iterator[tuple[str, Array]]:
    """(name, array) for each of the names, which are keys of the reader, in their order.

    At most some tasks' worth of tensors are read before the caller takes them.
    An error of a tensor is raised when its turn comes.
    """
    if threads is None:
        threads = _CONNECTIONS if is_remote else min(8, os.cpu_count() or 1)
    if is_remote:
        return _read_remote(reader, names, threads, verify)
    return _read(reader, names, threads, verify)


def _read(reader: TensorReader, names: Sequence[str], threads: int, verify: bool) -> Iterator[tuple[str, Array]]:
    if threads == 1 or len(names) < 2:
        for name in names:
            yield name, reader.read(name, verify=verify)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    def read(task: Sequence[str]) -> list[tuple[str, Array | BaseException]]:
        results: list[tuple[str, Array | BaseException]] = []
        for name in task:
            try:
                results.append((name, reader.read(name, verify=verify)))
            except Exception as error:
                results.append((name, error))
                break
        return results

    pool = ThreadPoolExecutor(threads)
    try:
        ahead: deque[Future[list[tuple[str, Array | BaseException]]]] = deque()
        tasks = _grouped(reader, names, _TASK)
        while True:
            while len(ahead) <= threads and (task := next(tasks, None)) is not None:
                ahead.append(pool.submit(read, task))
            if not ahead:
                return
            for name, result in ahead.popleft().result():
                if isinstance(result, BaseException):
                    raise result
                yield name, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_remote(reader: TensorReader, names: Sequence[str], threads: int, verify: bool) -> Iterator[tuple[str, Array]]:
    for window in _grouped(reader, names, _WINDOW):
        with reader.prefetch(window, threads):
            yield from _read(reader, window, min(threads, os.cpu_count() or 1), verify)


def _grouped(reader: TensorReader, names: Sequence[str], size: int) -> Iterator[list[str]]:
    """The names in runs whose payloads have about `size` bytes, one tensor at least."""
    group: list[str] = []
    total = 0
    for name in names:
        group.append(name)
        total += reader.info(name).nbytes
        if total >= size:
            yield group
            group, total = [], 0
    if group:
        yield group
