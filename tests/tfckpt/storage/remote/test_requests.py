"""How many requests a store gets, and how many of them at the same time."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Iterator

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import tfckpt
from tests import builders
from tests.contracts.server import Handler, serving

SHARDS = 200
SIZE = 1 << 20


def many_shards() -> dict[str, bytes]:
    """Return a checkpoint whose tensors are in many shards."""
    bundle = builders.Bundle(header=builders.header_proto(SHARDS))
    for shard_id in range(SHARDS):
        entry = builders.entry_proto(
            builders.UINT8, [1], shard_id=shard_id, size=1, crc=builders.crc32c(bytes([shard_id]))
        )
        bundle.put_entry(f"t{shard_id:03d}", entry)
    files = {f"model.data-{number:05d}-of-{SHARDS:05d}": bytes([number]) for number in range(SHARDS)}
    return {"model.index": bundle.index(), **files}


def large_tensors() -> dict[str, bytes]:
    """Return a checkpoint of 24 tensors of a mebibyte."""
    bundle = builders.Bundle()
    for number in range(24):
        bundle.add(f"t{number:02d}", builders.UINT8, [SIZE], np.full(SIZE, number, np.uint8).tobytes())
    return {"model.index": bundle.index(), "model.data-00000-of-00001": bytes(bundle.shards[0])}


class CountingFileSystem(MemoryFileSystem):
    """A file system in memory that counts calls."""

    protocol = "counting"
    cachable = False
    calls: dict[str, int] = {}  # noqa: RUF012  # shared on purpose: tfckpt makes its own instance

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("counting://", "memory://"))

    def _count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1

    def info(self, path: str, **options: object) -> object:
        """Count, and return the facts of a file."""
        self._count("info")
        return super().info(path, **options)

    def ls(self, path: str, detail: bool = True, **options: object) -> object:
        """Count, and list a folder."""
        self._count("ls")
        return super().ls(path, detail, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> bytes:
        """Count, and return a range of a file."""
        self._count("cat_file")
        with self.open(path, "rb") as file:
            file.seek(start or 0)
            data: bytes = file.read(None if end is None else end - (start or 0))
            return data


@pytest.fixture
def counting() -> Iterator[CountingFileSystem]:
    """A registered file system that is empty."""
    fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
    CountingFileSystem.calls.clear()
    system = CountingFileSystem()
    yield system
    system.rm("/counted", recursive=True)


def store(system: CountingFileSystem, files: dict[str, bytes]) -> None:
    """Write files without counting."""
    for name, data in files.items():
        system.pipe_file(f"/counted/{name}", data)
    system.calls.clear()


def test_shards_are_found_by_one_listing(counting: CountingFileSystem) -> None:
    """The number of requests does not grow with the number of shards."""
    files = many_shards()
    del files[f"model.data-00007-of-{SHARDS:05d}"]
    store(counting, files)

    with tfckpt.open("counting://counted/model") as checkpoint:
        before = dict(counting.calls)
        missing = checkpoint.missing_files()

    assert list(missing.values()) == [("t007",)]
    assert counting.calls.get("info", 0) - before.get("info", 0) <= 1
    assert 1 <= counting.calls["ls"] - before.get("ls", 0) <= 2


def test_range_of_a_file_system_is_compared_once(counting: CountingFileSystem) -> None:
    """Two requests a range: the bytes, and the facts afterwards."""
    store(counting, large_tensors())

    with tfckpt.open("counting://counted/model") as checkpoint:
        checkpoint.read("t00")
        before = dict(counting.calls)
        for number in range(1, 6):
            assert checkpoint.read(f"t{number:02d}")[0] == number

    assert counting.calls["cat_file"] - before["cat_file"] == 5
    assert counting.calls["info"] - before["info"] == 5


class Flight:
    """A fault that delays every response, and records the most requests at the same time."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __call__(self, handler: Handler, number: int) -> bool:
        """Wait, and let the handler respond."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._delay)
        with self._lock:
            self._now -= 1
        return False


def test_shards_of_a_server_are_looked_for_in_parallel() -> None:
    """HTTP has no listing, so there is one request a shard, eight at a time."""
    with serving(many_shards()) as server, tfckpt.open(f"{server.url}model") as checkpoint:
        flight = server.fault = Flight(0.01)
        assert checkpoint.missing_files() == {}
        assert flight.most == 8


@pytest.mark.parametrize("use", ["verify", "export"])
def test_whole_checkpoint_is_read_with_many_requests_in_flight(tmp_path: pathlib.Path, use: str) -> None:
    """Each byte is fetched once, by several connections."""
    files = many_shards()
    with serving(files) as server, tfckpt.open(f"{server.url}model") as checkpoint:
        flight = server.fault = Flight(0.01)
        if use == "verify":
            assert tfckpt.verify(checkpoint).ok
        else:
            tfckpt.export(checkpoint, tmp_path / "out.npz")
        assert flight.most >= 8
        assert len(server.requests) <= 2 * SHARDS + 3
