"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import pathlib

import pytest

from tfckpt.errors import CheckpointExistsError, WriteError
from tfckpt.files.atomic import PendingFile, atomic_file


def test_atomic_file_gets_its_name_when_it_is_complete(tmp_path: pathlib.Path) -> None:
    """While it is written, a temporary file is next to the old one."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with atomic_file(path, overwrite=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_atomic_file_leaves_nothing_after_an_exception(kind: type[BaseException], tmp_path: pathlib.Path) -> None:
    """There is neither the file nor a temporary one; the exception passes unchanged."""
    with pytest.raises(kind), atomic_file(tmp_path / "file") as file:
        file.write(b"half")
        raise kind

    assert list(tmp_path.iterdir()) == []


def test_atomic_file_overwrites_only_on_request(tmp_path: pathlib.Path) -> None:
    """The error is also a FileExistsError."""
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(CheckpointExistsError) as caught, atomic_file(tmp_path / "file"):
        pass

    assert isinstance(caught.value, FileExistsError)
    assert caught.value.path == str(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"
    with atomic_file(tmp_path / "other"):
        pass


def test_file_created_meanwhile_is_not_replaced(tmp_path: pathlib.Path) -> None:
    """A file that another program writes under the name in the meantime stays."""
    with pytest.raises(CheckpointExistsError), atomic_file(tmp_path / "file"):
        (tmp_path / "file").write_bytes(b"other")

    assert (tmp_path / "file").read_bytes() == b"other"
    assert len(list(tmp_path.iterdir())) == 1


def test_atomic_file_needs_an_existing_folder(tmp_path: pathlib.Path) -> None:
    """Folders are never created, and a folder with the file's name is an error too."""
    for path in (tmp_path / "no" / "file", tmp_path):
        with pytest.raises(WriteError) as caught, atomic_file(path, overwrite=True):
            pass
        assert caught.value.path == str(path)


def test_full_disk_is_a_write_error_and_leaves_nothing(tmp_path: pathlib.Path, small_disk: int) -> None:
    """A file of exactly the size that fits is written."""
    with (
        pytest.raises(WriteError) as caught,
        atomic_file(tmp_path / "file") as file,
    ):
        file.write(bytes(small_disk + 1))
    assert caught.value.path == str(tmp_path / "file")
    assert isinstance(caught.value.__cause__, OSError)
    assert list(tmp_path.iterdir()) == []

    with atomic_file(tmp_path / "file") as file:
        file.write(bytes(small_disk))


def test_pending_file_has_default_permissions(tmp_path: pathlib.Path) -> None:
    """They are the same as for `open`."""
    (tmp_path / "usual").write_bytes(b"")

    with PendingFile(tmp_path / "file") as pending:
        pending.commit()

    assert os.stat(tmp_path / "file").st_mode == os.stat(tmp_path / "usual").st_mode


def test_pending_file_without_commit_is_removed(tmp_path: pathlib.Path) -> None:
    """Discarding twice, or after the commit, is harmless."""
    pending = PendingFile(tmp_path / "file")
    pending.file.write(b"x")
    pending.discard()
    pending.discard()
    assert list(tmp_path.iterdir()) == []

    with PendingFile(tmp_path / "file") as pending:
        pending.commit()
    pending.discard()
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(("durable", "syncs"), [(True, 1), (False, 0)])
def test_only_a_durable_file_waits_for_the_disk(
    durable: bool, syncs: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both get their name only after every byte was passed to the system."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)

    with PendingFile(tmp_path / "file", durable=durable) as pending:
        pending.file.write(b"x")
        pending.commit()

    assert len(calls) == syncs
    assert (tmp_path / "file").read_bytes() == b"x"


def test_name_of_maximum_length_can_be_written(tmp_path: pathlib.Path) -> None:
    """The temporary name is cut to the same length."""
    with atomic_file(tmp_path / ("n" * 255)) as file:
        file.write(b"x")

    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"
