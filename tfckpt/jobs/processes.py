"""Processes of this machine as an executor: started when needed, replaced when one is killed, stopped in time.

Each process has one task at a time and a pipe of its own, so a process that is killed loses its own task and no other.
They are started anew, and not forked: the parent may have threads.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, NamedTuple

from .memory import give_back_buffers

#: Seconds that workers have to discard what they have begun, before they are killed.
_GRACE = 4.0


class LocalProcesses:
    """An executor of processes; leaving the context stops them. One worker is this process itself."""

    def __init__(self, workers: int | None = None) -> None:
        """Use as many workers as there are processors unless told otherwise."""
        self._count = workers or os.cpu_count() or 1
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Begin to run a function in one of the processes.

        The future raises `BrokenExecutor` if that process is killed.
        """
        future: Future[Any] = Future()
        if self._count == 1:
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)
            return future
        self._calls.put(_Call(future, function, arguments))
        if len(self._threads) < self._count:
            thread = threading.Thread(target=self._serve, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        self._is_stopped = True
        for _ in self._threads:
            self._calls.put(None)
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.begin_stop()
        deadline = time.monotonic() + _GRACE
        for worker in workers:
            worker.finish_stop(deadline)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        """Hand calls to one process after another, until there are no more."""
        worker: _Worker | None = None
        while (call := self._calls.get()) is not None:
            if self._is_stopped or not call.future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None:
                    worker = self._start()
                result = worker.run(call.function, call.arguments)
            except EOFError:
                assert worker is not None, "only a worker closes its end"
                with self._lock:
                    self._workers.discard(worker)
                call.future.set_exception(BrokenExecutor(worker.describe_end()))
                worker = None
            except Exception as error:
                call.future.set_exception(error)
            else:
                call.future.set_result(result)

    def _start(self) -> _Worker:
        with self._lock:
            if self._is_stopped:
                raise BrokenExecutor("the executor is stopped")
            worker = _Worker()
            self._workers.add(worker)
            return worker


class _Call(NamedTuple):
    """A function to run, and the future of its result."""

    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Worker:
    """A process, and our end of its pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        # A daemon, so that an interpreter that exits in another way does not wait for it.
        self._process: SpawnProcess = context.Process(target=_work, args=(other,), daemon=True)
        self._process.start()
        other.close()
        self._is_busy = False

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return the result of a function, or raise its exception; `EOFError` if the process ends before."""
        self._is_busy = True
        try:
            self._pipe.send((function, arguments))
            result, error, trace = self._pipe.recv()
        except OSError as lost:
            raise EOFError from lost
        finally:
            self._is_busy = False
        if error is not None:
            raise error from _WorkerError(trace)
        return result

    def describe_end(self) -> str:
        """Return how the process ended."""
        self._process.join(_GRACE)
        code = self._process.exitcode
        return f"a worker was killed by signal {-code}" if code and code < 0 else f"a worker ended with code {code}"

    def begin_stop(self) -> None:
        """Let the process end: at once if it has nothing to do, or when it has discarded what it has begun."""
        if self._is_busy:
            self._process.terminate()
        else:
            self._pipe.close()

    def finish_stop(self, deadline: float) -> None:
        """Wait until the process ends, and kill it at the deadline of `time.monotonic`."""
        self._process.join(max(0.0, deadline - time.monotonic()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _WorkerError(Exception):
    """An exception in a worker, as the text of its traceback."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Terminated(BaseException):
    """A worker was asked to stop."""


def _work(pipe: Connection) -> None:
    """Run what comes through a pipe until it is closed.

    The parent decides about Ctrl-C, and SIGTERM stops a task so that it discards what it has begun.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    give_back_buffers()
    try:
        while True:
            answer = _answer(pipe)
            try:
                pipe.send(answer)
            except OSError:
                raise
            except Exception as error:  # it cannot be pickled
                pipe.send((None, error, traceback.format_exc()))
    except _Terminated:
        os._exit(128 + signal.SIGTERM)
    except (EOFError, OSError):  # the parent wants nothing more, or is gone
        return


def _answer(pipe: Connection) -> tuple[Any, Exception | None, str]:
    """Run the next function; return its result, or its exception with the traceback."""
    try:
        function, arguments = pipe.recv()
    except (EOFError, OSError):
        raise
    except Exception as error:  # it cannot be imported here, for example
        return None, error, traceback.format_exc()
    try:
        return function(*arguments), None, ""
    except Exception as error:
        return None, error, traceback.format_exc()


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
