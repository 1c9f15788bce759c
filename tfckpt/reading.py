"""Many tensors at once: verified and read by several threads, and given in the order they were asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence

from ._typing import Array, TensorReader

#: Bytes of payload that make a task for a thread: enough that handing it over costs little.
_TASK = 4 << 20
#: Bytes of payload fetched together from a remote storage; as much is held at once.
_WINDOW = 64 << 20
#: Connections to a remote storage when the caller does not say.
_CONNECTIONS = 8


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
