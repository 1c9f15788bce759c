"""What a path, an address or files in memory refer to, and which of them are rejected."""

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
from tfckpt.storage.remote.storage import RemoteStorage
from tfckpt.storage.remote.transport import MemorySink

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


def test_file_address_is_a_local_path(tmp_path: pathlib.Path) -> None:
    """Spaces in the path are escaped in the address."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    prefix = BUNDLE.write(folder)

    with tfckpt.open(prefix.as_uri()) as checkpoint:
        assert checkpoint.prefix == str(prefix)
        assert checkpoint["t"].base is not None


def test_bytes_are_not_a_path() -> None:
    """A path is a str or a PathLike of str."""
    with pytest.raises(TypeError):
        tfckpt.open(b"model")  # type: ignore[arg-type]  # on purpose


def test_scheme_is_case_insensitive(system: MemoryFileSystem) -> None:
    """RFC 3986 says so."""
    assert len(tfckpt.open("MEMORY://place/model")) == 1


def test_folder_of_a_file_system_is_listed(system: MemoryFileSystem) -> None:
    """A folder means the only checkpoint in it."""
    for address in ("memory://place", "memory://place/"):
        assert tfckpt.open(address).prefix == "memory://place/model"


def test_similar_names_are_suggested_if_folders_can_be_listed(system: MemoryFileSystem) -> None:
    """The message contains the correct name, as for a local folder."""
    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open("memory://place/modle")

    assert caught.value.message.endswith(" model")


def test_archive_in_a_file_system_is_downloaded(system: MemoryFileSystem) -> None:
    """The prefix contains the archive's address."""
    system.pipe_file("/place/a.tgz", tar_of(FILES, "w:gz"))

    with tfckpt.open("memory://place/a.tgz") as checkpoint:
        assert checkpoint.prefix == "memory://place/a.tgz!model"


def test_copy_from_a_file_system_stops_when_the_file_changes(system: MemoryFileSystem) -> None:
    """A whole file and a part are copied; once the facts differ, no byte is written."""
    address = f"memory://place/{SHARD}"
    transport = FsspecTransport(address)
    facts = transport.stat(address)
    whole, part, changed = MemorySink(), MemorySink(), MemorySink()

    RemoteStorage(transport, "memory://").copy(address, whole, lambda size: None)
    transport.copy(address, 1, 2, part, facts)
    system.pipe_file(f"/place/{SHARD}", FILES[SHARD] + b"more")
    with pytest.raises(tfckpt.StorageError):
        transport.copy(address, 0, facts.size, changed, facts)

    assert (whole.view, part.view, changed.view) == (FILES[SHARD], FILES[SHARD][1:3], b"")


def test_unknown_scheme_is_unsupported() -> None:
    """fsspec has no file system for it."""
    with pytest.raises(tfckpt.UnsupportedFeatureError) as caught:
        tfckpt.open("nosuch://place/model")

    assert caught.value.path == "nosuch://place/model"


def test_missing_fsspec_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the package and the extra that installs it."""
    monkeypatch.setitem(sys.modules, "fsspec", None)

    with pytest.raises(tfckpt.MissingDependencyError) as caught:
        tfckpt.open("gs://bucket/model")
    assert (caught.value.package, caught.value.extra) == ("fsspec", "remote")


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_missing_package_of_a_scheme_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    """This is the package that fsspec itself needs; for other schemes the cause is fsspec's own error."""

    def lacking(protocol: str) -> object:
        raise ImportError(f"install the package for {protocol}")

    monkeypatch.setattr(fsspec, "get_filesystem_class", lacking)

    with pytest.raises(tfckpt.MissingDependencyError) as caught:
        tfckpt.open(f"{scheme}://bucket/model")
    assert (caught.value.package, caught.value.extra) == (package, "remote")
    with pytest.raises(tfckpt.StorageError) as other:
        tfckpt.open("abfs://bucket/model")
    assert isinstance(other.value.__cause__, ImportError)


def test_chained_addresses_are_unsupported() -> None:
    """The message shows the form to use instead."""
    with pytest.raises(tfckpt.UnsupportedFeatureError, match="ADDRESS!MEMBER"):
        tfckpt.open("zip://model::https://host/a.zip")


def test_invalid_url_is_rejected() -> None:
    """No request is sent for an address without a host, or one that cannot be parsed."""
    for address in ("https:///model", "https://[::1/model"):
        with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
            tfckpt.open(address)
        assert caught.value.path == address


def test_address_is_escaped_once() -> None:
    """A typed space and %20 mean the same."""
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
def test_any_exception_of_a_file_system_becomes_one_of_our_errors(
    system: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, raised: Exception, error: type[tfckpt.CheckpointError]
) -> None:
    """The error has the address."""

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


def test_bytes_of_two_versions_of_a_file_are_never_mixed(system: MemoryFileSystem) -> None:
    """Checksums show it, and then that the files were replaced; without them the version of the file is compared."""
    files = {}
    for value in (1, 2):
        bundle = builders.Bundle().add("first", builders.UINT8, [40_000], bytes([value]) * 40_000)
        bundle.add("last", builders.UINT8, [40_000], bytes([value]) * 40_000)
        files[value] = {"index": bundle.index(), "data-00000-of-00001": bytes(bundle.shards[0])}
    shard = "memory://place/long.data-00000-of-00001"
    for name, data in files[1].items():
        system.pipe_file(f"/place/long.{name}", data)

    with tfckpt.open("memory://place/long") as checkpoint:
        checkpoint["first"]
        assert checkpoint.read("first", verify=False)[0] == 1
        system.pipe_file("/place/long.data-00000-of-00001", files[2]["data-00000-of-00001"])
        with pytest.raises(tfckpt.StorageError) as unverified:
            checkpoint.read("last", verify=False)
        with pytest.raises(tfckpt.StorageError) as verified:
            checkpoint["last"]
    assert unverified.value.path == verified.value.path == shard

    for name, data in files[1].items():
        system.pipe_file(f"/place/long.{name}", data)
    with tfckpt.open("memory://place/long") as checkpoint:
        for name, data in files[2].items():
            system.pipe_file(f"/place/long.{name}", data)
        with pytest.raises(tfckpt.StorageError) as replaced:
            checkpoint["last"]
    assert replaced.value.path == "memory://place/long.index"
