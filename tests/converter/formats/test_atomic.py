"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import pathlib

import pytest

from converter.errors import ExportError
from converter.formats.files import atomic_file


def names(folder: pathlib.Path) -> list[str]:
    """List a folder, hidden files included."""
    return sorted(os.listdir(folder))


def test_file_appears_when_the_block_ends(tmp_path: pathlib.Path) -> None:
    """Until then nothing stands under its name."""
    path = tmp_path / "out"

    with atomic_file(path) as file:
        file.write(b"whole")
        assert not path.exists()

    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)], ids=lambda e: type(e).__name__
)
def test_failure_leaves_nothing_behind(tmp_path: pathlib.Path, error: BaseException) -> None:
    """Whatever ends the block early, the folder is as it was and the exception goes on unchanged."""
    with pytest.raises(type(error)) as caught, atomic_file(tmp_path / "out") as file:
        file.write(b"half")
        raise error

    assert caught.value is error
    assert names(tmp_path) == []


def test_failure_leaves_the_old_file_in_place(tmp_path: pathlib.Path) -> None:
    """Overwriting replaces a file by a whole one or not at all."""
    path = tmp_path / "out"
    path.write_bytes(b"old")

    with pytest.raises(ValueError, match="bad"), atomic_file(path, force=True) as file:
        file.write(b"new")
        raise ValueError("bad")
    assert path.read_bytes() == b"old"

    with atomic_file(path, force=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["out"]


def test_full_disk_is_one_clear_error(tmp_path: pathlib.Path) -> None:
    """An error of the operating system is an ExportError with its reason and the path, and nothing is left."""
    path = tmp_path / "out"

    with pytest.raises(ExportError) as caught, atomic_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert str(caught.value) == f"cannot write the output (No space left on device): {path}"
    assert names(tmp_path) == []


def test_existing_file_is_not_overwritten(tmp_path: pathlib.Path) -> None:
    """Without force the old file stays, and the error says how to overwrite it."""
    path = tmp_path / "out"
    path.write_bytes(b"old")

    with pytest.raises(ExportError, match="exists already, and is only overwritten with --force"), atomic_file(path):
        pytest.fail("the block must not be entered")

    assert path.read_bytes() == b"old"


def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path: pathlib.Path) -> None:
    """Somebody else's file of the same name wins."""
    path = tmp_path / "out"

    with pytest.raises(ExportError, match="exists already"), atomic_file(path) as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")

    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["out"]


def test_missing_folder_is_one_clear_error(tmp_path: pathlib.Path) -> None:
    """A folder is not made on the way; when it is there the file is written."""
    path = tmp_path / "folder" / "out"

    with pytest.raises(ExportError, match=r"the folder .*folder does not exist"), atomic_file(path):
        pytest.fail("the block must not be entered")

    path.parent.mkdir()
    with atomic_file(path) as file:
        file.write(b"")
    assert path.exists()


def test_folder_in_the_way_is_one_clear_error(tmp_path: pathlib.Path) -> None:
    """A folder is not a file to overwrite, with force or without."""
    for force in (False, True):
        with pytest.raises(ExportError, match="is a folder"), atomic_file(tmp_path, force=force):
            pytest.fail("the block must not be entered")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_one_clear_error(tmp_path: pathlib.Path) -> None:
    """A folder that may not be written is an ExportError too."""
    tmp_path.chmod(0o500)

    with pytest.raises(ExportError, match="Permission denied"), atomic_file(tmp_path / "out"):
        pytest.fail("the block must not be entered")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_file_has_usual_permissions(tmp_path: pathlib.Path) -> None:
    """An output can be read by whom other files here can be read by."""
    usual = tmp_path / "usual"
    usual.touch()

    with atomic_file(tmp_path / "out"):
        pass

    assert (tmp_path / "out").stat().st_mode == usual.stat().st_mode
