"""What a path, an address or files in memory mean, and what of them is refused."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import tfckpt
from tests import builders
from tests.contracts.places import tar_of
from tests.contracts.server import serving
from tfckpt.storage.remote.fsspec import FsspecTransport
from tfckpt.storage.remote.storage import GAP, PIECE, RemoteStorage, merge
from tfckpt.storage.remote.transport import Gathered

BUNDLE = builders.Bundle().add("t", builders.FLOAT, [4], np.arange(4, dtype="<f4").tobytes())
SHARD = "model.data-00000-of-00001"
FILES = {"model.index": BUNDLE.index(), SHARD: bytes(BUNDLE.shards[0])}


@pytest.fixture
def system() -> Iterator[MemoryFileSystem]:
    """fsspec's file system in memory, with a checkpoint in it."""
    files = fsspec.filesystem("memory")
    for name, data in FILES.items():
        files.pipe_file(f"/place/{name}", data)
    yield files
    files.rm("/place", recursive=True)


def test_file_address_is_a_path_of_this_machine(tmp_path: pathlib.Path) -> None:
    """With spaces written as addresses have them."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    prefix = BUNDLE.write(folder)

    with tfckpt.open(prefix.as_uri()) as checkpoint:
        assert checkpoint.prefix == str(prefix)
        assert checkpoint["t"].base is not None


def test_bytes_are_no_path() -> None:
    """A str or a PathLike is."""
    with pytest.raises(TypeError, match="a path is a str"):
        tfckpt.open(b"model")  # type: ignore[arg-type]  # on purpose


def test_scheme_is_read_in_any_case(system: MemoryFileSystem) -> None:
    """As RFC 3986 has it."""
    assert len(tfckpt.open("MEMORY://place/model")) == 1


def test_folder_of_a_file_system_is_listed(system: MemoryFileSystem) -> None:
    """The only checkpoint in it is meant."""
    for address in ("memory://place", "memory://place/"):
        assert tfckpt.open(address).prefix == "memory://place/model"


def test_close_names_are_offered_where_there_is_a_listing(system: MemoryFileSystem) -> None:
    """As on a disk."""
    with pytest.raises(tfckpt.CheckpointNotFoundError, match="close names: model"):
        tfckpt.open("memory://place/modle")


def test_archive_in_a_file_system_is_downloaded(system: MemoryFileSystem) -> None:
    """And is known by its address."""
    system.pipe_file("/place/a.tgz", tar_of(FILES, "w:gz"))

    with tfckpt.open("memory://place/a.tgz") as checkpoint:
        assert checkpoint.prefix == "memory://place/a.tgz!model"


def test_file_of_a_file_system_is_copied_as_long_as_it_is_the_same(system: MemoryFileSystem) -> None:
    """Whole or in part; once it has other facts, not a byte more of it is written."""
    address = f"memory://place/{SHARD}"
    transport = FsspecTransport(address)
    facts = transport.stat(address)
    whole, part, changed = Gathered(), Gathered(), Gathered()

    RemoteStorage(transport, "memory://").copy(address, whole, lambda size: None)
    transport.copy(address, 1, 2, part, facts)
    system.pipe_file(f"/place/{SHARD}", FILES[SHARD] + b"more")
    with pytest.raises(tfckpt.StorageError):
        transport.copy(address, 0, facts.size, changed, facts)

    assert (whole.view, part.view, changed.view) == (FILES[SHARD], FILES[SHARD][1:3], b"")


def test_unknown_scheme_is_told() -> None:
    """Nobody has a file system for it."""
    with pytest.raises(tfckpt.UnsupportedFeatureError, match="no file system is known for nosuch://"):
        tfckpt.open("nosuch://place/model")


def test_missing_fsspec_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install; web servers need nothing."""
    monkeypatch.setitem(sys.modules, "fsspec", None)

    with pytest.raises(tfckpt.MissingDependencyError, match=r"pip install 'tfckpt\[remote\]'") as caught:
        tfckpt.open("gs://bucket/model")
    assert (caught.value.package, caught.value.extra) == ("fsspec", "remote")


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_missing_package_of_a_scheme_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    """The package that fsspec itself lacks."""

    def lacking(protocol: str) -> object:
        raise ImportError(f"install the package for {protocol}")

    monkeypatch.setattr(fsspec, "get_filesystem_class", lacking)

    with pytest.raises(tfckpt.MissingDependencyError) as caught:
        tfckpt.open(f"{scheme}://bucket/model")
    assert (caught.value.package, caught.value.extra) == (package, "remote")
    with pytest.raises(tfckpt.StorageError, match="install the package for abfs"):
        tfckpt.open("abfs://bucket/model")


