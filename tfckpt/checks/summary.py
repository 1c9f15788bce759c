"""Summary of a checkpoint in a few numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..checkpoint import Checkpoint
from ..graphs.object_graph import GRAPH_KEY
from ..graphs.training_state import moving_averages, optimizer_state
from .objects import find_objects


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Tensors of a checkpoint by what they are for; the fields are those of `Summary`."""

    tensors: int
    elements: int
    parameters: int
    nbytes: int
    optimizer_tensors: int
    optimizer_nbytes: int
    average_tensors: int
    average_nbytes: int
    partitioned_tensors: int
    objects_from_keys: bool
    dtypes: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """Facts about a checkpoint; sizes are in bytes, and counts are numbers of tensors unless the name says otherwise.

    `elements` counts the elements of all numeric tensors; `parameters` leaves out optimizer state, moving averages and
    step counters. `producer`, the writer's version, is None for V1 and Keras files, and `big_endian` for V1.
    `objects_from_keys` is True if the object graph is in a missing data shard: only the keys then show what belongs to
    an optimizer.
    `keras_version` is empty unless a Keras file says it.
    `dtypes` has the number of tensors by TensorFlow's type name.
    """

    prefix: str
    format: str
    style: str
    saved_model: bool
    tensorflow_version: str
    keras_version: str
    producer: int | None
    big_endian: bool | None
    files: int
    missing_files: tuple[str, ...]
    tensors: int
    elements: int
    parameters: int
    nbytes: int
    optimizer_tensors: int
    optimizer_nbytes: int
    average_tensors: int
    average_nbytes: int
    partitioned_tensors: int
    objects_from_keys: bool
    dtypes: Mapping[str, int]


def count_tensors(checkpoint: Checkpoint) -> Counts:
    """Count the tensors of a checkpoint; reads the index and the object graph, but no other tensors."""
    infos = {info.name: info for info in checkpoint.infos()}
    objects = find_objects(checkpoint)
    averages = moving_averages(infos, objects.graph).keys()
    optimizer = optimizer_state(infos, objects.graph).keys() - averages
    others = optimizer | averages | {name for name in infos if name.rsplit("/", 1)[-1] == "global_step"}
    others |= {name for name in infos if name.startswith("save_counter/")}
    numeric = {name: info for name, info in infos.items() if info.tf_dtype not in _NOT_NUMERIC}
    dtypes: dict[str, int] = {}
    for info in infos.values():
        dtypes[info.tf_dtype] = dtypes.get(info.tf_dtype, 0) + 1
    return Counts(
        tensors=len(infos),
        elements=sum(info.size for info in numeric.values()),
        parameters=sum(info.size for name, info in numeric.items() if name not in others),
        nbytes=sum(info.nbytes for info in infos.values()),
        optimizer_tensors=len(optimizer),
        optimizer_nbytes=sum(infos[name].nbytes for name in optimizer),
        average_tensors=len(averages),
        average_nbytes=sum(infos[name].nbytes for name in averages),
        partitioned_tensors=sum(bool(info.slices) for info in infos.values()),
        objects_from_keys=objects.from_keys,
        dtypes=dict(sorted(dtypes.items(), key=lambda pair: (-pair[1], pair[0]))),
    )


def summarize(checkpoint: Checkpoint) -> Summary:
    """Summarize a checkpoint; reads the index and the graphs, but no other tensors."""
    counts = count_tensors(checkpoint)
    reader = checkpoint.reader
    meta_graph = checkpoint.meta_graph
    return Summary(
        prefix=checkpoint.prefix,
        format=checkpoint.format,
        style="object-based" if GRAPH_KEY in reader else "name-based",
        saved_model=checkpoint.saved_model is not None,
        tensorflow_version="" if meta_graph is None else meta_graph.tensorflow_version,
        keras_version=checkpoint.keras_version,
        producer=reader.producer,
        big_endian=reader.big_endian,
        files=len(checkpoint.files),
        missing_files=tuple(checkpoint.missing_files()),
        **{field.name: getattr(counts, field.name) for field in dataclasses.fields(counts)},
    )


_NOT_NUMERIC = ("DT_STRING", "DT_VARIANT", "DT_RESOURCE")
