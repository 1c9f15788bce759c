"""The sink contract, for every kind of place."""

from __future__ import annotations

import gc
import pathlib
import uuid

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tfckpt.errors import CheckpointExistsError, LimitExceededError, UnsupportedFeatureError, WriteError
from tfckpt.sinks.contract import Sink
from tfckpt.sinks.opening import is_address, open_sink


class PublishingFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system, like most, that shows a file from its first byte on."""

    protocol = "publishing"
    store: dict[str, object] = {}  # noqa: RUF012  # as in the base class
    pseudo_dirs: list[str] = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = MemoryFileSystem._strip_protocol(path.removeprefix("publishing://"))
        return stripped


fsspec.register_implementation("publishing", PublishingFileSystem)


@pytest.fixture(params=["local", "memory", "publishing"])
def place(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> tuple[Sink, str]:
    """A sink and an empty folder in it."""
    if request.param == "local":
        return open_sink(tmp_path)
    return open_sink(f"{request.param}://bucket/{uuid.uuid4().hex}")


def list_names(sink: Sink, folder: str) -> list[str]:
    """Return the names of all files below a folder."""
    return sorted(stored.path.removeprefix(folder).lstrip("/") for stored in sink.iterate_files(folder))


def write(sink: Sink, path: str, data: bytes) -> None:
    """Write a file."""
    pending = sink.create(path)
    pending.file.write(data)
    pending.commit()


def test_a_file_appears_when_it_is_committed(place: tuple[Sink, str]) -> None:
    """Until then there is nothing at its path, and then all of it."""
    sink, folder = place
    path = sink.join(folder, "a.bin")
    pending = sink.create(path)
    pending.file.write(b"x" * 1000)

    assert sink.stat(path) is None
    pending.file.write(b"y")
    pending.commit()
    pending.discard()

    stored = sink.stat(path)
    assert stored is not None
    assert (stored.path, stored.size) == (path, 1001)
    assert sink.read(path, 1001) == b"x" * 1000 + b"y" == b"".join(sink.iterate_bytes(path, 300))
    assert list_names(sink, folder) == ["a.bin"]


def test_a_discarded_file_leaves_nothing(place: tuple[Sink, str]) -> None:
    """Not even when the object that wrote it is gone."""
    sink, folder = place
    pending = sink.create(sink.join(folder, "a.bin"))
    pending.file.write(b"x" * 1000)

    pending.discard()
    del pending
    gc.collect()

    assert list_names(sink, folder) == []


def test_an_existing_file_is_replaced_only_if_that_was_requested(place: tuple[Sink, str]) -> None:
    """The version of a replaced file is another one."""
    sink, folder = place
    path = sink.join(folder, "a.bin")
    sink.check_free(path, overwrite=False)
    write(sink, path, b"1")
    before = sink.stat(path)

    with pytest.raises(CheckpointExistsError):
        sink.check_free(path, overwrite=False)
    sink.check_free(path, overwrite=True)
    write(sink, path, b"2")

    assert sink.read(path, 10) == b"2"
    assert sink.stat(path) != before
    sink.remove(path)
    sink.remove(path)
    assert sink.stat(path) is None
    assert sink.read(path, 10) is None


def test_a_small_file_is_read_within_its_limit(place: tuple[Sink, str]) -> None:
    """A larger one is an error, so that a record of a gigabyte is not read."""
    sink, folder = place
    path = sink.join(folder, "a.bin")
    write(sink, path, b"12345")

    assert sink.read(path, 5) == b"12345"
    with pytest.raises(LimitExceededError) as caught:
        sink.read(path, 4)
    assert caught.value.limit is None
    assert "--limit" not in str(caught.value), "no option raises it"


def test_a_folder_can_be_made_below_one_that_exists(place: tuple[Sink, str]) -> None:
    """Files below it are found with the path that they were written to."""
    sink, folder = place
    inner = sink.join(folder, "inner")
    sink.make_folder(inner)
    write(sink, sink.join(inner, "b"), b"b")

    assert [stored.path for stored in sink.iterate_files(folder)] == [sink.join(inner, "b")]
    assert list(sink.iterate_files(sink.join(folder, "missing"))) == []
    assert sink.split(sink.join(inner, "b")) == (inner, "b")


def test_a_local_folder_is_not_made_below_one_that_is_missing(tmp_path: pathlib.Path) -> None:
    """A typing error in a path is an error."""
    sink, path = open_sink(tmp_path / "missing" / "out")

    with pytest.raises(WriteError):
        sink.make_folder(path)


def test_addresses_that_cannot_be_written_are_refused() -> None:
    """Web servers have no uploads; `file://` is a local path."""
    with pytest.raises(UnsupportedFeatureError):
        open_sink("https://host/x")
    assert open_sink("file:///tmp/x")[1] == "/tmp/x"
    assert [is_address(path) for path in ("s3://b/x", "file:///x", "C:/x", "a/b")] == [True, False, False, False]


def test_secrets_of_an_address_are_not_in_its_path() -> None:
    """They are used for requests alone."""
    _, path = open_sink("memory://user:password@bucket/x?token=1")

    assert path == "memory://bucket/x"
