"""Files of this machine: mapped and read, opened and closed, cut short and missing."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from tfckpt._typing import ByteSource
from tfckpt.errors import CheckpointNotFoundError, StorageError, TruncatedError
from tfckpt.storage.local import LocalStorage

KINDS = {"mapped": True, "read": False}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def storage(request: pytest.FixtureRequest) -> LocalStorage:
    """The storage, with mapped files and with files that are read."""
    return LocalStorage(mmap=request.param)


Opener = Callable[[bytes], ByteSource]


@pytest.fixture
def opened(storage: LocalStorage, tmp_path: pathlib.Path) -> Iterator[Opener]:
    """Open a file `data` of these bytes."""
    sources = []

    def open_file(data: bytes) -> ByteSource:
        (tmp_path / "data").write_bytes(data)
        sources.append(storage.open(str(tmp_path / "data")))
        return sources[-1]

    yield open_file
    for source in sources:
        source.close()


def test_file_gives_its_name_size_and_bytes(opened: Opener, tmp_path: pathlib.Path) -> None:
    """As a read-only view of bytes."""
    source = opened(b"0123456789")

    view = source.read(2, 3)

    assert (source.name, source.size) == (str(tmp_path / "data"), 10)
    assert (bytes(view), view.readonly, view.format, view.contiguous) == (b"234", True, "B", True)
    assert bytes(source.read(0, 10)) == b"0123456789"
    assert bytes(source.read(10, 0)) == b""


def test_empty_file_has_no_bytes(opened: Opener) -> None:
    """Memory maps of nothing do not exist; the file is opened all the same."""
    source = opened(b"")

    assert source.size == 0
    assert bytes(source.read(0, 0)) == b""
    with pytest.raises(TruncatedError):
        source.read(0, 1)


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (10, 1), (11, 0), (1 << 62, 1 << 62)])
def test_reading_past_the_end_says_how_many_bytes_are_there(opened: Opener, offset: int, length: int) -> None:
    """Nothing is allocated for what is not there."""
    with pytest.raises(TruncatedError) as caught:
        opened(b"0123456789").read(offset, length)

    assert (caught.value.needed, caught.value.available) == (length, max(10 - offset, 0))
    assert caught.value.offset == offset


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1)])
def test_negative_places_are_a_callers_mistake(opened: Opener, offset: int, length: int) -> None:
    """A Python slice would count from the end."""
    with pytest.raises(ValueError, match="negative"):
        opened(b"0123456789").read(offset, length)


def test_views_stay_valid_after_close_and_reading_does_not(opened: Opener) -> None:
    """Closing twice is harmless."""
    source = opened(b"0123456789")
    view = source.read(0, 10)

    source.close()
    source.close()

    assert bytes(view) == b"0123456789"
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)


def test_file_that_was_cut_short_is_truncated(opened: Opener, tmp_path: pathlib.Path) -> None:
    """The present size is compared at every read; what still stands is still read."""
    source = opened(b"x" * 20_000)
    assert len(source.read(0, 20_000)) == 20_000

    os.truncate(tmp_path / "data", 100)

    assert bytes(source.read(0, 100)) == b"x" * 100
    with pytest.raises(TruncatedError) as caught:
        source.read(0, 20_000)
    assert caught.value.available == 100


def test_file_that_grew_ends_where_it_ended(opened: Opener, tmp_path: pathlib.Path) -> None:
    """What another process appends later is not part of what was opened."""
    source = opened(b"0123456789")
    with (tmp_path / "data").open("ab") as file:
        file.write(b"more")

    assert source.size == 10
    with pytest.raises(TruncatedError):
        source.read(8, 4)


def test_file_that_was_removed_is_still_read(opened: Opener, tmp_path: pathlib.Path) -> None:
    """It stays open."""
    source = opened(b"0123456789")
    (tmp_path / "data").unlink()

    assert bytes(source.read(0, 10)) == b"0123456789"


@pytest.mark.parametrize("path", ["absent", "absent/below", "data/below"])
def test_missing_file_is_not_found(storage: LocalStorage, tmp_path: pathlib.Path, path: str) -> None:
    """Also below a file, where the system calls it no folder."""
    (tmp_path / "data").touch()

    with pytest.raises(CheckpointNotFoundError) as caught:
        storage.open(str(tmp_path / path))

    assert caught.value.path == str(tmp_path / path)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=["zero byte", "surrogate"])
def test_path_that_no_file_can_have_is_answered(storage: LocalStorage, path: str) -> None:
    """Python raises ValueError for such paths; here nothing stands there."""
    assert not storage.is_file(path)
    assert not storage.is_folder(path)
    assert storage.list(path) == []
    with pytest.raises((CheckpointNotFoundError, StorageError)):
        storage.open(path)


def test_folder_cannot_be_opened(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """The reason is the system's."""
    with pytest.raises(StorageError, match="cannot open the file"):
        storage.open(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_a_storage_error(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """There is such a file, so it is not missing."""
    (tmp_path / "secret").touch(mode=0o000)

    with pytest.raises(StorageError, match="cannot open the file"):
        storage.open(str(tmp_path / "secret"))


def test_storage_tells_files_and_folders_apart(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """Links count as what they lead to, and a link to nothing is neither."""
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


def test_listing_nothing_is_empty(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """A file and a missing folder have no names."""
    (tmp_path / "file").touch()

    assert storage.list(str(tmp_path / "file")) == []
    assert storage.list(str(tmp_path / "nothing")) == []


def test_pipe_is_no_file(storage: LocalStorage, tmp_path: pathlib.Path) -> None:
    """Opening one would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe")

    assert not storage.is_file(str(tmp_path / "pipe"))
