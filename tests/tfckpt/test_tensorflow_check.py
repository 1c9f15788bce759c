"""Files that real TensorFlow loaded correctly are still written byte for byte."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.tensorflow_check import write

RECORDED = pathlib.Path(write.__file__).with_name("recorded.json")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The checkpoints of the check as written today: prefix to the checksums of its files."""
    pytest.importorskip("torch", reason="one of the checkpoints is converted from PyTorch")
    folder = tmp_path_factory.mktemp("written")
    write.main(folder)
    cases = json.loads((folder / "manifest.json").read_text())["cases"]
    return {case["prefix"]: case["files"] for case in cases}


CASES = json.loads(RECORDED.read_text())["cases"]


@pytest.mark.parametrize("prefix", CASES)
def test_files_that_tensorflow_loaded_are_written_again(prefix: str, manifest: dict[str, dict[str, str]]) -> None:
    """The recorded checksums are those of files from which TensorFlow restored every value and object.

    If the bytes have to change, `make tensorflow-check` with RECORD=1 checks and records them with TensorFlow.
    """
    assert manifest[prefix] == CASES[prefix]["files"]


def test_every_checkpoint_of_the_check_is_recorded(manifest: dict[str, dict[str, str]]) -> None:
    """Record a new one with RECORD=1."""
    assert list(manifest) == list(CASES)