def test_chained_addresses_are_refused_with_what_to_give_instead() -> None:
    """Their order of parts is not ours."""
    with pytest.raises(tfckpt.UnsupportedFeatureError, match="ADDRESS!MEMBER"):
        tfckpt.open("zip://model::https://host/a.zip")


def test_address_without_a_server_is_told() -> None:
    """Before anything is asked."""
    with pytest.raises(tfckpt.CheckpointNotFoundError, match="names no server"):
        tfckpt.open("https:///model")
    with pytest.raises(tfckpt.CheckpointNotFoundError, match="this is no address"):
        tfckpt.open("https://[::1/model")


def test_address_is_escaped_as_far_as_it_is_not() -> None:
    """A space that was typed and one that was written %20 are the same."""
    with serving({name.replace("model", "a model"): data for name, data in FILES.items()}) as server:
        for name in ("a model", "a%20model"):
            with tfckpt.open(server.url + name) as checkpoint:
                assert checkpoint.prefix == server.url + "a%20model"
                assert checkpoint["t"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (PermissionError("not yours"), tfckpt.StorageError),
        (RuntimeError("broken client"), tfckpt.StorageError),
        (FileNotFoundError("gone"), tfckpt.CheckpointNotFoundError),
    ],
    ids=["permission", "anything", "gone"],
)
def test_whatever_a_file_system_raises_becomes_an_error_of_the_family(
    system: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, raised: Exception, error: type[tfckpt.CheckpointError]
) -> None:
    """With the address, and the cause behind it."""

    def fail(*_: object, **__: object) -> bytes:
        raise raised

    with tfckpt.open("memory://place/model") as checkpoint:
        list(checkpoint)
        monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
        with pytest.raises(error) as caught:
            checkpoint["t"]
        monkeypatch.undo()

        assert checkpoint["t"].tolist() == [0, 1, 2, 3]
    assert caught.value.path == "memory://place/model.data-00000-of-00001"


def test_file_of_a_file_system_that_changes_is_never_mixed(system: MemoryFileSystem) -> None:
    """Size or time differ from the first answer."""
    long = builders.Bundle().add("first", builders.UINT8, [40_000], bytes(40_000))
    long.add("last", builders.UINT8, [40_000], bytes(40_000))
    system.pipe_file("/place/long.index", long.index())
    system.pipe_file("/place/long.data-00000-of-00001", bytes(long.shards[0]))

    with tfckpt.open("memory://place/long") as checkpoint:
        checkpoint["first"]
        system.pipe_file("/place/long.data-00000-of-00001", bytes(long.shards[0]) + b"more")

        with pytest.raises(tfckpt.StorageError, match="changed while it was read"):
            checkpoint["last"]


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([], []),
        ([(0, 10), (10, 10)], [(0, 20)]),
        ([(20, 5), (0, 10)], [(0, 25)]),
        ([(0, 10), (10 + GAP, 5)], [(0, 15 + GAP)]),
        ([(0, 10), (11 + GAP, 5)], [(0, 10), (11 + GAP, 5)]),
        ([(0, 100), (10, 5)], [(0, 100)]),
        ([(0, 0), (5, -1), (-5, 10), (PIECE * 3, 1)], []),
        ([(0, 2 * PIECE + 1)], [(0, PIECE), (PIECE, PIECE), (2 * PIECE, 1)]),
    ],
    ids=["none", "adjoining", "out of order", "small gap", "large gap", "inside", "impossible", "large"],
)
def test_ranges_are_merged_over_small_gaps(ranges: list[tuple[int, int]], merged: list[tuple[int, int]]) -> None:
    """And cut into pieces that several connections fetch; what the file does not have is left out."""
    assert merge(ranges, 3 * PIECE) == merged
