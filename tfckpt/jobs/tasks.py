"""Running one task: read, convert, write one file, and then its record.

A task changes nothing but its own file and record. Two workers that run the same task at the same time write the same
bytes, and each commits a complete file. A task that stops, by an error or a signal, leaves no file.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, cast

from .._typing import ByteView
from ..checkpoint import Checkpoint
from ..errors import CheckpointError, CorruptionError, StorageError, WriteError
from ..files.atomic import writing
from ..files.safetensors import order_tensors, write_safetensors
from ..sinks.contract import Sink
from ..sinks.opening import open_sink
from ..storage.base import PIECE_BYTES
from ..tensors.reading import CONNECTIONS
from ..writing.export_tensors import make_tensor
from .plan import FileTask, Task
from .records import Record, find_proof, write_record
from .sources import open_source


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The result of a task: its record, and whether the file was there already."""

    record: Record
    skipped: bool


def run_task(
    task: Task,
    *,
    restart: bool = True,
    recheck: bool = False,
    source: str | None = None,
    output: str | None = None,
    connections: int = CONNECTIONS,
    piece_bytes: int = PIECE_BYTES,
) -> Result:
    """Write the file of a task and its record, unless its record proves that this was done.

    `restart=False` writes it in any case; `recheck` also reads an existing file and compares its SHA-256.
    `source` and `output` are addresses of the same places with credentials, if the environment does not have them.
    `connections` is the number of requests in flight, of at most `piece_bytes` each. At most 72 MiB are held in pieces
    of 8 MiB, whatever the size of the tensors.

    Raises `ChecksumError` and other errors of data as they are; `StorageError` if the source has changed or cannot be
    reached; and `WriteError` if the output cannot be written.
    """
    sink, _ = open_sink(output or task.output)
    if restart:
        proof = find_proof(sink, task, recheck=recheck)
        if proof is not None:
            return Result(proof, skipped=True)
    with _open(task, source, piece_bytes) as checkpoint:
        origins = [tensor.origin for tensor in task.tensors]
        found = find_damage(checkpoint, origins, connections) if task.salvage else {}
        damaged = {tensor.name: str(found[tensor.origin]) for tensor in task.tensors if tensor.origin in found}
        kept = [tensor for tensor in task.tensors if tensor.name not in damaged]
        origin_of = {tensor.name: tensor.origin for tensor in kept}
        planned = [make_tensor(checkpoint, each.origin, each.name, each.dtype, each.shape) for each in kept]
        ahead = [origin_of[tensor.name] for tensor in order_tensors(planned)]

        def write(file: BinaryIO) -> None:
            with checkpoint.reader.read_ahead(ahead, connections):
                write_safetensors(file, planned, {}, threads=1)

        return write_output(sink, task, write, damaged)


def run_or_list_damage(task: Task, **options: Any) -> Result | tuple[CheckpointError, ...]:
    """Run a task like `run_task`; if its source is damaged, return the errors of all its tensors."""
    try:
        return run_task(task, **options)
    except CorruptionError as error:
        connections = options.get("connections", CONNECTIONS)
        with _open(task, options.get("source"), options.get("piece_bytes", PIECE_BYTES)) as checkpoint:
            origins = [tensor.origin for tensor in task.tensors]
            return tuple(find_damage(checkpoint, origins, connections).values()) or (error,)


def _open(task: Task, source: str | None, piece_bytes: int) -> Checkpoint:
    return open_source(source or task.source, (task.index, *task.shards), piece_bytes=piece_bytes)


def write_output(
    sink: Sink, task: FileTask, write: Callable[[BinaryIO], None], damaged: dict[str, str] | None = None
) -> Result:
    """Write the file of a task and then its record; `write` writes the file from the beginning to the end.

    `damaged` are the errors of tensors that are left out, by name. Raises `WriteError` if the file cannot be written.
    """
    path = task.output
    sink.make_folder(sink.split(path)[0])
    pending = sink.create(path, size=task.nbytes)
    try:
        file = _HashedFile(pending.file)
        with writing(path):
            write(cast(BinaryIO, file))
        pending.commit()
    finally:
        pending.discard()
    size = file.tell()
    stored = sink.stat(path)
    if stored is None or stored.size != size:
        there = "nothing" if stored is None else f"{stored.size} bytes"
        raise WriteError(f"{there} there after writing {size} bytes", path=path)
    record = Record(task.identity, path, size, stored.version, file.digest.hexdigest(), damaged or {})
    write_record(sink, task, record)
    return Result(record, skipped=False)


class _HashedFile:
    """A file that is written in order, with the SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._write = file.write
        self._size = 0
        self.digest = hashlib.sha256()

    def write(self, data: ByteView | bytes) -> None:
        """Append bytes."""
        self._write(data)
        self.digest.update(data)
        self._size += len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._size


def find_damage(checkpoint: Checkpoint, names: Sequence[str], connections: int) -> dict[str, CheckpointError]:
    """Return the tensors that cannot be read, each with its error."""
    damaged: dict[str, CheckpointError] = {}
    with checkpoint.reader.read_ahead(names, connections):
        for name in names:
            try:
                for _ in checkpoint.reader.iterate_values(name):
                    pass
            except StorageError:
                raise
            except CheckpointError as error:
                damaged[name] = error
    return damaged
