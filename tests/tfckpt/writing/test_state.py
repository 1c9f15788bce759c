"""State files in the form that TensorFlow writes."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from tfckpt.finding.state_file import CheckpointState, encode_state, read_state, update_state
from tfckpt.storage.local import LocalStorage


@pytest.mark.parametrize("folder", ["relative", "absolute"])
def test_state_file_of_tensorflow_is_encoded_again_byte_for_byte(folder: str, data: pathlib.Path) -> None:
    """`CheckpointManager` writes timestamps, and the TF1 Saver absolute paths."""
    path = data / "tensorflow" / "manager" / folder
    state = read_state(LocalStorage(), str(path))

    assert state is not None
    assert encode_state(state) == (path / "checkpoint").read_bytes()


@pytest.mark.parametrize("name", ["größe-1", 'say"so"-1', "back\\slash-1", "tab\tinside-1", "it's-1", "\u202e"])
def test_state_with_any_name_reads_back(name: str, tmp_path: pathlib.Path) -> None:
    """Names may have quotes, control characters and letters outside ASCII."""
    update_state(str(tmp_path / name))

    state = read_state(LocalStorage(), str(tmp_path))
    assert state == CheckpointState(name, (name,), (), 0.0)


def test_older_entries_keep_their_timestamps(
    data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new entry gets the current time; an entry that is written again moves to the end."""
    shutil.copy(data / "tensorflow" / "manager" / "relative" / "checkpoint", tmp_path)
    monkeypatch.setattr("time.time", lambda: 1700000000.5)

    update_state(str(tmp_path / "ckpt-4"), keep_older=True)

    assert read_state(LocalStorage(), str(tmp_path)) == CheckpointState(
        "ckpt-4", ("ckpt-3", "ckpt-5", "ckpt-4"), (1600000300.75, 1600000501.25, 1700000000.5), 1599999999.0
    )


def test_no_timestamps_are_added_if_older_entries_have_none(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """TensorFlow refuses a state file that has timestamps for only some of its paths."""
    shutil.copy(data / "tensorflow" / "manager" / "absolute" / "checkpoint", tmp_path)

    update_state(str(tmp_path / "new"), keep_older=True)

    state = read_state(LocalStorage(), str(tmp_path))
    assert state is not None
    assert state.all_model_checkpoint_paths[-1] == "new"
    assert len(state.all_model_checkpoint_paths) == 3
    assert state.all_model_checkpoint_timestamps == ()


def test_checkpoint_with_two_spellings_of_its_path_is_listed_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TF1 Saver writes absolute paths; a checkpoint of the same name in another folder is a different one."""
    (tmp_path / "checkpoint").write_text(
        f'model_checkpoint_path: "a"\nall_model_checkpoint_paths: "{tmp_path}/a"\nall_model_checkpoint_paths: "/b/a"\n'
    )
    monkeypatch.chdir(tmp_path)

    update_state("a", keep_older=True)

    state = read_state(LocalStorage(), str(tmp_path))
    assert state is not None
    assert state.all_model_checkpoint_paths == ("/b/a", "a")
