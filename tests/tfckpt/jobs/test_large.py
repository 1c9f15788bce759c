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


def test_a_terabyte_is_planned_in_little_memory_and_time(tmp_path: pathlib.Path) -> None:
    """2,048 shards of 500 MB."""
    try:
        source = write_sparse(tmp_path, shards=2048, nbytes=500 * 10**6)
    except OSError:
        pytest.skip("the disk has no sparse files")
    begin = time.process_time()
    tracemalloc.start()

    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5 * 10**9)
    text = plan.to_json()

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.estimate.read_bytes == 2048 * 500 * 10**6
    assert len(plan.tasks) == 205
    assert len(text) < 2 * 10**6
    assert peak < 64 << 20
    assert time.process_time() - begin < 5
