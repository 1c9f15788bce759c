"""Values that the caller feeds, checked against the dtype and shape that the graph declares."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from converter.errors import FeedError
from tfckpt.graphs.graph import Node

from .bodies import PLACEHOLDERS
from .values import Array, Tensor, Value, host_float, is_float, is_floating, numpy_dtype, to_dtype, to_tensor

#: An array, a tensor, a number, or nested lists of numbers.
Feedable: TypeAlias = Any


def convert_feed(
    name: str, node: Node, fed: Feedable, dtype: torch.dtype, *, any_size: bool = False, on_host: bool = False
) -> Value:
    """Convert a fed value to the form the engine computes with.

    Raises `FeedError` if its dtype or shape does not match the placeholder; with `any_size`, only the number of axes of
    the shape counts. With `on_host`, a number stays a host array.
    """
    declared = _declared_type(node)
    value = fed if isinstance(fed, Tensor) else _to_array(name, fed, declared)
    _check_type(name, value, declared)
    declared_shape = _declared_shape(node)
    if any_size and declared_shape is not None:
        declared_shape = (-1,) * len(declared_shape)
    _check_shape(name, tuple(value.shape), declared_shape)
    if isinstance(value, Tensor):
        if value.is_complex():
            return to_dtype(value, dtype.to_complex())
        return to_dtype(value, dtype) if value.is_floating_point() else value
    if is_floating(value):
        return value.astype(host_float(dtype)) if on_host and value.size == 1 else to_tensor(value, dtype)
    if value.dtype.kind == "c":
        return to_tensor(value, dtype)
    # Scalars stay on the host, where they can decide branches and shapes.
    if value.ndim == 0 or value.dtype.kind not in "iub" or value.dtype.name in ("uint16", "uint32", "uint64"):
        return value
    return to_tensor(value, dtype)


def known_bool(fed: Feedable) -> bool | None:
    """Return the value of a bool scalar, which can decide branches before anything runs; None for anything else."""
    if isinstance(fed, bool | np.bool_):
        return bool(fed)
    if isinstance(fed, np.ndarray) and fed.dtype == bool and fed.ndim == 0:
        return bool(fed)
    return None


def _to_array(name: str, fed: Feedable, declared: str | None) -> Array:
    if isinstance(fed, np.ndarray | np.generic):
        return np.asarray(fed)
    if declared == "string":
        items = np.empty(np.shape(fed), object)
        items[...] = fed
        return items
    try:
        array = np.array(fed)
    except ValueError as error:
        raise FeedError(f"the feed {name} cannot be converted to an array: {error}") from None
    if declared is None:
        return array
    target = numpy_dtype(declared, torch.float64)
    same_kind = array.dtype.kind == target.kind or (array.dtype.kind in "iu" and target.kind in "iuf") or not array.size
    if not same_kind:
        raise FeedError(f"the feed {name} has dtype {array.dtype}, expected {declared}")
    converted = array.astype(target)
    if array.size and target.kind in "iu" and not np.array_equal(converted, array):
        raise FeedError(f"the feed {name} has values that do not fit into {declared}")
    return converted


def _check_type(name: str, value: Tensor | Array, declared: str | None) -> None:
    if declared is None:
        return
    dtype = str(value.dtype).removeprefix("torch.")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSU":
        dtype = "string"
    # A floating-point feed of any width is converted to the one dtype the engine runs in.
    is_any_float = is_float(declared) and is_float(dtype)
    is_any_float |= dtype.startswith("complex") and declared.startswith("complex")
    if not is_any_float and dtype != declared.removeprefix("q"):
        raise FeedError(f"the feed {name} has dtype {dtype}, expected {declared}")


def _check_shape(name: str, shape: tuple[int, ...], declared: tuple[int, ...] | None) -> None:
    if declared is None:
        return
    # During an export a size may be a symbol, which is left to PyTorch to check.
    if len(shape) != len(declared) or any(
        expected >= 0 and type(size) is int and size != expected for size, expected in zip(shape, declared, strict=True)
    ):
        expected_shape = "[" + ", ".join("?" if size < 0 else str(size) for size in declared) + "]"
        raise FeedError(f"the feed {name} has shape {list(shape)}, expected {expected_shape}")


def _declared_type(node: Node) -> str | None:
    """Return the dtype that a placeholder declares; None for any other tensor."""
    declared = node.attributes.get("dtype") if node.op in PLACEHOLDERS else None
    return str(declared).removesuffix("_ref") if declared is not None else None


def _declared_shape(node: Node) -> tuple[int, ...] | None:
    """Return the shape that a placeholder declares; None if it is unknown."""
    if node.op not in PLACEHOLDERS:
        return None
    shape = node.attributes.get("shape")
    return shape if isinstance(shape, tuple) else None
