"""An open file whose parts are made and written by several threads, each at its own place.

Making an array contiguous, comparing a checksum and writing all go on without the interpreter's lock.
A transposed array is copied block by block into one small buffer, from which it is written while the processor's cache
still holds it: memory stays at a block for each thread, however large the arrays are.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from .._typing import Array, ByteView

#: Bytes that are copied before they are written: they stay in a core's cache meanwhile.
_BLOCK = 1 << 20
#: Bytes that make a task for a thread: enough that handing it over costs little.
_TASK = 4 << 20
#: So many bytes are brought to the disk while others are still being made: the last sync then has little to wait for.
_SYNC = 64 << 20
_MOST_THREADS = 4


class Part(NamedTuple):
    """Bytes of a file, `offset` from its beginning: the elements of the array that `load` gives, in C order."""

    offset: int
    nbytes: int
    load: Callable[[], Array]


def fill(
    file: BinaryIO, parts: Sequence[Part], *, threads: int | None = None, progress: Callable[[int], None] | None = None
) -> None:
    """Write all parts, little-endian, and leave the file's position at the end of the last one.

    Parts do not overlap, and `load` may be called in any thread.
    The file is one that nothing else is writing; without a descriptor, as in memory, it is written in order.
    `progress` is called in this thread with the bytes of each part, in the order of the parts.
    An error of a part is raised in its turn; what stands in the file then is undefined.
    `threads` is the number of processors if None, at most 4.
    """
    end = max((part.offset + part.nbytes for part in parts), default=file.tell())
    descriptor = _descriptor(file)
    if threads is None:
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
    if descriptor is None or threads == 1 or sum(part.nbytes for part in parts) <= _TASK:
        for part in parts:
            file.seek(part.offset)
            for piece in _pieces(part):
                file.write(piece)
            if progress is not None:
                progress(part.nbytes)
    else:
        file.flush()
        _reserve(descriptor, end)
        _fill(descriptor, parts, threads, progress)
    file.seek(end)


def _fill(descriptor: int, parts: Sequence[Part], threads: int, progress: Callable[[int], None] | None) -> None:
    from concurrent.futures import Future, ThreadPoolExecutor

    def write(task: Sequence[Part]) -> None:
        for part in task:
            at = part.offset
            for piece in _pieces(part):
                _write_at(descriptor, piece, at)
                at += len(piece)

    pool, syncer = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)
    try:
        ahead: deque[tuple[list[Part], Future[None]]] = deque()
        tasks = _grouped(parts)
        sync: Future[None] | None = None
        unsynced = 0
        while True:
            while len(ahead) <= threads and (task := next(tasks, None)) is not None:
                ahead.append((task, pool.submit(write, task)))
            if not ahead:
                break
            task, future = ahead.popleft()
            future.result()
            for part in task:
                unsynced += part.nbytes
                if progress is not None:
                    progress(part.nbytes)
            if unsynced >= _SYNC and (sync is None or sync.done()) and hasattr(os, "fdatasync"):
                if sync is not None:
                    sync.result()
                sync = syncer.submit(os.fdatasync, descriptor)
                unsynced = 0
        if sync is not None:
            sync.result()  # a fault of the disk is told once, to whoever syncs first
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        syncer.shutdown(wait=True, cancel_futures=True)


def _pieces(part: Part) -> Iterator[ByteView]:
    """The bytes of a part in order; each piece is used before the next is asked for."""
    values = np.asanyarray(part.load())
    if values.nbytes != part.nbytes:
        raise ValueError(f"an array of {values.nbytes} bytes was made for a place of {part.nbytes}")
    little = values.dtype.newbyteorder("<")
    if not values.nbytes:
        return
    if values.flags.c_contiguous and values.dtype == little:
        # 0-d arrays have no byte view; one axis more changes no byte.
        yield values.reshape(-1).view(np.uint8).data
        return
    values = values.reshape(1) if values.ndim == 0 else values
    step = max(_BLOCK * len(values) // values.nbytes, 1)
    buffer = np.empty((min(step, len(values)), *values.shape[1:]), little)
    for start in range(0, len(values), step):
        rows = values[start : start + step]
        block = buffer[: len(rows)]
        np.copyto(block, rows)
        yield block.reshape(-1).view(np.uint8).data


def _grouped(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The parts in runs of about `_TASK` bytes, one part at least."""
    group: list[Part] = []
    total = 0
    for part in parts:
        group.append(part)
        total += part.nbytes
        if total >= _TASK:
            yield group
            group, total = [], 0
    if group:
        yield group


def _descriptor(file: BinaryIO) -> int | None:
    """The file's descriptor; None for one in memory, and where the system cannot write at a place."""
    if not hasattr(os, "pwrite"):
        return None
    try:
        return file.fileno()
    except OSError:  # io.UnsupportedOperation
        return None


def _reserve(descriptor: int, size: int) -> None:
    """Claim the space of the whole file: writing is quicker, and a full disk shows before anything is made."""
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
