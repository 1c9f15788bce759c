"""New checkpoints from old ones: copy with changes, merge, replace tensors.

A tensor that keeps its dtype is copied as bytes and its checksum is used again, after it was compared.
Tensors are written in the order of their bytes in the source, so that a copy without changes is the same files.
The `.meta` graph beside a checkpoint is not copied: its save and restore nodes would ask for what is no longer there.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .._typing import Array, PathLike, Progress
from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..errors import NameConflictError, UnsupportedFeatureError, join_some, pluralize, printable
from ..graphs.lookup import matches_any, select
from ..graphs.object_graph import GRAPH_KEY, read_graph_payload
from ..graphs.object_graph_writer import rename_keys
from ..graphs.training_state import optimizer_state
from ..tensors.dtypes import data_type_named
from .copy import Item, Report, write
from .selection import compile_renames, float_type, rename_all, take_averages
from .writer import StateUpdate, to_values

__all__ = ["Report", "copy", "merge", "replace"]


def copy(
    source: Checkpoint | PathLike,
    prefix: PathLike,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    rename: Sequence[tuple[str, str]] = (),
    dtype: str | None = None,
    shards: int | None = None,
    no_optimizer: bool = False,
    ema_to_raw: bool = False,
    to_v2: bool = False,
    checkpoint_state: StateUpdate = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write a copy of a checkpoint, with the changes asked for.

    - `include` and `exclude` are globs over the source's names; a name is taken if one of the first, where there are
      any, and none of the second matches.
    - `no_optimizer` leaves out slot variables and what else only optimizers hold.
    - `ema_to_raw` gives every variable that has a moving average the average's values, and leaves the averages out;
      an average is taken where it or its variable is.
    - `rename` are pairs of a regular expression and its replacement, applied to every name in their order.
    - `dtype` converts float16, bfloat16, float32 and float64 tensors to one of these; all others stay.
    - `shards` is the number of data shards; without it the tensors stay in the shards they are in.
    - `to_v2` also reads what cannot be copied as bytes, V1 and big-endian checkpoints, and joins slices.

    In an object graph the keys follow; the objects keep their paths.
    Raises `NameConflictError` if two tensors would get one name, and what `open` and `Writer` raise.
    """
    wanted = float_type(dtype)
    patterns = compile_renames(rename)
    with _opened(source) as checkpoint:
        if not to_v2:
            _check_copies(checkpoint)
        names = [name for name in checkpoint if name != GRAPH_KEY]
        chosen = select(names, include, exclude)
        if no_optimizer:
            chosen -= optimizer_state(names, checkpoint.object_graph).keys()
        origins = {name: name for name in names if name in chosen}
        if ema_to_raw:
            origins = take_averages(checkpoint, names, chosen)
        targets = rename_all(origins, patterns)
        if not targets:
            raise ValueError("nothing is left to be written")
        items = [Item(target, checkpoint, origins[name]) for name, target in targets.items()]
        with_graph = GRAPH_KEY in checkpoint.reader and not matches_any(GRAPH_KEY, exclude)
        if with_graph:
            items.append(_graph_item(checkpoint, {name: targets.get(name) for name in names}))
        report = write(
            items,
            prefix,
            shards=checkpoint.reader.num_shards if shards is None else shards,
            keep_shards=shards is None,
            dtype=wanted,
            join=to_v2,
            checkpoint_state=checkpoint_state,
            overwrite=overwrite,
            progress=progress,
        )
        averaged = tuple(sorted(targets[name] for name, origin in origins.items() if origin != name))
        dropped = tuple(name for name in names if name not in origins and name not in origins.values())
        return dataclasses.replace(report, averaged=averaged, dropped=dropped)


