"""The tests that every storage must pass; a test class inherits them and creates its storage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tfckpt.errors import CheckpointNotFoundError, TruncatedError
from tfckpt.storage.base import Range, Storage

FILES = {
    "checkpoint": b"text of a state file",
    "empty.index": b"",
    "model.index": bytes(range(256)) * 300,
    "model.data-00000-of-00001": b"".join(number.to_bytes(4, "big") for number in range(100_000)),
    "folder/inner/model.index": b"inner",
    "folder/other": b"other",
}


class StorageContract:
    """Tests of one storage, which contains `FILES` in a root folder."""

    #: Whether the storage can list folders; HTTP cannot.
    lists = True

    def make(self, files: Mapping[str, bytes]) -> contextlib.AbstractContextManager[tuple[Storage, str]]:
        """Return a context manager that yields a storage with these files, and the path of their folder."""
        raise NotImplementedError

    @pytest.fixture
    def place(self) -> Iterator[tuple[Storage, str]]:
        """The storage and its root."""
        with self.make(FILES) as (storage, root):
            yield storage, root
            storage.close()

    def test_file_has_its_bytes_at_every_offset(self, place: tuple[Storage, str]) -> None:
        """A read returns exactly the requested bytes, also none, from the start, the middle and the end."""
        storage, root = place

        for name, data in FILES.items():
            source = storage.open(storage.join(root, name))
            size = len(data)
            assert source.size == size
            for offset, length in ((0, size), (0, 0), (size, 0), (size // 2, size - size // 2), (size // 3, size // 4)):
                view = source.read(offset, length)
                assert bytes(view) == data[offset : offset + length]
                assert view.readonly
                assert len(view) == length
            source.close()

    def test_reading_past_the_end_is_truncation(self, place: tuple[Storage, str]) -> None:
        """The error has the number of bytes needed and available; the last byte can be read."""
        storage, root = place
        source = storage.open(storage.join(root, "model.index"))
        size = len(FILES["model.index"])

        with pytest.raises(TruncatedError) as caught:
            source.read(size - 10, 11)

        assert (caught.value.needed, caught.value.available, caught.value.offset) == (11, 10, size - 10)
        assert bytes(source.read(size - 1, 1)) == FILES["model.index"][-1:]

    def test_reading_far_past_the_end_costs_nothing(self, place: tuple[Storage, str]) -> None:
        """A claim of exabytes is compared with the size of the file before memory is allocated."""
        storage, root = place
        source = storage.open(storage.join(root, "model.data-00000-of-00001"))

        for offset, length in ((0, 1 << 62), (1 << 62, 1), (1 << 62, 0)):
            with pytest.raises(TruncatedError):
                source.read(offset, length)

    def test_negative_offsets_and_lengths_are_misuse(self, place: tuple[Storage, str]) -> None:
        """In a Python slice they would have another meaning."""
        storage, root = place
        source = storage.open(storage.join(root, "model.index"))

        for offset, length in ((-1, 1), (0, -1)):
            with pytest.raises(ValueError, match="negative"):
                source.read(offset, length)

    def test_source_is_named_by_its_path(self, place: tuple[Storage, str]) -> None:
        """Error messages contain it."""
        storage, root = place
        path = storage.join(root, "model.index")

        assert storage.open(path).name == path

    def test_views_outlive_source_and_storage(self, place: tuple[Storage, str]) -> None:
        """Closing does not invalidate them; reading afterwards is misuse."""
        storage, root = place
        source = storage.open(storage.join(root, "model.index"))
        view = source.read(1, 3)

        source.close()
        source.close()
        storage.close()
        storage.close()

        assert bytes(view) == FILES["model.index"][1:4]
        with pytest.raises(ValueError, match="closed"):
            source.read(0, 1)

    def test_closed_file_can_be_opened_again(self, place: tuple[Storage, str]) -> None:
        """Closing it does not close other sources of the same file."""
        storage, root = place
        path = storage.join(root, "model.index")
        first, second = storage.open(path), storage.open(path)

        first.close()

        assert bytes(second.read(0, 2)) == b"\x00\x01"
        assert bytes(storage.open(path).read(0, 2)) == b"\x00\x01"

    def test_files_and_folders_are_distinguished(self, place: tuple[Storage, str]) -> None:
        """A nonexistent path is neither."""
        storage, root = place

        assert storage.is_file(storage.join(root, "folder", "inner", "model.index"))
        assert storage.is_file(storage.join(root, "model.data-00000-of-00001"))
        assert not storage.is_file(storage.join(root, "folder"))
        assert not storage.is_file(storage.join(root, "mode"))
        assert not storage.is_file(storage.join(root, "absent", "model.index"))
        assert storage.is_folder(root)
        assert not storage.is_folder(storage.join(root, "model.index"))
        assert not storage.is_folder(storage.join(root, "absent"))
        if self.lists:
            assert storage.is_folder(storage.join(root, "folder"))
            assert storage.is_folder(storage.join(root, "folder", "inner"))

    def test_folders_are_listed_in_order(self, place: tuple[Storage, str]) -> None:
        """The listing has the names of files and folders; it is empty for a nonexistent folder."""
        storage, root = place

        listed = storage.list(root)

        if self.lists:
            assert listed == [
                "checkpoint",
                "empty.index",
                "folder",
                "model.data-00000-of-00001",
                "model.index",
            ]
            assert storage.list(storage.join(root, "folder")) == ["inner", "other"]
        else:
            assert listed == []
        assert storage.list(storage.join(root, "absent")) == []

    def test_missing_file_is_not_found(self, place: tuple[Storage, str]) -> None:
        """The error is also a `FileNotFoundError`, and has the path; the existing file can be opened."""
        storage, root = place
        path = storage.join(root, "model.inde")

        with pytest.raises(CheckpointNotFoundError) as caught:
            storage.open(path).read(0, 1)

        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.path == path
        assert storage.open(path + "x").size == len(FILES["model.index"])

    def test_split_undoes_join(self, place: tuple[Storage, str]) -> None:
        """A path consists of a folder and a last name."""
        storage, root = place
        path = storage.join(root, "folder", "inner", "model.index")

        folder, name = storage.split(path)

        assert name == "model.index"
        assert storage.split(folder)[1] == "inner"
        assert storage.is_file(storage.join(folder, name))

    def test_relative_parts_of_a_path_are_resolved(self, place: tuple[Storage, str]) -> None:
        """The parts `..` and `.` work inside the storage."""
        storage, root = place

        assert storage.is_file(storage.join(root, "folder", "../model.index"))
        assert storage.is_file(storage.join(root, "folder/inner", "./../other"))

    def test_absolute_name_replaces_the_folder(self, place: tuple[Storage, str]) -> None:
        """State files may contain absolute paths; files outside the storage do not exist."""
        storage, root = place

        assert not storage.is_file(storage.join(root, "/no/such/folder/model.index"))
        if root:
            assert storage.is_file(storage.join(storage.join(root, "folder"), storage.join(root, "model.index")))

    def test_ranges_read_ahead_are_the_same(self, place: tuple[Storage, str]) -> None:
        """Ranges of missing files and ranges past the end are ignored; reads need not be in the announced order."""
        storage, root = place
        path = storage.join(root, "model.data-00000-of-00001")
        data = FILES["model.data-00000-of-00001"]
        good = [(0, 10), (399_990, 10), (200, 100_000), (150, 100), (5, 0)]
        bad = [Range(path, 399_999, 2), Range(path, -4, 2), Range(storage.join(root, "absent"), 0, 1)]
        together = [Range(path, offset, length) for offset, length in good]
        ahead = [[each] for each in together]

        for batches in (ahead, [*ahead, bad], [bad, *ahead], ahead[::-1], [bad + together]):
            with storage.read_ahead(batches, 3):
                source = storage.open(path)
                parts = [bytes(source.read(offset, length)) for offset, length in good]
                across = bytes(source.read(100, 150_000))
            assert parts == [data[offset : offset + length] for offset, length in good]
            assert across == data[100:150_100]
        assert bytes(storage.open(path).read(0, 10)) == data[:10]

    def test_unchanged_file_is_confirmed(self, place: tuple[Storage, str]) -> None:
        """Also if it was not read, or does not exist."""
        storage, root = place
        path = storage.join(root, "model.data-00000-of-00001")

        storage.confirm(path)
        storage.open(path).read(0, 10)
        storage.confirm(path)
        storage.confirm(storage.join(root, "absent"))
        with storage.same_version(path), storage.same_version(storage.join(root, "absent")):
            assert bytes(storage.open(path).read(0, 4)) == bytes(4)

    def test_threads_share_one_source(self, place: tuple[Storage, str]) -> None:
        """Each thread reads the right bytes."""
        storage, root = place
        source = storage.open(storage.join(root, "model.data-00000-of-00001"))
        data = FILES["model.data-00000-of-00001"]

        with ThreadPoolExecutor(8) as pool:
            views = list(pool.map(lambda number: source.read(number * 4999, 4000), range(64)))

        assert [bytes(view) for view in views] == [data[n * 4999 : n * 4999 + 4000] for n in range(64)]
