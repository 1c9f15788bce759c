"""The tensors of an export: which are written, under which names, and whether a format can store them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from .._typing import Array
from ..checkpoint import Checkpoint
from ..errors import UnsupportedFeatureError, join_some
from ..files.safetensors import DTYPES, LazyTensor
from ..graphs.lookup import select
from ..graphs.training_state import moving_averages, optimizer_state
from ..tensors.casting import FLOATS, cast_floats
from ..tensors.dtypes import data_type_named
from .selection import compile_renames, rename_all, use_averages

Weights: TypeAlias = Literal["all", "ema", "raw"]
Format: TypeAlias = Literal["safetensors", "npz", "npy-folder"]

#: Zip stores the length of a name in 16 bits; every name gets a suffix.
_LONGEST_ZIP_NAME = 0xFFFF - len(".npy")


def choose_tensors(
    checkpoint: Checkpoint,
    names: list[str],
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    weights: Weights,
    no_optimizer: bool,
    left_out: dict[str, tuple[str, ...]],
) -> dict[str, str]:
    """Map each tensor to the one whose values it gets, in order, and add the others to `left_out` by reason."""
    chosen = select(names, include, exclude)
    left_out["not selected"] = tuple(name for name in names if name not in chosen)
    types = {name: checkpoint.info(name) for name in chosen}
    strings = {name for name, info in types.items() if info.tf_dtype == "DT_STRING"}
    opaque = {
        name for name, info in types.items() if info.dtype.kind in "OV" and not _is_extension(info.dtype)
    } - strings
    optimizer = optimizer_state(names, checkpoint.object_graph).keys() & chosen if no_optimizer else set()
    left_out["strings"] = tuple(sorted(strings))
    left_out["values of a type that cannot be read"] = tuple(sorted(opaque))
    left_out["state of an optimizer"] = tuple(sorted(optimizer))
    chosen -= strings | opaque | optimizer
    if weights == "raw":
        averages = moving_averages(names, checkpoint.object_graph).keys() & chosen
        left_out["moving averages"] = tuple(sorted(averages))
        chosen -= averages
    if weights != "ema":
        return {name: name for name in names if name in chosen}
    origins = use_averages(checkpoint, names, chosen)
    used = set(origins.values())
    left_out["raw values of variables whose averages are used"] = tuple(
        name for name in names if name in chosen and name not in used
    )
    return origins


def plan_tensors(
    checkpoint: Checkpoint,
    origins: Mapping[str, str],
    strip_prefix: str,
    rename: Sequence[tuple[str, str]],
    target_float: str | None,
) -> list[LazyTensor]:
    """Return the tensors in the order of `origins`, under their new names; values are loaded when they are written.

    `target_float` is the type that floats are converted to, or None.
    """
    if strip_prefix and not any(name.startswith(strip_prefix) for name in origins):
        raise ValueError(f"no name begins with {strip_prefix!r}")
    stripped = [(re.compile("^" + re.escape(strip_prefix)), "")] if strip_prefix else []
    patterns = [*stripped, *compile_renames(rename)]
    targets = rename_all(origins, patterns)
    tensors = []
    for name, origin in origins.items():
        info = checkpoint.info(origin)
        changes = target_float is not None and info.dtype.name in FLOATS and info.dtype.name != target_float
        dtype = target_float if changes and target_float else info.dtype.name
        tensors.append(make_tensor(checkpoint, origin, targets[name], dtype, info.shape))
    return tensors


def make_tensor(checkpoint: Checkpoint, origin: str, name: str, dtype: str, shape: tuple[int, ...]) -> LazyTensor:
    """Return a tensor to write: the values of `origin` in the checkpoint, with floats converted to `dtype`."""
    to_dtype = checkpoint.info(origin).dtype
    if to_dtype.name != dtype:
        to_dtype = data_type_named(dtype).to_numpy()
    return LazyTensor(name, to_dtype, shape, functools.partial(_load, checkpoint, origin, to_dtype))


def _load(checkpoint: Checkpoint, name: str, dtype: np.dtype[Any]) -> Iterator[Array]:
    for values in checkpoint.reader.iterate_values(name):
        yield cast_floats(values, dtype, name=name)


def _is_extension(dtype: np.dtype[Any]) -> bool:
    """Return whether this is a type of ml_dtypes; NumPy gives them the kind of void."""
    return dtype.kind == "V" and dtype.type is not np.void


def check_storable(tensors: Sequence[LazyTensor], kind: Format) -> None:
    """Raise `UnsupportedFeatureError` if the format cannot store all types and names."""
    if kind == "safetensors":
        bad = [tensor for tensor in tensors if tensor.dtype.name not in DTYPES]
    else:
        bad = [tensor for tensor in tensors if _is_extension(tensor.dtype) or tensor.dtype.name.startswith("bfloat")]
    if bad:
        types = ", ".join(sorted({tensor.dtype.name for tensor in bad}))
        raise UnsupportedFeatureError(
            f"{'a safetensors file' if kind == 'safetensors' else 'a NumPy file'} cannot store {types}, the type of "
            f"{join_some(sorted(tensor.name for tensor in bad))}; "
            "exclude them, convert floats with a dtype, or choose another format"
        )
    unnameable = (
        [] if kind == "npy-folder" else [tensor.name for tensor in tensors if not _is_nameable(tensor.name, kind)]
    )
    if unnameable:
        raise UnsupportedFeatureError(
            f"{'a safetensors file' if kind == 'safetensors' else 'an .npz file'} cannot store the "
            f"{'name' if len(unnameable) == 1 else 'names'} {join_some(sorted(unnameable))}; "
            "rename or exclude them, or write a folder of .npy files"
        )


def _is_nameable(name: str, kind: Format) -> bool:
    """Return whether a format can store a name: valid UTF-8 and, for a zip archive, without NUL and not too long."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    if kind == "safetensors":
        return name != "__metadata__"
    return b"\0" not in encoded and len(encoded) <= _LONGEST_ZIP_NAME


def split_tensors(tensors: Sequence[LazyTensor], shard_size: int) -> list[list[LazyTensor]]:
    """Group consecutive tensors into shards of at most `shard_size` bytes; a larger tensor has a shard of its own."""
    shards: list[list[LazyTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.nbytes > shard_size:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.nbytes
    return shards
