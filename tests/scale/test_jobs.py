"""Jobs against a real S3 server: killed workers, faults of the store, and counts. `make scale-check` runs them."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests.scale.endless import build_index
from tests.scale.killing import Killing
from tfckpt import jobs
from tfckpt.errors import FileChangedError
from tfckpt.jobs.processes import LocalProcesses
from tfckpt.jobs.records import record_path
from tfckpt.jobs.running import run_all
from tfckpt.sinks.leftovers import find_leftovers
from tfckpt.sinks.opening import open_sink

REASON = "needs the environment of `make scale-check`"
pytest.importorskip("moto", reason=REASON)
distributed = pytest.importorskip("distributed", reason=REASON)
s3fs = pytest.importorskip("s3fs", reason=REASON)
from tests.scale.server import Server, serving  # noqa: E402

#: Four files of 7 MB, each an upload of two parts.
TENSORS, ELEMENTS, SHARD = 8, 900_000, 7_200_000
OUTPUT = "s3://bucket/out/"


def note(text: str) -> None:
    """Record a figure, for docs/scale.md."""
    if os.environ.get("SCALE_FIGURES"):
        with open(os.environ["SCALE_FIGURES"], "a", encoding="utf-8") as file:
            file.write(f"{text}\n")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a checkpoint, and its export by `tfckpt export`."""
    folder = tmp_path_factory.mktemp("local")
    values = np.random.default_rng(3).standard_normal((TENSORS, ELEMENTS), np.float32)
    tfckpt.save({f"layer{n}/kernel": values[n] for n in range(TENSORS)}, folder / "model.ckpt-1", shards=2)
    (folder / "out").mkdir()
    with tfckpt.open(folder / "model.ckpt-1") as checkpoint:
        tfckpt.export(checkpoint, folder / "out" / "model.safetensors", shard_size=SHARD)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The S3 server."""
    with serving() as running:
        yield running


@pytest.fixture
def store(server: Server, local: pathlib.Path) -> Iterator[Any]:
    """A file system whose bucket has the checkpoint and nothing else."""
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem(use_listings_cache=False)
    if files.exists("bucket"):
        files.rm("bucket", recursive=True)
    files.mkdir("bucket")
    for path in local.glob("model.ckpt-1.*"):
        files.put_file(str(path), f"bucket/{path.name}")
    server.control()
    yield files
    server.control()


@pytest.fixture(params=["processes", "dask"])
def workers(request: pytest.FixtureRequest, server: Server) -> Iterator[Any]:
    """Two workers."""
    if request.param == "processes":
        with LocalProcesses(2) as processes:
            yield processes
        return
    from tfckpt.jobs.dask import DaskExecutor

    with (
        _no_failures_allowed(),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50, processes=True
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield DaskExecutor(client)


def _no_failures_allowed() -> contextlib.AbstractContextManager[Any]:
    """Let the scheduler give up a task when its first worker is killed, so that `KilledWorker` is raised."""
    import dask

    setting: contextlib.AbstractContextManager[Any] = dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 0,
            "distributed.comm.timeouts.connect": "120s",  # on a busy machine a worker takes long to start
            "distributed.comm.timeouts.tcp": "120s",
        }
    )
    return setting


def read_outputs(store: Any) -> dict[str, bytes]:
    """Return the objects of the output by name, without records."""
    paths = [path for path in store.find("bucket/out") if "/_tfckpt/" not in path]
    return {path.rpartition("/")[2]: store.cat_file(path) for path in paths}


def read_export(local: pathlib.Path) -> dict[str, bytes]:
    """Return the files that `tfckpt export` wrote."""
    return {path.name: path.read_bytes() for path in (local / "out").iterdir()}


def plan() -> jobs.Plan:
    """Plan the job of these tests."""
    return jobs.plan_export("s3://bucket/model.ckpt-1", OUTPUT, shard_size=SHARD)


def test_killed_workers_leave_no_trace_in_the_result(
    server: Server, store: Any, local: pathlib.Path, workers: Any, tmp_path: pathlib.Path
) -> None:
    """Killed before the upload, between parts, and after the commit; then the index is missing; then all is there."""
    job = plan()
    executor = Killing(workers, tmp_path)

    report = jobs.run(job, executor, attempts=10)

    whole = read_export(local)
    index = "model.safetensors.index.json"
    assert report.ok
    assert executor.kills == 3
    assert read_outputs(store) == {name: data for name, data in whole.items() if name != index}
    assert executor.runs <= len(job.tasks) + executor.kills  # at most one task is lost with a worker
    note(f"{type(workers).__name__}: {len(job.tasks)} tasks, {executor.kills} kills, {executor.runs} runs")

    jobs.finish(job)

    assert read_outputs(store) == whole
    server.control()
    again = jobs.run(job, executor)
    counts = server.control()
    assert again.skipped == len(job.tasks)
    assert counts["all"] <= 2 * len(job.tasks)
    note(f"restart of {len(job.tasks)} finished tasks: {counts['all']} requests")
    sink, folder = open_sink(OUTPUT)
    leftovers = list(find_leftovers(sink, folder))
    assert [leftover.kind for leftover in leftovers] == ["unfinished upload"]
    assert tfckpt_main("clean", OUTPUT, "--remove", "--older-than", "0") == 0
    assert list(find_leftovers(sink, folder)) == []
    assert read_outputs(store) == whole


def test_a_driver_killed_before_the_index_is_continued(server: Server, store: Any, local: pathlib.Path) -> None:
    """By the next run, which finds all files done, with two requests for each, and writes the index."""
    arguments = ["export", "s3://bucket/model.ckpt-1", "-o", OUTPUT, "--shard-size", str(SHARD)]
    code = f"""
