"""Jobs: what they write, what a second run skips, and what stops them."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

import tfckpt
from tests.tfckpt.jobs.helpers import Here, counting_store, list_files, run_job, write_source
from tfckpt import jobs
from tfckpt.checks.integrity import verify
from tfckpt.cli.costs import say_job
from tfckpt.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    ChecksumError,
    FileChangedError,
    WriteError,
)
from tfckpt.files.json_text import MAX_VALUES
from tfckpt.jobs import finishing, tasks
from tfckpt.jobs.planning import check_output
from tfckpt.sinks import objects

#: Checkpoints by TensorFlow: partitioned, in several shards, big-endian, of every type, V1, and an object graph.
SOURCES = (
    *("partitioned/model.ckpt-12", "partitioned/v1/model.ckpt-12", "sharded/twelve", "sharded/three", "bigendian/ckpt"),
    *("dtypes/ckpt", "slices/ckpt", "v1/types", "v1/sliced-snappy", "v1/spread-?????-of-00003", "v1/saver"),
)
#: Types that safetensors files have.
STORABLE = {"bool", "float16", "bfloat16", "float32", "float64", "complex64", "int8", "int16", "int32", "int64"} | {
    *("uint8", "uint16", "uint32", "uint64")
}


@pytest.fixture
def source(tmp_path: pathlib.Path) -> str:
    """The prefix of a checkpoint of 12 tensors with 2,000 bytes each."""
    return write_source(tmp_path)


def damage(prefix: str, *, shard: int = 0) -> str:
    """Change one byte in the middle of a data shard; return the shard's path."""
    path = tfckpt.open(prefix).files[1 + shard]
    data = bytearray(pathlib.Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    pathlib.Path(path).write_bytes(data)
    return path


@pytest.mark.parametrize("name", SOURCES)
def test_a_job_writes_what_export_writes(name: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Byte for byte, for checkpoints of every form."""
    for kind in ("exported", "job"):
        (tmp_path / kind).mkdir()
    with tfckpt.open(data / "tensorflow" / name) as checkpoint:
        whole = {name for name in verify(checkpoint).whole if checkpoint.info(name).dtype.name in STORABLE}
        sizes = [checkpoint.info(name).nbytes for name in whole]
        size = max(sum(sizes) // 3, *sizes)
        exclude = [name for name in checkpoint if name not in whole]
        report = tfckpt.export(
            checkpoint, tmp_path / "exported" / "model.safetensors", shard_size=size, exclude=exclude
        )

    finished = run_job(str(data / "tensorflow" / name), tmp_path / "job", shard_size=size, exclude=exclude)

    assert finished.tensors == report.tensors
    assert list_files(tmp_path / "job") == list_files(tmp_path / "exported")


def test_options_are_those_of_export(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Selection, averages, names and types."""
    options = {
        "include": ["*/blocks_*", "*/head/*"],
        "weights": "ema",
        "no_optimizer": True,
        "strip_prefix": "efficientnetv2-digits/",
        "rename": [("kernel", "weight")],
        "dtype": "float16",
        "shard_size": 40_000,
    }
    for kind in ("exported", "job"):
        (tmp_path / kind).mkdir()
    with tfckpt.open(digits) as checkpoint:
        tfckpt.export(checkpoint, tmp_path / "exported" / "net.safetensors", **options)

    run_job(str(digits), tmp_path / "job" / "net.safetensors", **options)

    assert list_files(tmp_path / "job") == list_files(tmp_path / "exported")


def test_a_second_run_does_only_what_is_missing(source: str, tmp_path: pathlib.Path) -> None:
    """A file that is gone, one that was replaced, one without a record, and one with another task's record."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)
    jobs.run(plan, Here())
    whole = list_files(tmp_path / "out")
    paths = [pathlib.Path(task.output) for task in plan.tasks]
    records = [path.parent / "_tfckpt" / f"{path.name}.json" for path in paths]
    paths[0].unlink()
    paths[1].write_bytes(b"something else")
    records[2].unlink()
    shutil.copy(records[5], records[3])

    executor = Here()
    report = jobs.run(plan, executor)

    assert len(plan.tasks) == 6
    assert (executor.count, report.skipped, report.ok) == (4, 2, True)
    assert list_files(tmp_path / "out") == whole


def test_a_recheck_reads_what_is_there(source: str, tmp_path: pathlib.Path) -> None:
    """A file whose content changed without a change of its size or time is found by its SHA-256."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)
    jobs.run(plan, Here())
    path = pathlib.Path(plan.tasks[0].output)
    whole, status = path.read_bytes(), path.stat()
    path.write_bytes(whole[:-1] + b"\1")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert jobs.run(plan, Here()).skipped == 6
    assert jobs.run(plan, Here(), recheck=True).skipped == 5
    assert path.read_bytes() == whole


def test_a_job_whose_source_changed_stops_with_both_versions(source: str, tmp_path: pathlib.Path) -> None:
    """Nothing is written from a mixture of two checkpoints."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)
    shard = pathlib.Path(tfckpt.open(source).files[1])
    before = shard.stat().st_mtime_ns
    shard.write_bytes(shard.read_bytes() + b"\0")

    report = jobs.run(plan, Here())

    changed = [error for error in report.errors if isinstance(error, FileChangedError)]
    assert changed == list(report.errors) != []
    assert str(before) in str(changed[0])
    assert str(shard.stat().st_mtime_ns) in str(changed[0])
    with pytest.raises(CheckpointNotFoundError):
        jobs.finish(plan)


def test_damage_is_reported_whole_and_other_files_are_written(source: str, tmp_path: pathlib.Path) -> None:
    """There is no index until every task is done."""
    damage(source, shard=0)
    damage(source, shard=1)
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)

    report = jobs.run(plan, Here())

    assert [type(error) for error in report.errors] == [ChecksumError, ChecksumError]
    assert all(error.tensor for error in report.errors)
    assert len(report.results) == 5
    assert len(list_files(tmp_path / "out")) == 5
    with pytest.raises(CheckpointNotFoundError):
        jobs.finish(plan)


def test_salvage_leaves_out_damaged_tensors_task_by_task(source: str, tmp_path: pathlib.Path) -> None:
    """The records name them, and the index does not; export with salvage writes the same tensors."""
    damage(source)
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000, salvage=True)
    assert jobs.run(plan, Here()).ok

    finished = jobs.finish(plan)

    with tfckpt.open(source) as checkpoint:
        expected = tfckpt.export(checkpoint, tmp_path / "x.safetensors", salvage=True)
    assert finished.tensors == expected.tensors
    assert len(finished.damaged) == 1
    index = json.loads(pathlib.Path(plan.index).read_text())
    assert set(index["weight_map"]) == set(finished.tensors)


def test_a_tensor_larger_than_a_file_is_refused_with_the_size_that_helps(source: str, tmp_path: pathlib.Path) -> None:
    """That size is accepted."""
    with pytest.raises(ValueError, match="2000"):
        jobs.plan_export(source, tmp_path / "out", shard_size=1_999)
    assert len(jobs.plan_export(source, tmp_path / "out", shard_size=2_000).tasks) == 12


def test_the_output_of_another_run_is_not_overwritten(source: str, tmp_path: pathlib.Path) -> None:
    """It can be continued, or overwritten on request."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)
    check_output(plan, restart=False, overwrite=False)
    jobs.run_task(plan.tasks[0])

    with pytest.raises(CheckpointExistsError):
        check_output(plan, restart=False, overwrite=False)
    check_output(plan, restart=True, overwrite=False)
    check_output(plan, restart=False, overwrite=True)


def test_the_cost_names_the_price_of_leaving_a_region(
    source: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a source in a store, and not on a web server, if it is a cent or more."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)
    large = dataclasses.replace(plan.estimate, read_bytes=10**12)
    say_job(plan)
    say_job(dataclasses.replace(plan, estimate=large))
    say_job(dataclasses.replace(plan, source="s3://bucket/model"))
    say_job(dataclasses.replace(plan, source="https://host/model", estimate=large))
    assert "$" not in capsys.readouterr().err

    say_job(dataclasses.replace(plan, source="s3://bucket/model", estimate=large))

    assert "from outside the region about $90.00" in capsys.readouterr().err


def test_a_plan_survives_its_text(source: str, tmp_path: pathlib.Path) -> None:
    """Tasks of a plan that was read write the same files."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)

    again = jobs.read_plan(plan.to_json())

    assert again == plan
    assert jobs.run_task(again.tasks[2]).skipped is False
    assert jobs.run_task(plan.tasks[2]).skipped is True


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.update(kind="import"),
        lambda plan: plan.update(tfckpt="0.0.1"),
        lambda plan: plan["tasks"][0]["tensors"][0].__setitem__(0, "other"),
        lambda plan: plan["tasks"][0].update(files=[99]),
        lambda plan: plan["tasks"][0]["tensors"][0].__setitem__(3, [-1]),
        lambda plan: plan["tasks"][0]["tensors"][0].__setitem__(2, "float31"),
        lambda plan: plan.pop("files"),
        lambda plan: plan.update(tasks=7),
    ],
    ids=["kind", "version", "tensor", "file", "shape", "dtype", "files", "tasks"],
)
def test_a_plan_that_was_changed_is_refused(change: object, source: str, tmp_path: pathlib.Path) -> None:
    """Plans of strangers are data with checks."""
    plan = json.loads(jobs.plan_export(source, tmp_path / "out", shard_size=5_000).to_json())
    change(plan)  # type: ignore[operator]

    with pytest.raises(CheckpointError):
        jobs.read_plan(json.dumps(plan))


def test_a_plan_of_hundreds_of_thousands_of_tensors_is_read(source: str, tmp_path: pathlib.Path) -> None:
    """Beyond the number of values that other JSON files may have."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)
    plan = dataclasses.replace(plan, left_out={"a pattern": ("a",) * (MAX_VALUES + 1)})

    assert jobs.read_plan(plan.to_json()) == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '"x"', "[" * 10_000])
def test_text_that_is_not_a_plan_is_refused(text: str) -> None:
    """With an error of this package."""
    with pytest.raises(CheckpointError):
        jobs.read_plan(text)


def test_tasks_of_a_relative_path_run_in_any_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an export and of a verification: a plan names its files by their absolute paths."""
    write_source(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan, verification = jobs.plan_export("model.ckpt-1", "out", shard_size=5_000), jobs.plan_verify("model.ckpt-1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert jobs.run(jobs.read_plan(plan.to_json()), Here()).ok
    assert jobs.run_verify(verification, Here()).ok
    assert (tmp_path / "out").is_dir()


def test_a_damaged_record_is_no_proof(source: str, tmp_path: pathlib.Path) -> None:
    """The task is done again."""
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=5_000)
    jobs.run(plan, Here())
    record = tmp_path / "out" / "_tfckpt" / f"{pathlib.Path(plan.tasks[0].output).name}.json"
    for text in ("", "{}", "[1]", record.read_text()[:-5]):
        record.write_text(text)

        assert jobs.run_task(plan.tasks[0]).skipped is False


def test_plans_and_records_have_no_credentials(tmp_path: pathlib.Path) -> None:
    """Neither of the source nor of the output; tasks get them in other ways."""
    with counting_store() as store:
        address = store.upload(write_source(tmp_path)).replace("counted://", "counted://user:password@")
        address += "?token=1234567"
        plan = jobs.plan_export(address, "counted://user:password@bucket/out/?token=1234567", shard_size=5_000)
        result = jobs.run_task(plan.tasks[0], source=address)
        record = store.get(f"bucket/out/_tfckpt/{plan.tasks[0].output.rpartition('/')[2]}.json").decode()

    for text in (plan.to_json(), result.record.to_json(), record):
        assert "password" not in text
        assert "1234567" not in text


class KilledError(BaseException):
    """What stands for the end of a process: nothing catches it."""


@pytest.mark.parametrize("point", ["before the upload", "between parts", "before the record", "before the index"])
def test_a_job_that_was_killed_continues_with_the_same_result(
    point: str, source: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of it is visible but those of finished tasks and their records; tests/scale kills real processes."""
    count = 0

    def kill(*arguments: object, **options: object) -> None:
        nonlocal count
        count += 1
        if point == "before the index" or count == 3:
            raise KilledError
        return original(*arguments, **options)

    owner, name = {
        "before the upload": (objects.ObjectSink, "create"),
        "between parts": (tasks._HashedFile, "write"),
        "before the record": (tasks, "write_record"),
        "before the index": (finishing, "format_index"),
    }[point]
    original = getattr(owner, name)
    with counting_store() as store:
        plan = jobs.plan_export(source, "counted://bucket/out/", shard_size=5_000)
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(owner, name, kill)
            assert jobs.run(plan, workers=1).ok
            jobs.finish(plan)
        done = len(store.list("bucket/out/_tfckpt/"))
        files = store.list("bucket/out/model")

        report = jobs.run(plan, workers=1)

        assert report.skipped == done == {"before the index": 6, "between parts": 0}.get(point, 1 + (owner is tasks))
        assert len(files) == done + (point == "before the record")
        jobs.finish(plan)
        run_job(source, tmp_path / "out", shard_size=5_000)
        whole = list_files(tmp_path / "out")
        assert {name: store.get(f"bucket/out/{name}") for name in whole} == whole
        assert len(store.list("bucket/out/")) == 6 + 6 + 1


def test_a_task_that_fails_leaves_no_file(source: str, tmp_path: pathlib.Path) -> None:
    """Not even a temporary one."""
    damage(source)
    plan = jobs.plan_export(source, tmp_path / "out", shard_size=50_000)

    with pytest.raises(ChecksumError):
        jobs.run_task(plan.tasks[0])

    assert list(tmp_path.joinpath("out").iterdir()) == []


def test_an_output_that_cannot_be_written_is_an_error_of_the_place(source: str, tmp_path: pathlib.Path) -> None:
    """A folder whose parent is missing, for example."""
    plan = jobs.plan_export(source, tmp_path / "missing" / "out", shard_size=5_000)

    report = jobs.run(plan, Here())

    assert {type(error) for error in report.errors} == {WriteError}


def test_two_workers_on_one_task_write_one_file(source: str, tmp_path: pathlib.Path) -> None:
    """Both commit the same bytes."""
    from concurrent.futures import ThreadPoolExecutor

    plan = jobs.plan_export(source, tmp_path / "out", shard_size=50_000)
    task = plan.tasks[0]

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(jobs.run_task, task, restart=False) for _ in range(4)]]

    assert len({result.record.sha256 for result in results}) == 1
    assert len(list_files(tmp_path / "out")) == 1


