"""New checkpoints from old ones: copy with changes, merge, replace tensors.

A tensor that keeps its dtype is copied as bytes, with its checksum, after the checksum has been verified.
The graph in a `.meta` file is not copied: its save and restore nodes would refer to tensors that may be missing.
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
from ..graphs.object_graph_moves import move_objects, rename_tables
from ..graphs.object_graph_writer import rename_keys
from ..graphs.training_state import optimizer_state
from ..tensors.dtypes import data_type_named
from .copy import Item, Report, write
from .selection import check_float_type, compile_renames, rename_all, use_averages
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
    """Write a copy of a checkpoint with changes.

    - `include` and `exclude` are globs over the names in the source. A tensor is copied if its name matches a glob of
      `include`, or `include` is empty, and no glob of `exclude`.
    - `no_optimizer` leaves out slot variables and other state of optimizers.
    - `ema_to_raw` replaces the values of each variable by its moving average and leaves out the averages.
      It is enough if the globs select one of the two.
    - `rename` are pairs of a regular expression and a replacement, applied to every name in this order.
    - `dtype` converts float16, bfloat16, float32 and float64 tensors to one of these; other types do not change.
    - `shards` is the number of data shards, at most one per tensor; by default tensors stay in their shards.
    - `to_v2` decodes payloads that cannot be copied as bytes, those of V1 and big-endian checkpoints, and joins slices.

    In an object-based checkpoint objects move with their keys, so that TensorFlow restores them at their new paths;
    a new name must be a key, such as `net/w/.ATTRIBUTES/VARIABLE_VALUE`.
    Raises `NameConflictError` if two tensors would get the same name, and what `open` and `Writer` raise.
    """
    float_name = check_float_type(dtype)
    patterns = compile_renames(rename)
    with _ensure_open(source) as checkpoint:
        if not to_v2:
            _check_can_copy(checkpoint)
        names = [name for name in checkpoint if name != GRAPH_KEY]
        chosen = select(names, include, exclude)
        if no_optimizer:
            chosen -= optimizer_state(names, checkpoint.object_graph).keys()
        origins = {name: name for name in names if name in chosen}
        if ema_to_raw:
            origins = use_averages(checkpoint, names, chosen)
        targets = rename_all(origins, patterns)
        if not targets:
            raise ValueError("no tensor is left to write")
        if GRAPH_KEY in targets.values():
            raise ValueError(f"no tensor can be renamed to {GRAPH_KEY}, the name of the object graph")
        items = [Item(target, checkpoint, origins[name]) for name, target in targets.items()]
        with_graph = GRAPH_KEY in checkpoint.reader and not matches_any(GRAPH_KEY, exclude)
        if with_graph:
            items.append(_make_graph_item(checkpoint, {name: targets.get(name) for name in names}))
        report = write(
            items,
            prefix,
            shards=checkpoint.reader.num_shards if shards is None else shards,
            keep_shards=shards is None,
            dtype=float_name,
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
    """Write one checkpoint with the tensors of several.

    The slices of one partitioned variable may come from several sources.
    Any other name in more than one source is a conflict: `NameConflictError` lists all of them, nothing is written.
    """
    if not sources:
        raise ValueError("there are no checkpoints to merge")
    with contextlib.ExitStack() as stack:
        checkpoints = [stack.enter_context(_ensure_open(source)) for source in sources]
        holders_of: dict[str, list[Checkpoint]] = {}
        for checkpoint in checkpoints:
            _check_can_copy(checkpoint)
            for name in checkpoint:
                holders_of.setdefault(name, []).append(checkpoint)
        conflicts = {
            name: [checkpoint.prefix for checkpoint in holders]
            for name, holders in holders_of.items()
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
    """Write a copy of a checkpoint with new values for some tensors.

    `values` maps names to whatever `Writer.add` accepts; for an object-based checkpoint a name may also be an object
    path or a full name. The tensor must be in the checkpoint and have the same dtype and shape, unless `allow_change`
    is set. New tensors are then written after the others, and are not added to an object graph.
    """
    with _ensure_open(source) as checkpoint:
        _check_can_copy(checkpoint)
        replacements: dict[str, Item] = {}
        for name, value in values.items():
            item = _make_replacement(checkpoint, name, value, allow_change=allow_change)
            if item.name in replacements:
                raise ValueError(f"two values for the tensor {printable(item.name)!r}")
            replacements[item.name] = item
        items = [replacements.pop(name, Item(name, checkpoint, name)) for name in checkpoint]
        return write(
            [*items, *replacements.values()],
            prefix,
            shards=checkpoint.reader.num_shards,
            keep_shards=True,
            checkpoint_state=checkpoint_state,
            overwrite=overwrite,
            progress=progress,
        )


def _make_graph_item(checkpoint: Checkpoint, keys: Mapping[str, str | None]) -> Item:
    """Return the object graph with its keys and paths changed, or a plain copy if no key changes."""
    payload = moved = read_graph_payload(checkpoint.reader, checkpoint.prefix)
    if any(new not in (None, old) for old, new in keys.items()) and checkpoint.object_graph is not None:
        keys = rename_tables(checkpoint.object_graph, keys)
        moved = move_objects(payload, checkpoint.object_graph, keys)
    changed = rename_keys(moved, keys)
    if changed == payload:
        return Item(GRAPH_KEY, checkpoint, GRAPH_KEY)
    array: Array = np.empty((), object)
    array[()] = changed
    return Item(GRAPH_KEY, checkpoint, GRAPH_KEY, array)


def _make_replacement(checkpoint: Checkpoint, name: str, value: object, *, allow_change: bool) -> Item:
    """Return a new value as an item; `ValueError` if it does not match the tensor that it replaces."""
    if name not in checkpoint and allow_change:
        return Item(name, checkpoint, name, to_values(name, value, None)[1])
    info = checkpoint.info(name)
    data_type, array = to_values(name, value, None)
    same_type = data_type.numpy_name == data_type_named(info.tf_dtype).numpy_name
    if not allow_change and (not same_type or array.shape != info.shape):
        raise ValueError(
            f"{printable(name)!r} is {info.dtype} {list(info.shape)}, "
            f"the new value is {array.dtype} {list(array.shape)}; use --allow-change (allow_change=True) to change it"
        )
    return Item(info.name, checkpoint, info.name, array, info.tf_dtype if same_type else None)


def _check_can_copy(checkpoint: Checkpoint) -> None:
    """Raise `UnsupportedFeatureError` unless payloads can be copied as bytes.

    A copy promises the same payloads, so decoding and encoding them again must be requested.
    """
    reader = checkpoint.reader
    if reader.can_copy:
        return
    kind = "a big-endian checkpoint" if reader.big_endian else f"a {reader.format} checkpoint"
    raise UnsupportedFeatureError(
        f"{kind} cannot be copied byte by byte; convert it first: tfckpt cp --to-v2, or copy(..., to_v2=True)",
        path=checkpoint.prefix,
    )


def _are_slices(name: str, holders: Sequence[Checkpoint]) -> bool:
    """Return whether every checkpoint has only slices of the tensor, with the same dtype and shape."""
    infos = [holder.info(name) for holder in holders]
    return all(info.slices for info in infos) and len({(info.tf_dtype, info.shape) for info in infos}) == 1


@contextlib.contextmanager
def _ensure_open(source: Checkpoint | PathLike) -> Iterator[Checkpoint]:
    """Yield an open checkpoint; one that is opened here is closed at the end of the block."""
    if isinstance(source, Checkpoint):
        yield source
    else:
        with open_checkpoint(source) as checkpoint:
            yield checkpoint