import os, signal, sys
import tfckpt.jobs.finishing
from tfckpt.cli import main

if __name__ == "__main__":
    tfckpt.jobs.finishing.format_index = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(main([*{arguments!r}, "--workers", "2"]))
"""
    script = local / "driver.py"
    script.write_text(code, encoding="utf-8")

    killed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)

    whole = read_export(local)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_outputs(store) == {name: data for name, data in whole.items() if not name.endswith(".json")}
    server.control()
    assert tfckpt_main(*arguments, "--workers", "1", "--restart") == 0
    note(f"restart after a driver was killed before the index: {server.control()['all']} requests, 4 tasks skipped")
    assert read_outputs(store) == whole


def test_a_conversion_by_tasks_writes_what_one_process_writes(store: Any, workers: Any, tmp_path: pathlib.Path) -> None:
    """From the bucket and to it, with its proof."""
    from converter.conversion import ConversionOptions, convert
    from converter.exporting import Changes, export
    from converter.jobs.planning import plan_convert
    from converter.jobs.running import finish, run
    from converter.verification.publishing import Prover

    source = pathlib.Path(__file__).parents[1] / "data" / "digits" / "efficientnetv2-digits"
    for path in source.iterdir():
        store.put_file(str(path), f"bucket/digits/{path.name}")
    export(convert(source), tmp_path / "out", shard_size=100_000)
    with tfckpt.open("s3://bucket/digits/model.ckpt-322") as checkpoint:
        job = plan_convert(checkpoint, OUTPUT, ConversionOptions(), Changes(), shard_size=100_000)

        report = run(job, workers)
        finish(job, prove=Prover(job.result, job.prepared, checkpoint))

    assert report.ok
    assert len(job.tasks) == 3
    assert read_outputs(store) == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_a_worker_that_reads_and_uploads_stays_within_its_memory(store: Any) -> None:
    """A tensor of 1 GiB, in pieces of 8 MiB and parts of 16 MiB; the server makes it up, and drops what is uploaded."""
    size = 1 << 30
    store.pipe_file(f"bucket/endless/w-{size}.index", build_index(size))
    code = f"""
        import sys
        import tfckpt
        from tfckpt import jobs
        from tfckpt.jobs.memory import give_back_buffers
        from tfckpt.jobs.sources import describe_files
        give_back_buffers()
        source = "s3://bucket/endless/w-{size}"
        with tfckpt.open(source) as checkpoint:
            (index,) = describe_files(checkpoint, checkpoint.files[:1]).values()
        tensor = jobs.TaskTensor("w", "w", "uint8", ({size // 1024}, 1024))
        result = jobs.run_task(jobs.Task(1, source, index, (), "s3://bucket/dropped/w.safetensors", (tensor,)))
        assert result.record.size > {size}, result
        status = open("/proc/self/status").read()  # getrusage counts the parent's memory too
        print("torch" in sys.modules, int(status.partition("VmHWM:")[2].split()[0]) >> 10)
    """

    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=300
    )

    assert result.returncode == 0, result.stderr
    has_torch, peak = result.stdout.split()
    assert has_torch == "False"
    assert int(peak) < 256
    note(f"a worker that exports a tensor of 1 GiB from S3 to S3: {int(peak)} MiB resident at most")


def tfckpt_main(*arguments: str) -> int:
    """Run the command in this process."""
    import tfckpt.cli

    return tfckpt.cli.main(list(arguments))


def test_a_store_that_is_busy_gets_the_same_result(server: Server, store: Any, local: pathlib.Path) -> None:
    """503 at every third request."""
    job = plan()
    server.control(fail_each=3)

    report = jobs.run(job, workers=1)
    jobs.finish(job)

    counts = server.control()
    assert report.ok
    assert read_outputs(store) == read_export(local)
    note(f"503 at every third request: {counts['all']} requests for {len(job.tasks)} tasks")


def test_a_source_that_changed_stops_the_job(store: Any, local: pathlib.Path) -> None:
    """By its ETag, with nothing written from the new version."""
    job = plan()
    path = local / "model.ckpt-1.data-00001-of-00002"
    store.pipe_file(f"bucket/{path.name}", path.read_bytes()[:-1] + b"\7")

    report = jobs.run(job, workers=1)

    assert {type(error) for error in report.errors} == {FileChangedError}
    assert "model.safetensors.index.json" not in read_outputs(store)


def test_a_record_that_lies_is_no_proof(store: Any, local: pathlib.Path) -> None:
    """An object that does not have the ETag of its record is written again."""
    job = plan()
    jobs.run(job, workers=1)
    first, second, *_ = job.tasks
    sink, _ = open_sink(OUTPUT)
    name = first.output.removeprefix("s3://")
    store.pipe_file(name, bytes(len(store.cat_file(name))))
    record = record_path(sink, second).removeprefix("s3://")
    data = json.loads(store.cat_file(record))
    store.pipe_file(record, json.dumps({**data, "size": data["size"] + 1}).encode())

    assert jobs.run(job, workers=1).skipped == len(job.tasks) - 2
    jobs.finish(job)
    assert read_outputs(store) == read_export(local)


def test_requests_are_those_of_the_ranges(server: Server, store: Any) -> None:
    """At most 5 % more than one for each piece, and a few for the index, whatever the task."""
    job = plan()
    server.control()
    jobs.run(job, workers=1, restart=False)
    counts = server.control()

    assert counts["all"] <= job.estimate.get_requests + job.estimate.put_requests
    note(f"{len(job.tasks)} tasks of 7.2 MB: {dict(sorted(counts.items()))}")


def test_verify_by_tasks_finds_damage(store: Any, local: pathlib.Path, workers: Any) -> None:
    """As one process does."""
    path = local / "model.ckpt-1.data-00000-of-00002"
    data = bytearray(path.read_bytes())
    data[99] ^= 1
    store.pipe_file(f"bucket/{path.name}", bytes(data))

    result = jobs.run_verify(jobs.plan_verify("s3://bucket/model.ckpt-1", task_bytes=8_000_000), workers)

    assert len(result.errors) == 1
    assert len(result.whole) == TENSORS - 1


def test_scheduling_takes_little_time_a_task(workers: Any) -> None:
    """At most 10 ms, if the machine is idle."""
    list(run_all(abs, list(range(4)), workers))
    begin = time.perf_counter()
    count = 500
    assert len(list(run_all(abs, list(range(count)), workers))) == count
    each = (time.perf_counter() - begin) / count
    load = os.getloadavg()[0] / (os.cpu_count() or 1)

    note(f"{type(workers).__name__}: {each * 1000:.1f} ms a task, load {load:.1f} a core")
    assert each < 0.010 * max(1.0, 2 * load)
