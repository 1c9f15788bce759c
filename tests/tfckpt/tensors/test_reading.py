"""Reading many tensors at once, and checkpoints in other processes."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import threading
import time

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.contracts.places import tar_of
from tests.contracts.server import serving
from tfckpt._typing import Array
from tfckpt.bundle.reader import BundleReader

NAMES = [f"tensor/{number:02d}" for number in range(40)]


def values(number: int) -> Array:
    """Return the values of one tensor."""
    return np.full(1000, number, "<f4")


@pytest.fixture
def bundle() -> builders.Bundle:
    """A bundle of forty tensors, written in reverse order."""
    bundle = builders.Bundle()
    for number in reversed(range(40)):
        bundle.add(NAMES[number], builders.FLOAT, [1000], values(number).tobytes())
    return bundle


@pytest.mark.parametrize("threads", [1, 2, 7, None])
def test_read_many_yields_all_tensors_in_order(
    tmp_path: pathlib.Path, bundle: builders.Bundle, threads: int | None
) -> None:
    """Without names it reads all of them, in the order of the names."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        pairs = list(checkpoint.read_many(threads=threads))

    assert [name for name, _ in pairs] == NAMES
    assert all((array == values(number)).all() for number, (_, array) in enumerate(pairs))


def test_read_many_keeps_order_and_duplicates_of_the_names(tmp_path: pathlib.Path, bundle: builders.Bundle) -> None:
    """The names may come from any iterable."""
    requested = [NAMES[5], NAMES[3], NAMES[5]]

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        assert [name for name, _ in checkpoint.read_many(iter(requested), threads=2)] == requested
        assert list(checkpoint.read_many([])) == []


def test_read_many_accepts_paths_of_variables(data: pathlib.Path) -> None:
    """The results have the names that were passed."""
    with tfckpt.open(data / "tensorflow" / "objects-more" / "graph") as checkpoint:
        path, key = next((row.path, row.key) for row in checkpoint.variables() if row.path)
        ((name, array),) = checkpoint.read_many([path])

        assert name == path
        np.testing.assert_array_equal(array, checkpoint[key])


def test_read_many_reads_in_parallel(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads wait for each other inside the reader."""
    bundle = builders.Bundle()
    for name in ("a", "b"):
        bundle.add(name, builders.UINT8, [5 << 20], bytes(5 << 20))
    barrier = threading.Barrier(2, timeout=20)
    read = BundleReader.read

    def read_together(self: BundleReader, name: str, *, verify: bool = True, index: object = None) -> Array:
        barrier.wait()
        return read(self, name, verify=verify, index=index)

    monkeypatch.setattr(BundleReader, "read", read_together)

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        assert [name for name, _ in checkpoint.read_many(threads=2)] == ["a", "b"]


@pytest.mark.parametrize("threads", [1, 3])
def test_error_of_a_tensor_is_raised_in_its_turn(tmp_path: pathlib.Path, bundle: builders.Bundle, threads: int) -> None:
    """The tensors before it are yielded first; without verification, all of them are."""
    prefix = bundle.write(tmp_path)
    shard = tmp_path / "model.data-00000-of-00001"
    damaged = bytearray(shard.read_bytes())
    damaged[4000 * (39 - 20)] ^= 1
    shard.write_bytes(damaged)
    names: list[str] = []

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(tfckpt.ChecksumError) as caught:
            names.extend(name for name, _ in checkpoint.read_many(threads=threads))
        unverified = list(checkpoint.read_many(threads=threads, verify=False))

    assert caught.value.tensor == NAMES[20]
    assert names == NAMES[:20]
    assert len(unverified) == 40


def test_unknown_name_is_reported_immediately(tmp_path: pathlib.Path, bundle: builders.Bundle) -> None:
    """The error is raised before the iterator is used."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint, pytest.raises(tfckpt.TensorNotFoundError):
        checkpoint.read_many([NAMES[0], "tensor/99"])


@pytest.mark.parametrize("threads", [0, -1])
def test_number_of_threads_must_be_positive(tmp_path: pathlib.Path, bundle: builders.Bundle, threads: int) -> None:
    """One thread is enough."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        with pytest.raises(ValueError, match="threads"):
            checkpoint.read_many(threads=threads)
        assert len(list(checkpoint.read_many(threads=1))) == 40


def test_read_many_reads_only_a_little_ahead(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the caller stops early, the other tensors are not read, and the threads end."""
    bundle = builders.Bundle()
    for number in range(20):
        bundle.add(f"{number:02d}", builders.UINT8, [4 << 20], bytes(4 << 20))
    seen: list[str] = []
    read = BundleReader.read

    def read_and_record(self: BundleReader, name: str, *, verify: bool = True, index: object = None) -> Array:
        seen.append(name)
        return read(self, name, verify=verify, index=index)

    monkeypatch.setattr(BundleReader, "read", read_and_record)
    before = threading.active_count()

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        iterator = checkpoint.read_many(threads=2)
        next(iterator)
        iterator.close()  # type: ignore[attr-defined]  # a generator

        assert len(seen) <= 4
        deadline = time.monotonic() + 10
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() == before


def total(checkpoint: tfckpt.Checkpoint) -> float:
    """Return the sum over all tensors."""
    return sum(float(array.sum()) for _, array in checkpoint.read_many(threads=2))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_checkpoint_can_be_sent_to_another_process(
    tmp_path: pathlib.Path, bundle: builders.Bundle, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local file, an archive or a file on a web server is opened again, whatever the working directory."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    prefix = bundle.write(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "a.tgz").write_bytes(tar_of(files, "w:gz"))
    monkeypatch.chdir(tmp_path)
    expected = sum(1000.0 * number for number in range(40))

    with serving(files) as server:
        paths = [prefix.name, "a.tgz", server.url + "model"]
        checkpoints = [tfckpt.open(path) for path in paths]
        sums = [total(checkpoint) for checkpoint in checkpoints]
        with multiprocessing.get_context(method).Pool(1, initializer=os.chdir, initargs=("/",)) as pool:
            sums_there = pool.map(total, checkpoints)

    assert sums == sums_there == [expected] * 3


def test_checkpoint_in_memory_is_pickled_with_its_files(bundle: builders.Bundle) -> None:
    """Files in memory have no address."""
    files = {"model.index": bundle.index(), "model.data-00000-of-00001": bytes(bundle.shards[0])}

    with tfckpt.open(files) as checkpoint:
        reopen, arguments = checkpoint.__reduce__()

    assert arguments[0] is files  # type: ignore[index]  # the arguments of a call
    assert callable(reopen)


def test_mapping_must_contain_only_one_checkpoint(bundle: builders.Bundle) -> None:
    """If there are two, a state file can select one."""
    files = {"a.index": bundle.index(), "b.index": bundle.index(), "b.data-00000-of-00001": bytes(bundle.shards[0])}

    with pytest.raises(tfckpt.CheckpointNotFoundError, match="a, b"):
        tfckpt.open(files)
    with tfckpt.open({**files, "checkpoint": b'model_checkpoint_path: "b"'}) as checkpoint:
        assert checkpoint.prefix == "b"
        assert len(checkpoint) == 40
