"""Planning of a conversion as tasks: which tensors go to which file, from names and shapes alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import tfckpt
from tfckpt import Checkpoint
from tfckpt.addresses import plain_address
from tfckpt.errors import pluralize
from tfckpt.jobs.plan import Estimate, SourceFile, estimate
from tfckpt.jobs.planning import SHARD_BYTES, find_shards
from tfckpt.jobs.sources import describe_files, hash_file
from tfckpt.sinks.objects import PART_BYTES
from tfckpt.sinks.opening import open_sink
from tfckpt.storage.base import PIECE_BYTES

from .._typing import Array, PathLike
from ..conversion import ConversionOptions, ConversionPlan, ConversionResult, check_shared, plan_conversion
from ..errors import ExportError
from ..exporting import Changes, prepare
from ..formats.changes import list_inputs
from ..formats.files import is_folder_name, plan_folder
from ..formats.output import Materialized, Output
from ..formats.sharded import INDEX_ENDING, name_shards, split_tensors
from ..images.recipes import Preprocessing
from ..libraries.folders import STEM
from ..model.config import EfficientNetConfig
from ..releases.table import find_preprocessing
from .recipes import Recipe, follow, list_recipes, list_sources


@dataclasses.dataclass(frozen=True, slots=True)
class ConvertTask:
    """One output file, and everything that a worker needs to write it.

    `index` and `shards` are the files of the source that it reads. `names` are the tensors of the file by the target's
    names, in order, `recipes` those of the targets they are made of, by our names, and `changes` lead from these to
    those. `metadata` is that of the file, and `identity` a hash of all that decides its content.
    """

    number: int
    source: str
    index: SourceFile
    shards: tuple[SourceFile, ...]
    output: str
    nbytes: int
    names: tuple[str, ...]
    recipes: Mapping[str, Recipe]
    changes: Changes
    config: EfficientNetConfig | None
    metadata: Mapping[str, str]
    identity: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ConvertPlan:
    """A conversion as a job: its tasks, the other files of the folder by name, and the index, which comes last.

    `result` is the conversion, whose tensors are computed whenever they are looked up, while the source is open.
    `prepared` is what is written of it, and `weight_map` has the file of each written tensor.
    """

    source: str
    folder: str
    output: str
    index: str
    tasks: tuple[ConvertTask, ...]
    estimate: Estimate
    files: Mapping[str, bytes]
    result: ConversionResult
    prepared: Output
    written: Output
    weight_map: Mapping[str, str]


def plan_convert(
    checkpoint: Checkpoint,
    output: PathLike,
    options: ConversionOptions,
    changes: Changes,
    *,
    shard_size: int | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    piece_bytes: int = PIECE_BYTES,
) -> ConvertPlan:
    """Plan the conversion of an open checkpoint to a folder with files of at most `shard_size` bytes and an index.

    `output` is a local folder or the address of one. `piece_bytes` is the size of requests that the estimate assumes.
    Without `preprocessing` it is that of the release, if the checkpoint is one.
    Reads the index and the graph of the checkpoint, lists its files, and writes nothing.

    Raises what `convert` raises; `ExportError` if the result is one file, which one process writes; and `StorageError`
    if the checkpoint is in an archive or in memory, where workers cannot read it.
    """
    if not is_folder_name(output):
        raise ExportError("tasks write a folder of files: give the output a name without an ending", path=str(output))
    sink, folder = open_sink(output)
    folder = (folder if sink.is_remote else os.path.abspath(folder)).rstrip("/")
    address = plain_address(checkpoint.storage.address(checkpoint.prefix))
    index_file, *data_paths = checkpoint.files
    index = describe_files(checkpoint, [index_file])[index_file]
    planned = plan_conversion(checkpoint, options)
    recipes = list_recipes(planned)
    result = _make_result(checkpoint, planned, options, recipes)
    if preprocessing is None and result.config is not None:
        preprocessing = find_preprocessing(result.report.releases, result.config)
    prepared = prepare(result, **dataclasses.asdict(changes), labels=labels, preprocessing=preprocessing)
    shard_size = SHARD_BYTES if shard_size is None else shard_size
    written, files = plan_folder(prepared, shard_size=shard_size)
    shards = split_tensors(written, shard_size)
    if len(shards) == 1:
        raise ExportError(
            f"the result has {pluralize(written.nbytes, 'byte')}, which is one file: give a smaller shard size, "
            "or convert it without workers"
        )
    names = name_shards(STEM, len(shards))
    needed = _find_needed(recipes, prepared, changes)
    digest = hash_file(checkpoint, index_file)
    parts = [{target: recipes[target] for name in shard for target in needed[name]} for shard in shards]
    used = [find_shards(checkpoint, list_sources(part)) for part in parts]
    data_files = [data_paths[number] for number in sorted({number for some in used for number in some})]
    described = describe_files(checkpoint, data_files)
    metadata = written.metadata()
    tasks = [
        _identify(
            ConvertTask(
                number=number,
                source=address,
                index=index,
                shards=tuple(described[data_paths[each]] for each in some),
                output=sink.join(folder, name),
                nbytes=sum(tensor.nbytes for tensor in shard.values()),
                names=tuple(shard),
                recipes=part,
                changes=changes,
                config=result.config,
                metadata=metadata,
            ),
            digest,
        )
        for number, (shard, part, some, name) in enumerate(zip(shards, parts, used, names, strict=True), 1)
    ]
    read_bytes = sum(checkpoint.info(source).nbytes for part in parts for source in list_sources(part))
    return ConvertPlan(
        source=address,
        folder=folder,
        output=sink.join(folder, f"{STEM}.safetensors"),
        index=sink.join(folder, f"{STEM}{INDEX_ENDING}"),
        tasks=tuple(tasks),
        estimate=estimate(tasks, read_bytes, part_bytes=PART_BYTES, piece_bytes=piece_bytes),
        files=files,
        result=result,
        prepared=prepared,
        written=written,
        weight_map={tensor: name for shard, name in zip(shards, names, strict=True) for tensor in shard},
    )


def _make_result(
    checkpoint: Checkpoint, planned: ConversionPlan, options: ConversionOptions, recipes: Mapping[str, Recipe]
) -> ConversionResult:
    """Return the conversion with lazy tensors; raise `ConversionError` if values that one module shares differ."""
    tensors = follow(recipes, checkpoint)
    check_shared(planned.shared, Materialized(tensors))
    return ConversionResult(
        cast(dict[str, Array], tensors),
        planned.config,
        planned.report,
        planned.rules,
        checkpoint,
        options.graph,
        planned.network,
        options.into,
    )


def _find_needed(recipes: Mapping[str, Recipe], output: Output, changes: Changes) -> dict[str, list[str]]:
    """Return for each written tensor the targets that it is made of."""
    ours = {theirs: name for name, theirs in output.names.items()}
    needed = {}
    for name in output.tensors:
        own = ours.get(name, name)
        needed[name] = [each for each in (list_inputs(own) if changes.fuse_bn else (own,)) if each in recipes]
    return needed


def _identify(task: ConvertTask, index_sha256: str) -> ConvertTask:
    """Return the task with its identity."""
    content: list[Any] = [
        tfckpt.__version__,
        index_sha256,
        [[file.path, file.size, file.version] for file in (task.index, *task.shards)],
        task.names,
        {name: dataclasses.astuple(recipe) for name, recipe in task.recipes.items()},
        dataclasses.asdict(task.changes),
        dict(task.metadata),
    ]
    return dataclasses.replace(task, identity=hashlib.sha256(json.dumps(content).encode()).hexdigest())
