"""The end of a job: the index of all files, written only when every task is proved to be done."""

from __future__ import annotations

import dataclasses

from ..errors import CheckpointNotFoundError, join_some
from ..sinks.contract import Sink
from ..sinks.opening import open_sink
from ..writing.export_files import format_index
from .plan import FilePlan, Plan
from .records import Record, find_proofs


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """A finished job: its files, the index last, the size of its tensors, and the damaged ones that were left out."""

    files: tuple[str, ...]
    tensors: tuple[str, ...]
    nbytes: int
    damaged: dict[str, str]


def finish(plan: Plan, *, output: str | None = None) -> Finished:
    """Write the index of the job's files, after checking the record of every task.

    Raises `CheckpointNotFoundError` with the missing files if not all tasks are done.
    `output` is an address of the same place with credentials, if the environment does not have them.
    """
    sink, _ = open_sink(output or plan.output)
    damaged = {name: error for record in check_done(sink, plan) for name, error in record.damaged.items()}
    files, total = {}, 0
    for task in plan.tasks:
        for tensor in task.tensors:
            if tensor.name not in damaged:
                files[tensor.name] = task.output
                total += tensor.nbytes
    sink.put(plan.index, format_index(sink, files, total))
    return Finished((*(task.output for task in plan.tasks), plan.index), tuple(sorted(files)), total, damaged)


def check_done(sink: Sink, plan: FilePlan) -> list[Record]:
    """Return the record of every task; raise `CheckpointNotFoundError` with the missing files if one is not done."""
    records = list(find_proofs(sink, plan.tasks))
    missing = [task.output for task, record in zip(plan.tasks, records, strict=True) if record is None]
    if missing:
        names = [sink.split(path)[1] for path in missing]
        raise CheckpointNotFoundError(
            f"{len(missing)} of {len(plan.tasks)} tasks are not done: {join_some(names)}; run the job again",
            path=plan.output,
        )
    return [record for record in records if record is not None]
