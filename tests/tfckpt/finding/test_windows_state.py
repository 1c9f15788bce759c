"""State files that were written or edited on Windows, next to their checkpoints."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

import tfckpt
from tests import builders
from tests.contracts.places import zip_of
from tfckpt.checks.diagnosis import diagnose
from tfckpt.cli import main
from tfckpt.finding.state_file import read_state
from tfckpt.storage.local import LocalStorage

BUNDLE = builders.Bundle().add("t", builders.FLOAT, [1], b"\0\0\x80?")
FILES = {"model-100.index": BUNDLE.index(), "model-100.data-00000-of-00001": bytes(BUNDLE.shards[0])}
ESCAPED = rb'model_checkpoint_path: "C:\\Users\\me\\train\\model-100"' + b"\r\n"
RAW = rb'model_checkpoint_path: "C:\Users\me\train\model-100"' + b"\r\n"


def write_files(folder: Path, state: bytes) -> Path:
    """Write a checkpoint, another one that is newer by its name, and the state file."""
    folder.mkdir(exist_ok=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
        (folder / name.replace("100", "200")).write_bytes(data)
    (folder / "checkpoint").write_bytes(state)
    return folder


@pytest.mark.parametrize(
    ("state", "named"),
    [
        (ESCAPED, "C:\\Users\\me\\train\\model-100"),
        (RAW, "C:\\Users\\me\\train\\model-100"),
        (rb'model_checkpoint_path: "\\\\server\\share\\model-100"', "\\\\server\\share\\model-100"),
        (rb'model_checkpoint_path: "\\server\share\model-100"', "\\\\server\\share\\model-100"),
        (rb"model_checkpoint_path: 'D:\new\table\model-100'", "D:\\new\\table\\model-100"),
        (rb'model_checkpoint_path: "train\model-100"', "train\\model-100"),
        (codecs.BOM_UTF8 + b'model_checkpoint_path: "model-100"\r\n', "model-100"),
        ('\ufeffmodel_checkpoint_path: "model-100"\r\n'.encode("utf-16-le"), "model-100"),
        ('\ufeffmodel_checkpoint_path: "C:\\train\\model-100"'.encode("utf-16-be"), "C:\\train\\model-100"),
    ],
)
def test_state_of_windows_finds_the_checkpoint_next_to_it(tmp_path: Path, state: bytes, named: str) -> None:
    """The last name counts, as for a POSIX path that does not exist; a note says so."""
    folder = write_files(tmp_path, state)

    record = read_state(LocalStorage(), str(folder))
    assert record is not None
    assert record.model_checkpoint_path == named
    assert tfckpt.latest_checkpoint(folder) == str(folder / "model-100")
    with tfckpt.open(folder) as checkpoint:
        assert checkpoint.prefix == str(folder / "model-100")
        assert len(checkpoint.notes) == (named != "model-100")
        assert all(f"names {named}," in note for note in checkpoint.notes)
    diagnosis = diagnose(folder)
    assert diagnosis.error is None
    assert [finding.level for finding in diagnosis.findings if finding.what == "state file"] == ["ok"]


def test_relative_path_of_windows_leads_into_a_subfolder(tmp_path: Path) -> None:
    """Its backslashes separate folders."""
    write_files(tmp_path / "runs", b"")
    (tmp_path / "checkpoint").write_bytes(rb'model_checkpoint_path: "runs\\model-100"')

    assert tfckpt.latest_checkpoint(tmp_path) == str(tmp_path / "runs" / "model-100")


def test_name_with_a_backslash_comes_first(tmp_path: Path) -> None:
    """On POSIX systems a backslash may be a part of a name."""
    write_files(tmp_path, rb'model_checkpoint_path: "a\\model-100"')
    for name, data in FILES.items():
        (tmp_path / f"a\\{name}").write_bytes(data)

    assert tfckpt.latest_checkpoint(tmp_path) == str(tmp_path / "a\\model-100")


def test_escapes_of_a_posix_path_are_still_decoded(tmp_path: Path) -> None:
    """TensorFlow escapes characters that are not ASCII."""
    (tmp_path / "checkpoint").write_bytes(rb'model_checkpoint_path: "/a/mod\303\250le"')

    state = read_state(LocalStorage(), str(tmp_path))

    assert state is not None
    assert state.model_checkpoint_path == "/a/modèle"


@pytest.mark.parametrize("state", [b'model_checkpoint_path: "a', rb'model_checkpoint_path: "C:\gone"', b"\xff\xff"])
def test_advice_is_about_the_state_file(tmp_path: Path, state: bytes) -> None:
    """Downloading anything again would not help."""
    folder = write_files(tmp_path, state)

    diagnosis = diagnose(folder)

    assert diagnosis.error is not None
    assert diagnosis.error.path == str(folder / "checkpoint")
    assert diagnosis.findings[0].advice.count("correct the state file") == 1


def test_saved_model_in_a_zip_of_windows_has_its_graph(tmp_path: Path) -> None:
    """Some archivers write backslashes, and entries for folders that end in one."""
    source = Path(__file__).parents[2] / "data" / "tensorflow" / "savedmodel-tf2"
    files = {
        f"model\\{path.relative_to(source)}".replace("/", "\\"): path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_file()
    }
    archive = tmp_path / "model.zip"
    archive.write_bytes(zip_of({"model\\": b"", "model\\variables\\": b"", **files}))

    with tfckpt.open(archive) as checkpoint, tfckpt.open(source) as expected:
        assert checkpoint.prefix == f"{archive}!model/variables/variables"
        assert checkpoint.graph is not None
        assert expected.graph is not None
        assert len(checkpoint.graph) == len(expected.graph)
        assert dict(checkpoint.signatures) == dict(expected.signatures)
    assert main(["graph", f"{archive}!model"]) == 0
