"""Running a conversion as tasks, and its end: the proof of all files, and then their index."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from tfckpt.errors import CheckpointError, CorruptionError
from tfckpt.files.atomic import writing
from tfckpt.jobs.finishing import check_done
from tfckpt.jobs.records import find_proof
from tfckpt.jobs.running import Executor, JobReport, run_tasks
from tfckpt.jobs.sources import open_source
from tfckpt.jobs.tasks import Result, find_damage, write_output
from tfckpt.sinks.contract import Sink
from tfckpt.sinks.opening import open_sink
from tfckpt.storage.base import PIECE_BYTES
from tfckpt.tensors.reading import CONNECTIONS, list_payloads

from .._typing import Progress
from ..exporting import change_tensors
from ..formats.files import Prove, format_proof
from ..formats.safetensors import order_names, write_tensors
from ..formats.sharded import format_index, read_shards
from ..libraries.folders import PROOF_NAME
from .planning import ConvertPlan, ConvertTask
from .recipes import follow, list_sources

_COPY_BYTES = 8 << 20


def run_task(
    task: ConvertTask,
    *,
    restart: bool = True,
    source: str | None = None,
    output: str | None = None,
    connections: int = CONNECTIONS,
    piece_bytes: int = PIECE_BYTES,
) -> Result:
    """Write the file of a task and its record, unless its record proves that this was done.

    The options and errors are those of `tfckpt.jobs.run_task`. A tensor whose axes change is in memory as a whole, and
    two copies of it for a moment; others are streamed.
    """
    sink, _ = open_sink(output or task.output)
    if restart:
        proof = find_proof(sink, task)
        if proof is not None:
            return Result(proof, skipped=True)
    files = (task.index, *task.shards)
    with open_source(source or task.source, files, piece_bytes=piece_bytes) as checkpoint:
        changed = change_tensors(follow(task.recipes, checkpoint), task.config, task.changes)
        tensors = {name: changed.tensors[name] for name in task.names}
        ours = {theirs: name for name, theirs in changed.names.items()}
        written = [ours.get(name, name) for name in order_names(tensors)]
        sources = list_sources({name: task.recipes[name] for name in written if name in task.recipes})
        ahead = list_payloads(checkpoint.reader, sources)

        def write(file: BinaryIO) -> None:
            with checkpoint.reader.read_ahead(ahead, connections):
                write_tensors(tensors, task.metadata, file, threads=1)

        return write_output(sink, task, write)


def run_or_list_damage(task: ConvertTask, **options: Any) -> Result | tuple[CheckpointError, ...]:
    """Run a task like `run_task`; if its source is damaged, return the errors of all its tensors."""
    try:
        return run_task(task, **options)
    except CorruptionError as error:
        connections = options.get("connections", CONNECTIONS)
        files = (task.index, *task.shards)
        with open_source(options.get("source") or task.source, files) as checkpoint:
            return tuple(find_damage(checkpoint, list_sources(task.recipes), connections).values()) or (error,)


def run(
    plan: ConvertPlan,
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    restart: bool = True,
    source: str | None = None,
    output: str | None = None,
    connections: int = CONNECTIONS,
    piece_bytes: int = PIECE_BYTES,
    progress: Progress | None = None,
) -> JobReport:
    """Run all tasks that are not done, as `tfckpt.jobs.run` does; `finish` then proves the files and writes the index.

    `source` and `output` are addresses of the same places with credentials, if the environment does not have them.
    """
    job = functools.partial(
        run_or_list_damage,
        restart=restart,
        source=source,
        output=output,
        connections=connections,
        piece_bytes=piece_bytes,
    )
    return run_tasks(job, plan, executor, workers=workers, looks_up=restart, output=output, progress=progress)


def finish(plan: ConvertPlan, *, output: str | None = None, prove: Prove | None = None) -> None:
    """Write the texts of the folder, prove the written tensors, and write the index.

    The proof reads all files; those at an address are copied to TMPDIR first, which needs room for them.

    Raises `CheckpointNotFoundError` if not all tasks are done, and `VerificationError` if the output does not agree
    with its source; no index is written then.
    """
    sink, _ = open_sink(output or plan.output)
    check_done(sink, plan)
    for name, content in plan.files.items():
        sink.put(sink.join(plan.folder, name), content)
    if prove is not None:
        with _local_files(sink, plan) as folder:
            record = prove(read_shards(folder, plan.weight_map, path=plan.index))
        sink.put(sink.join(plan.folder, PROOF_NAME), format_proof(record).encode())
    shards = [task.names for task in plan.tasks]
    names = [sink.split(task.output)[1] for task in plan.tasks]
    sink.put(plan.index, format_index(plan.written, shards, names).encode())


@contextlib.contextmanager
def _local_files(sink: Sink, plan: ConvertPlan) -> Iterator[str]:
    """Yield a local folder with the files of all tasks."""
    if not sink.is_remote:
        yield plan.folder
        return
    with writing(tempfile.gettempdir()):
        folder = tempfile.mkdtemp(prefix="tfckpt-")
    try:
        for task in plan.tasks:
            path = os.path.join(folder, sink.split(task.output)[1])
            with writing(path), open(path, "wb") as file:
                for piece in sink.iterate_bytes(task.output, _COPY_BYTES):
                    file.write(piece)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
