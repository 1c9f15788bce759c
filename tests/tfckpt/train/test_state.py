"""`tfckpt.train` makes of state files of every spelling what TensorFlow makes of them."""

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
    """A folder with the checkpoints that stood there, below the working directory; they need not hold anything."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / RECORD["folder"]
    for name in (*(f"{prefix}.index" for prefix in RECORD["v2_prefixes"]), *RECORD["v1_files"]):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return place


def answer(function: Any, folder: str, here: pathlib.Path, *more: str) -> Any:
    """What a function gives, or the class and message of what it raises, with the folder's own path replaced."""
    try:
        given = function(folder, *more)
    except Exception as error:
        return {"raises": type(error).__name__, "message": str(error)}
    if given is None or isinstance(given, str):
        return None if given is None else given.replace(str(here), "{folder}")
    return {
        "model_checkpoint_path": given.model_checkpoint_path.replace(str(here), "{folder}"),
        "all_model_checkpoint_paths": [
            path.replace(str(here), "{folder}") for path in given.all_model_checkpoint_paths
        ],
        "all_model_checkpoint_timestamps": [repr(time) for time in given.all_model_checkpoint_timestamps],
        "last_preserved_timestamp": repr(given.last_preserved_timestamp),
    }


def answers(folder: str, here: pathlib.Path, *more: str) -> dict[str, Any]:
    """Both functions' answers."""
    return {
        "latest_checkpoint": answer(train.latest_checkpoint, folder, here, *more),
        "get_checkpoint_state": answer(train.get_checkpoint_state, folder, here, *more),
    }


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")  # protobuf's parser, one case
@pytest.mark.parametrize("name", CASES)
def test_state_file_means_what_it_means_to_tensorflow(name: str, folder: pathlib.Path) -> None:
    """Paths, lists, timestamps, None for what does not parse, and errors."""
    if name == "number_octal" and int(google.protobuf.__version__.split(".")[0]) < 6:
        pytest.skip("protobuf before 6 reads octal numbers in text")
    case = CASES[name]
    text: str = case["text"].replace("{folder}", str(folder))
    (folder / "checkpoint").write_bytes(text.encode("utf-8", "surrogateescape"))

    assert answers("folder", folder) == {key: case[key] for key in ("latest_checkpoint", "get_checkpoint_state")}


def test_without_a_state_file_there_is_no_latest_checkpoint(folder: pathlib.Path) -> None:
    """Whatever stands in the folder; nor is there one in a folder that is none."""
    assert answers("folder", folder) == RECORD["others"]["no_state_file"]
    assert answers("nowhere", folder) == RECORD["others"]["no_folder"]
    assert answers("folder/old-5", folder) == RECORD["others"]["a_file"]


def test_state_file_of_another_name_and_a_folder_with_a_slash(folder: pathlib.Path) -> None:
    """The name is asked for; the slash is not doubled. An empty name is that of no file."""
    text = 'model_checkpoint_path: "ckpt-2"\n'
    (folder / "state").write_text(text, encoding="ascii")

    assert answers("folder", folder, "state") == RECORD["others"]["other_name"]
    assert answers("folder", folder, "") == RECORD["others"]["empty_name"]

    (folder / "checkpoint").write_text(text, encoding="ascii")

    assert answers("folder/", folder) == RECORD["others"]["trailing_slash"]


def test_what_is_wrong_with_a_state_file_goes_to_the_log(
    folder: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None alone would not say why."""
    (folder / "checkpoint").write_text('model_checkpoint_path: "gone-7"\n', encoding="ascii")
    assert train.latest_checkpoint("folder") is None
    (folder / "checkpoint").write_text("colour: 1\n", encoding="ascii")
    assert train.latest_checkpoint("folder") is None

    assert "no files match the checkpoint that the state file names: folder/gone-7" in caplog.text
    assert "checkpoint ignored: folder/checkpoint: does not parse as CheckpointState" in caplog.text
