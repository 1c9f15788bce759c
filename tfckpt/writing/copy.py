"""Writing tensors of open checkpoints into a new one.

Unchanged tensors are copied as bytes; the others are decoded and encoded again.
The tensors of a source are written in the order of their bytes there, so an unchanged copy has identical files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .._typing import Array, PathLike, Progress
from ..addresses import plain_address
from ..bundle.writer import BundleWriter, Pieces, check_shard_count
from ..checkpoint import Checkpoint
from ..finding.state_file import check_is_local, update_state
from ..sinks.staging import staged
from ..tensors.casting import FLOATS, cast_floats
from ..tensors.dtypes import data_type_named
from ..tensors.reading import CONNECTIONS, Payload
from .writer import StateUpdate, encode, to_values


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """The result of writing a checkpoint; names are those in the new checkpoint, except for `dropped`.

    `copied` are the tensors whose bytes were copied, and `converted` those that were decoded and encoded again.
    `averaged` are the variables that got the values of their moving averages.
    `dropped` are the names in the source of the tensors that were left out.
    """

    prefix: str
    copied: tuple[str, ...]
    converted: tuple[str, ...]
    averaged: tuple[str, ...]
    dropped: tuple[str, ...]
    nbytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A tensor to write as `target`: `array` if it is set, otherwise the tensor `name` of `source`."""

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
    """Write a checkpoint with these items; `ValueError` for more data shards than payloads.

    One at an address is written to a temporary folder first, and then uploaded.
    """
    if checkpoint_state:
        check_is_local(prefix)
    address = plain_address(os.fspath(prefix))
    # The size decides between an empty tensor and the one that begins at the same offset.
    steps = sorted(_plan_steps(items, dtype=dtype, join=join), key=lambda step: (step.position, step.nbytes))
    if not keep_shards:
        check_shard_count(shards, len(steps))
    total = sum(step.nbytes for step in steps)
    copied: dict[str, None] = {}
    converted: dict[str, None] = {}
    done = 0
    with staged(prefix, overwrite=overwrite, is_prefix=True) as local:
        writer = BundleWriter(local, shards=shards, overwrite=overwrite)
        try:
            with contextlib.closing(_read_ahead(steps)) as ahead:
                for step in ahead:
                    item, payload = step.item, step.payload
                    shard = step.position[1] if keep_shards else None
                    if payload is not None:
                        writer.add_slice(
                            item.target,
                            payload.data_type,
                            payload.shape,
                            payload.piece,
                            Pieces(payload.nbytes, item.source.reader.iterate_payload(item.name, payload)),
                            checksum=payload.crc32c,
                            shard=shard,
                        )
                        copied[item.target] = None
                    else:
                        array, tf_dtype = _read_values(item, dtype)
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
        update_state(os.fspath(prefix), keep_older=checkpoint_state == "keep")
    return Report(address, tuple(sorted(copied)), tuple(sorted(converted)), (), (), total)


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """One payload to copy, or a tensor to encode if `payload` is None.

    `position` orders the steps: the number of the source, the shard there, and the offset in bytes.
    """

    item: Item
    payload: Payload | None
    position: tuple[int, int, int]
    nbytes: int


def _read_ahead(steps: Iterable[_Step]) -> Generator[_Step, None, None]:
    """Yield the steps in order, while the payloads of the next ones are fetched from remote sources."""
    for _, group in itertools.groupby(steps, key=lambda step: step.position[0]):
        run = list(group)
        reader = run[0].item.source.reader
        wanted = [step.payload or step.item.name for step in run if step.item.array is None]
        with reader.read_ahead(wanted, CONNECTIONS):
            yield from run


def _plan_steps(items: Sequence[Item], *, dtype: str | None, join: bool) -> Iterator[_Step]:
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


def _read_values(item: Item, dtype: str | None) -> tuple[Any, str | None]:
    """Return the array of an item and its TensorFlow type; floats are converted to `dtype`."""
    if item.array is not None:
        return item.array, item.tf_dtype
    array = item.source.read(item.name)
    tf_dtype = item.source.info(item.name).tf_dtype
    if dtype is None or array.dtype.name not in FLOATS or array.dtype.name == dtype:
        return array, tf_dtype
    return cast_floats(array, data_type_named(dtype).to_numpy(), name=item.name), None
