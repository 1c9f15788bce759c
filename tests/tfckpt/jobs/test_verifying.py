"""Verification by tasks: the findings are those of `verify`."""

from __future__ import annotations

import pathlib

import pytest

import tfckpt
import tfckpt.cli
from tests.tfckpt.jobs.helpers import Here, counting_store, write_source
from tfckpt import jobs
from tfckpt.errors import FileChangedError, StorageError


def flip(path: str, at: int) -> None:
    """Change a byte of a file."""
    data = bytearray(pathlib.Path(path).read_bytes())
    data[at] ^= 1
    pathlib.Path(path).write_bytes(data)


def break_source(prefix: str, kind: str) -> None:
    """Damage a checkpoint of three shards."""
    shards = tfckpt.open(prefix).files[1:]
    if kind == "data":
        for shard in shards[:2]:
            flip(shard, 100)
    elif kind == "missing":
        pathlib.Path(shards[1]).unlink()
    elif kind == "truncated":
        pathlib.Path(shards[2]).write_bytes(pathlib.Path(shards[2]).read_bytes()[:-3])


@pytest.mark.parametrize("kind", ["whole", "data", "missing", "truncated"])
def test_findings_are_those_of_one_process(kind: str, tmp_path: pathlib.Path) -> None:
    """In their order, for damage of every kind, whatever the size of the tasks."""
    source = write_source(tmp_path, shards=3)
    break_source(source, kind)
    with tfckpt.open(source) as checkpoint:
        expected = tfckpt.verify(checkpoint)

    for task_bytes in (1, 5_000, 10**9):
        plan = jobs.plan_verify(source, task_bytes=task_bytes)
        result = jobs.run_verify(plan, Here())

        assert (result.whole, result.nbytes, result.ok) == (expected.whole, expected.nbytes, kind == "whole")
        assert list(map(str, result.errors)) == list(map(str, expected.errors))


def test_tensors_of_different_tasks_that_share_bytes_are_found(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Their places are compared when all are known."""
    from tests import builders

    payload = bytes(8)
    entry = builders.entry_proto(builders.FLOAT, [2], size=8, crc=builders.crc32c(payload))
    table = builders.table([(b"", builders.header_proto(1)), (b"a", entry), (b"b", entry)])
    prefix = str(builders.write_index(tmp_path, table, payload))

    result = jobs.run_verify(jobs.plan_verify(prefix, task_bytes=1), Here())

    assert [error.tensor for error in result.errors] == ["b"]


def test_an_index_that_changed_is_an_error(tmp_path: pathlib.Path) -> None:
    """One for each task that would have used it."""
    source = write_source(tmp_path)
    plan = jobs.plan_verify(source)
    index = pathlib.Path(tfckpt.open(source).files[0])
    index.write_bytes(index.read_bytes()[:-60] + index.read_bytes()[-60:])

    assert [type(error) for error in jobs.run_verify(plan, Here()).errors] == [FileChangedError]


def test_an_archive_is_refused(data: pathlib.Path) -> None:
    """Workers cannot read it in parts."""
    with pytest.raises(StorageError):
        jobs.plan_verify(f"{data / 'tensorflow' / 'writer-long-keys.tgz'}!writer-long-keys/separators")


def test_each_byte_is_requested_once(tmp_path: pathlib.Path) -> None:
    """By all tasks together."""
    with counting_store() as store:
        address = store.upload(write_source(tmp_path, count=40, elements=5_000, shards=1))
        plan = jobs.plan_verify(address, task_bytes=200_000)
        store.reset()
        result = jobs.run_verify(plan, Here())
        counts = dict(store.counts)

    assert result.ok
    assert len(plan.tasks) == 4
    assert counts["bytes"] < 1.1 * plan.nbytes
    assert counts["get"] <= 3 * len(plan.tasks)


def test_the_command_runs_tasks(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the output and the exit code of the plain command."""
    source = write_source(tmp_path)
    break_source(source, "data")

    codes = [tfckpt.cli.main(["verify", source, *options]) for options in ([], ["--workers", "1"])]

    lines = capsys.readouterr().out.splitlines()
    assert codes == [4, 4]
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
