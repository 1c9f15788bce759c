"""A checkpoint that is truncated, rewritten, removed or closed while it is used."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle

ROOT = pathlib.Path(__file__).parents[2]
SIZE = 100_000
NAMES = [f"w{number}" for number in range(8)]


def write_bundle(folder: pathlib.Path, *, first: float = 0) -> pathlib.Path:
    """Write eight tensors of 400,000 bytes, each with one value, with an index of several blocks."""
    bundle = Bundle()
    for number, name in enumerate(NAMES):
        bundle.add(name, builders.FLOAT, [SIZE], np.full(SIZE, first + number, "<f4").tobytes())
    return bundle.write(folder, index=bundle.index(per_block=3))


@pytest.fixture(params=[True, False], ids=["mapped", "read"])
def mmap(request: pytest.FixtureRequest) -> bool:
    """True for mapped files, False for files that are read."""
    return bool(request.param)


def shard_path(prefix: pathlib.Path) -> pathlib.Path:
    """Return the path of the data shard."""
    return prefix.with_name(prefix.name + ".data-00000-of-00001")


def index_path(prefix: pathlib.Path) -> pathlib.Path:
    """Return the path of the index file."""
    return prefix.with_name(prefix.name + ".index")


def test_shard_truncated_after_opening_raises_for_the_missing_bytes(tmp_path: pathlib.Path, mmap: bool) -> None:
    """The rest can be read; missing bytes are an error and not a memory fault."""
    prefix = write_bundle(tmp_path)

    with tfckpt.open(prefix, mmap=mmap) as checkpoint:
        assert checkpoint["w0"][0] == 0
        os.truncate(shard_path(prefix), 4 * SIZE + 100)

        assert checkpoint["w0"][-1] == 0
        for name in NAMES[1:]:
            with pytest.raises(tfckpt.TruncatedError) as caught:
                checkpoint[name]
            assert caught.value.tensor == name
            assert caught.value.path == str(shard_path(prefix))


def test_shard_rewritten_in_place_fails_its_checksums(tmp_path: pathlib.Path, mmap: bool) -> None:
    """Another training step overwrites the same file."""
    prefix = write_bundle(tmp_path)

    with tfckpt.open(prefix, mmap=mmap) as checkpoint:
        assert checkpoint["w1"][0] == 1
        with shard_path(prefix).open("r+b") as file:
            file.write(np.full(SIZE * len(NAMES), 7.5, "<f4").tobytes())

        for name in NAMES:
            with pytest.raises(tfckpt.ChecksumError):
                checkpoint[name]


def test_replaced_shard_is_read_as_it_was_when_opened(tmp_path: pathlib.Path, mmap: bool) -> None:
    """Renaming a finished file over the old one does not disturb open checkpoints."""
    prefix = write_bundle(tmp_path)
    (tmp_path / "new").mkdir()
    newer = write_bundle(tmp_path / "new", first=100)

    with tfckpt.open(prefix, mmap=mmap) as checkpoint:
        assert checkpoint["w1"][0] == 1
        os.replace(shard_path(newer), shard_path(prefix))
        os.replace(index_path(newer), index_path(prefix))

        assert [checkpoint[name][0] for name in NAMES] == list(range(8))
    with tfckpt.open(prefix, mmap=mmap) as checkpoint:
        assert checkpoint["w1"][0] == 101


def test_files_of_two_versions_fail_their_checksums(tmp_path: pathlib.Path, mmap: bool) -> None:
    """The index is from one training step and the shard from the next."""
    prefix = write_bundle(tmp_path)
    (tmp_path / "new").mkdir()
    os.replace(shard_path(write_bundle(tmp_path / "new", first=100)), shard_path(prefix))

    with tfckpt.open(prefix, mmap=mmap) as checkpoint:
        assert list(checkpoint) == NAMES
        with pytest.raises(tfckpt.ChecksumError):
            checkpoint["w3"]


def test_shard_removed_before_its_first_use_is_missing(tmp_path: pathlib.Path, mmap: bool) -> None:
    """Shards are opened when they are first needed."""
    prefix = write_bundle(tmp_path)

    with tfckpt.open(prefix, mmap=mmap) as checkpoint:
        shard_path(prefix).unlink()
        with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
            checkpoint["w0"]
        assert (caught.value.path, caught.value.tensor) == (str(shard_path(prefix)), "w0")
        write_bundle(tmp_path)
        assert checkpoint["w0"][0] == 0


@pytest.mark.parametrize("size", [0, 100])
def test_index_truncated_after_opening_never_faults(tmp_path: pathlib.Path, mmap: bool, size: int) -> None:
    """In a separate process, which a fault would end: blocks already read are kept, others are truncated."""
    prefix = write_bundle(tmp_path)
    program = (
        "import os, sys, tfckpt\n"
        "checkpoint = tfckpt.open(sys.argv[1], mmap=sys.argv[2] == 'True')\n"
        "first = checkpoint['w0'][0]\n"
        "os.truncate(sys.argv[1] + '.index', int(sys.argv[3]))\n"
        "assert checkpoint['w1'][0] == 1\n"
        "try:\n    checkpoint['w7']\nexcept tfckpt.TruncatedError as error:\n    print('truncated', error.path)\n"
        "try:\n    list(checkpoint)\nexcept tfckpt.TruncatedError:\n    print('truncated')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(prefix), str(mmap), str(size)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["truncated", str(index_path(prefix)), "truncated"]


def test_close_while_reading_is_safe(tmp_path: pathlib.Path, mmap: bool) -> None:
    """Every read in another thread returns the correct values, or raises the error for a closed checkpoint."""
    prefix = write_bundle(tmp_path)
    wrong: list[object] = []

    for _ in range(10):
        checkpoint = tfckpt.open(prefix, mmap=mmap)
        started = threading.Barrier(5)

        def work(number: int, checkpoint: tfckpt.Checkpoint = checkpoint, started: threading.Barrier = started) -> None:
            started.wait()
            try:
                for name in NAMES[number:] + NAMES[:number]:
                    if (checkpoint[name] != int(name[1:])).any():
                        wrong.append(name)
            except ValueError as error:
                if isinstance(error, tfckpt.CheckpointError) or "closed" not in str(error):
                    wrong.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        checkpoint.close()
        for thread in threads:
            thread.join()

    assert wrong == []


def test_threads_share_shards_that_are_opened_once(tmp_path: pathlib.Path, mmap: bool) -> None:
    """Eight threads request the same missing cache entries at the same time."""
    prefix = write_bundle(tmp_path)
    wrong: list[object] = []
    with tfckpt.open(prefix, mmap=mmap) as checkpoint:
        started = threading.Barrier(8)

        def work(number: int) -> None:
            started.wait()
            name = NAMES[number]
            if (
                list(checkpoint) != NAMES
                or (checkpoint[name] != number).any()
                or checkpoint.info(name).shape != (SIZE,)
            ):
                wrong.append(name)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_can_continue_to_read(tmp_path: pathlib.Path, mmap: bool) -> None:
    """A checkpoint opened before a fork works on both sides."""
    prefix = write_bundle(tmp_path)
    program = (
        "import os, sys, tfckpt\n"
        "checkpoint = tfckpt.open(sys.argv[1], mmap=sys.argv[2] == 'True')\n"
        "assert checkpoint['w0'][0] == 0\n"
        "child = os.fork()\n"
        "assert [checkpoint[f'w{n}'][-1] for n in range(8)] == list(range(8))\n"
        "checkpoint.close()\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(prefix), str(mmap)], cwd=ROOT, check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
