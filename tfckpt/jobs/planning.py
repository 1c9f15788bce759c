"""Planning of an export: which tensor goes to which file, from the index alone."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .._typing import PathLike
from ..addresses import plain_address
from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..errors import CheckpointExistsError
from ..limits import DEFAULT_LIMITS, Limits
from ..sinks.objects import PART_BYTES
from ..sinks.opening import open_sink
from ..storage.base import PIECE_BYTES
from ..writing.export_files import name_shards
from ..writing.export_tensors import Weights, check_storable, choose_tensors, plan_tensors, split_tensors
from ..writing.selection import check_float_type
from .plan import FilePlan, Plan, Task, TaskTensor, estimate, identified
from .sources import describe_files, hash_file

#: Most bytes of tensors in one output file, unless the caller says otherwise.
SHARD_BYTES = 5 * 10**9
#: Name of the output if a folder was given.
_DEFAULT_NAME = "model.safetensors"


def plan_export(
    source: PathLike,
    output: PathLike,
    *,
    shard_size: int = SHARD_BYTES,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    strip_prefix: str = "",
    rename: Sequence[tuple[str, str]] = (),
    dtype: str | None = None,
    no_optimizer: bool = False,
    weights: Weights = "all",
    salvage: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    piece_bytes: int = PIECE_BYTES,
) -> Plan:
    """Plan the export of a checkpoint to safetensors files of at most `shard_size` bytes of data, with an index.

    `output` is a folder, in which the files are called `model-00001-of-0000N.safetensors`, or a name that ends in
    `.safetensors`; local, or the address of object storage. The other options are those of `tfckpt.export`.
    `piece_bytes` is the size of requests that the estimate assumes.
    Reads the index of the checkpoint and lists its files, and writes nothing.

    Raises `ValueError` if a tensor does not fit into a file, and the errors of `tfckpt.open`.
    """
    if shard_size < 1:
        raise ValueError("a shard size must be a positive number of bytes")
    sink, path = open_sink(output)
    if not sink.is_remote:  # tasks may run in other folders
        path = os.path.abspath(path)
    if not path.endswith(".safetensors"):
        path = sink.join(path.rstrip("/") or path, _DEFAULT_NAME)
    left_out: dict[str, tuple[str, ...]] = {}
    with open_checkpoint(source, limits=limits) as checkpoint:
        origins = choose_tensors(
            checkpoint,
            list(checkpoint),
            include,
            exclude,
            weights=weights,
            no_optimizer=no_optimizer,
            left_out=left_out,
        )
        if not origins:
            raise ValueError("no tensor is left to write")
        tensors = plan_tensors(checkpoint, origins, strip_prefix, rename, check_float_type(dtype))
        check_storable(tensors, "safetensors")
        origin_of = {tensor.name: origin for tensor, origin in zip(tensors, origins.values(), strict=True)}
        largest = max(tensors, key=lambda tensor: tensor.nbytes)
        if largest.nbytes > shard_size:
            raise ValueError(
                f"the tensor {largest.name!r} has {largest.nbytes} bytes, more than the {shard_size} of a file; "
                f"use a shard size of at least {largest.nbytes} bytes"
            )
        shards = split_tensors(tensors, shard_size)
        used = [find_shards(checkpoint, [origin_of[tensor.name] for tensor in shard]) for shard in shards]
        address = plain_address(checkpoint.storage.address(checkpoint.prefix))
        index_file, *data_paths = checkpoint.files
        data_files = [data_paths[number] for number in sorted({number for some in used for number in some})]
        files = describe_files(checkpoint, [index_file, *data_files])
        digest = hash_file(checkpoint, index_file)
        tasks = []
        read_bytes = 0
        names = name_shards(path, len(shards))
        for number, (shard, numbers, output_path) in enumerate(zip(shards, used, names, strict=True), 1):
            read_bytes += sum(checkpoint.info(origin_of[each.name]).nbytes for each in shard)
            task = Task(
                number=number,
                source=address,
                index=files[index_file],
                shards=tuple(files[data_paths[each]] for each in numbers),
                output=output_path,
                tensors=tuple(
                    TaskTensor(origin_of[each.name], each.name, each.dtype.name, each.shape) for each in shard
                ),
                salvage=salvage,
            )
            tasks.append(identified(task, digest))
    return Plan(
        source=address,
        index_sha256=digest,
        output=path,
        index=f"{path}.index.json",
        tasks=tuple(tasks),
        left_out={reason: names for reason, names in left_out.items() if names},
        estimate=estimate(tasks, read_bytes, part_bytes=PART_BYTES, piece_bytes=piece_bytes),
    )


def find_shards(checkpoint: Checkpoint, names: Sequence[str]) -> list[int]:
    """Return the numbers of the data shards that these tensors are in; none for formats without payloads."""
    return sorted({payload.shard_id for name in names for payload in checkpoint.reader.payloads(name)})


def check_output(plan: FilePlan, *, restart: bool, overwrite: bool, output: str | None = None) -> None:
    """Raise `CheckpointExistsError` if another run has written here, and that is not to be continued or overwritten."""
    sink, _ = open_sink(output or plan.output)
    if restart or overwrite:
        return
    if sink.stat(plan.index) is not None:
        raise CheckpointExistsError("file exists; use --force (overwrite=True) to overwrite it", path=plan.index)
    folder, _ = sink.split(plan.output)
    there = {stored.path for stored in sink.iterate_files(folder)}
    begun = [task.output for task in plan.tasks if task.output in there]
    if begun:
        raise CheckpointExistsError(
            f"{len(begun)} of {len(plan.tasks)} files of an earlier run are there; "
            "continue it with --restart (restart=True), or use --force (overwrite=True) to overwrite them",
            path=plan.output,
        )