def test_tensors_of_no_elements_and_scalars_are_written(tmp_path: pathlib.Path) -> None:
    """In the place that export gives them."""
    arrays = {"empty": np.zeros((0, 3), np.float32), "scalar": np.int64(7), "a": np.ones(3, np.float16)}
    source = str(tfckpt.save(arrays, tmp_path / "model"))
    for kind in ("exported", "job"):
        (tmp_path / kind).mkdir()
    with tfckpt.open(source) as checkpoint:
        tfckpt.export(checkpoint, tmp_path / "exported" / "model.safetensors", shard_size=1000)

    run_job(source, tmp_path / "job", shard_size=1000)

    assert list_files(tmp_path / "job") == list_files(tmp_path / "exported")


def test_identity_depends_on_everything_that_decides_the_content(source: str, tmp_path: pathlib.Path) -> None:
    """Two plans of the same job agree; another type or selection does not."""
    plans = [
        jobs.plan_export(source, tmp_path / "out", shard_size=50_000, **options)
        for options in ({}, {}, {"dtype": "float16"}, {"exclude": ["layer0/*"]}, {"salvage": True})
    ]
    identities = [plan.tasks[0].identity for plan in plans]

    assert identities[0] == identities[1]
    assert len(set(identities)) == 4
    moved = dataclasses.replace(plans[0].tasks[0], output="elsewhere")
    assert moved.identity == identities[0]
