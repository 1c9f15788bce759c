"""Sizes beyond one machine: what is planned and streamed does not depend on them."""

from __future__ import annotations

import pathlib
import time
import tracemalloc

import pytest

from tests import builders
from tfckpt import jobs


def write_sparse(folder: pathlib.Path, *, shards: int, nbytes: int) -> str:
    """Write a bundle with one float32 tensor a shard, whose data shards are sparse files without a right checksum."""
    entries = [(b"", builders.header_proto(shards))]
    for shard in range(shards):
        entry = builders.entry_proto(builders.FLOAT, [nbytes // 4], shard_id=shard, size=nbytes, crc=0)
        entries.append((f"layer{shard:05d}/kernel".encode(), entry))
        with open(folder / f"model.data-{shard:05d}-of-{shards:05d}", "wb") as file:
            file.truncate(nbytes)
    (folder / "model.index").write_bytes(builders.table(entries))
    return str(folder / "model")


def test_a_terabyte_is_planned_in_little_memory_and_time(tmp_path: pathlib.Path, run_all: bool) -> None:
    """2,048 shards of 500 MB, or an eighth of it in the quick run, within an eighth of the bounds."""
    part = 1 if run_all else 8
    shards = 2048 // part
    try:
        source = write_sparse(tmp_path, shards=shards, nbytes=500 * 10**6)
    except OSError:
        pytest.skip("the disk has no sparse files")
    begin = time.process_time()
    tracemalloc.start()

    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5 * 10**9)
    text = plan.to_json()

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.estimate.read_bytes == shards * 500 * 10**6
    assert len(plan.tasks) == -(-shards // 10)
    assert len(text) < 1000 * shards
    assert peak < (64 << 20) / part
    assert time.process_time() - begin < 5 / part
