"""How many requests a store gets, and how many of them at the same time."""

from __future__ import annotations

import io
import pathlib
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Iterator

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import tfckpt
from tests import builders
from tests.conftest import slow
from tests.contracts.server import Handler, serving
from tfckpt.errors import FileChangedError

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
    """A file system in memory that counts calls, the bytes of ranges, and the most ranges at the same time."""

    protocol = "counting"
    cachable = False
    calls: dict[str, int] = {}  # noqa: RUF012  # shared on purpose: tfckpt makes its own instance
    sent = 0
    flying = 0
    most = 0
    delay = 0.0
    lock = threading.Lock()
    #: Sizes of files that consist of zeros, by path, so that large ones take no memory.
    zeros: dict[str, int] = {}  # noqa: RUF012  # shared too

    @classmethod
    def reset(cls) -> None:
        """Forget what was counted."""
        cls.calls.clear()
        cls.sent = cls.most = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("counting://", "memory://"))

    def _count(self, name: str) -> None:
        with self.lock:
            self.calls[name] = self.calls.get(name, 0) + 1

    def info(self, path: str, **options: object) -> object:
        """Count, and return the facts of a file."""
        self._count("info")
        path = self._strip_protocol(path)
        if path in self.zeros:
            return {"name": path, "type": "file", "size": self.zeros[path], "ETag": "0"}
        return super().info(path, **options)

    def ls(self, path: str, detail: bool = True, **options: object) -> object:
        """Count, and list a folder."""
        self._count("ls")
        return super().ls(path, detail, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> bytes:
        """Count, and return a range of a file."""
        self._count("cat_file")
        cls = type(self)
        with cls.lock:
            cls.flying += 1
            cls.most = max(cls.most, cls.flying)
        time.sleep(cls.delay)
        data = self._range(self._strip_protocol(path), start or 0, end)
        with cls.lock:
            cls.flying -= 1
            cls.sent += len(data)
        return data

    def _range(self, path: str, start: int, end: int | None) -> bytes:
        if path in self.zeros:
            return bytes(min(self.zeros[path], end or self.zeros[path]) - start)
        return bytes(self.store[path].getbuffer()[start:end])  # `open` asks for facts in early releases


@pytest.fixture
def counting() -> Iterator[CountingFileSystem]:
    """A registered file system that is empty."""
    fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
    CountingFileSystem.reset()
    CountingFileSystem.zeros.clear()
    CountingFileSystem.delay = 0.0
    system = CountingFileSystem()
    yield system
    system.rm("/counted", recursive=True)


def store(system: CountingFileSystem, files: dict[str, bytes]) -> None:
    """Write files without counting."""
    for name, data in files.items():
        system.pipe_file(f"/counted/{name}", data)
    system.reset()


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


def test_verified_range_of_a_file_system_is_one_request(counting: CountingFileSystem) -> None:
    """The checksum shows whether the bytes belong to the index; without it the version is compared afterwards."""
    store(counting, large_tensors())

    with tfckpt.open("counting://counted/model") as checkpoint:
        checkpoint.read("t00")
        before = dict(counting.calls)
        for number in range(1, 6):
            assert checkpoint.read(f"t{number:02d}")[0] == number
        assert counting.calls["cat_file"] - before["cat_file"] == 5
        assert counting.calls["info"] == before["info"]

        for number in range(6, 11):
            assert checkpoint.read(f"t{number:02d}", verify=False)[0] == number
        assert counting.calls["cat_file"] - before["cat_file"] == 10
        assert counting.calls["info"] - before["info"] == 6


@pytest.mark.parametrize("is_read", [True, False], ids=["after its first use", "before"])
def test_shard_that_alone_was_replaced_is_a_changed_file(counting: CountingFileSystem, is_read: bool) -> None:
    """Without a version from before, the bytes that were first read show it; a shard that never fit is damaged."""
    files = large_tensors()
    store(counting, files)

    with tfckpt.open("counting://counted/model") as checkpoint:
        if is_read:
            checkpoint.read("t00")
        store(counting, {"model.data-00000-of-00001": b"x" * 24 * SIZE})
        with pytest.raises(FileChangedError if is_read else tfckpt.ChecksumError):
            checkpoint.read("t20")


def tar_of(files: dict[str, bytes]) -> bytes:
    """Return a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_archive_is_downloaded_with_one_request_a_piece(counting: CountingFileSystem) -> None:
    """Its version is compared once, after the last piece."""
    data = tar_of(large_tensors())
    store(counting, {"model.tar": data})

    with tfckpt.open("counting://counted/model.tar") as checkpoint:
        assert checkpoint.read("t07")[0] == 7

    pieces = -(-len(data) // (8 << 20))
    assert pieces == 4
    assert counting.calls == {"cat_file": pieces + 1, "info": 3}


def test_archive_that_changes_during_its_download_is_refused(
    counting: CountingFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of two versions never become one archive."""
    store(counting, {"model.tar": tar_of(large_tensors())})
    cat = CountingFileSystem.cat_file

    def replace(
        self: CountingFileSystem, path: str, start: int = 0, end: int | None = None, **options: object
    ) -> bytes:
        if start == 16 << 20:
            counting.pipe_file("/counted/model.tar", bytes(25 * SIZE))
        return cat(self, path, start, end, **options)

    monkeypatch.setattr(CountingFileSystem, "cat_file", replace)

    with pytest.raises(FileChangedError):
        tfckpt.open("counting://counted/model.tar")


HUGE = 384 << 20
MOST = (256 << 20) + 8 * (8 << 20)


def huge_tensor(system: CountingFileSystem, kind: int = builders.UINT8, itemsize: int = 1) -> None:
    """Store a checkpoint of one tensor of zeros that is larger than the memory allowed, and two small neighbours."""
    checksum = 0
    for _ in range(HUGE // SIZE):
        checksum = builders.crc32c(bytes(SIZE), checksum)
    bundle = builders.Bundle()
    small = builders.crc32c(bytes(4))
    bundle.put_entry("a", builders.entry_proto(builders.UINT8, [4], offset=0, size=4, crc=small))
    shape = [HUGE // itemsize]
    bundle.put_entry("huge", builders.entry_proto(kind, shape, offset=4, size=HUGE, crc=checksum))
    bundle.put_entry("z", builders.entry_proto(builders.UINT8, [4], offset=4 + HUGE, size=4, crc=small))
    store(system, {"model.index": bundle.index()})
    CountingFileSystem.zeros["/counted/model.data-00000-of-00001"] = 8 + HUGE
    CountingFileSystem.delay = 0.01


def use(checkpoint: tfckpt.Checkpoint, what: str, out: pathlib.Path) -> None:
    """Read a whole checkpoint, as a command does."""
    if what == "verify":
        assert tfckpt.verify(checkpoint).ok
    elif what == "cp":
        tfckpt.copy(checkpoint, out / "copy")
    elif what == "read_many":
        assert sum(array.size for _, array in checkpoint.read_many()) == HUGE + 8
    else:
        tfckpt.export(checkpoint, out / what, dtype="float16" if "float16" in what else None)


@pytest.mark.parametrize(
    "what", ["verify", "cp", "all.safetensors", "float16.safetensors", slow("all.npz"), slow("all/")]
)
def test_memory_is_bounded_whatever_the_size_of_a_tensor(
    counting: CountingFileSystem, tmp_path: pathlib.Path, what: str
) -> None:
    """It is read once in pieces of 8 MiB, joined with its neighbours, eight at a time, and nothing else is asked."""
    huge_tensor(counting, *((builders.FLOAT, 4) if "float16" in what else ()))

    with tfckpt.open("counting://counted/model") as checkpoint:
        before = dict(counting.calls)
        tracemalloc.start()
        use(checkpoint, what, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak <= MOST
    # A file with types of several sizes has another order, in which the small tensors follow the large one.
    joined = 1 if "float16" not in what else 2
    assert counting.calls["cat_file"] - before["cat_file"] == HUGE // (8 << 20) + joined
    assert counting.sent <= HUGE + (1 << 20)
    assert 4 <= counting.most <= 8  # a busy machine may not keep all eight busy
    assert counting.calls["info"] - before["info"] <= 1
    for path in filter(pathlib.Path.is_file, tmp_path.rglob("*")):
        path.unlink()


def test_reading_takes_memory_for_the_result_and_what_is_under_way(counting: CountingFileSystem) -> None:
    """Not twice the size of the tensor."""
    huge_tensor(counting)

    with tfckpt.open("counting://counted/model") as checkpoint:
        tracemalloc.start()
        use(checkpoint, "read_many", pathlib.Path())
        assert checkpoint["huge"].nbytes == HUGE
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak <= HUGE + MOST
    assert 4 <= counting.most <= 8  # a busy machine may not keep all eight busy


def test_damage_in_a_large_tensor_leaves_no_output(counting: CountingFileSystem, tmp_path: pathlib.Path) -> None:
    """The checksum is compared before the last piece is handed out; neighbours are intact."""
    large = 20 << 20
    bundle = builders.Bundle()
    bundle.put_entry("large", builders.entry_proto(builders.UINT8, [large], offset=4, size=large, crc=1))
    bundle.put_entry("z", builders.entry_proto(builders.UINT8, [4], size=4, crc=builders.crc32c(bytes(4))))
    store(counting, {"model.index": bundle.index()})
    CountingFileSystem.zeros["/counted/model.data-00000-of-00001"] = 4 + large

    with tfckpt.open("counting://counted/model") as checkpoint:
        result = tfckpt.verify(checkpoint)
        with pytest.raises(tfckpt.ChecksumError):
            tfckpt.copy(checkpoint, tmp_path / "copy")
        with pytest.raises(tfckpt.ChecksumError):
            tfckpt.export(checkpoint, tmp_path / "all.safetensors")

    assert [(type(error), error.tensor) for error in result.errors] == [(tfckpt.ChecksumError, "large")]
    assert result.whole == ("z",)
    assert not list(tmp_path.iterdir())


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
        assert 4 <= flight.most <= 8


@pytest.mark.parametrize("what", ["verify", "all.npz", "cp"])
def test_whole_checkpoint_is_read_with_many_requests_in_flight(tmp_path: pathlib.Path, what: str) -> None:
    """Each byte is fetched once, by several connections, with one request a shard."""
    files = many_shards()
    with serving(files) as server, tfckpt.open(f"{server.url}model") as checkpoint:
        flight = server.fault = Flight(0.01)
        use(checkpoint, what, tmp_path)
        assert 4 <= flight.most <= 8
        assert len(server.requests) <= SHARDS + 1
