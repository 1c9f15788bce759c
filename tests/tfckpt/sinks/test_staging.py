"""Outputs that are written locally first, and then uploaded."""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np
import pytest

import tfckpt
import tfckpt.cli
from tests.tfckpt.jobs.helpers import counting_store
from tfckpt.errors import CheckpointExistsError
from tfckpt.sinks.staging import staged


@pytest.fixture(autouse=True)
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An own folder for temporary files, to see that nothing stays."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_local_output_is_written_where_it_is(tmp_path: pathlib.Path) -> None:
    """Without a copy."""
    with staged(tmp_path / "x", overwrite=False) as local:
        assert local == str(tmp_path / "x")


def test_nothing_is_uploaded_after_an_error(temporary: pathlib.Path) -> None:
    """And nothing stays on the disk."""
    with counting_store() as store:
        with pytest.raises(ZeroDivisionError), staged("counted://bucket/out/x", overwrite=False) as local:
            pathlib.Path(local).write_bytes(b"begun")
            raise ZeroDivisionError
        assert store.list("bucket/out") == []
    assert list(temporary.iterdir()) == []


def test_what_is_there_is_not_overwritten_unasked() -> None:
    """Neither an object nor a folder of objects."""
    with counting_store() as store:
        store.files.pipe_file("/bucket/x", b"1")
        store.files.pipe_file("/bucket/folder/y", b"1")
        for name in ("x", "folder"):
            with pytest.raises(CheckpointExistsError), staged(f"counted://bucket/{name}", overwrite=False):
                pass
        with staged("counted://bucket/x", overwrite=True) as local:
            pathlib.Path(local).write_bytes(b"2")
        assert store.get("bucket/x") == b"2"


def test_a_folder_is_uploaded_with_its_index_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the names; an old index is removed before anything is replaced."""
    uploaded: list[str] = []
    with counting_store() as store:
        store.files.pipe_file("/bucket/out/model.safetensors.index.json", b"old")
        move = type(store.files).mv

        def note(files: object, path1: str, path2: str, **options: object) -> None:
            uploaded.append(os.path.basename(path2))
            there = "model.safetensors.index.json" in store.list("bucket/out")
            assert not there or len(uploaded) > 3
            move(files, path1, path2, **options)

        monkeypatch.setattr(type(store.files), "mv", note)
        with staged("counted://bucket/out", overwrite=True) as local:
            os.mkdir(local)
            for name in ("model.safetensors.index.json", "z.safetensors", "config.json"):
                (pathlib.Path(local) / name).write_bytes(b"new")

    assert uploaded == ["config.json", "z.safetensors", "model.safetensors.index.json"]


def test_a_checkpoint_is_copied_to_object_storage(tmp_path: pathlib.Path, temporary: pathlib.Path) -> None:
    """Byte for byte as to a folder."""
    source = tfckpt.save({"a": np.arange(6.0), "b": np.ones(3)}, tmp_path / "m", shards=2)
    with counting_store() as store:
        assert tfckpt.cli.main(["cp", str(source), "counted://bucket/new/m"]) == 0
        assert tfckpt.cli.main(["cp", str(source), "counted://bucket/new/m"]) == 2
        assert tfckpt.cli.main(["cp", str(source), "counted://bucket/new/m", "--state", "new"]) == 2
        names = store.list("bucket/new")
        assert tfckpt.cli.main(["cp", str(source), str(tmp_path / "local")]) == 0
        for name in names:
            assert store.get(f"bucket/new/{name}") == (tmp_path / name.replace("m.", "local.", 1)).read_bytes()
        with tfckpt.open("counted://bucket/new/m") as checkpoint:
            assert tfckpt.verify(checkpoint).ok

    assert len(names) == 3
    assert list(temporary.iterdir()) == []
