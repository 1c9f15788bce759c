"""Indexes with very many entries: what is decoded, kept in memory, and allowed."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

import tfckpt
from tests import builders
from tfckpt.bundle import index as bundle_index
from tfckpt.bundle.batches import BatchDecoder
from tfckpt.bundle.entry import BundleEntry
from tfckpt.cli import main
from tfckpt.limits import DEFAULT_LIMITS, Limits, limits_of_table
from tfckpt.sstable.block import Batch
from tfckpt.sstable.writer import TableWriter

ROOT = pathlib.Path(__file__).parents[3]


def write_index(folder: pathlib.Path, keys: list[bytes], value: bytes) -> pathlib.Path:
    """Write an index in which every key has the same entry."""
    out = io.BytesIO()
    writer = TableWriter(out.write)
    writer.add(b"", builders.header_proto())
    for key in keys:
        writer.add(key, value)
    writer.finish()
    (folder / "model.index").write_bytes(out.getvalue())
    return folder / "model"


def make_keys(count: int) -> list[bytes]:
    """Return names as long as those of a large network, in order."""
    return [b"model/layer_%04d/block_%03d/kernel" % divmod(number, 1000) for number in range(count)]


ENTRY = builders.entry_proto(builders.FLOAT, [64, 64], offset=1 << 30, size=1 << 14, crc=123)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the entries that are decoded."""
    counts: list[int] = []
    decode = BundleEntry.decode

    def count(*arguments: object) -> BundleEntry:
        counts.append(1)
        return decode(*arguments)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(BundleEntry, "decode", count)
    return counts


def test_listing_names_decodes_no_entry(tmp_path: pathlib.Path, decoded: list[int]) -> None:
    """Names are keys; entries are decoded together, from one message of each dtype and shape."""
    prefix = write_index(tmp_path, make_keys(2000), ENTRY)

    with tfckpt.open(prefix) as checkpoint:
        assert len(checkpoint) == len(list(checkpoint)) == 2000
        assert not decoded
        assert checkpoint.info("model/layer_0001/block_999/kernel").shape == (64, 64)
        assert checkpoint.info("model/layer_0000/block_000/kernel").shape == (64, 64)
        assert len(decoded) == 1


def test_many_lookups_decode_a_small_index_once(tmp_path: pathlib.Path, decoded: list[int]) -> None:
    """One by one the first few; the rest is decoded together."""
    keys = make_keys(2000)
    prefix = write_index(tmp_path, keys, ENTRY)

    with tfckpt.open(prefix) as checkpoint:
        assert all(checkpoint.info(key.decode()).nbytes == 1 << 14 for key in keys)
        assert "unknown" not in checkpoint

    assert 10 < len(decoded) < 50


