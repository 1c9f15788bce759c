"""State files of every form mean the same to `tfckpt.train` and to TensorFlow."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import google.protobuf
import pytest

from tfckpt import train

RECORD: dict[str, Any] = json.loads(
    (pathlib.Path(__file__).parents[2] / "data" / "tensorflow" / "statefile" / "expected.json").read_text("utf-8")
)
CASES = {case["name"]: case for case in RECORD["cases"]}


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder in the working directory with empty files in place of the recorded checkpoints."""
    monkeypatch.chdir(tmp_path)
    recorded = tmp_path / RECORD["folder"]
    for name in (*(f"{prefix}.index" for prefix in RECORD["v2_prefixes"]), *RECORD["v1_files"]):
        path = recorded / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return recorded


def call(function: Any, argument: str, folder: pathlib.Path, *more: str) -> Any:
    """Return the result or the error of a function in the form of the record, with the path of the folder replaced."""
    try:
        result = function(argument, *more)
    except Exception as error:
        return {"raises": type(error).__name__, "message": str(error)}
    if result is None or isinstance(result, str):
        return None if result is None else result.replace(str(folder), "{folder}")
    return {
        "model_checkpoint_path": result.model_checkpoint_path.replace(str(folder), "{folder}"),
        "all_model_checkpoint_paths": [
            path.replace(str(folder), "{folder}") for path in result.all_model_checkpoint_paths
        ],
        "all_model_checkpoint_timestamps": [repr(time) for time in result.all_model_checkpoint_timestamps],
        "last_preserved_timestamp": repr(result.last_preserved_timestamp),
    }


def call_both(argument: str, folder: pathlib.Path, *more: str) -> dict[str, Any]:
    """Return the results of both functions."""
    return {
        "latest_checkpoint": call(train.latest_checkpoint, argument, folder, *more),
        "get_checkpoint_state": call(train.get_checkpoint_state, argument, folder, *more),
    }


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")  # protobuf's parser, one case
@pytest.mark.parametrize("name", CASES)
def test_state_file_is_read_as_tensorflow_reads_it(name: str, folder: pathlib.Path) -> None:
    """Paths, lists, timestamps, None for a file that does not parse, and errors."""
    if name == "number_octal" and int(google.protobuf.__version__.split(".")[0]) < 6:
        pytest.skip("protobuf before 6 reads octal numbers in text")
    case = CASES[name]
    text: str = case["text"].replace("{folder}", str(folder))
    (folder / "checkpoint").write_bytes(text.encode("utf-8", "surrogateescape"))

    assert call_both("folder", folder) == {key: case[key] for key in ("latest_checkpoint", "get_checkpoint_state")}


def test_there_is_no_latest_checkpoint_without_a_state_file(folder: pathlib.Path) -> None:
    """The same is true for a missing folder and for a file."""
    assert call_both("folder", folder) == RECORD["others"]["no_state_file"]
    assert call_both("nowhere", folder) == RECORD["others"]["no_folder"]
    assert call_both("folder/old-5", folder) == RECORD["others"]["a_file"]


def test_state_file_may_have_another_name(folder: pathlib.Path) -> None:
    """An empty name finds no file, and a trailing slash of the folder is not doubled."""
    text = 'model_checkpoint_path: "ckpt-2"\n'
    (folder / "state").write_text(text, encoding="ascii")

    assert call_both("folder", folder, "state") == RECORD["others"]["other_name"]
    assert call_both("folder", folder, "") == RECORD["others"]["empty_name"]

    (folder / "checkpoint").write_text(text, encoding="ascii")

    assert call_both("folder/", folder) == RECORD["others"]["trailing_slash"]


def test_problem_with_a_state_file_is_logged(folder: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says why the result is None."""
    (folder / "checkpoint").write_text('model_checkpoint_path: "gone-7"\n', encoding="ascii")
    assert train.latest_checkpoint("folder") is None
    (folder / "checkpoint").write_text("colour: 1\n", encoding="ascii")
    assert train.latest_checkpoint("folder") is None

    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "folder/gone-7" in caplog.messages[0]
    assert "folder/checkpoint" in caplog.messages[1]
