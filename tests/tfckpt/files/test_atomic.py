"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import pathlib

import pytest

from tfckpt.errors import CheckpointExistsError, WriteError
from tfckpt.files.atomic import PendingFile, atomic_file


def test_atomic_file_has_its_name_only_when_it_is_whole(tmp_path: pathlib.Path) -> None:
    """While it is written, a temporary name stands beside the old file."""
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
    """Neither the file nor a temporary one; the exception passes as it is."""
    with pytest.raises(kind), atomic_file(tmp_path / "file") as file:
        file.write(b"half")
        raise kind

    assert list(tmp_path.iterdir()) == []


def test_atomic_file_is_written_over_only_on_request(tmp_path: pathlib.Path) -> None:
    """The error is Python's FileExistsError too."""
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(CheckpointExistsError, match="exists already") as caught, atomic_file(tmp_path / "file"):
        pass

    assert isinstance(caught.value, FileExistsError)
    assert (tmp_path / "file").read_bytes() == b"old"
    with atomic_file(tmp_path / "other"):
        pass


def test_file_that_appears_meanwhile_is_not_replaced(tmp_path: pathlib.Path) -> None:
    """What another program wrote under the name while we were at it stays."""
    with pytest.raises(CheckpointExistsError), atomic_file(tmp_path / "file"):
        (tmp_path / "file").write_bytes(b"other")

    assert (tmp_path / "file").read_bytes() == b"other"
    assert len(list(tmp_path.iterdir())) == 1


def test_atomic_file_needs_its_folder(tmp_path: pathlib.Path) -> None:
    """A folder is never made; one in the file's place is an error too."""
    with pytest.raises(WriteError, match="there is no folder"), atomic_file(tmp_path / "no" / "file"):
        pass
    with pytest.raises(WriteError, match="a folder stands here"), atomic_file(tmp_path, overwrite=True):
        pass


def test_full_disk_is_a_write_error_and_leaves_nothing(tmp_path: pathlib.Path, small_disk: int) -> None:
    """A file of just the size that fits is written."""
    with (
        pytest.raises(WriteError, match=r"file: cannot write the file: File too large"),
        atomic_file(tmp_path / "file") as file,
    ):
        file.write(bytes(small_disk + 1))
    assert list(tmp_path.iterdir()) == []

    with atomic_file(tmp_path / "file") as file:
        file.write(bytes(small_disk))


def test_pending_file_has_the_usual_permissions(tmp_path: pathlib.Path) -> None:
    """They are those that `open` gives."""
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
    """Both get their name only when every byte was handed to the system."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)

    with PendingFile(tmp_path / "file", durable=durable) as pending:
        pending.file.write(b"x")
        pending.commit()

    assert len(calls) == syncs
    assert (tmp_path / "file").read_bytes() == b"x"


def test_name_of_full_length_can_be_written(tmp_path: pathlib.Path) -> None:
    """The temporary name is cut to the length a name may have."""
    with atomic_file(tmp_path / ("n" * 255)) as file:
        file.write(b"x")

    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"
