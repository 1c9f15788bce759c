"""Many tensors at once, and checkpoints that cross processes."""

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
    """The values of one tensor."""
    return np.full(1000, number, "<f4")


@pytest.fixture
def bundle() -> builders.Bundle:
    """Forty tensors, written in reverse."""
    made = builders.Bundle()
    for number in reversed(range(40)):
        made.add(NAMES[number], builders.FLOAT, [1000], values(number).tobytes())
    return made


@pytest.mark.parametrize("threads", [1, 2, 7, None])
def test_read_many_gives_all_tensors_in_order(
    tmp_path: pathlib.Path, bundle: builders.Bundle, threads: int | None
) -> None:
    """Without names all of them, in the order of the names, each verified."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        given = list(checkpoint.read_many(threads=threads))

    assert [name for name, _ in given] == NAMES
    assert all((array == values(number)).all() for number, (_, array) in enumerate(given))


def test_read_many_gives_a_name_as_often_as_it_is_asked_for(tmp_path: pathlib.Path, bundle: builders.Bundle) -> None:
    """The order and the names are the caller's."""
    asked = [NAMES[5], NAMES[3], NAMES[5]]

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        assert [name for name, _ in checkpoint.read_many(iter(asked), threads=2)] == asked
        assert list(checkpoint.read_many([])) == []


def test_read_many_takes_any_name_of_a_tensor(data: pathlib.Path) -> None:
    """Of an object-based checkpoint also paths; the name comes back as it was given."""
    with tfckpt.open(data / "tensorflow" / "objects-more" / "graph") as checkpoint:
        path, key = next((row.path, row.key) for row in checkpoint.variables() if row.path)
        ((name, array),) = checkpoint.read_many([path])

        assert name == path
        np.testing.assert_array_equal(array, checkpoint[key])


def test_read_many_runs_several_at_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads meet inside the reader."""
    made = builders.Bundle()
    for name in ("a", "b"):
        made.add(name, builders.UINT8, [5 << 20], bytes(5 << 20))
    meeting = threading.Barrier(2, timeout=20)
    read = BundleReader.read

    def together(self: BundleReader, name: str, *, verify: bool = True, index: object = None) -> Array:
        meeting.wait()
        return read(self, name, verify=verify, index=index)

    monkeypatch.setattr(BundleReader, "read", together)

    with tfckpt.open(made.write(tmp_path)) as checkpoint:
        assert [name for name, _ in checkpoint.read_many(threads=2)] == ["a", "b"]


@pytest.mark.parametrize("threads", [1, 3])
def test_error_of_a_tensor_is_raised_in_its_turn(tmp_path: pathlib.Path, bundle: builders.Bundle, threads: int) -> None:
    """The tensors before a damaged one come first; unverified, all come."""
    prefix = bundle.write(tmp_path)
    shard = tmp_path / "model.data-00000-of-00001"
    damaged = bytearray(shard.read_bytes())
    damaged[4000 * (39 - 20)] ^= 1
    shard.write_bytes(damaged)
    given: list[str] = []

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(tfckpt.ChecksumError) as caught:
            given.extend(name for name, _ in checkpoint.read_many(threads=threads))
        unverified = list(checkpoint.read_many(threads=threads, verify=False))

    assert caught.value.tensor == NAMES[20]
    assert given == NAMES[:20]
    assert len(unverified) == 40


def test_name_that_is_not_there_is_told_at_once(tmp_path: pathlib.Path, bundle: builders.Bundle) -> None:
    """Before the first tensor is read, and before the iterator is used."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint, pytest.raises(tfckpt.TensorNotFoundError):
        checkpoint.read_many([NAMES[0], "tensor/99"])


@pytest.mark.parametrize("threads", [0, -1])
def test_number_of_threads_must_be_positive(tmp_path: pathlib.Path, bundle: builders.Bundle, threads: int) -> None:
    """One is the least."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        with pytest.raises(ValueError, match="at least 1"):
            checkpoint.read_many(threads=threads)
        assert len(list(checkpoint.read_many(threads=1))) == 40


def test_read_many_reads_little_ahead(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who stops early has not had everything read, and no thread stays."""
    made = builders.Bundle()
    for number in range(20):
        made.add(f"{number:02d}", builders.UINT8, [4 << 20], bytes(4 << 20))
    seen: list[str] = []
    read = BundleReader.read

    def noted(self: BundleReader, name: str, *, verify: bool = True, index: object = None) -> Array:
        seen.append(name)
        return read(self, name, verify=verify, index=index)

    monkeypatch.setattr(BundleReader, "read", noted)
    before = threading.active_count()

    with tfckpt.open(made.write(tmp_path)) as checkpoint:
        iterator = checkpoint.read_many(threads=2)
        next(iterator)
        iterator.close()  # type: ignore[attr-defined]  # a generator

        assert len(seen) <= 4
        deadline = time.monotonic() + 10
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() == before


def total(checkpoint: tfckpt.Checkpoint) -> float:
    """The sum over all tensors, as another process finds it."""
    return sum(float(array.sum()) for _, array in checkpoint.read_many(threads=2))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_checkpoint_crosses_to_another_process(
    tmp_path: pathlib.Path, bundle: builders.Bundle, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its address, from any working directory: a local file, an archive, and a web server."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    prefix = bundle.write(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "a.tgz").write_bytes(tar_of(files, "w:gz"))
    monkeypatch.chdir(tmp_path)
    expected = sum(1000.0 * number for number in range(40))

    with serving(files) as server:
        given = [prefix.name, "a.tgz", server.url + "model"]
        checkpoints = [tfckpt.open(one) for one in given]
        sums = [total(checkpoint) for checkpoint in checkpoints]
        with multiprocessing.get_context(method).Pool(1, initializer=os.chdir, initargs=("/",)) as pool:
            theirs = pool.map(total, checkpoints)

    assert sums == theirs == [expected] * 3


def test_mapping_crosses_with_its_bytes(bundle: builders.Bundle) -> None:
    """Files in memory have no address: they are what is pickled."""
    files = {"model.index": bundle.index(), "model.data-00000-of-00001": bytes(bundle.shards[0])}

    with tfckpt.open(files) as checkpoint:
        opened_again, arguments = checkpoint.__reduce__()

    assert arguments[0] is files  # type: ignore[index]  # the arguments of a call
    assert callable(opened_again)


def test_mapping_of_one_name_must_hold_one_checkpoint(bundle: builders.Bundle) -> None:
    """Two are listed; with a state file one is meant."""
    files = {"a.index": bundle.index(), "b.index": bundle.index(), "b.data-00000-of-00001": bytes(bundle.shards[0])}

    with pytest.raises(tfckpt.CheckpointNotFoundError, match="there are 2 checkpoints in it; name one of: a, b"):
        tfckpt.open(files)
    with tfckpt.open({**files, "checkpoint": b'model_checkpoint_path: "b"'}) as checkpoint:
        assert checkpoint.prefix == "b"
        assert len(checkpoint) == 40
