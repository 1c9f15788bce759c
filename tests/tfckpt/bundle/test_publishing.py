"""The prefix refers to a complete checkpoint at all times, whatever happens to the writer."""

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
    """Return the sorted names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test kills the writer in a forked child")
@pytest.mark.parametrize(
    ("old", "new"),
    [(0, 1), (1, 1), (2, 1), slow(2, 2), slow(1, 3)],
)
def test_writer_killed_at_any_step_leaves_the_old_or_the_new_checkpoint(
    old: int, new: int, tmp_path: pathlib.Path
) -> None:
    """The writer is killed before each of its system calls in turn, with the same and another number of data shards.

    A later writer succeeds and removes all files of the killed one.
    """
    command = [sys.executable, "-m", "tests.tfckpt.bundle.killed_writer", str(tmp_path / "work"), str(old), str(new)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=pathlib.Path(__file__).parents[3])

    steps = [json.loads(line) for line in result.stdout.splitlines()]
    before = "old" if old else "none"
    states = [step["state"] for step in steps]
    assert len(steps) > 15  # one per system call, and the run that is not killed
    assert states == sorted(states, key=[before, "new"].index)
    assert states[0] == before
    assert states[-1] == "new"
    members = [f"ckpt.data-{shard:05d}-of-{new:05d}" for shard in range(new)]
    for step in steps:
        assert step["after_second_writer"] == "new"
        files = [name for name in step["files"] if name.startswith("ckpt")]  # not the state file
        assert files == [*members, "ckpt.index"], step


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
@pytest.mark.parametrize("number", range(5))
def test_system_call_that_fails_leaves_the_old_or_the_new_checkpoint(
    call: str, number: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer raises `WriteError`, or finds another way; no temporary file is left."""
    prefix = str(tmp_path / "ckpt")
    save(OLD, prefix, shards=2)
    counter = iter(range(100))
    real: Callable[..., Any] = getattr(os, call)

    def failing(*arguments: Any, **options: Any) -> Any:
        if next(counter) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, failing)
    try:
        save(NEW, prefix, shards=2, overwrite=True)
    except WriteError as error:
        assert isinstance(error.__cause__, OSError)
        assert error.__cause__.errno == errno.ENOSPC
        assert state_of(prefix) in ("old", "new")
    else:
        assert state_of(prefix) == "new"
    monkeypatch.undo()

    with tfckpt.open(prefix) as checkpoint:
        members = {os.path.basename(path) for path in checkpoint.files}
    assert set(names_in(tmp_path)) == {"checkpoint"} | members


