"""Records of finished tasks: beside the outputs, one small JSON file for each.

A record is written after its file, so it proves that the file is complete. A later run skips a task if the record has
the task's identity and the file still has the size and version in the record.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..files.json_text import SCHEMA_VERSION, format_json, read_json
from ..sinks.contract import Sink, Stored
from .plan import RECORDS, FileTask

_MOST_BYTES = 16 << 20
_HASH_BYTES = 8 << 20
_THREADS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A finished task: its identity, its file, the file's size, version and SHA-256, and the errors that it left out.

    `damaged` has the names of the tensors that were left out, each with the error, if the job salvages.
    """

    identity: str
    output: str
    size: int
    version: str | None
    sha256: str
    damaged: dict[str, str]

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return format_json({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)})


def record_path(sink: Sink, task: FileTask) -> str:
    """Return the path of a task's record."""
    folder, name = sink.split(task.output)
    return sink.join(sink.join(folder, RECORDS), f"{name}.json")


def write_record(sink: Sink, task: FileTask, record: Record) -> None:
    """Write the record of a task whose file is complete."""
    path = record_path(sink, task)
    sink.make_folder(sink.split(path)[0])
    sink.put(path, record.to_json().encode())


def find_proof(sink: Sink, task: FileTask, *, recheck: bool = False) -> Record | None:
    """Return the record that proves that the task is done; None if there is none.

    Costs a request for the record and one for the facts of the file. With `recheck` the file is read too, and its
    SHA-256 compared.
    """
    record = read_record(sink, task)
    if record is None or record.identity != task.identity:
        return None
    stored = sink.stat(task.output)
    if stored is None or not matches(record, stored):
        return None
    return record if not recheck or hash_output(sink, task.output) == record.sha256 else None


def matches(record: Record, stored: Stored) -> bool:
    """Return whether a file still has the size and the version of its record."""
    return (record.size, record.version) == (stored.size, stored.version)


def read_record(sink: Sink, task: FileTask) -> Record | None:
    """Return the record of a task; None if there is none or it is damaged, so that the task is done again."""
    data = sink.read(record_path(sink, task), _MOST_BYTES)
    if data is None:
        return None
    try:
        return _decode(read_json(data))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def find_proofs(sink: Sink, tasks: Sequence[FileTask]) -> Iterator[Record | None]:
    """Yield the proof of each task, in order; requests are sent in parallel."""
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(lambda task: find_proof(sink, task), tasks)


def hash_output(sink: Sink, path: str) -> str:
    """Return the SHA-256 of an output."""
    digest = hashlib.sha256()
    for piece in sink.iterate_bytes(path, _HASH_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _decode(data: Any) -> Record:
    version = data["version"]
    return Record(
        identity=str(data["identity"]),
        output=str(data["output"]),
        size=int(data["size"]),
        version=None if version is None else str(version),
        sha256=str(data["sha256"]),
        damaged={str(name): str(error) for name, error in data["damaged"].items()},
    )
