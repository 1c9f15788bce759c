"""Writing tensors of open checkpoints into a new one: as bytes where they stay as they are, else decoded and encoded.

The tensors of one source are written in the order of their bytes there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._typing import Array, PathLike, Progress
from ..bundle.writer import BundleWriter
from ..checkpoint import Checkpoint
from ..finding import state_file as state
from ..tensors.casting import FLOATS, cast_floats
from ..tensors.dtypes import data_type_named
from ..tensors.reading import Payload
from .writer import StateUpdate, encode, to_values


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What was written: names as they stand in the new checkpoint, and the source's names that were left out.

    `copied` are the tensors whose bytes were copied, `converted` those that were read and encoded again.
    `averaged` are those that have the values of their moving average now.
    """

    prefix: str
    copied: tuple[str, ...]
    converted: tuple[str, ...]
    averaged: tuple[str, ...]
    dropped: tuple[str, ...]
    nbytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One tensor to be written: its new name, and where its values are: a source and a name there, or an array."""

    target: str
    source: Checkpoint
    name: str
    array: Array | None = None
    tf_dtype: str | None = None


def write(
    items: Sequence[Item],
    prefix: PathLike,
    *,
    shards: int,
    checkpoint_state: StateUpdate,
    overwrite: bool,
    progress: Progress | None,
    keep_shards: bool = False,
    dtype: str | None = None,
    join: bool = False,
) -> Report:
    """Write all items, those of one source in the order of their bytes."""
    prefix = os.fspath(prefix)
    # A tensor without bytes stands before the one that begins at the same offset.
    steps = sorted(_steps(items, dtype=dtype, join=join), key=lambda step: (step.place, step.nbytes))
    total = sum(step.nbytes for step in steps)
    copied: dict[str, None] = {}
    converted: dict[str, None] = {}
    done = 0
    writer = BundleWriter(prefix, shards=shards, overwrite=overwrite)
    try:
        for step in steps:
            item, payload = step.item, step.payload
            shard = step.place[1] if keep_shards else None
            if payload is not None:
                writer.add_slice(
                    item.target,
                    payload.data_type,
                    payload.shape,
                    payload.piece,
                    item.source.reader.read_payload(item.name, payload),
                    checksum=payload.crc32c,
                    shard=shard,
                )
                copied[item.target] = None
            else:
                array, tf_dtype = _values(item, dtype)
                data_type, array = to_values(item.target, array, tf_dtype)
                encoded, checksum = encode(item.target, array, data_type)
                writer.add(item.target, data_type, array.shape, encoded, checksum=checksum, shard=shard)
                converted[item.target] = None
            done += step.nbytes
            if progress is not None:
                progress(done, total)
        writer.finish()
    finally:
        writer.abort()
    if checkpoint_state:
        state.update_state(prefix, keep_older=checkpoint_state == "keep")
    return Report(prefix, tuple(sorted(copied)), tuple(sorted(converted)), (), (), total)


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """One payload to be written: one of the source to be copied, or values to be read and encoded.

    `place` orders the steps: number of the source, its shard, offset in it.
    """

    item: Item
    payload: Payload | None
    place: tuple[int, int, int]
    nbytes: int


def _steps(items: Sequence[Item], *, dtype: str | None, join: bool) -> Iterator[_Step]:
    numbers: dict[int, int] = {}
    for item in items:
        number = numbers.setdefault(id(item.source), len(numbers))
        reader = item.source.reader
        if item.name not in reader:
            yield _Step(item, None, (number, 0, 1 << 63), np.asarray(item.array).nbytes)
            continue
        info = item.source.info(item.name)
        payloads = reader.payloads(item.name)
        first = min(((payload.shard_id, payload.offset) for payload in payloads), default=(0, 0))
        is_changed = item.array is not None or (dtype not in (None, info.dtype.name) and info.dtype.name in FLOATS)
        if is_changed or not reader.can_copy or (join and info.slices):
            yield _Step(item, None, (number, *first), info.nbytes)
        else:
            for payload in payloads:
                yield _Step(item, payload, (number, payload.shard_id, payload.offset), payload.nbytes)


def _values(item: Item, dtype: str | None) -> tuple[Any, str | None]:
    """The array of an item and its TensorFlow type, converted if that is asked for and it is a float."""
    if item.array is not None:
        return item.array, item.tf_dtype
    array = item.source.read(item.name)
    tf_dtype = item.source.info(item.name).tf_dtype
    if dtype is None or array.dtype.name not in FLOATS or array.dtype.name == dtype:
        return array, tf_dtype
    return cast_floats(array, data_type_named(dtype).to_numpy(), name=item.name), None