def test_large_index_is_streamed(tmp_path: pathlib.Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept, results are the same, and an unknown name is an error."""
    keys = make_keys(500)
    prefix = write_index(tmp_path, keys, ENTRY)
    monkeypatch.setattr(bundle_index, "_KEPT_BYTES", 0)

    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == [key.decode() for key in keys]
        assert [info.name for info in checkpoint.infos()] == list(checkpoint)
        assert [info.name for info in checkpoint.infos()] == list(checkpoint)
        assert len(decoded) == 1
        assert "unknown" not in checkpoint
        with pytest.raises(tfckpt.TensorNotFoundError):
            checkpoint.info("unknown")


def test_damaged_entry_of_a_large_index_is_an_error(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the tensor, also for a name that is not in the index."""
    monkeypatch.setattr(bundle_index, "_KEPT_BYTES", 0)
    prefix = write_index(tmp_path, [b"a"], builders.entry_proto(1, [-1]))

    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == ["a"]
        for use in (lambda: list(checkpoint.infos()), lambda: checkpoint.info("b")):
            with pytest.raises(tfckpt.CorruptionError) as caught:
                use()
            assert caught.value.tensor == "a"


def test_slices_of_a_large_index_are_not_names(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their keys come first, so the index is read as one that is kept."""
    monkeypatch.setattr(bundle_index, "_KEPT_BYTES", 0)
    bundle = builders.Bundle()
    bundle.add_slices("x", builders.UINT8, [2], [([(0, 1)], b"\1"), ([(1, 1)], b"\2")])
    prefix = bundle.add("y", builders.UINT8, [1], b"\3").write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == ["x", "y"]
        assert [info.name for info in checkpoint.infos()] == ["x", "y"]
        assert checkpoint["x"].tolist() == [1, 2]


@pytest.mark.slow
def test_fifty_tables_in_a_thousand_partitions_with_two_slots_open(tmp_path: pathlib.Path) -> None:
    """Slices count as entries, and 150,150 of them are not too many for a file of their size."""
    piece = builders.entry_proto(builders.UINT8, [1], size=1, crc=1)
    whole = builders.entry_proto(builders.UINT8, [1000], slices=[[(number, 1)] for number in range(1000)])
    names = [b"table_%02d/part%s" % (table, slot) for table in range(50) for slot in (b"", b"/Adagrad", b"/Momentum")]
    entries = [(builders.slice_key(name, [(number, 1)]), piece) for name in names for number in range(1000)]
    out = io.BytesIO()
    writer = TableWriter(out.write)
    writer.add(b"", builders.header_proto())
    for key, value in sorted(entries + [(name, whole) for name in names]):
        writer.add(key, value)
    writer.finish()
    (tmp_path / "model.index").write_bytes(out.getvalue())

    with tfckpt.open(tmp_path / "model") as checkpoint:
        assert len(checkpoint) == 150
        assert len(checkpoint.info("table_07/part").slices) == 1000


def test_limits_of_a_table_grow_with_the_file() -> None:
    """A limit that the user sets is used as it is."""
    small, large = limits_of_table(DEFAULT_LIMITS, 0), limits_of_table(DEFAULT_LIMITS, 1 << 30)

    assert (small.max_entries, small.max_key_bytes) == (150_000, 32 << 20)
    assert (large.max_entries, large.max_key_bytes) == (5_000_000, 512 << 20)
    assert limits_of_table(Limits(max_entries=10, max_key_bytes=1 << 40), 0) == Limits(
        max_entries=10, max_key_bytes=1 << 40
    )


@pytest.mark.slow
def test_million_names_are_streamed_in_little_memory(tmp_path: pathlib.Path) -> None:
    """The file is mapped, and its pages count as memory of the system; so it is read instead."""
    prefix = write_index(tmp_path, make_keys(1_000_000), ENTRY)
    script = """
import json, sys, tfckpt
def peak(): return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10
before = peak()
with tfckpt.open(sys.argv[1], mmap=False) as checkpoint:
    count = sum(1 for name in checkpoint)
print(json.dumps([count, peak() - before]))
"""
    if not pathlib.Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is read from /proc")

    done = subprocess.run([sys.executable, "-c", script, str(prefix)], cwd=ROOT, check=True, capture_output=True)

    count, nbytes = json.loads(done.stdout)
    assert count == 1_000_000
    assert nbytes < 64 << 20


@pytest.mark.parametrize("options", [["-l"], ["--json"]], ids=["table", "JSON"])
def test_listing_of_the_command_is_streamed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, options: list[str], run_all: bool
) -> None:
    """Each entry is decoded once, when those before it are written; memory is that of some thousands of tensors.

    Memory is measured with `--all`: counting allocations takes longer than all else.
    """
    count = 20_000
    prefix = write_index(tmp_path, make_keys(count), ENTRY)
    (tmp_path / "model.data-00000-of-00001").touch()  # the names that a missing one has are listed as well
    batches: list[int] = []
    places: list[int] = []
    decode = BatchDecoder.decode

    def count_entries(self: BatchDecoder, batch: Batch, *arguments: Any) -> Iterator[BundleEntry]:
        batches.append(len(batch.keys))
        places.append(out.tell())
        return decode(self, batch, *arguments)

    monkeypatch.setattr(BatchDecoder, "decode", count_entries)
    with (tmp_path / "out").open("w+") as out, contextlib.redirect_stdout(out):
        if run_all:
            tracemalloc.start()
        try:
            assert main(["ls", str(prefix), *options]) == 0
            peak = tracemalloc.get_traced_memory()[1] if run_all else 0
        finally:
            tracemalloc.stop()
    text = (tmp_path / "out").read_text()

    assert sum(batches) == count
    assert max(batches) <= 4096
    assert places[-1] > len(text) // 2
    assert peak < 8 << 20
    if options == ["--json"]:
        assert len(json.loads(text)["tensors"]) == count
    else:
        lines = text.splitlines()
        assert len(lines) == count + 2
        assert lines[-1].startswith("20,000 tensors, ")
        assert len(set(map(len, lines[1:-1]))) == 1
