"""Test that `tfckpt ls --all` lists the checkpoints of a folder."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.builders import INT32, Bundle
from tests.tfckpt.recorded import TENSORFLOW
from tfckpt.cli import main


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder whose state file names an existing checkpoint and a missing one, but not a third that exists."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("f").mkdir()
    for name in ("m-9", "m-30"):
        Bundle().add("w", INT32, [], bytes(4)).write(pathlib.Path("f"), name)
    lines = [f'all_model_checkpoint_paths: "{name}"\nall_model_checkpoint_timestamps: {time}' for name, time in STATE]
    pathlib.Path("f", "checkpoint").write_text("\n".join([*lines, 'model_checkpoint_path: "m-30"']))
    return "f"


STATE = (("m-20", "nan"), ("m-30", "1600000501.25"))


def test_ls_all_prints_json(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The list has a record for each checkpoint, from the oldest to the newest."""
    assert main(["ls", folder, "--all", "--json"]) == 0

    records = json.loads(capsys.readouterr().out)["checkpoints"]
    assert [record["prefix"] for record in records] == ["f/m-9", "f/m-20", "f/m-30"]
    assert records[1]["timestamp"] == "nan"
    assert records[2] == {
        "prefix": "f/m-30",
        "timestamp": 1600000501.25,
        "exists": True,
        "is_latest": True,
        "in_state_file": True,
        "notes": [],
    }


def test_ls_all_says_on_standard_error_that_a_folder_was_moved(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output has only the list."""
    assert main(["ls", str(TENSORFLOW / "manager" / "absolute"), "--all"]) == 0

    captured = capsys.readouterr()
    assert captured.err.count("/tmp/tensorflow-checkpoints/absolute/") == 2
    assert "/tmp/tensorflow-checkpoints" not in captured.out


def test_ls_all_of_a_folder_without_checkpoints_exits_with_3(tmp_path: pathlib.Path) -> None:
    """The exit code is the one for things not found."""
    assert main(["ls", str(tmp_path), "--all"]) == 3