def merge(
    sources: Sequence[Checkpoint | PathLike],
    prefix: PathLike,
    *,
    shards: int = 1,
    checkpoint_state: StateUpdate = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write one checkpoint of the tensors of several.

    The slices of one partitioned variable may come from several sources.
    Any other name that two sources have is a conflict: `NameConflictError` lists all of them, and nothing is written.
    """
    if not sources:
        raise ValueError("there is nothing to merge")
    with contextlib.ExitStack() as stack:
        checkpoints = [stack.enter_context(_opened(source)) for source in sources]
        places: dict[str, list[Checkpoint]] = {}
        for checkpoint in checkpoints:
            _check_copies(checkpoint)
            for name in checkpoint:
                places.setdefault(name, []).append(checkpoint)
        conflicts = {
            name: [checkpoint.prefix for checkpoint in holders]
            for name, holders in places.items()
            if len(holders) > 1 and not _are_slices(name, holders)
        }
        if conflicts:
            raise NameConflictError(
                f"{pluralize(len(conflicts), 'name')} in more than one checkpoint: {join_some(sorted(conflicts))}",
                conflicts=conflicts,
            )
        items = [Item(name, checkpoint, name) for checkpoint in checkpoints for name in checkpoint]
        return write(
            items,
            prefix,
            shards=shards,
            checkpoint_state=checkpoint_state,
            overwrite=overwrite,
            progress=progress,
        )


def replace(
    source: Checkpoint | PathLike,
    values: Mapping[str, object],
    prefix: PathLike,
    *,
    allow_change: bool = False,
    checkpoint_state: StateUpdate = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write a copy of a checkpoint with other values for some tensors.

    `values` are names and what `Writer.add` takes; in an object-based checkpoint object paths and full names serve too.
    Each must be in the checkpoint, with this dtype and shape, unless `allow_change` is set;
    a new tensor then comes after the others, and an object graph does not know of it.
    """
    with _opened(source) as checkpoint:
        _check_copies(checkpoint)
        given: dict[str, Item] = {}
        for name, value in values.items():
            item = _replacement(checkpoint, name, value, allow_change=allow_change)
            if item.name in given:
                raise ValueError(f"two values for {printable(item.name)!r}")
            given[item.name] = item
        items = [given.pop(name) if name in given else Item(name, checkpoint, name) for name in checkpoint]
        return write(
            [*items, *given.values()],
            prefix,
            shards=checkpoint.reader.num_shards,
            keep_shards=True,
            checkpoint_state=checkpoint_state,
            overwrite=overwrite,
            progress=progress,
        )


def _graph_item(checkpoint: Checkpoint, keys: Mapping[str, str | None]) -> Item:
    """The object graph with its keys changed; its bytes as they are where none is."""
    payload = read_graph_payload(checkpoint.reader, checkpoint.prefix)
    changed = rename_keys(payload, keys)
    if changed == payload:
        return Item(GRAPH_KEY, checkpoint, GRAPH_KEY)
    array: Array = np.empty((), object)
    array[()] = changed
    return Item(GRAPH_KEY, checkpoint, GRAPH_KEY, array)


def _replacement(checkpoint: Checkpoint, name: str, value: object, *, allow_change: bool) -> Item:
    """The item of a new value, compared with the tensor it replaces."""
    if name not in checkpoint and allow_change:
        return Item(name, checkpoint, name, to_values(name, value, None)[1])
    info = checkpoint.info(name)
    data_type, array = to_values(name, value, None)
    same_type = data_type.numpy_name == data_type_named(info.tf_dtype).numpy_name
    if not allow_change and (not same_type or array.shape != info.shape):
        raise ValueError(
            f"{printable(name)!r} is {info.dtype} {list(info.shape)}, "
            f"the new value is {array.dtype} {list(array.shape)}; --allow-change (allow_change=True) permits that"
        )
    return Item(info.name, checkpoint, info.name, array, info.tf_dtype if same_type else None)


def _check_copies(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose bytes are not those of a V2 checkpoint as we write it."""
    reader = checkpoint.reader
    if reader.can_copy:
        return
    kind = "a big-endian checkpoint" if reader.big_endian else f"a {reader.format} checkpoint"
    raise UnsupportedFeatureError(
        f"{kind} cannot be copied byte by byte; convert it first: tfckpt cp --to-v2, or copy(..., to_v2=True)",
        path=checkpoint.prefix,
    )


def _are_slices(name: str, holders: Sequence[Checkpoint]) -> bool:
    """Whether every one of several checkpoints holds only slices of a tensor, of one dtype and shape."""
    infos = [holder.info(name) for holder in holders]
    return all(info.slices for info in infos) and len({(info.tf_dtype, info.shape) for info in infos}) == 1


@contextlib.contextmanager
def _opened(source: Checkpoint | PathLike) -> Iterator[Checkpoint]:
    """An open checkpoint as it is; a path opened for as long as the block lasts."""
    if isinstance(source, Checkpoint):
        yield source
    else:
        with open_checkpoint(source) as checkpoint:
            yield checkpoint
