"""Executors: lost workers, errors of each kind, and stopping in time."""

from __future__ import annotations

import functools
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.tfckpt.jobs.helpers import Here, list_files, write_source
from tfckpt import jobs
from tfckpt.errors import ChecksumError, StorageError, WriteError
from tfckpt.jobs.processes import LocalProcesses
from tfckpt.jobs.running import run_all


def fail_first(folder: str, number: int) -> int:
    """Kill the own process the first time that a number comes, and return its square later."""
    mark = pathlib.Path(folder) / str(number)
    if number % 3 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def kill_always(number: int) -> int:
    """Kill the own process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_tasks_of_killed_workers_are_done_by_others(tmp_path: pathlib.Path) -> None:
    """A pool that lost a worker is replaced."""
    function = functools.partial(fail_first, str(tmp_path))

    outcomes = dict(run_all(function, list(range(1, 5)), workers=2, attempts=9))

    assert outcomes == {number: number * number for number in range(1, 5)}


def test_a_task_that_kills_every_worker_is_given_up() -> None:
    """After so many attempts."""
    with pytest.raises(StorageError, match="lost its worker"):
        list(run_all(kill_always, [1], workers=2, attempts=2))


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


def test_a_job_in_processes_writes_the_same_files(tmp_path: pathlib.Path) -> None:
    """And so does one in threads, and one in this process."""
    source = write_source(tmp_path)
    reports = []
    for name, options in (
        ("here", {"workers": 1}),
        ("processes", {"workers": 2}),
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
    """Whether or not they have something to do."""
    with LocalProcesses(2) as processes:
        assert processes.submit(abs, -3).result() == 3
        workers = list((processes._pool._processes or {}).values())  # type: ignore[union-attr]
        processes.submit(time.sleep, 60)
        begin = time.monotonic()

    assert time.monotonic() - begin < 6
    for worker in workers:
        worker.join(5)
        assert not worker.is_alive()
