"""Dask as an executor: the only module that imports it."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..errors import MissingDependencyError, StorageError
from .running import WorkerLostError

#: Seconds to wait for a scheduler.
_PATIENCE = 30


class DaskExecutor:
    """Runs functions on the workers of a client; keys have readable prefixes, and nothing large is in the graph."""

    def __init__(self, client: Any, *, prefix: str = "tfckpt-task") -> None:
        """Use a `distributed.Client`, which stays open."""
        self._client = client
        self._prefix = prefix
        self._run = uuid.uuid4().hex[:8]
        self._count = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Begin to run a function on a worker."""
        self._count += 1
        key = f"{self._prefix}-{self._run}-{self._count:06d}"
        # Each task is pure data in, plain data out; resubmitting is left to the job, which counts.
        remote = self._client.submit(function, *arguments, key=key, pure=False, retries=0)
        future: Future[Any] = Future()
        future.add_done_callback(functools.partial(_cancel, remote))
        remote.add_done_callback(functools.partial(_copy_result, future))
        return future


def connect(address: str) -> Any:
    """Return a client of the scheduler at `tcp://host:port`; `StorageError` if it does not answer."""
    try:
        import distributed
    except ImportError:
        raise MissingDependencyError("distributed", extra="dask", purpose="running tasks on Dask") from None
    try:
        make_client: Any = distributed.Client  # untyped
        return make_client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise StorageError(f"no Dask scheduler answers: {error}", path=address) from error


def _cancel(remote: Any, future: Future[Any]) -> None:
    if future.cancelled():
        remote.cancel()


def _copy_result(future: Future[Any], remote: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    import distributed

    try:
        future.set_result(remote.result())
    except (distributed.KilledWorker, distributed.client.FutureCancelledError) as error:
        future.set_exception(WorkerLostError(str(error)))
    except Exception as error:
        future.set_exception(error)
