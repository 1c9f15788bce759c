"""Values as a stream: any slices, any piece size, bounded memory and few requests."""

from __future__ import annotations

import pathlib
import tracemalloc
from collections.abc import Iterator

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy

import tfckpt
from tests.tfckpt.jobs.helpers import counting_store, write_source
from tfckpt import jobs
from tfckpt.storage.remote.pacing import Pace


def cut(draw: st.DrawFn, size: int) -> list[tuple[int, int]]:
    """Draw a division of an axis into (start, length) parts."""
    ends = sorted({size, *draw(st.lists(st.integers(1, size), max_size=3))})
    return [(start, end - start) for start, end in zip([0, *ends], ends, strict=False)]


@st.composite
def partitioned(draw: st.DrawFn) -> tuple[tuple[int, ...], list[list[tuple[int, int]]]]:
    """Draw a shape, and for each axis its division."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    return shape, [cut(draw, size) for size in shape]


@hypothesis.given(
    partitioned(),
    st.sampled_from(["float64", "float32"]),
    st.randoms(use_true_random=False),
    st.tuples(st.sampled_from([16, 64, 1 << 20]), st.sampled_from([8, 40, 64, 1 << 20])),
)
@hypothesis.settings(max_examples=15)
def test_partitioned_tensors_are_put_together(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[tuple[int, ...], list[list[tuple[int, int]]]],
    dtype: str,
    random: object,
    sizes: tuple[int, int],
) -> None:
    """Whatever the slices and their order in the file, in pieces and slabs of any size."""
    shape, divisions = case
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    slices = [()]
    for division in divisions:
        slices = [(*before, extent) for before in slices for extent in division]
    random.shuffle(slices)  # type: ignore[attr-defined]
    tmp = tmp_path_factory.mktemp("part")
    prefix = tmp / "model"
    with tfckpt.Writer(prefix) as writer:
        for extents in slices:
            where = tuple(slice(start, start + length) for start, length in extents)
            writer.add_slice("w", values[where], shape, ":".join(f"{start},{length}" for start, length in extents))
        writer.add("v", np.float64([7]))

    with counting_store() as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfckpt.bundle.reader.SLAB_BYTES", sizes[1])
        plan = jobs.plan_export(store.upload(str(prefix)), tmp / "out", dtype=dtype)
        result = jobs.run_task(plan.tasks[0], piece_bytes=sizes[0])

    arrays = safetensors.numpy.load_file(result.record.output)
    np.testing.assert_array_equal(arrays["w"], values.astype(dtype), strict=True)
    np.testing.assert_array_equal(arrays["v"], np.array([7], dtype), strict=True)


def test_a_task_makes_at_most_five_percent_more_requests_than_ranges(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 pieces in 20 requests, and two for the index, with several in flight, in the memory of those held."""
    monkeypatch.setattr("tfckpt.storage.remote.read_ahead.HELD_BYTES", 6 << 19)
    source = tmp_path / "model"
    tfckpt.save({"w": np.zeros((20, 1 << 16), np.float64), "a": np.ones(3, np.float32)}, source)
    with counting_store() as store:
        address = store.upload(str(source))
        plan = jobs.plan_export(address, tmp_path / "out", piece_bytes=1 << 19)
        store.reset()
        type(store.files).delay = 0.002
        tracemalloc.start()
        jobs.run_task(plan.tasks[0], connections=4, piece_bytes=1 << 19)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        counts, most = dict(store.counts), store.most_in_flight

    assert plan.estimate.get_requests >= counts["all"]
    assert counts["get"] <= 22
    assert counts["all"] <= 25
    assert 3 <= most <= 4
    assert peak < 12 << 19  # of 20 << 19


def test_every_third_request_may_fail(tmp_path: pathlib.Path) -> None:
    """The same bytes arrive, at a slower pace."""
    with counting_store() as store:
        address = store.upload(write_source(tmp_path, shards=1))
        plan = jobs.plan_export(address, tmp_path / "out", shard_size=1_000_000)
        type(store.files).fail_each = 3
        result = jobs.run_task(plan.tasks[0], connections=2)
    with tfckpt.open(tmp_path / "model.ckpt-1") as checkpoint:
        tfckpt.export(checkpoint, tmp_path / "x.safetensors")

    assert pathlib.Path(result.record.output).read_bytes() == (tmp_path / "x.safetensors").read_bytes()


def test_a_pace_halves_after_failures_and_recovers() -> None:
    """Until then there is no limit."""
    slept: list[float] = []
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(sleep=sleep, clock=lambda: now)
    outcomes: Iterator[bool] = iter([True, False, False, True, *[True] * 1000])

    def request() -> int:
        if not next(outcomes):
            raise tfckpt.StorageError("503 Slow Down")
        return 1

    assert pace.call(request) == 1
    assert (pace.rate, slept) == (None, [])
    assert pace.call(request) == 1
    assert pace.rate == 32.5
    assert len(slept) == 4
    for _ in range(900):
        pace.call(request)
    assert pace.rate is None


def test_an_error_that_is_not_transient_is_not_repeated() -> None:
    """A missing file stays missing."""
    count = 0

    def request() -> None:
        nonlocal count
        count += 1
        raise tfckpt.CheckpointNotFoundError("file not found")

    with pytest.raises(tfckpt.CheckpointNotFoundError):
        Pace(sleep=lambda _: None).call(request)
    assert count == 1


def write_columns(folder: pathlib.Path, *, rows: int, columns: int, parts: int) -> str:
    """Write a variable of float32 in slices along its second axis."""
    values = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    width = columns // parts
    with tfckpt.Writer(folder / "model") as writer:
        for part in range(parts):
            where = f"-:{part * width},{width}"
            writer.add_slice("w", values[:, part * width : (part + 1) * width], values.shape, where)
    return str(folder / "model")


def test_slices_along_other_axes_are_read_in_bounded_memory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slab by slab, each byte once, and a request for each slice of a slab."""
    monkeypatch.setattr("tfckpt.bundle.reader.SLAB_BYTES", 1 << 20)
    source = write_columns(tmp_path, rows=1 << 13, columns=256, parts=4)
    with counting_store() as store:
        address = store.upload(source)
        plan = jobs.plan_export(address, tmp_path / "out")
        store.reset()
        tracemalloc.start()
        jobs.run_task(plan.tasks[0], connections=2, piece_bytes=1 << 18)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        counts = dict(store.counts)

    assert counts["bytes"] < 1.01 * (8 << 20) + 65536
    assert counts["get"] <= 32 + 3
    assert peak < 15 << 20


def test_damage_in_a_slice_along_another_axis_is_found(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the last slab is handed on."""
    monkeypatch.setattr("tfckpt.bundle.reader.SLAB_BYTES", 1 << 10)
    prefix = write_columns(tmp_path, rows=64, columns=16, parts=2)
    shard = pathlib.Path(tfckpt.open(prefix).files[1])
    data = bytearray(shard.read_bytes())
    data[7] ^= 1
    shard.write_bytes(data)
    with counting_store() as store, tfckpt.open(store.upload(prefix)) as checkpoint:
        checkpoint.storage.piece_bytes = 256
        values = checkpoint.reader.iterate_values("w")
        got = 0
        with pytest.raises(tfckpt.ChecksumError):
            for run in values:
                got += run.size

    assert 0 < got < 64 * 16
