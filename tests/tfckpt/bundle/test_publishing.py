"""A whole checkpoint stands under the prefix at any moment, whatever happens to the writer."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests.conftest import slow
from tests.tfckpt.bundle.killed_writer import NEW, OLD, state_of
from tfckpt.bundle.publishing import LOCK_SUFFIX, PrefixLock
from tfckpt.bundle.writer import BundleWriter
from tfckpt.errors import CheckpointExistsError, WriteError
from tfckpt.files import lock as lock_module
from tfckpt.files.atomic import PendingFile
from tfckpt.tensors.dtypes import data_type_named
from tfckpt.writing.writer import save

FLOAT = data_type_named("float32")


def names_in(folder: pathlib.Path) -> list[str]:
    """Names of the files in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is killed in a forked child")
@pytest.mark.parametrize(
    ("old", "new"),
    [(0, 1), (1, 1), (2, 1), slow(2, 2), slow(1, 3)],
)
def test_writer_killed_at_any_step_leaves_the_old_or_the_new_checkpoint(
    old: int, new: int, tmp_path: pathlib.Path
) -> None:
    """Killed before each of its system calls in turn, over the old number of data shards and another one.

    A later writer then succeeds, and leaves nothing of the killed one's files under the prefix.
    """
    command = [sys.executable, "-m", "tests.tfckpt.bundle.killed_writer", str(tmp_path / "work"), str(old), str(new)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=pathlib.Path(__file__).parents[3])

    steps = [json.loads(line) for line in result.stdout.splitlines()]
    before = "old" if old else "none"
    states = [step["state"] for step in steps]
    assert len(steps) > 15  # a kill for each system call and the run that is not killed
    assert states == sorted(states, key=[before, "new"].index)
    assert states[0] == before
    assert states[-1] == "new"
    members = [f"ckpt.data-{shard:05d}-of-{new:05d}" for shard in range(new)]
    for step in steps:
        assert step["then"] == "new"
        left = [name for name in step["left"] if name.startswith("ckpt")]  # the state file is the folder's
        assert left == [*members, "ckpt.index"], step


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
@pytest.mark.parametrize("number", range(5))
def test_system_call_that_fails_leaves_the_old_or_the_new_checkpoint(
    call: str, number: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is a `WriteError`, or there is none where another way was found; no temporary file is left."""
    prefix = str(tmp_path / "ckpt")
    save(OLD, prefix, shards=2)
    counted = iter(range(100))
    real: Callable[..., Any] = getattr(os, call)

    def failing(*arguments: Any, **options: Any) -> Any:
        if next(counted) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, failing)
    try:
        save(NEW, prefix, shards=2, overwrite=True)
    except WriteError as error:
        assert "No space left on device" in str(error)
        assert state_of(prefix) in ("old", "new")
    else:
        assert state_of(prefix) == "new"
    monkeypatch.undo()

    with tfckpt.open(prefix) as checkpoint:
        members = {os.path.basename(path) for path in checkpoint.files}
    assert set(names_in(tmp_path)) == {"checkpoint"} | members


@pytest.mark.parametrize("number", range(3))
def test_rename_that_fails_where_nothing_stood_leaves_nothing(
    number: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the data shards that have their names already nor those that wait for them."""
    counted = iter(range(100))
    replace = os.replace

    def failing(source: str, target: str) -> None:
        if next(counted) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(WriteError, match="No space left on device"):
        save(NEW, tmp_path / "ckpt", shards=2, checkpoint_state=False)

    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_overwriting_ends_when_the_old_checkpoint_cannot_be_set_aside(
    kind: type[BaseException], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full, or Ctrl-C: the old checkpoint stays as it was, alone."""
    prefix = str(tmp_path / "ckpt")
    save(OLD, prefix, checkpoint_state=False)

    replace = os.replace
    faults = [kind(errno.ENOSPC, os.strerror(errno.ENOSPC))]

    def failing(source: str, target: str) -> None:
        if faults:
            raise faults.pop()
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(WriteError if kind is OSError else kind):
        save(NEW, prefix, checkpoint_state=False, overwrite=True)

    assert state_of(prefix) == "old"
    assert names_in(tmp_path) == ["ckpt.data-00000-of-00001", "ckpt.index"]


def test_files_and_folder_reach_the_disk_unless_that_is_left_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two data shards, the index, and the folder before the index has its name and after."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    BundleWriter(str(tmp_path / "a"), shards=2).finish()
    assert len(synced) == (3 if os.name == "nt" else 5)

    synced.clear()
    BundleWriter(str(tmp_path / "b"), shards=2, durable=False).finish()
    assert synced == []


def test_overwriting_goes_on_without_hard_links(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old shards are copied then, so that the old checkpoint stays whole."""
    prefix = str(tmp_path / "ckpt")
    save(OLD, prefix)
    seen: list[str] = []
    commit = PendingFile.commit

    def refusing(source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def watching(file: PendingFile) -> None:
        seen.append(state_of(prefix))
        commit(file)

    monkeypatch.setattr(os, "link", refusing)
    monkeypatch.setattr(PendingFile, "commit", watching)
    save(NEW, prefix, overwrite=True)

    assert seen[:3] == ["old", "old", "old"]  # the index set aside, the new data shard, the new index
    assert state_of(prefix) == "new"


def test_shards_of_the_old_checkpoint_are_removed_when_their_number_changes(tmp_path: pathlib.Path) -> None:
    """Nothing would name them any more; files of other prefixes stay."""
    save(OLD, tmp_path / "ckpt", shards=3, checkpoint_state=False)
    save(OLD, tmp_path / "ckpt2", checkpoint_state=False)

    save(NEW, tmp_path / "ckpt", shards=1, checkpoint_state=False, overwrite=True)

    assert names_in(tmp_path) == [
        "ckpt.data-00000-of-00001",
        "ckpt.index",
        "ckpt2.data-00000-of-00001",
        "ckpt2.index",
    ]


@pytest.mark.parametrize("damage", ["all", "an entry"])
def test_damaged_index_is_overwritten(damage: str, tmp_path: pathlib.Path) -> None:
    """There is no whole checkpoint to protect, whether the header can be read or not."""
    names = [f"{number:05d}" + "n" * 50 for number in range(5000)]  # an index of two blocks
    save(dict.fromkeys(names, np.zeros(1)), tmp_path / "ckpt", checkpoint_state=False, durable=False)
    index = bytearray((tmp_path / "ckpt.index").read_bytes())
    if damage == "all":
        index[-8:] = b"not this"
    else:
        index[270_000] ^= 1  # in the second block
    (tmp_path / "ckpt.index").write_bytes(index)

    save(NEW, tmp_path / "ckpt", checkpoint_state=False, overwrite=True)

    assert state_of(str(tmp_path / "ckpt")) == "new"
    assert names_in(tmp_path) == ["ckpt.data-00000-of-00001", "ckpt.index"]


@pytest.mark.parametrize("name", ["ckpt.index", "ckpt.data-00001-of-00002", "ckpt"], ids=["index", "shard", "v1"])
def test_what_stands_under_the_prefix_is_not_overwritten_unasked(name: str, tmp_path: pathlib.Path) -> None:
    """An index, a data shard of the same number, or a V1 checkpoint; a shard of another number is in nobody's way."""
    (tmp_path / name).write_bytes(b"there")

    with pytest.raises(CheckpointExistsError, match="exists already") as caught:
        save(NEW, tmp_path / "ckpt", shards=2)

    assert caught.value.path == str(tmp_path / name)
    assert names_in(tmp_path) == [name]
    (tmp_path / name).rename(tmp_path / "ckpt.data-00000-of-00007")
    save(NEW, tmp_path / "ckpt", shards=2)


def test_checkpoint_that_appears_meanwhile_is_not_replaced(tmp_path: pathlib.Path) -> None:
    """Another program's files under the prefix are found before ours get their names."""
    writer = BundleWriter(str(tmp_path / "ckpt"))
    (tmp_path / "ckpt.index").write_bytes(b"other")

    with pytest.raises(CheckpointExistsError):
        writer.finish()

    assert names_in(tmp_path) == ["ckpt.index"]
    assert (tmp_path / "ckpt.index").read_bytes() == b"other"


def test_second_writer_of_a_prefix_is_refused(tmp_path: pathlib.Path) -> None:
    """Until the first has ended; a writer of another prefix in the same folder is not."""
    first = BundleWriter(str(tmp_path / "ckpt"))

    with pytest.raises(WriteError, match=r" another writer is at work under this prefix$"):
        BundleWriter(str(tmp_path / "ckpt"))
    other = BundleWriter(str(tmp_path / "ckpt-2"))

    other.abort()
    first.add("w", FLOAT, (), np.float32(1).tobytes())
    first.finish()
    BundleWriter(str(tmp_path / "ckpt"), overwrite=True).abort()
    assert names_in(tmp_path) == ["ckpt.data-00000-of-00001", "ckpt.index"]


def test_lock_of_a_file_that_lost_its_name_does_not_count(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that opened the lock file just before another removed it takes the lock of the new file."""
    prefix = str(tmp_path / "ckpt")
    lock = lock_module._lock
    calls = []

    def late(descriptor: int) -> bool:
        calls.append(descriptor)
        if len(calls) == 1:
            os.unlink(prefix + LOCK_SUFFIX)
        return lock(descriptor)

    monkeypatch.setattr(lock_module, "_lock", late)
    held = PrefixLock(prefix)

    assert len(calls) == 2
    assert not os.stat(prefix + LOCK_SUFFIX).st_mode & 0o111  # a file like others, and no program
    held.release()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("prefix", "kind", "message"),
    [
        ("no/ckpt", WriteError, "create it first"),
        ("folder/", ValueError, "no name after the folder"),
        ("ckpt.index", ValueError, "expected its prefix"),
        ("ckpt.data-00000-of-00001", ValueError, "expected its prefix"),
        ("blocked", WriteError, "a folder stands where a file"),
    ],
    ids=["no folder", "no name", "index", "shard", "folder in the way"],
)
def test_prefix_that_cannot_be_written_is_refused_at_once(
    prefix: str, kind: type[Exception], message: str, tmp_path: pathlib.Path
) -> None:
    """Before a tensor is taken, and without leaving anything."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "blocked.index").mkdir()

    with pytest.raises(kind, match=message):
        BundleWriter(os.path.join(tmp_path, prefix), overwrite=True)

    assert names_in(tmp_path) == ["blocked.index", "folder"]
    BundleWriter(os.path.join(tmp_path, "folder", "ckpt.indexed")).abort()