@pytest.mark.parametrize("number", range(3))
def test_failed_rename_of_a_first_checkpoint_leaves_no_files(
    number: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data shards are removed whether or not they have been renamed already."""
    counter = iter(range(100))
    replace = os.replace

    def failing(source: str, target: str) -> None:
        if next(counter) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(WriteError) as caught:
        save(NEW, tmp_path / "ckpt", shards=2, checkpoint_state=False)

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_overwriting_ends_when_the_old_checkpoint_cannot_be_set_aside(
    kind: type[BaseException], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk is full or the user presses Ctrl-C, the old checkpoint stays unchanged, without other files."""
    prefix = str(tmp_path / "ckpt")
    save(OLD, prefix, checkpoint_state=False)

    replace = os.replace
    pending_errors = [kind(errno.ENOSPC, os.strerror(errno.ENOSPC))]

    def failing(source: str, target: str) -> None:
        if pending_errors:
            raise pending_errors.pop()
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(WriteError if kind is OSError else kind):
        save(NEW, prefix, checkpoint_state=False, overwrite=True)

    assert state_of(prefix) == "old"
    assert names_in(tmp_path) == ["ckpt.data-00000-of-00001", "ckpt.index"]


def test_files_and_folder_are_synced_only_if_durable(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls are for two data shards, the index, and the folder before and after the index is renamed."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    BundleWriter(str(tmp_path / "a"), shards=2).finish()
    assert len(synced) == (3 if os.name == "nt" else 5)

    synced.clear()
    BundleWriter(str(tmp_path / "b"), shards=2, durable=False).finish()
    assert synced == []


def test_overwriting_works_without_hard_links(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old shards are copied instead, so the old checkpoint stays complete."""
    prefix = str(tmp_path / "ckpt")
    save(OLD, prefix)
    states: list[str] = []
    commit = PendingFile.commit

    def fail_to_link(source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def record_and_commit(file: PendingFile) -> None:
        states.append(state_of(prefix))
        commit(file)

    monkeypatch.setattr(os, "link", fail_to_link)
    monkeypatch.setattr(PendingFile, "commit", record_and_commit)
    save(NEW, prefix, overwrite=True)

    assert states[:3] == ["old", "old", "old"]  # before the index that is set aside, the new data shard, the new index
    assert state_of(prefix) == "new"


def test_shards_of_the_old_checkpoint_are_removed_when_their_number_changes(tmp_path: pathlib.Path) -> None:
    """No index would refer to them; files of other prefixes stay."""
    save(OLD, tmp_path / "ckpt", shards=2, checkpoint_state=False)
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
    """There is no complete checkpoint to preserve, whether or not the header can be read."""
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
def test_existing_files_are_not_overwritten_by_default(name: str, tmp_path: pathlib.Path) -> None:
    """A shard of a bundle with another number of shards does not conflict."""
    (tmp_path / name).write_bytes(b"existing")

    with pytest.raises(CheckpointExistsError) as caught:
        save(NEW, tmp_path / "ckpt", shards=2)

    assert caught.value.path == str(tmp_path / name)
    assert names_in(tmp_path) == [name]
    (tmp_path / name).rename(tmp_path / "ckpt.data-00000-of-00007")
    save(NEW, tmp_path / "ckpt", shards=2)


def test_checkpoint_that_appears_meanwhile_is_not_replaced(tmp_path: pathlib.Path) -> None:
    """Another program's files are detected before our files are renamed."""
    writer = BundleWriter(str(tmp_path / "ckpt"))
    (tmp_path / "ckpt.index").write_bytes(b"other")

    with pytest.raises(CheckpointExistsError):
        writer.finish()

    assert names_in(tmp_path) == ["ckpt.index"]
    assert (tmp_path / "ckpt.index").read_bytes() == b"other"


def test_second_writer_of_a_prefix_is_refused(tmp_path: pathlib.Path) -> None:
    """A writer of another prefix in the same folder is allowed; after the first writer ends, a new one is, too."""
    first = BundleWriter(str(tmp_path / "ckpt"))

    with pytest.raises(WriteError) as caught:
        BundleWriter(str(tmp_path / "ckpt"))
    assert caught.value.path == str(tmp_path / "ckpt")
    other = BundleWriter(str(tmp_path / "ckpt-2"))

    other.abort()
    first.add("w", FLOAT, (), np.float32(1).tobytes())
    first.finish()
    BundleWriter(str(tmp_path / "ckpt"), overwrite=True).abort()
    assert names_in(tmp_path) == ["ckpt.data-00000-of-00001", "ckpt.index"]


def test_lock_of_a_removed_file_is_acquired_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer may open the lock file just before another writer removes it."""
    prefix = str(tmp_path / "ckpt")
    lock = lock_module._lock
    calls = []

    def remove_and_lock(descriptor: int) -> bool:
        calls.append(descriptor)
        if len(calls) == 1:
            os.unlink(prefix + LOCK_SUFFIX)
        return lock(descriptor)

    monkeypatch.setattr(lock_module, "_lock", remove_and_lock)
    held = PrefixLock(prefix)

    assert len(calls) == 2
    assert not os.stat(prefix + LOCK_SUFFIX).st_mode & 0o111  # not executable
    held.release()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("no/ckpt", WriteError),
        ("folder/", ValueError),
        ("ckpt.index", ValueError),
        ("ckpt.data-00000-of-00001", ValueError),
        ("blocked", WriteError),
    ],
    ids=["no folder", "no name", "index", "shard", "folder in the way"],
)
def test_prefix_that_cannot_be_written_is_refused_immediately(
    prefix: str, kind: type[Exception], tmp_path: pathlib.Path
) -> None:
    """The error is raised before a tensor is added, and no file is left."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "blocked.index").mkdir()

    with pytest.raises(kind):
        BundleWriter(os.path.join(tmp_path, prefix), overwrite=True)

    assert names_in(tmp_path) == ["blocked.index", "folder"]
    BundleWriter(os.path.join(tmp_path, "folder", "ckpt.indexed")).abort()
