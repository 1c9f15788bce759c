"""A file whose parts are produced and written by several threads, each at its own offset.

Copying arrays, computing checksums and writing all release the interpreter lock.
A transposed array is copied block by block into a small buffer, and written from there while it is still in the
processor's cache: memory stays at one block per thread, however large the arrays are.
A memory-mapped output was slower: every page of it is a fault.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from .._typing import Array, ByteView

#: Bytes copied before they are written; small enough to stay in a core's cache.
_BLOCK_BYTES = 1 << 20
#: Bytes of a task for a thread; large enough that handing it over costs little.
_TASK_BYTES = 4 << 20
#: Bytes between syncs. The disk writes while later parts are still being produced, so the last sync is short; it took a
#: third of the time of an export.
_SYNC_BYTES = 64 << 20
_MAX_THREADS = 4


class Part(NamedTuple):
    """A range of a file, `offset` bytes from its start: the elements of the arrays that `load` yields, in C order."""

    offset: int
    nbytes: int
    load: Callable[[], Iterable[Array]]


def write_parts(
    file: BinaryIO, parts: Sequence[Part], *, threads: int | None = None, progress: Callable[[int], None] | None = None
) -> None:
    """Write all parts, little-endian, and leave the file's position at the end of the last one.

    Parts must not overlap, and `load` may be called in any thread.
    Nothing else may write to the file; a file without a descriptor, such as one in memory, is written in order.
    `progress` is called in this thread with the size of each part in bytes, in the order of the parts.
    The first error of a part, in their order, is raised; the contents of the file are then undefined.
    `threads` is the number of processors if None, at most 4.
    """
    end = max((part.offset + part.nbytes for part in parts), default=file.tell())
    descriptor = _get_descriptor(file)
    if threads is None:
        threads = min(_MAX_THREADS, os.cpu_count() or 1)
    if descriptor is None or threads == 1 or sum(part.nbytes for part in parts) <= _TASK_BYTES:
        for part in parts:
            _move_to(file, part.offset)
            for view in _iterate_views(part):
                file.write(view)
            if progress is not None:
                progress(part.nbytes)
    else:
        file.flush()
        _reserve(descriptor, end)
        _write_parallel(descriptor, parts, threads, progress)
    _move_to(file, end)


def _write_parallel(
    descriptor: int, parts: Sequence[Part], threads: int, progress: Callable[[int], None] | None
) -> None:
    from concurrent.futures import Future, ThreadPoolExecutor

    def write(task: Sequence[Part]) -> None:
        for part in task:
            offset = part.offset
            for view in _iterate_views(part):
                _write_at(descriptor, view, offset)
                offset += len(view)

    pool, syncer = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)
    try:
        pending: deque[tuple[list[Part], Future[None]]] = deque()
        tasks = _group_parts(parts)
        sync: Future[None] | None = None
        unsynced = 0
        while True:
            while len(pending) <= threads and (task := next(tasks, None)) is not None:
                pending.append((task, pool.submit(write, task)))
            if not pending:
                break
            task, future = pending.popleft()
            future.result()
            for part in task:
                unsynced += part.nbytes
                if progress is not None:
                    progress(part.nbytes)
            if unsynced >= _SYNC_BYTES and (sync is None or sync.done()) and hasattr(os, "fdatasync"):
                if sync is not None:
                    sync.result()
                sync = syncer.submit(os.fdatasync, descriptor)
                unsynced = 0
        if sync is not None:
            sync.result()  # the system reports a disk error only once, to the first sync after it
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        syncer.shutdown(wait=True, cancel_futures=True)


def _iterate_views(part: Part) -> Iterator[ByteView]:
    """Yield views of a part's bytes in order; each must be used before the next is requested."""
    left = part.nbytes
    for values in part.load():
        left -= values.nbytes
        if left < 0:
            break
        yield from _iterate_blocks(values)
    if left:
        raise ValueError(f"arrays of {part.nbytes - left} bytes for a part of {part.nbytes} bytes")


def _iterate_blocks(values: Array) -> Iterator[ByteView]:
    """Yield views of an array's bytes in C order, little-endian."""
    little = values.dtype.newbyteorder("<")
    if not values.nbytes:
        return
    if values.flags.c_contiguous and values.dtype == little:
        # 0-d arrays have no byte view, so add an axis.
        yield values.reshape(-1).view(np.uint8).data
        return
    values = values.reshape(1) if values.ndim == 0 else values
    step = max(_BLOCK_BYTES * len(values) // values.nbytes, 1)
    buffer = np.empty((min(step, len(values)), *values.shape[1:]), little)
    for start in range(0, len(values), step):
        rows = values[start : start + step]
        block = buffer[: len(rows)]
        np.copyto(block, rows)
        yield block.reshape(-1).view(np.uint8).data


def _group_parts(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield the parts in runs of about `_TASK_BYTES` bytes, at least one part each."""
    group: list[Part] = []
    total = 0
    for part in parts:
        group.append(part)
        total += part.nbytes
        if total >= _TASK_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group


def _move_to(file: BinaryIO, offset: int) -> None:
    """Set the position of a file; uploads have none to set, and are there already."""
    if file.tell() != offset:
        file.seek(offset)


def _get_descriptor(file: BinaryIO) -> int | None:
    """Return the file's descriptor; None for a file in memory, or if the system has no `pwrite`."""
    if not hasattr(os, "pwrite"):
        return None
    try:
        return file.fileno()
    except (OSError, AttributeError):  # io.UnsupportedOperation
        return None


def _reserve(descriptor: int, size: int) -> None:
    """Allocate the whole file: writing is faster, and a full disk is noticed before any part is produced."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def _write_at(descriptor: int, data: ByteView, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count
