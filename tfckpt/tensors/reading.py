"""The interface of checkpoint readers, and reading many tensors with several threads."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from .._typing import Array, ByteView
from ..errors import CheckpointError, UnsupportedFeatureError
from .dtypes import DataType
from .info import TensorInfo
from .slices import TensorSlice

#: Payload bytes per task of a thread: large enough to make the overhead of a task negligible.
_TASK_BYTES = 4 << 20
#: Default number of connections to a remote storage.
CONNECTIONS = 8


class Payload(NamedTuple):
    """The location of a tensor or tensor slice: `nbytes` from `offset` (bytes) in a data shard, with their checksum.

    `shape` is the shape of the whole tensor, and `piece` the stored slice of it.
    """

    data_type: DataType
    shape: tuple[int, ...]
    piece: TensorSlice
    shard_id: int
    offset: int
    nbytes: int
    crc32c: int


class TensorReader(Protocol):
    """The reader of one checkpoint, whatever its format; thread-safe."""

    @property
    def format(self) -> str:
        """The name of the format, such as "V2"."""

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the checkpoint's files, the index first, including missing ones."""

    @property
    def num_shards(self) -> int:
        """The number of data shards in `payloads`; 1 if the format has no payloads."""

    @property
    def producer(self) -> int | None:
        """The version of the format that the writer declared; None for V1."""

    @property
    def big_endian(self) -> bool | None:
        """Whether numbers are stored in big-endian byte order; None if the format has only one byte order."""

    @property
    def has_checksums(self) -> bool:
        """Whether `read` verifies checksums."""

    @property
    def can_copy(self) -> bool:
        """Whether the bytes from `read_payload` can be written to a new V2 checkpoint unchanged."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all tensors, sorted by their bytes."""

    def iterate_names(self) -> Iterator[str]:
        """Yield the names like `names`, one at a time if there are very many."""

    def __contains__(self, name: str) -> bool:
        """Return whether there is a tensor of this name."""

    def info(self, name: str) -> TensorInfo:
        """Describe a tensor without reading it; `TensorNotFoundError` if there is none."""

    def infos(self) -> Iterator[TensorInfo]:
        """Describe all tensors, in the order of `names`."""

    def read(self, name: str, *, verify: bool = True, index: Any = None) -> Array:
        """Return the tensor, or the part that `index` selects (see `tensors.indexing`); read-only.

        With `verify`, every payload that contains a selected element is read completely to verify its checksum.
        Otherwise, only the contiguous bytes that contain the selected elements are read, if the format allows it.
        """

    def payloads(self, name: str) -> list[Payload]:
        """Return where a tensor is stored, one payload per slice; empty if the format has no payloads."""

    def read_payload(self, name: str, payload: Payload) -> ByteView:
        """Return the bytes of one of a tensor's payloads after verifying their checksum.

        The bytes are not decoded, so this also works for types that cannot be read, such as variants.
        """

    def shard_sizes(self) -> dict[str, int]:
        """Return the size that each data shard needs for its tensors, in bytes by path; empty without payloads."""

    def iterate_payload(self, name: str, payload: Payload) -> Iterator[ByteView]:
        """Yield the bytes of `read_payload` in order; those of a large remote payload in pieces of 8 MiB.

        The checksum is compared before the last piece is yielded, so that nobody gets all bytes of a damaged payload.
        """

    def iterate_values(self, name: str) -> Iterator[Array]:
        """Yield the elements of a tensor in C order as arrays of one dimension; a large remote one in pieces of 8 MiB.

        All is checked that `read` checks, before the last piece is yielded.
        Strings are one piece. A tensor in slices takes up to 32 MiB a piece.
        """

    def read_ahead(self, wanted: Iterable[str | Payload], connections: int) -> AbstractContextManager[None]:
        """While the context lasts, fetch tensors or payloads that will be read in this order, and join neighbours.

        At most 72 MiB are held in pieces of 8 MiB, whatever their size. Does nothing unless the storage is remote.
        Errors are left to the reads.
        """

    def missing_shards(self) -> dict[str, tuple[str, ...]]:
        """Return the missing files, each with the names of the tensors that need it."""

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """List names despite damage: return all names that can be found, in order, and the errors."""

    def close(self) -> None:
        """Close the files; arrays stay valid."""


class ReaderWithoutPayloads(TensorReader, Protocol):
    """What readers of formats have in common whose tensors have no checksums, and no bytes to copy as they are."""

    def payloads(self, name: str) -> list[Payload]:
        """Return an empty list; `TensorNotFoundError` if there is no such tensor."""
        self.info(name)
        return []

    def read_payload(self, name: str, payload: Payload) -> ByteView:
        """Raise `UnsupportedFeatureError`: there are no payloads."""
        raise UnsupportedFeatureError(f"a {self.format} checkpoint has no payloads", path=self.files[0], tensor=name)

    def shard_sizes(self) -> dict[str, int]:
        """Return an empty dict: a truncated file cannot be opened anyway."""
        return {}

    def iterate_payload(self, name: str, payload: Payload) -> Iterator[ByteView]:
        """Raise `UnsupportedFeatureError`: there are no payloads."""
        yield self.read_payload(name, payload)

    def iterate_values(self, name: str) -> Iterator[Array]:
        """Yield all elements at once."""
        yield self.read(name).reshape(-1)


def read_many(
    reader: TensorReader, names: Sequence[str], *, threads: int | None, verify: bool, is_remote: bool
) -> Iterator[tuple[str, Array]]:
    """Yield (name, array) for each name, in order; the names must be keys of the reader.

    The threads read only a few tasks ahead of the caller.
    An error while reading a tensor is raised when its turn comes.
    """
    if is_remote:
        return _read_remote(reader, names, threads or CONNECTIONS, verify)
    return _read(reader, names, threads or min(8, os.cpu_count() or 1), verify)


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
        tasks = _group(reader, names)
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


def _read_remote(
    reader: TensorReader, names: Sequence[str], connections: int, verify: bool
) -> Iterator[tuple[str, Array]]:
    """Read in one thread, which is faster than the network, what several connections fetch."""
    with reader.read_ahead(list_payloads(reader, names), connections):
        for name in names:
            yield name, reader.read(name, verify=verify)


def list_payloads(reader: TensorReader, names: Sequence[str]) -> Iterator[str | Payload]:
    """Yield the payloads of tensors in the order in which `read` needs them; the name of a tensor without payloads."""
    for name in names:
        payloads: list[Payload] = []
        with contextlib.suppress(CheckpointError):  # the read raises the same error
            payloads = reader.payloads(name)
        if payloads:
            yield from payloads
        else:
            yield name


def _group(reader: TensorReader, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield runs of names with payloads of at least `_TASK_BYTES` together, except for the last run."""
    group: list[str] = []
    total = 0
    for name in names:
        group.append(name)
        with contextlib.suppress(CheckpointError):  # the caller gets the same error when it reads the tensor
            total += reader.info(name).nbytes
        if total >= _TASK_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group
