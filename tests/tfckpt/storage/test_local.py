"""Local files: mapped and read, open_data and closed, truncated and missing."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from tfckpt._typing import ByteSource
from tfckpt.errors import CheckpointError, CheckpointNotFoundError, StorageError, TruncatedError
from tfckpt.storage.local import LocalStorage

KINDS = {"mapped": True, "read": False}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def storage(request: pytest.FixtureRequest) -> LocalStorage:
    """The storage with mapped files, and with files that are read."""
    return LocalStorage(mmap=request.param)


Opener = Callable[[bytes], ByteSource]


@pytest.fixture
def open_data(storage: LocalStorage, tmp_path: pathlib.Path) -> Iterator[Opener]:
    """A function that opens a file `data` with these bytes."""
    sources = []

    def open_file(data: bytes) -> ByteSource:
        (tmp_path / "data").write_bytes(data)
        sources.append(storage.open(str(tmp_path / "data")))
        return sources[-1]

    yield open_file
    for source in sources:
        source.close()


def test_file_has_a_name_a_size_and_bytes(open_data: Opener, tmp_path: pathlib.Path) -> None:
    """Reading returns a read-only view of bytes."""
    source = open_data(b"0123456789")

    view = source.read(2, 3)

    assert (source.name, source.size) == (str(tmp_path / "data"), 10)
    assert (bytes(view), view.readonly, view.format, view.contiguous) == (b"234", True, "B", True)
    assert bytes(source.read(0, 10)) == b"0123456789"
    assert bytes(source.read(10, 0)) == b""


def test_empty_file_has_no_bytes(open_data: Opener) -> None:
    """An empty file cannot be mapped, but it can be open_data."""
    source = open_data(b"")

    assert source.size == 0
    assert bytes(source.read(0, 0)) == b""
    with pytest.raises(TruncatedError):
        source.read(0, 1)


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (10, 1), (11, 0), (1 << 62, 1 << 62)])
def test_reading_past_the_end_reports_the_available_bytes(open_data: Opener, offset: int, length: int) -> None:
    """Nothing is allocated for bytes that do not exist."""
    with pytest.raises(TruncatedError) as caught:
        open_data(b"0123456789").read(offset, length)

    assert (caught.value.needed, caught.value.available) == (length, max(10 - offset, 0))
    assert caught.value.offset == offset


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1)])
def test_negative_offset_or_length_is_misuse(open_data: Opener, offset: int, length: int) -> None:
    """A Python slice would count from the end."""
    with pytest.raises(ValueError, match="negative") as caught:
        open_data(b"0123456789").read(offset, length)

    assert not isinstance(caught.value, CheckpointError)


def test_views_stay_valid_after_close_but_reading_fails(open_data: Opener) -> None:
    """Closing twice is harmless."""
    source = open_data(b"0123456789")
    view = source.read(0, 10)

    source.close()
    source.close()

    assert bytes(view) == b"0123456789"
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)


def test_truncated_file_raises_for_the_missing_bytes(open_data: Opener, tmp_path: pathlib.Path) -> None:
    """Every read compares the current size; the remaining bytes can still be read."""
    source = open_data(b"x" * 20_000)
    assert len(source.read(0, 20_000)) == 20_000

    os.truncate(tmp_path / "data", 100)

    assert bytes(source.read(0, 100)) == b"x" * 100
    with pytest.raises(TruncatedError) as caught:
        source.read(0, 20_000)
    assert caught.value.available == 100


def test_file_that_grew_keeps_its_size_when_opened(open_data: Opener, tmp_path: pathlib.Path) -> None:
    """Bytes appended later are not part of the open_data file."""
    source = open_data(b"0123456789")
    with (tmp_path / "data").open("ab") as file:
        file.write(b"more")

    assert source.size == 10
    with pytest.raises(TruncatedError):
        source.read(8, 4)


def test_removed_file_can_still_be_read(open_data: Opener, tmp_path: pathlib.Path) -> None:
    """The file stays open."""
    source = open_data(b"0123456789")
    (tmp_path / "data").unlink()

    assert bytes(source.read(0, 10)) == b"0123456789"


@pytest.mark.parametrize("path", ["absent", "absent/below", "data/below"])
def test_missing_file_is_not_found(storage: LocalStorage, tmp_path: pathlib.Path, path: str) -> None:
    """This includes a path below a file, for which the system has a different error."""
    (tmp_path / "data").touch()

    with pytest.raises(CheckpointNotFoundError) as caught:
        storage.open(str(tmp_path / path))

    assert caught.value.path == str(tmp_path / path)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=["zero byte", "surrogate"])
def test_path_that_no_file_can_have_does_not_exist(storage: LocalStorage, path: str) -> None:
    """Python raises ValueError for such paths; the storage reports that they do not exist."""
    assert not storage.is_file(path)
    assert not storage.is_folder(path)
    assert storage.list(path) == []
    with pytest.raises((CheckpointNotFoundError, StorageError)):
        storage.open(path)


def test_folder_cannot_be_opened(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """The cause is the system's error."""
    with pytest.raises(StorageError) as caught:
        storage.open(str(tmp_path))

    assert caught.value.path == str(tmp_path)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_a_storage_error(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """The file exists, so it is not reported as missing."""
    (tmp_path / "secret").touch(mode=0o000)

    with pytest.raises(StorageError) as caught:
        storage.open(str(tmp_path / "secret"))

    assert caught.value.path == str(tmp_path / "secret")


def test_storage_distinguishes_files_and_folders(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """Links count as their targets; a dangling link is neither."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "to file").symlink_to(tmp_path / "file")
    (tmp_path / "to folder").symlink_to(tmp_path / "folder")
    (tmp_path / "to nothing").symlink_to(tmp_path / "nothing")

    kinds = {
        name: (storage.is_file(str(tmp_path / name)), storage.is_folder(str(tmp_path / name)))
        for name in storage.list(str(tmp_path))
    }

    assert kinds == {
        "file": (True, False),
        "folder": (False, True),
        "to file": (True, False),
        "to folder": (False, True),
        "to nothing": (False, False),
    }


def test_listing_something_else_than_a_folder_is_empty(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """A file and a missing folder have no names."""
    (tmp_path / "file").touch()

    assert storage.list(str(tmp_path / "file")) == []
    assert storage.list(str(tmp_path / "nothing")) == []


def test_pipe_is_not_a_file(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """Opening a pipe would wait for a writer forever."""
    os.mkfifo(tmp_path / "pipe")

    assert not storage.is_file(str(tmp_path / "pipe"))
