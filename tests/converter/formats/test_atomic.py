"""Files that appear completely or not at all."""

from __future__ import annotations

import errno
import os
import pathlib

import pytest

from converter.errors import ExportError
from converter.formats.files import atomic_file


def list_names(folder: pathlib.Path) -> list[str]:
    """Return the names in a folder, with hidden files."""
    return sorted(os.listdir(folder))


def test_file_appears_at_the_end_of_the_block(tmp_path: pathlib.Path) -> None:
    """The file does not exist under its name before."""
    path = tmp_path / "out"

    with atomic_file(path) as file:
        file.write(b"whole")
        assert not path.exists()

    assert path.read_bytes() == b"whole"
    assert list_names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)], ids=lambda e: type(e).__name__
)
def test_failure_leaves_nothing_behind(tmp_path: pathlib.Path, error: BaseException) -> None:
    """After any exception the folder is unchanged, and the exception propagates."""
    with pytest.raises(type(error)) as caught, atomic_file(tmp_path / "out") as file:
        file.write(b"half")
        raise error

    assert caught.value is error
    assert list_names(tmp_path) == []


def test_failure_keeps_the_old_file(tmp_path: pathlib.Path) -> None:
    """An existing file is replaced by a complete one or not at all."""
    path = tmp_path / "out"
    path.write_bytes(b"old")

    with pytest.raises(ValueError, match="bad"), atomic_file(path, force=True) as file:
        file.write(b"new")
        raise ValueError("bad")
    assert path.read_bytes() == b"old"

    with atomic_file(path, force=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert list_names(tmp_path) == ["out"]


def test_full_disk_is_an_export_error(tmp_path: pathlib.Path) -> None:
    """An error of the operating system becomes the cause of an `ExportError` with the path, and no file is left."""
    path = tmp_path / "out"

    with pytest.raises(ExportError) as caught, atomic_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert caught.value.path == str(path)
    assert isinstance(caught.value.__cause__, OSError)
    assert list_names(tmp_path) == []


def test_existing_file_is_not_overwritten(tmp_path: pathlib.Path) -> None:
    """Without force the old file is kept, and the error names the option that overwrites it."""
    path = tmp_path / "out"
    path.write_bytes(b"old")

    with pytest.raises(ExportError, match="--force") as caught, atomic_file(path):
        pytest.fail("the block must not be entered")

    assert caught.value.path == str(path)
    assert path.read_bytes() == b"old"


def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path: pathlib.Path) -> None:
    """A file that another program creates in the meantime is kept."""
    path = tmp_path / "out"

    with pytest.raises(ExportError), atomic_file(path) as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")

    assert path.read_bytes() == b"theirs"
    assert list_names(tmp_path) == ["out"]


def test_missing_folder_is_an_export_error(tmp_path: pathlib.Path) -> None:
    """The folder is not created; if it exists, the file is written."""
    path = tmp_path / "folder" / "out"

    with pytest.raises(ExportError) as caught, atomic_file(path):
        pytest.fail("the block must not be entered")

    assert caught.value.path == str(path)
    path.parent.mkdir()
    with atomic_file(path) as file:
        file.write(b"")
    assert path.exists()


def test_folder_is_not_overwritten_by_a_file(tmp_path: pathlib.Path) -> None:
    """A folder is refused with force and without."""
    for force in (False, True):
        with pytest.raises(ExportError), atomic_file(tmp_path, force=force):
            pytest.fail("the block must not be entered")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_an_export_error(tmp_path: pathlib.Path) -> None:
    """A read-only folder is an `ExportError` too."""
    tmp_path.chmod(0o500)

    with pytest.raises(ExportError), atomic_file(tmp_path / "out"):
        pytest.fail("the block must not be entered")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_file_has_usual_permissions(tmp_path: pathlib.Path) -> None:
    """An output has the permissions of any other new file."""
    usual = tmp_path / "usual"
    usual.touch()

    with atomic_file(tmp_path / "out"):
        pass

    assert (tmp_path / "out").stat().st_mode == usual.stat().st_mode
