"""What a conversion reads: a checkpoint, name-based or object-based, or arrays in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import tfckpt
from tfckpt.graphs.graph_file import read_graph_file
from tfckpt.graphs.object_graph import ObjectGraph

from ._typing import Array, PathLike, SourceLike
from .errors import Shape
from .families.variables import Inventory, inventory_from_checkpoint, inventory_from_names
from .mapping.report import FileRecord

#: Keras's EfficientNetV1 stores standard deviations as variances, and corrects this in a second Rescaling layer.
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
#: A note lists the statistics of at most so many channels.
_MAX_STATISTICS = 8
#: Largest file of settings or words that is read; the largest published vocabulary has 5 MB.
MAX_FILE_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a source tensor before it is read."""

    shape: Shape
    dtype: np.dtype[Any]
    nbytes: int
    crc32c: int | None

    @property
    def is_numeric(self) -> bool:
        """Whether the tensor holds numbers rather than strings."""
        return not self.dtype.hasobject


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A source of a conversion: a checkpoint, name-based or object-based, or arrays in memory.

    `name` is shown in reports; `path` is empty for arrays.
    `graph`, `keras_config` and `files` read nothing until they are called; `read` yields tensors in the order of the
    given names. `objects` is the object graph of an object-based checkpoint.
    `read_file` returns a small file saved with the checkpoint by its name, or None if there is none.
    """

    name: str
    path: str
    facts: Mapping[str, Facts]
    inventory: Inventory
    graph: Callable[[], tfckpt.MetaGraph | None]
    keras_config: Callable[[], Any]
    files: Callable[[], tuple[FileRecord, ...]]
    read: Callable[[Sequence[str]], Iterator[Array]]
    read_file: Callable[[str], bytes | None]
    objects: ObjectGraph | None = None


def describe_source(tensors: Mapping[str, Array]) -> Source:
    """Describe a source; nothing else in this module asks what kind it is."""
    if not isinstance(tensors, tfckpt.Checkpoint):
        facts = {name: Facts(array.shape, array.dtype, array.nbytes, None) for name, array in sorted(tensors.items())}
        return Source(
            name="arrays in memory",
            path="",
            facts=facts,
            inventory=_inventory_by_name(facts),
            graph=lambda: None,
            keras_config=lambda: None,
            files=tuple,
            read=lambda names: read_tensors(tensors, names),
            read_file=lambda name: None,
        )
    facts = {info.name: Facts(info.shape, info.dtype, info.nbytes, info.crc32c) for info in tensors.infos()}
    objects = tensors.object_graph
    return Source(
        name=os.path.basename(tensors.prefix),
        path=tensors.prefix,
        facts=facts,
        inventory=_inventory_by_name(facts, tensors)
        if objects is None
        else inventory_from_checkpoint(tensors, objects),
        graph=lambda: tensors.meta_graph,
        keras_config=lambda: tensors.keras_config,
        files=lambda: _record_files(tensors),
        read=lambda names: read_tensors(tensors, names),
        read_file=lambda name: _read_file(tensors, name),
        objects=objects,
    )


def _inventory_by_name(facts: Mapping[str, Facts], checkpoint: tfckpt.Checkpoint | None = None) -> Inventory:
    full_names = {} if checkpoint is None else {row.key: row.full_name for row in checkpoint.variables()}
    return inventory_from_names({name: fact.shape for name, fact in facts.items()}, full_names)


def read_tensors(tensors: Mapping[str, Array], names: Sequence[str], *, threads: int | None = None) -> Iterator[Array]:
    """Yield tensors in the order of the given names; those of a checkpoint are verified.

    `threads` is that of `Checkpoint.read_many` for files on this machine: with 1, one tensor is in memory at a time.
    What is remote is always fetched ahead, over several connections.
    """
    if not isinstance(tensors, tfckpt.Checkpoint):
        return (tensors[name] for name in names)
    return (array for _, array in tensors.read_many(names, threads=None if tensors.storage.is_remote else threads))


@contextlib.contextmanager
def open_tensors(source: SourceLike) -> Iterator[Mapping[str, Array]]:
    """Yield the tensors of a source, and close the checkpoint if it was opened here."""
    if isinstance(source, Mapping):
        yield source
    else:
        with tfckpt.open(source) as checkpoint:
            yield checkpoint


def read_graph(source: Source, path: PathLike | None) -> tuple[tfckpt.MetaGraph | None, list[str]]:
    """Return the graph saved with a checkpoint, if there is one, and a note if its form is unsupported."""
    try:
        return source.graph() if path is None else read_graph_file(path), []
    except tfckpt.UnsupportedFeatureError as error:
        return None, [f"the graph saved with the checkpoint is not used: {error}"]


def describe_input_normalization(source: Source, keys: Mapping[str, str]) -> list[str]:
    """Return a note on the statistics by which a network normalizes its own input, if there are any."""
    if not {"mean", "variance"} <= set(keys):
        return []
    statistics = [keys[name] for name in ("mean", "variance")]
    if max(math.prod(source.facts[key].shape) for key in statistics) > _MAX_STATISTICS:
        return []
    arrays = (np.asarray(array, np.float64).ravel() for array in source.read(statistics))
    means, variances = arrays
    mean, variance = (", ".join(f"{value:.4g}" for value in values) for values in (means, variances))
    note = f"the network normalizes its own input: mean {mean}, variance {variance}; preprocessing has to do this"
    if np.allclose(variances, _IMAGENET_DEVIATION, rtol=1e-3):
        note += (
            ". These variances are ImageNet's standard deviations: Keras divides by their square roots twice, "
            "here and in a Rescaling layer after it"
        )
    return [note]


def _read_file(checkpoint: tfckpt.Checkpoint, name: str) -> bytes | None:
    """Return a file in the folder of a checkpoint, at most `MAX_FILE_BYTES` of it; None if it does not exist."""
    storage = checkpoint.storage
    path = storage.join(storage.split(checkpoint.prefix)[0], name)
    if not storage.is_file(path):
        return None
    source = storage.open(path)
    try:
        if source.size > MAX_FILE_BYTES:
            raise tfckpt.CorruptionError(f"{source.size} bytes, more than {MAX_FILE_BYTES} are not read", path=path)
        return bytes(source.read(0, source.size))
    finally:
        source.close()


def _record_files(checkpoint: tfckpt.Checkpoint) -> tuple[FileRecord, ...]:
    """Return a record of each file of a checkpoint; a missing shard has no size."""
    records = []
    for position, path in enumerate(checkpoint.files):
        nbytes = checksum = None
        if checkpoint.storage.is_file(path):
            source = checkpoint.storage.open(path)
            try:
                nbytes = source.size
                checksum = hashlib.sha256(source.read(0, nbytes)).hexdigest() if position == 0 else None
            finally:
                source.close()
        records.append(FileRecord(os.path.basename(path), nbytes, checksum))
    return tuple(records)
