"""Scans: what is found, what is wrong with it, and what a restart keeps."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from typing import Any

import numpy as np
import pytest

import tfckpt
import tfckpt.cli
from tests import keras_files
from tests.tfckpt.jobs.helpers import Here, counting_store
from tfckpt import protos
from tfckpt.errors import CheckpointNotFoundError, UnsupportedFeatureError
from tfckpt.jobs import scanning
from tfckpt.jobs.tables import Table


def cut(path: pathlib.Path, nbytes: int) -> None:
    """Remove bytes from the end of a file."""
    path.write_bytes(path.read_bytes()[:-nbytes])


def flip(path: pathlib.Path) -> None:
    """Change a byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


#: Five ways to break a checkpoint at a prefix, each with the class of the finding.
BREAKS: dict[str, tuple[Callable[[str], None], str]] = {
    "truncated data": (lambda prefix: cut(pathlib.Path(f"{prefix}.data-00000-of-00001"), 5), "TruncatedError"),
    "no data": (lambda prefix: os.unlink(f"{prefix}.data-00000-of-00001"), "CheckpointNotFoundError"),
    "no index": (lambda prefix: os.unlink(f"{prefix}.index"), "CheckpointNotFoundError"),
    "truncated index": (lambda prefix: cut(pathlib.Path(f"{prefix}.index"), 9), "CorruptionError"),
    "flipped data": (lambda prefix: flip(pathlib.Path(f"{prefix}.data-00000-of-00001")), "ChecksumError"),
}


