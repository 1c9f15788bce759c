"""Executors: lost workers, errors of each kind, and stopping in time."""

from __future__ import annotations

import functools
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor

import pytest

from tests.tfckpt.jobs.helpers import Here, list_files, write_source
from tests.tfckpt.jobs.in_workers import fail_in_ways, kill_always, kill_first
from tfckpt import jobs
from tfckpt.errors import ChecksumError, StorageError, WriteError
from tfckpt.jobs.processes import LocalProcesses
from tfckpt.jobs.running import run_all


@pytest.fixture(scope="module")
def processes() -> Iterator[LocalProcesses]:
    """Two workers, which are gone at the end."""
    with LocalProcesses(2) as running:
        yield running
    assert not any(worker._process.is_alive() for worker in running._workers)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_worker_loses_its_task_and_no_other(processes: LocalProcesses, tmp_path: pathlib.Path) -> None:
    """The task that another worker had meanwhile is run once; a task that kills every worker is given up."""
    outcomes = dict(run_all(functools.partial(kill_first, str(tmp_path)), [1, 2, 3], processes))

    assert outcomes == {1: 1, 2: 4, 3: 9}
    assert sorted((tmp_path / "runs").read_text().split()) == ["1", "1", "2", "3"]
    with pytest.raises(StorageError, match="lost its worker"):
        list(run_all(kill_always, [1], processes, attempts=1))


def test_errors_in_a_worker_are_raised_with_their_place_there(processes: LocalProcesses) -> None:
    """So are those of what cannot be sent to it or back; the worker goes on."""
    with pytest.raises(ZeroDivisionError) as caught:
        processes.submit(fail_in_ways, "bug").result()
    assert "fail_in_ways" in str(caught.value.__cause__)
    for function, argument in ((fail_in_ways, "result"), (fail_in_ways, lambda: None)):
        with pytest.raises((pickle.PicklingError, AttributeError)):  # it depends on the version of Python
            processes.submit(function, argument).result()
    assert processes.submit(abs, -3).result() == 3


def test_transient_errors_are_tried_again_and_others_are_not() -> None:
    """Errors of the data are results, those of the program are raised."""
    counts: dict[str, int] = {}

    def run(kind: str) -> str:
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "busy" and counts[kind] < 3:
            raise StorageError("503")
        if kind == "never":
            raise StorageError("503")
        if kind == "damaged":
            raise ChecksumError("wrong", stored=1, computed=2)
        if kind == "full":
            raise WriteError("no space")
        return "done"

    outcomes = dict(run_all(run, ["busy", "never", "damaged", "full"], Here(), attempts=3))

    assert counts == {"busy": 3, "never": 3, "damaged": 1, "full": 1}
    assert outcomes["busy"] == "done"
    assert [type(outcomes[kind]) for kind in ("never", "damaged", "full")] == [StorageError, ChecksumError, WriteError]
    with pytest.raises(ZeroDivisionError):
        list(run_all(lambda number: 1 // number, [1, 0], Here()))


def test_no_more_tasks_are_outstanding_than_an_executor_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers are slow with very many."""
    monkeypatch.setattr("tfckpt.jobs.running.OUTSTANDING", 3)
    outstanding: list[int] = []
    running: set[Future[int]] = set()

    with ThreadPoolExecutor(8) as pool:

        class Counted:
            def submit(self, function: object, /, *arguments: object) -> Future[int]:
                outstanding.append(sum(not future.done() for future in running) + 1)
                future = pool.submit(function, *arguments)  # type: ignore[arg-type]
                running.add(future)
                return future

        outcomes = list(run_all(lambda number: time.sleep(0.002) or number, list(range(20)), Counted()))

    assert len(outcomes) == 20
    assert max(outstanding) <= 3


def test_a_job_in_processes_writes_the_same_files(processes: LocalProcesses, tmp_path: pathlib.Path) -> None:
    """And so does one in threads, and one in this process."""
    source = write_source(tmp_path)
    reports = []
    for name, options in (
        ("here", {"workers": 1}),
        ("processes", {"executor": processes}),
        ("threads", {"executor": ThreadPoolExecutor(3)}),
    ):
        plan = jobs.plan_export(source, tmp_path / name, shard_size=5_000)
        reports.append(jobs.run(plan, **options))  # type: ignore[arg-type]

    assert all(report.ok and report.skipped == 0 for report in reports)
    assert list_files(tmp_path / "here") == list_files(tmp_path / "processes") == list_files(tmp_path / "threads")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not deliver SIGTERM")
def test_sigterm_ends_a_job_in_time_and_leaves_no_temporary_files(tmp_path: pathlib.Path) -> None:
    """Files of finished tasks stay, for a restart."""
    source = write_source(tmp_path, count=4)
    arguments = ["export", source, "-o", str(tmp_path / "out")]
    code = f"""
        import sys, time
        import tfckpt.bundle.reader
        from tfckpt.cli import main

        if __name__ == "__main__":
            sys.exit(main([*{arguments!r}, "--shard-size", "2KB", "--workers", "2"]))

        original = tfckpt.bundle.reader.BundleReader.iterate_values

        def slow(*arguments):
            for item in original(*arguments):
                yield item
                time.sleep(30)

        tfckpt.bundle.reader.BundleReader.iterate_values = slow
    """
    script = tmp_path / "job.py"
    script.write_text(textwrap.dedent(code))
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not any((tmp_path / "out").glob("*.writing-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert process.returncode == 143
    assert time.monotonic() - begin < 5
    assert list((tmp_path / "out").glob("*.writing-*")) == []


def test_leaving_the_pool_stops_its_processes() -> None:
    """Also one that has something to do."""
    with LocalProcesses(2) as processes:
        future = processes.submit(time.sleep, 60)
        while not future.running():
            time.sleep(0.01)
        workers = [worker._process for worker in processes._workers]
        begin = time.monotonic()

    assert time.monotonic() - begin < 6
    assert isinstance(future.exception(), BrokenExecutor)
    assert not any(worker.is_alive() for worker in workers)
