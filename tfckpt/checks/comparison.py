"""Comparison of two checkpoints: names, types, shapes and values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from .._typing import Array
from ..checkpoint import Checkpoint
from ..graphs.lookup import select
from ..tensors.info import TensorInfo
from ..tensors.reading import CONNECTIONS
from .undecoded import is_variant, read_bytes

_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A tensor whose values differ.

    `max_abs` and `max_rel` are the largest differences, absolute and relative to the value in the second checkpoint;
    they are NaN if an element is NaN in only one of the two. `count` of `size` elements are not equal within the
    tolerance, and `index` is the position of the largest difference.
    For strings both differences are NaN, and `index` is the position of the first one.
    Variants are compared as bytes: all of their elements count as different, from the first one.
    """

    name: str
    max_abs: float
    max_rel: float
    count: int
    size: int
    index: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    `changed` has the two descriptions of each tensor whose type or shape differ; their values are not compared.
    `different` has the tensors whose values differ, NaN first, then by descending absolute difference.
    `equal` counts the other tensors that both checkpoints have.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    changed: tuple[tuple[TensorInfo, TensorInfo], ...]
    different: tuple[Difference, ...]
    equal: int

    @property
    def ok(self) -> bool:
        """True if there are no differences."""
        return not (self.only_first or self.only_second or self.changed or self.different)


def compare(
    first: Checkpoint,
    second: Checkpoint,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare two open checkpoints.

    Two numbers are equal if |a - b| <= atol + rtol * |b|, as in `numpy.isclose`; NaN equals NaN.
    `include` and `exclude` are globs over names; `ValueError` if a glob of `include` matches no name in either.
    `progress(done, total)` is called after each compared tensor with numbers of tensors.
    Every checksum is verified on the way.
    """
    if not (rtol >= 0 and atol >= 0):
        raise ValueError(f"tolerances must be 0 or positive, not rtol={rtol} and atol={atol}")
    wanted = select({*first, *second}, include, exclude)
    names = [wanted.intersection(side) for side in (first, second)]
    both = [name for name in first if name in names[0] and name in names[1]]
    pairs = [(first.info(name), second.info(name)) for name in both]
    changed = [pair for pair in pairs if _get_kind(pair[0]) != _get_kind(pair[1])]
    comparable = [ours for ours, theirs in pairs if _get_kind(ours) == _get_kind(theirs)]
    names_ahead = [info.name for info in comparable]
    different = []
    with (
        first.reader.read_ahead(names_ahead, CONNECTIONS),
        second.reader.read_ahead(names_ahead, CONNECTIONS),
    ):
        for number, info in enumerate(comparable, 1):
            if is_variant(info):
                difference = _compare_bytes(info, first, second)
            else:
                name = info.name
                difference = _difference(name, first.read(name), second.read(name), rtol=rtol, atol=atol)
            if difference is not None:
                different.append(difference)
            if progress is not None:
                progress(number, len(comparable))
    different.sort(key=lambda d: (not np.isnan(d.max_abs), -d.max_abs))
    return Comparison(
        tuple(name for name in first if name in names[0] - names[1]),
        tuple(name for name in second if name in names[1] - names[0]),
        tuple(changed),
        tuple(different),
        len(comparable) - len(different),
    )


def _get_kind(info: TensorInfo) -> tuple[str, tuple[int, ...]]:
    """Return what two tensors must have in common for their values to be compared."""
    return info.tf_dtype, info.shape


def _compare_bytes(info: TensorInfo, first: Checkpoint, second: Checkpoint) -> Difference | None:
    if read_bytes(first, info.name) == read_bytes(second, info.name):
        return None
    size = math.prod(info.shape)
    return Difference(info.name, np.nan, np.nan, size, size, (0,) * len(info.shape))


def _difference(name: str, a: Array, b: Array, *, rtol: float, atol: float) -> Difference | None:
    """Return how two arrays of one type and shape differ, or None; works piece by piece to bound memory."""
    if a.dtype == object:
        positions = np.flatnonzero(a.reshape(-1) != b.reshape(-1))
        if not positions.size:
            return None
        index = tuple(map(int, np.unravel_index(positions[0], a.shape)))
        return Difference(name, np.nan, np.nan, len(positions), a.size, index)
    flat_a, flat_b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    count, worst, worst_at, max_rel = 0, -1.0, 0, 0.0
    for start in range(0, flat_a.size, _PIECE):
        piece_a, piece_b = flat_a[start : start + _PIECE], flat_b[start : start + _PIECE]
        if np.array_equal(piece_a.view(np.uint8), piece_b.view(np.uint8)):
            continue
        delta, magnitude = _distance(piece_a, piece_b)
        unequal = ~(delta <= atol + rtol * magnitude)
        count += int(np.count_nonzero(unequal))
        if not unequal.any():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(delta == 0, 0.0, delta / magnitude)
        max_rel = float(np.maximum(max_rel, relative[unequal].max()))  # NaN propagates
        at = int(np.argmax(delta))  # argmax takes NaN for the largest
        if np.isnan(delta[at]) or (delta[at] > worst and not np.isnan(worst)):
            worst, worst_at = float(delta[at]), start + at
    if not count:
        return None
    index = tuple(map(int, np.unravel_index(worst_at, a.shape)))
    return Difference(name, worst, max_rel, count, a.size, index)


def _distance(a: Array, b: Array) -> tuple[Array, Array]:
    """Return |a - b| and |b| in float64; the distance is 0 for equal infinities and two NaNs, and NaN for one NaN."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    if a.dtype.kind in "iu" and a.dtype.itemsize == 8:  # float64 cannot represent all of these
        exact = a.astype(object) - b.astype(object) if (a != b).any() else np.zeros(a.shape, object)
        return np.abs(exact).astype(np.float64), np.abs(b.astype(np.float64))
    x, y = a.astype(wide), b.astype(wide)
    with np.errstate(invalid="ignore", over="ignore"):
        delta: Array = np.abs(x - y)
    delta[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
    return delta, np.abs(y)
