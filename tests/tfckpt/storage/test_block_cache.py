"""Blocks of remote files that are kept on this machine."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.contracts.server import Server, serving
from tfckpt.storage.block_cache import BLOCK, BlockCache, CachedFile
from tfckpt.storage.transport import Facts

DATA = np.random.default_rng(1).bytes(5 * BLOCK + 1000)


class Remote:
    """Bytes that count how often they are fetched."""

    def __init__(self) -> None:
        self.fetched: list[tuple[int, int]] = []

    def fetch(self, offset: int, length: int) -> memoryview:
        """These bytes."""
        self.fetched.append((offset, length))
        return memoryview(DATA)[offset : offset + length]


def entry(folder: pathlib.Path, version: str | None = "1") -> CachedFile | None:
    """The entry of the data in a cache."""
    return BlockCache(str(folder)).open("https://host/file", Facts(len(DATA), version))


def opened(folder: pathlib.Path, version: str = "1") -> CachedFile:
    """The entry, which is there."""
    found = entry(folder, version)
    assert found is not None
    return found


def test_block_is_fetched_once(tmp_path: pathlib.Path) -> None:
    """Any part of it then comes from the folder, also for another process."""
    remote = Remote()

    first = bytes(opened(tmp_path).read(BLOCK + 10, 100, remote.fetch))
    second = bytes(opened(tmp_path).read(BLOCK, BLOCK, remote.fetch))

    assert (first, second) == (DATA[BLOCK + 10 : BLOCK + 110], DATA[BLOCK : 2 * BLOCK])
    assert remote.fetched == [(BLOCK, BLOCK)]


def test_missing_blocks_are_fetched_in_runs(tmp_path: pathlib.Path) -> None:
    """What is there is not fetched again, and the last block is as long as the file."""
    remote = Remote()
    opened(tmp_path).read(2 * BLOCK, 1, remote.fetch)

    everything = bytes(opened(tmp_path).read(0, len(DATA), remote.fetch))

    assert everything == DATA
    assert remote.fetched == [(2 * BLOCK, BLOCK), (0, 2 * BLOCK), (3 * BLOCK, 2 * BLOCK + 1000)]


def test_another_version_is_another_entry(tmp_path: pathlib.Path) -> None:
    """Nothing of the old one is used."""
    remote = Remote()
    opened(tmp_path, "1").read(0, 10, remote.fetch)
    opened(tmp_path, "2").read(0, 10, remote.fetch)

    assert len(remote.fetched) == 2


def test_file_without_a_version_is_not_kept(tmp_path: pathlib.Path) -> None:
    """Nothing would tell that it changed."""
    assert entry(tmp_path, None) is None
    assert entry(tmp_path, "1") is not None


@pytest.mark.parametrize("suffix", [".data", ".blocks"])
def test_damaged_entry_is_fetched_again(tmp_path: pathlib.Path, suffix: str) -> None:
    """A block whose checksum differs is worth nothing."""
    remote = Remote()
    opened(tmp_path).read(0, len(DATA), remote.fetch)
    (path,) = tmp_path.glob(f"*{suffix}")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)

    everything = bytes(opened(tmp_path).read(0, len(DATA), remote.fetch))

    assert everything == DATA
    assert len(remote.fetched) == 2
    assert remote.fetched[1][1] <= BLOCK


def test_entry_cut_short_is_fetched_again(tmp_path: pathlib.Path) -> None:
    """As a process that was killed leaves it."""
    remote = Remote()
    opened(tmp_path).read(0, len(DATA), remote.fetch)
    (path,) = tmp_path.glob("*.data")
    os.truncate(path, 3 * BLOCK + 5)

    assert bytes(opened(tmp_path).read(0, len(DATA), remote.fetch)) == DATA
    assert remote.fetched[1] == (3 * BLOCK, 2 * BLOCK + 1000)


@pytest.fixture
def server() -> Iterator[Server]:
    """A checkpoint of one tensor of 400 KB."""
    bundle = builders.Bundle().add("large", builders.FLOAT, [100_000], bytes(400_000))
    with serving({"m.index": bundle.index(), "m.data-00000-of-00001": bytes(bundle.shards[0])}) as running:
        yield running


def test_second_process_fetches_no_tensor(server: Server, tmp_path: pathlib.Path) -> None:
    """It only asks whether the files are still the same."""
    for _ in range(2):
        server.forget()
        with tfckpt.open(server.url + "m", cache=tmp_path / "cache") as checkpoint:
            assert not checkpoint["large"].any()

    assert [request.range for request in server.requests] == ["bytes=0-0", "bytes=0-0"]
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_one_tensor_costs_at_most_64_kib_more_with_a_cache(server: Server, tmp_path: pathlib.Path) -> None:
    """Whole blocks are fetched."""
    with tfckpt.open(server.url + "m", cache=tmp_path) as checkpoint:
        list(checkpoint)
        server.forget()
        checkpoint["large"]

    assert server.sent <= 400_000 + 2 * BLOCK


def test_changed_file_is_not_taken_from_the_cache(server: Server, tmp_path: pathlib.Path) -> None:
    """The server says that it is another version."""
    with tfckpt.open(server.url + "m", cache=tmp_path) as checkpoint:
        checkpoint["large"]
    bundle = builders.Bundle().add("large", builders.FLOAT, [100_000], b"\1" * 400_000)
    server.files.update({"m.index": bundle.index(), "m.data-00000-of-00001": bytes(bundle.shards[0])})
    server.etags = {name: f'"new {name}"' for name in server.files}

    with tfckpt.open(server.url + "m", cache=tmp_path) as checkpoint:
        assert checkpoint["large"].tobytes() == b"\1" * 400_000


def test_folder_that_cannot_be_used_is_told(server: Server, tmp_path: pathlib.Path) -> None:
    """A file stands where the folder belongs."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(tfckpt.StorageError, match="cannot use the cache folder"):
        tfckpt.open(server.url + "m", cache=tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system follows links in any case")
def test_link_in_the_folder_leads_to_no_other_file(tmp_path: pathlib.Path) -> None:
    """Who may write into it cannot have us write anywhere else."""
    opened(tmp_path / "cache").read(0, 10, Remote().fetch)
    (tmp_path / "precious").write_bytes(b"precious")
    for kept in list((tmp_path / "cache").iterdir()):
        kept.unlink()
        kept.symlink_to(tmp_path / "precious")

    with pytest.raises(tfckpt.StorageError, match="cannot use the cache folder"):
        opened(tmp_path / "cache")
    assert (tmp_path / "precious").read_bytes() == b"precious"
