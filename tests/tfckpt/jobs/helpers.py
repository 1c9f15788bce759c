"""Sources and outputs of jobs in tests."""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, ClassVar

import fsspec
import numpy as np
from fsspec.implementations.memory import MemoryFileSystem

import tfckpt
from tfckpt import jobs


class CountingFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Object storage in memory that counts requests, and fails, waits or changes versions on request.

    Its addresses may have user information and a query, as those of some real stores.
    """

    protocol = "counted"
    store: dict[str, Any] = {}  # noqa: RUF012  # as in the base class
    pseudo_dirs: list[str] = [""]  # noqa: RUF012
    #: Requests by kind, the bytes of all `get`, and most requests in flight.
    counts: ClassVar[Counter[str]] = Counter()
    in_flight = most_in_flight = 0
    #: Fail every request whose number is a multiple of this.
    fail_each = 0
    delay = 0.0
    _lock = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        location = path.removeprefix("counted://").partition("?")[0]
        stripped: str = MemoryFileSystem._strip_protocol(location.rpartition("@")[2])
        return stripped

    @contextlib.contextmanager
    def _request(self, kind: str) -> Iterator[None]:
        cls = CountingFileSystem
        with cls._lock:
            cls.counts[kind] += 1
            cls.counts["all"] += 1
            fails = cls.fail_each and cls.counts["all"] % cls.fail_each == 0
            cls.in_flight += 1
            cls.most_in_flight = max(cls.most_in_flight, cls.in_flight)
        try:
            time.sleep(cls.delay)
            if fails:
                raise OSError("503 Slow Down")
            yield
        finally:
            with cls._lock:
                cls.in_flight -= 1

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Count a GET and its bytes."""
        with self._request("get"):
            data: bytes = super().cat_file(path, start=start, end=end, **kwargs)
            self.counts["bytes"] += len(data)
            return data

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Count a HEAD."""
        with self._request("head"):
            described: dict[str, Any] = super().info(path, **kwargs)
            return described

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Count a LIST."""
        with self._request("list"):
            listed: list[Any] = super().ls(path, detail=detail, **kwargs)
            return listed

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Count a PUT."""
        with self._request("put"):
            super().pipe_file(path, value, mode=mode, **kwargs)


fsspec.register_implementation("counted", CountingFileSystem)


class CountingStore:
    """The store of a test: uploads, and the counts since `reset`."""

    def __init__(self) -> None:
        self.files = CountingFileSystem()

    def upload(self, prefix: str) -> str:
        """Copy a checkpoint into the store, and return its address."""
        folder = uuid.uuid4().hex
        with tfckpt.open(prefix) as checkpoint:
            for path in checkpoint.files:
                name = os.path.basename(path)
                MemoryFileSystem.pipe_file(self.files, f"/bucket/{folder}/{name}", pathlib.Path(path).read_bytes())
        return f"counted://bucket/{folder}/{os.path.basename(prefix)}"

    def get(self, path: str) -> bytes:
        """Return an object without counting."""
        data: bytes = MemoryFileSystem.cat_file(self.files, f"/{path}")
        return data

    def list(self, path: str) -> list[str]:
        """Return the names of objects below a folder."""
        return sorted(name.rpartition("/")[2] for name in self.files.store if name.startswith(f"/{path}"))

    def reset(self) -> None:
        """Begin to count anew."""
        cls = CountingFileSystem
        cls.counts = Counter()
        cls.in_flight = cls.most_in_flight = cls.fail_each = 0
        cls.delay = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(CountingFileSystem, name)


@contextlib.contextmanager
def counting_store() -> Iterator[CountingStore]:
    """Return an empty store that counts."""
    CountingFileSystem.store.clear()
    CountingFileSystem.pseudo_dirs[:] = [""]
    store = CountingStore()
    store.reset()
    try:
        yield store
    finally:
        store.reset()
        CountingFileSystem.store.clear()


class Here:
    """An executor that runs each function when it is submitted, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Run a function."""
        self.count += 1
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def write_source(folder: pathlib.Path, *, count: int = 12, elements: int = 500, shards: int = 2) -> str:
    """Write a checkpoint of `count` float32 tensors, and return its prefix."""
    values = np.random.default_rng(7).standard_normal((count, elements), np.float32)
    arrays = {f"layer{number}/kernel": values[number] for number in range(count)}
    return str(tfckpt.save(arrays, folder / "model.ckpt-1", shards=shards))


def run_job(source: str, output: pathlib.Path | str, **options: Any) -> jobs.Finished:
    """Plan a job, run it here, and finish it."""
    plan = jobs.plan_export(source, output, **options)
    report = jobs.run(plan, Here())
    assert report.ok
    return jobs.finish(plan)


def list_files(folder: pathlib.Path) -> dict[str, bytes]:
    """Return the content of each file below a folder by its name, without records."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "_tfckpt"
    }
