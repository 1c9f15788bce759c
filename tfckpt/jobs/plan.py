"""Plans: what a job reads and writes, as plain data that a file can hold.

A plan names the source by its address without credentials, by the SHA-256 of its index and by the sizes and versions of
its files. Its tasks are independent of each other, and each is one output file.
A task's identity is a hash of everything that decides the content of its file, so that a record of the same identity
proves that the file need not be written again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .._version import __version__
from ..errors import CheckpointError, LimitExceededError
from ..files.json_text import SCHEMA_VERSION, format_json, read_json
from ..storage.base import PIECE_BYTES
from ..tensors.dtypes import data_type_named

#: Most bytes of a plan that is read from a file, and most values in it: about eight a tensor.
MAX_PLAN_BYTES = 1 << 30
MAX_PLAN_VALUES = 20_000_000
#: Output files have a folder for records beside them.
RECORDS = "_tfckpt"


@dataclasses.dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the source: its size in bytes, and a string that changes with its content, or None."""

    path: str
    size: int
    version: str | None


class FileTask(Protocol):
    """What every task has: a number from 1, its output file, the size of its tensors in bytes, and its identity.

    `shards` are the data shards of the source that it reads.
    """

    @property
    def number(self) -> int: ...
    @property
    def output(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def identity(self) -> str: ...
    @property
    def shards(self) -> Sequence[SourceFile]: ...


class FilePlan(Protocol):
    """What every plan of files has: where they come from and go, their index, the tasks, and what they cost."""

    @property
    def source(self) -> str: ...
    @property
    def output(self) -> str: ...
    @property
    def index(self) -> str: ...
    @property
    def tasks(self) -> Sequence[FileTask]: ...
    @property
    def estimate(self) -> Estimate: ...


@dataclasses.dataclass(frozen=True, slots=True)
class TaskTensor:
    """A tensor of a task: its name in the checkpoint and in the output, and its dtype in the output."""

    origin: str
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The size in the output, in bytes."""
        return math.prod(self.shape) * data_type_named(self.dtype).itemsize


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """One output file, and everything that a worker needs to write it.

    `index` and `shards` are the files of the source that it reads, `output` is the path or address of the file.
    `nbytes` is the size of the tensors. `identity` is a hash of all that decides the content.
    """

    number: int
    source: str
    index: SourceFile
    shards: tuple[SourceFile, ...]
    output: str
    tensors: tuple[TaskTensor, ...]
    salvage: bool = False
    identity: str = ""

    @property
    def nbytes(self) -> int:
        """The size of the tensors in the output, in bytes."""
        return sum(each.nbytes for each in self.tensors)


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """What a job will cost: bytes to read and to write, and requests to the source and to the output."""

    read_bytes: int
    written_bytes: int
    get_requests: int
    put_requests: int


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A job: its tasks, and the index that `finish` writes when all are done.

    `source` and `output` are without credentials. `index` is the output's index of all files.
    `left_out` has the names of the tensors that are not written, by reason.
    """

    source: str
    index_sha256: str
    output: str
    index: str
    tasks: tuple[Task, ...]
    left_out: Mapping[str, tuple[str, ...]]
    estimate: Estimate

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        files: dict[str, SourceFile] = {}
        for task in self.tasks:
            for file in (task.index, *task.shards):
                files[file.path] = file
        numbers = {path: number for number, path in enumerate(files)}
        return format_json(
            {
                "schema_version": SCHEMA_VERSION,
                "kind": "export",
                "tfckpt": __version__,
                "source": self.source,
                "index_sha256": self.index_sha256,
                "output": self.output,
                "index": self.index,
                "files": [[file.path, file.size, file.version] for file in files.values()],
                "tasks": [
                    {
                        "output": task.output,
                        "identity": task.identity,
                        "salvage": task.salvage,
                        "files": [numbers[file.path] for file in (task.index, *task.shards)],
                        "tensors": [[each.origin, each.name, each.dtype, list(each.shape)] for each in task.tensors],
                    }
                    for task in self.tasks
                ],
                "left_out": {reason: list(names) for reason, names in self.left_out.items()},
                "estimate": dataclasses.asdict(self.estimate),
            }
        )


def read_plan(text: str | bytes, *, path: str | None = None) -> Plan:
    """Return the plan in JSON text; raise `CheckpointError` if it is not a plan, or one of another version.

    A plan is data: its addresses are used, and nothing in it is executed. Identities are computed anew.
    """
    if len(text) > MAX_PLAN_BYTES:
        raise LimitExceededError(
            "plan with too many bytes", limit=None, maximum=MAX_PLAN_BYTES, claimed=len(text), path=path
        )
    try:
        data = read_json(text, max_values=MAX_PLAN_VALUES)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError("not a plan of a job, or damaged", path=path) from error
    except ValueError as error:
        raise CheckpointError(f"not a plan of a job, or too large: {error}", path=path) from error
    try:
        if data["schema_version"] != SCHEMA_VERSION or data["kind"] != "export":
            raise CheckpointError(f"not a plan of schema version {SCHEMA_VERSION} for an export", path=path)
        files = [SourceFile(str(file), int(size), None if v is None else str(v)) for file, size, v in data["files"]]
        plan = Plan(
            source=str(data["source"]),
            index_sha256=str(data["index_sha256"]),
            output=str(data["output"]),
            index=str(data["index"]),
            tasks=tuple(_read_task(number, each, data, files) for number, each in enumerate(data["tasks"], 1)),
            left_out={str(reason): tuple(map(str, names)) for reason, names in data["left_out"].items()},
            estimate=Estimate(**{key: int(value) for key, value in data["estimate"].items()}),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError("not a plan of a job, or damaged", path=path) from error
    if data["tfckpt"] != __version__:
        raise CheckpointError(
            f"the plan was made by tfckpt {data['tfckpt']}, this is {__version__}; plan the job anew", path=path
        )
    if [task.identity for task in plan.tasks] != [each["identity"] for each in data["tasks"]]:
        raise CheckpointError("the plan was changed: a task does not have the identity that it claims", path=path)
    return plan


def _read_task(number: int, each: Any, data: Any, files: Sequence[SourceFile]) -> Task:
    if any(not 0 <= at < len(files) for at in each["files"]):
        raise ValueError("unknown file")
    index, *shards = (files[at] for at in each["files"])
    tensors = []
    for origin, name, dtype, shape in each["tensors"]:
        if any(type(size) is not int or size < 0 for size in shape):
            raise ValueError("invalid shape")
        data_type_named(str(dtype))
        tensors.append(TaskTensor(str(origin), str(name), str(dtype), tuple(shape)))
    return identified(
        Task(
            number=number,
            source=str(data["source"]),
            index=index,
            shards=tuple(shards),
            output=str(each["output"]),
            tensors=tuple(tensors),
            salvage=bool(each["salvage"]),
        ),
        str(data["index_sha256"]),
    )


def identified(task: Task, index_sha256: str) -> Task:
    """Return the task with its identity."""
    content = [
        __version__,
        index_sha256,
        [[file.path, file.size, file.version] for file in (task.index, *task.shards)],
        task.salvage,
        [[each.origin, each.name, each.dtype, each.shape] for each in task.tensors],
    ]
    return dataclasses.replace(task, identity=hashlib.sha256(json.dumps(content).encode()).hexdigest())


def estimate(
    tasks: Sequence[FileTask], read_bytes: int, *, part_bytes: int, piece_bytes: int = PIECE_BYTES
) -> Estimate:
    """Return what the tasks cost: requests for pieces and indexes, for parts of uploads and records.

    A task reads the end of the index and its version twice, and a piece of each data shard at least.
    An upload has a beginning and an end, and its result is looked up for the record.
    """
    written = sum(task.nbytes for task in tasks)
    gets = sum(math.ceil(task.nbytes / piece_bytes) + max(len(task.shards) - 1, 0) + 3 for task in tasks)
    puts = sum(math.ceil(task.nbytes / part_bytes) + 4 for task in tasks) + 1
    return Estimate(read_bytes, written, gets, puts)
