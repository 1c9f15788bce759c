"""The work for many missing shards grows with their number, not with its square: calls are counted, not seconds."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from types import FrameType

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle
from tests.tfckpt.v1.v1_files import V1File


def count_calls(action: Callable[[], object]) -> int:
    """Return how many calls an action makes in this thread, of Python functions and of functions in C."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def v2_without_shards(folder: pathlib.Path, number: int) -> pathlib.Path:
    """A bundle whose shards, each of which held a tensor and a slice, are all missing."""
    bundle = Bundle(num_shards=number)
    for shard_id in range(number):
        bundle.add(f"w{shard_id:05d}", builders.FLOAT, [1], np.ones(1, "<f4").tobytes(), shard_id=shard_id)
    prefix = bundle.write(folder)
    for path in folder.glob("*.data-*"):
        path.unlink()
    return prefix


def v1_without_shards(folder: pathlib.Path, number: int) -> pathlib.Path:
    """A V1 checkpoint with one shard of many, which lists tensors that have slices in the missing ones."""
    file = V1File()
    for tensor in range(number):
        file.add_slices(b"w%05d" % tensor, builders.FLOAT, [2, 1], [([(0, 1), None], [1.0])])
    file.write(folder / f"model-00000-of-{number:05d}")
    return folder / f"model-?????-of-{number:05d}"


@pytest.mark.parametrize("write", [v2_without_shards, v1_without_shards], ids=["V2", "V1"])
def test_verifying_with_missing_shards_takes_linear_work(
    tmp_path: pathlib.Path, write: Callable[[pathlib.Path, int], pathlib.Path]
) -> None:
    """Twice the shards, twice the calls; once it was four times."""
    calls = []
    for number in (100, 200, 400):
        folder = tmp_path / str(number)
        folder.mkdir()
        with tfckpt.open(write(folder, number)) as checkpoint:

            def work(checkpoint: tfckpt.Checkpoint = checkpoint, number: int = number) -> None:
                found = tfckpt.verify(checkpoint)
                assert not found.whole
                assert len(found.errors) in (1, number)
                assert len(checkpoint.missing_files()) >= number - 1

            calls.append(count_calls(work))

    assert calls[1] < 2.5 * calls[0]
    assert calls[2] < 2.5 * calls[1]


def test_message_counts_the_tensors_of_each_missing_shard(tmp_path: pathlib.Path) -> None:
    """The counts are those of the shard that is missing, and a shard that comes back is read."""
    bundle = Bundle(num_shards=2)
    for number in range(5):
        bundle.add(f"w{number}", builders.FLOAT, [1], np.ones(1, "<f4").tobytes(), shard_id=int(number > 2))
    prefix = bundle.write(tmp_path)
    lost = tmp_path / "model.data-00001-of-00002"
    kept = lost.rename(tmp_path / "kept")

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(tfckpt.CheckpointNotFoundError, match="2 of 5 tensors") as caught:
            checkpoint["w4"]
        assert caught.value.path == str(lost)
        assert checkpoint.missing_files() == {str(lost): ("w3", "w4")}
        kept.rename(lost)
        assert checkpoint["w4"] == 1
        assert checkpoint.missing_files() == {}
