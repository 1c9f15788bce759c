"""What a caller gives for a tensor, checked against what the graph says of it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from converter.errors import FeedError
from tfckpt.graphs.graph import Node

from .bodies import PLACEHOLDERS
from .values import Array, Tensor, Value, is_float, is_floating, numpy_dtype, to_tensor

#: An array, a tensor, a number, or nested lists of numbers.
Feedable: TypeAlias = Any


def convert_feed(name: str, node: Node, given: Feedable, dtype: torch.dtype) -> Value:
    """The value as the evaluation has it; `FeedError` if type or shape are not what a placeholder says."""
    declared = _declared_type(node)
    value = given if isinstance(given, Tensor) else _array(name, given, declared)
    _check_type(name, value, declared)
    _check_shape(name, tuple(value.shape), _declared_shape(node))
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if is_floating(value):
        return to_tensor(value, dtype)
    # Single numbers stay on the host, where they can decide branches and shapes.
    if value.ndim == 0 or value.dtype.kind not in "iub" or value.dtype.name in ("uint16", "uint32", "uint64"):
        return value
    return to_tensor(value, dtype)


def known_bool(given: Feedable) -> bool | None:
    """A single bool, which may decide branches before anything runs; None for everything else."""
    if isinstance(given, bool | np.bool_):
        return bool(given)
    if isinstance(given, np.ndarray) and given.dtype == bool and given.ndim == 0:
        return bool(given)
    return None


def _array(name: str, given: Feedable, declared: str | None) -> Array:
    if isinstance(given, np.ndarray | np.generic):
        return np.asarray(given)
    if declared == "string":
        items = np.empty(np.shape(given), object)
        items[...] = given
        return items
    try:
        array = np.array(given)
    except ValueError as error:
        raise FeedError(f"the feed {name} is no array: {error}") from None
    if declared is None:
        return array
    target = numpy_dtype(declared, torch.float64)
    same_kind = array.dtype.kind == target.kind or (array.dtype.kind in "iu" and target.kind in "iuf") or not array.size
    if not same_kind:
        raise FeedError(f"the feed {name} is {array.dtype}, and the graph has {declared} there")
    converted = array.astype(target)
    if array.size and target.kind in "iu" and not np.array_equal(converted, array):
        raise FeedError(f"the feed {name} has numbers that {declared} cannot hold")
    return converted


def _check_type(name: str, value: Tensor | Array, declared: str | None) -> None:
    if declared is None:
        return
    found = str(value.dtype).removeprefix("torch.")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSU":
        found = "string"
    both_float = is_float(declared) and is_float(found)
    if not both_float and found != declared.removeprefix("q"):
        raise FeedError(f"the feed {name} is {found}, and the graph has {declared} there")


def _check_shape(name: str, shape: tuple[int, ...], wanted: tuple[int, ...] | None) -> None:
    if wanted is None:
        return
    if len(shape) != len(wanted) or any(
        want >= 0 and type(size) is int and size != want for size, want in zip(shape, wanted, strict=True)
    ):
        shown = "[" + ", ".join("?" if size < 0 else str(size) for size in wanted) + "]"
        raise FeedError(f"the feed {name} has shape {list(shape)}, and the graph has {shown} there")


def _declared_type(node: Node) -> str | None:
    """The type a placeholder declares; None for any other tensor."""
    found = node.attributes.get("dtype") if node.op in PLACEHOLDERS else None
    return str(found).removesuffix("_ref") if found is not None else None


def _declared_shape(node: Node) -> tuple[int, ...] | None:
    """The shape a placeholder declares; None where nothing is known.

    Graphs of TensorFlow before 1.0 wrote an unknown shape as that of a scalar.
    """
    if node.op not in PLACEHOLDERS:
        return None
    shape = node.attributes.get("shape")
    known = node.attributes.get("_output_shapes")
    if shape == () and isinstance(known, tuple) and known:
        shape = known[0]
    return shape if isinstance(shape, tuple) else None