def make_fleet(folder: pathlib.Path, count: int) -> dict[str, str | None]:
    """Copy a checkpoint `count` times, and break one in ten; return the class of the finding of each prefix."""
    (folder / "x").mkdir()
    original = tfckpt.save({"w": np.arange(6, dtype=np.float32), "w/Adam": np.zeros(6, np.float32)}, folder / "x" / "m")
    expected: dict[str, str | None] = {}
    for number in range(count):
        run = folder / "runs" / f"run{number // 50}"
        run.mkdir(parents=True, exist_ok=True)
        prefix = str(run / f"model.ckpt-{number}")
        for ending in (".index", ".data-00000-of-00001"):
            shutil.copy(f"{original}{ending}", f"{prefix}{ending}")
        expected[prefix] = None
        if number % 10 == 3:
            damage, expected[prefix] = list(BREAKS.values())[number // 10 % len(BREAKS)]
            damage(prefix)
    return expected


def read_table(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the rows of a table in JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def scan(*arguments: object) -> int:
    """Run the command."""
    return tfckpt.cli.main(["scan", *map(str, arguments)])


def test_a_fleet_is_classified_and_a_killed_scan_continues(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run_all: bool
) -> None:
    """Every broken one by its class; the second run examines only what the first did not finish."""
    expected = make_fleet(tmp_path, 2000 if run_all else 200)
    table, batch = tmp_path / "table.jsonl", len(expected) // 10
    examined: list[str] = []
    examine = scanning.scan_one

    def count(candidate: Any, **options: Any) -> Any:
        examined.append(candidate.address)
        if len(examined) == len(expected) // 2 + 5:
            raise KeyboardInterrupt
        return examine(candidate, **options)

    monkeypatch.setattr(scanning, "scan_one", count)
    arguments = (tmp_path / "runs", "-o", table, "--depth", "checksums", "--workers", 1, "--batch", batch)
    assert scan(*arguments) == 130
    assert not table.exists()
    assert scan(*arguments) == 2  # parts of an earlier scan

    before = len(examined)
    assert scan(*arguments, "--restart") == 0

    rows = {row["address"]: row for row in read_table(table)}
    assert len(examined) - before == len(expected) // 2
    assert list(rows) == sorted(expected)
    assert {name: next(iter(row["damage"]), None) for name, row in rows.items()} == expected
    assert all(row["damaged"] == (expected[name] is not None) for name, row in rows.items())
    whole = next(row for name, row in rows.items() if expected[name] is None)
    assert (whole["tensors"], whole["parameters"], whole["nbytes"], whole["optimizer_share"]) == (2, 6, 48, 0.5)
    assert (whole["dtypes"], whole["format"], whole["dangerous"], whole["error"]) == ({"float": 2}, "V2", None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "table.jsonl", "x"]
    assert f"{len(expected):,} checkpoints: {len(expected) // 10:,} damaged" in capsys.readouterr().out


def test_a_restart_examines_what_has_changed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By names, sizes and versions of files, and by depth; what is gone leaves the table."""
    make_fleet(tmp_path, 6)
    table = tmp_path / "table.jsonl"
    examined: list[str] = []
    examine = scanning.scan_one
    monkeypatch.setattr(
        scanning,
        "scan_one",
        lambda candidate, **options: examined.append(candidate.address) or examine(candidate, **options),
    )
    arguments = (tmp_path / "runs", "-o", table, "--workers", 1)
    scan(*arguments)
    examined.clear()
    run = tmp_path / "runs" / "run0"
    tfckpt.save({"v": np.ones(3)}, run / "model.ckpt-1", overwrite=True)
    for path in run.glob("model.ckpt-2.*"):
        path.unlink()

    assert scan(*arguments, "--restart") == 0

    assert examined == [str(run / "model.ckpt-1")]
    assert [pathlib.Path(row["address"]).name for row in read_table(table)] == [
        f"model.ckpt-{n}" for n in (0, 1, 3, 4, 5)
    ]
    assert scan(*arguments, "--restart", "--depth", "graph") == 0
    assert len(examined) == 6


def test_every_format_is_found(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """V1 by content if the name suggests it; files of other programs with such names are not in the table."""
    for name, source in (("tf2", "savedmodel-tf2"), ("tf1", "savedmodel-tf1")):
        shutil.copytree(data / "tensorflow" / source, tmp_path / name)
    for path in (data / "tensorflow" / "v1" / "saver").iterdir():
        shutil.copy(path, tmp_path)
    shutil.copy(data / "tensorflow" / "v1" / "types", tmp_path / "old.ckpt-3")
    for shard in sorted((data / "tensorflow" / "v1").glob("spread-*")):
        shutil.copy(shard, tmp_path)
    (tmp_path / "lightning.ckpt").write_bytes(b"PK\3\4" + bytes(99))
    (tmp_path / "data.h5").write_bytes(b"no HDF5 file" + bytes(99))
    (tmp_path / "train-00000-of-00002").write_bytes(bytes(99))
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    (frozen / "saved_model.pb").write_bytes((tmp_path / "tf1" / "saved_model.pb").read_bytes())
    name = next(iter(keras_files.expected()))
    files = keras_files.files_of(name)
    for file, content in files.items():
        (tmp_path / pathlib.PurePath(file).name).write_bytes(content)
    table = tmp_path / "table.jsonl"

    assert scan(tmp_path, "-o", table, "--depth", "graph", "--workers", 1) == 0

    rows = {os.path.relpath(row["address"], tmp_path): row for row in read_table(table)}
    formats = {address: row["format"] for address, row in rows.items() if row["format"] != "Keras"}
    assert formats == {
        **dict.fromkeys(("frozen", "tf1", "tf2"), "SavedModel"),
        **dict.fromkeys(("old.ckpt-3", "model.ckpt-0", "spread-?????-of-00003"), "V1"),
    }
    assert sum(row["format"] == "Keras" for row in rows.values()) == 1
    assert not any(row["error"] for row in rows.values())
    assert rows["tf2"]["operations"] == {"InitializeTableFromTextFileV2": 1}
    assert (rows["tf2"]["dangerous"], rows["tf1"]["dangerous"], rows["frozen"]["tensors"]) == (True, False, 0)
    assert rows["tf1"]["framework"].startswith("TensorFlow ")


def test_a_dangerous_graph_is_not_damaged_and_a_damaged_one_not_dangerous(tmp_path: pathlib.Path) -> None:
    """Two separate facts."""
    message = protos.message_class("MetaGraphDef")()
    message.graph_def.node.add(name="x", op="WriteFile")
    for name, content in (("evil", message.SerializeToString()), ("broken", b"\xff\xff")):
        tfckpt.save({"w": np.ones(3)}, tmp_path / name)
        (tmp_path / f"{name}.meta").write_bytes(content)

    scan(tmp_path, "-o", tmp_path / "table.jsonl", "--depth", "graph", "--workers", 1)

    broken, evil = read_table(tmp_path / "table.jsonl")
    assert (evil["damaged"], evil["dangerous"], evil["operations"]) == (False, True, {"WriteFile": 1})
    assert (broken["damaged"], broken["dangerous"], broken["damage"]) == (True, None, {"CorruptionError": 1})


def test_a_bug_in_one_row_is_a_row(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is not called damage."""
    make_fleet(tmp_path, 3)
    count = scanning.count_tensors

    def fail(checkpoint: tfckpt.Checkpoint) -> Any:
        if checkpoint.prefix.endswith("-1"):
            raise ZeroDivisionError("a bug")
        return count(checkpoint)

    monkeypatch.setattr(scanning, "count_tensors", fail)
    scan(tmp_path / "runs", "-o", tmp_path / "table.jsonl", "--workers", 1)

    rows = read_table(tmp_path / "table.jsonl")
    assert [row["error"] for row in rows] == [None, "ZeroDivisionError: a bug", None]
    assert not any(row["damaged"] for row in rows)


def test_what_kills_a_worker_is_a_row(tmp_path: pathlib.Path) -> None:
    """Its batch is examined one by one."""

    class Dying(Here):
        def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
            future = super().submit(function, *arguments)
            if any(candidate.address.endswith("-1") for candidate in arguments[0]):
                future = Future()
                future.set_exception(BrokenExecutor("killed"))
            return future

    make_fleet(tmp_path, 3)
    plan = scanning.plan_scan(str(tmp_path / "runs"))

    rows = [row for some in scanning.run_scan(plan, plan.candidates, executor=Dying(), batch=2) for row in some]

    errors = {row.address[-1]: row.error for row in rows}
    assert {name for name, error in errors.items() if error} == {"1"}
    assert len(rows) == 3


def test_a_bucket_is_scanned_by_few_requests_and_no_secrets_are_written(tmp_path: pathlib.Path) -> None:
    """One listing, and five requests for each checkpoint; the table is in the store too."""
    tfckpt.save({"w": np.ones(3, np.float32)}, tmp_path / "m")
    with counting_store() as store:
        for _ in range(20):
            store.upload(str(tmp_path / "m"))
        store.reset()
        plan = scanning.plan_scan("counted://user:password@bucket/?token=1234567")
        assert (len(plan.candidates), store.counts["get"] + store.counts["head"]) == (20, 0)
        rows = [row for some in scanning.run_scan(plan, plan.candidates, executor=Here()) for row in some]
        counts = store.counts["get"], store.counts["head"]
        assert scan("counted://bucket/", "-o", "counted://bucket/table.jsonl", "--workers", 1) == 0
        table = store.get("bucket/table.jsonl")

    assert all(row.error is None and row.tensors == 1 for row in rows)
    assert sum(counts) <= plan.requests == 100
    assert len(table.splitlines()) == 20
    assert not any("password" in str(row) or "1234567" in str(row) for row in rows)


def test_places_that_cannot_be_listed_are_refused(tmp_path: pathlib.Path) -> None:
    """A missing folder, and a web server."""
    with pytest.raises(CheckpointNotFoundError):
        scanning.plan_scan(str(tmp_path / "missing"))
    with pytest.raises(UnsupportedFeatureError):
        scanning.plan_scan("https://host/x/")
    assert scanning.plan_scan(str(tmp_path)).candidates == ()


def test_a_table_has_one_of_two_endings_and_is_not_overwritten(tmp_path: pathlib.Path) -> None:
    """Unless `--force` is given; damaged lines of it are scanned again."""
    make_fleet(tmp_path, 2)
    table = tmp_path / "table.jsonl"
    assert scan(tmp_path / "runs", "-o", tmp_path / "table.csv", "--workers", 1) == 2
    assert scan(tmp_path / "runs", "-o", table, "--workers", 1) == 0
    whole = table.read_text()
    assert scan(tmp_path / "runs", "-o", table, "--workers", 1) == 2
    table.write_text(whole[:-20] + "\n[1]\n{}\n")

    assert scan(tmp_path / "runs", "-o", table, "--workers", 1, "--restart") == 0
    assert table.read_text() == whole
    assert scan(tmp_path / "runs", "-o", table, "--workers", 1, "--force") == 0


def test_parquet_has_the_same_rows(tmp_path: pathlib.Path) -> None:
    """And can be continued like JSON lines."""
    pytest.importorskip("pyarrow", reason="tables in Parquet need pyarrow")
    from tfckpt.sinks.opening import open_sink

    make_fleet(tmp_path, 10)
    for ending in ("jsonl", "parquet"):
        scan(tmp_path / "runs", "-o", tmp_path / f"table.{ending}", "--workers", 1, "--depth", "graph")

    lines, parquet = (list(Table(*open_sink(tmp_path / f"table.{ending}")).read()) for ending in ("jsonl", "parquet"))
    assert lines == parquet
    assert len(lines) == 10


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read."""
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert scan(tmp_path, "-o", tmp_path / "table.parquet") == 5
    assert "tfckpt[parquet]" in capsys.readouterr().err
