"""Verification by tasks of about 1 GB, with the findings of `tfckpt verify`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence

from .._typing import PathLike, Progress
from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..checks.integrity import Part, Verification, check_tensors, join_parts
from ..errors import CheckpointError
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import PIECE_BYTES
from ..tensors.reading import CONNECTIONS
from .plan import SourceFile
from .running import Executor, run_all
from .sources import describe_files, open_source

#: Fewest bytes of a task, unless fewer are left.
TASK_BYTES = 10**9


@dataclasses.dataclass(frozen=True, slots=True)
class VerifyTask:
    """Tensors to verify, the checkpoint that has them, and its index when the job was planned."""

    source: str
    index: SourceFile
    names: tuple[str, ...]
    nbytes: int
    limits: Limits
    connections: int
    piece_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class VerifyPlan:
    """Tasks that verify a checkpoint together, and the errors of its index."""

    prefix: str
    tasks: tuple[VerifyTask, ...]
    errors: tuple[CheckpointError, ...]
    has_checksums: bool

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return sum(task.nbytes for task in self.tasks)

    @property
    def requests(self) -> int:
        """About how many requests all tasks send to a remote source: for pieces and for the index."""
        return sum(math.ceil(task.nbytes / task.piece_bytes) + 3 for task in self.tasks)


def plan_verify(
    source: PathLike,
    *,
    limits: Limits = DEFAULT_LIMITS,
    task_bytes: int = TASK_BYTES,
    connections: int = CONNECTIONS,
    piece_bytes: int = PIECE_BYTES,
) -> VerifyPlan:
    """Plan the verification of a checkpoint; reads and checks its index.

    Raises `StorageError` if the checkpoint is in an archive or in memory, where workers cannot read it.
    """
    with open_checkpoint(source, limits=limits) as checkpoint:
        names, errors = checkpoint.reader.salvage()
        index = checkpoint.files[0]
        described = describe_files(checkpoint, [index])[index]
        address = checkpoint.storage.address(checkpoint.prefix)
        tasks = tuple(
            VerifyTask(address, described, tuple(some), nbytes, limits, connections, piece_bytes)
            for some, nbytes in _group(checkpoint, names, task_bytes)
        )
        return VerifyPlan(checkpoint.prefix, tasks, tuple(errors), checkpoint.reader.has_checksums)


def _group(checkpoint: Checkpoint, names: Sequence[str], task_bytes: int) -> list[tuple[list[str], int]]:
    groups: list[tuple[list[str], int]] = []
    group: list[str] = []
    total = 0
    for name in names:
        group.append(name)
        with contextlib.suppress(CheckpointError):  # the task that reads it reports it
            total += checkpoint.reader.info(name).nbytes
        if total >= task_bytes:
            groups.append((group, total))
            group, total = [], 0
    return [*groups, (group, total)] if group else groups


def run_verify(
    plan: VerifyPlan,
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Run the tasks of a plan, and return what `tfckpt.verify` would.

    A task that cannot be run, for example because the index has changed, is one error.
    """
    parts: dict[int, Part] = {}
    numbers = {task.names: number for number, task in enumerate(plan.tasks)}
    done, total = 0, sum(len(task.names) for task in plan.tasks)
    for task, outcome in run_all(verify_task, plan.tasks, executor, workers=workers):
        parts[numbers[task.names]] = Part(errors=[outcome]) if isinstance(outcome, CheckpointError) else outcome
        done += len(task.names)
        if progress is not None:
            progress(done, total)
    return join_parts([part for _, part in sorted(parts.items())], plan.errors, plan.has_checksums)


def verify_task(task: VerifyTask) -> Part:
    """Verify the tensors of a task."""
    with open_source(task.source, [task.index], limits=task.limits, piece_bytes=task.piece_bytes) as checkpoint:
        return check_tensors(checkpoint, task.names, connections=task.connections)
