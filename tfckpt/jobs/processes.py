"""Processes of this machine as an executor: started when needed, replaced when one is killed, stopped in time.

They are started anew, and not forked: the parent may have threads.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any

#: Seconds that workers have to discard what they have begun, before they are killed.
_GRACE = 4.0


class LocalProcesses:
    """An executor of processes; leaving the context stops them. One worker is this process itself."""

    def __init__(self, workers: int | None = None) -> None:
        """Use as many workers as there are processors unless told otherwise."""
        self._workers = workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Begin to run a function in one of the processes."""
        if self._workers == 1:
            return _run_here(function, *arguments)
        try:
            return self._get_pool().submit(_run_in_worker, function, *arguments)
        except BrokenProcessPool:  # a worker was killed, and the pool with it
            self._stop()
            return self._get_pool().submit(_run_in_worker, function, *arguments)

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def _get_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            import multiprocessing

            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_prepare_worker)
        return self._pool

    def _stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values())
        is_idle = not pool._pending_work_items
        pool.shutdown(wait=is_idle, cancel_futures=True)
        if is_idle:
            return
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _GRACE
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()


class _Terminated(BaseException):
    """A worker was asked to stop."""


def _run_here(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def _prepare_worker() -> None:
    """Let the parent decide about Ctrl-C, and SIGTERM stop a task so that it discards what it has begun."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _run_in_worker(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except _Terminated:
        os._exit(128 + signal.SIGTERM)
