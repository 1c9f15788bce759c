"""Looking up keys in tables."""

from __future__ import annotations

import numpy as np
import torch

from converter.engine.registry import Call
from converter.engine.tables import Table
from converter.engine.values import Array, Tensor, Value, to_array, to_dtype, to_tensor, to_tensors


def find(call: Call, table: Table, keys: Value, default: Value) -> Value:
    """Return the value of each key, and the default value for a key that is not in the table."""
    if object in (table.keys.dtype, table.values.dtype):
        return _find_on_host(call, table, to_array(keys), default)
    order = np.argsort(table.keys, kind="stable")
    wanted, known = to_tensors(call.dtype, keys, table.keys[order])
    values, fallback = to_tensors(call.dtype, table.values[order], default)
    if not len(order):
        return to_tensor(fallback.expand([*wanted.shape, *values.shape[1:]]), call.dtype)
    place = torch.searchsorted(known, wanted.contiguous()).clamp(max=len(order) - 1)
    is_known = (known[place] == wanted).reshape([*wanted.shape, *[1] * (values.ndim - 1)])
    return to_tensor(torch.where(is_known, values[to_dtype(place, torch.int64)], fallback), call.dtype)


def _find_on_host(call: Call, table: Table, keys: Array, default: Value) -> Value:
    """Look up strings, or keys of strings; an exported module has none."""
    positions: dict[object, int] = call.get("_positions") or call.remember(
        "_positions", {key: position for position, key in enumerate(table.keys.tolist())}
    )
    found = np.array([positions.get(key, -1) for key in keys.ravel().tolist()], np.int64)
    if table.values.dtype == object:
        texts = [default.item() if at < 0 else table.values[at] for at in found.tolist()]  # type: ignore[union-attr]
        result = np.empty(len(texts), object)
        result[:] = texts
        return np.asarray(result.reshape(keys.shape))
    values, fallback = to_tensors(call.dtype, table.values, default)
    places = torch.from_numpy(found)
    taken: Tensor = values[places.clamp(min=0)] if len(values) else fallback.expand(len(found), *values.shape[1:])
    chosen = torch.where((places >= 0).reshape([-1] + [1] * (values.ndim - 1)), taken, fallback)
    return to_tensor(chosen.reshape([*keys.shape, *values.shape[1:]]), call.dtype)


def size_of(table: Table) -> Value:
    """Return the number of keys."""
    return np.array(len(table.keys), np.int64)
