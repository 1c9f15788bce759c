"""Statistics of the values of a tensor; only NumPy is needed.

One tensor is in memory at a time, as a sorted copy that gives percentiles and counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import Array

_CHUNK = 1 << 18
#: So many digits of a mean do not depend on the order in which a processor adds.
_DIGITS = 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of one tensor; from `mean` on they cover its finite values, and are None if there are none.

    `p5`, `median` and `p95` are percentiles.
    `dead` of the `channels` output channels of a kernel are all zero; both are 0 if the tensor is not a kernel.
    """

    count: int
    nan: int
    infinite: int
    zeros: int
    negative: int
    channels: int = 0
    dead: int = 0
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    p5: float | None = None
    median: float | None = None
    p95: float | None = None
    maximum: float | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all values are finite."""
        return not self.nan and not self.infinite

    @property
    def is_constant(self) -> bool:
        """Whether there are several values and all are equal."""
        return self.count > 1 and self.is_finite and self.minimum == self.maximum

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON, rounded to digits that are the same on every machine."""
        return {
            field.name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }


def compute_statistics(array: Array, *, channels_first: bool = False) -> Statistics | None:
    """Return the statistics of an array, or None if it is complex or empty.

    `channels_first` says that the first axis is that of the output channels, so that dead ones are counted.
    """
    if array.size == 0 or np.iscomplexobj(array):
        return None
    wide = array.dtype.itemsize > 4 or np.issubdtype(array.dtype, np.integer)
    values = _in_memory_order(array).astype(np.float64 if wide else np.float32)
    finite = np.isfinite(values)
    nan = infinite = 0
    if not finite.all():
        nan = int(np.count_nonzero(np.isnan(values)))
        infinite = int(np.count_nonzero(~finite)) - nan
        values = values[finite]
    values.sort()
    negative = int(values.searchsorted(0, "left"))
    zeros = int(values.searchsorted(0, "right")) - negative
    channels = dead = 0
    if channels_first and array.ndim > 1:
        channels = array.shape[0]
        if zeros:
            dead = channels - int(np.count_nonzero(np.any(array, axis=tuple(range(1, array.ndim)))))
    counted = Statistics(
        count=array.size, nan=nan, infinite=infinite, zeros=zeros, negative=negative, channels=channels, dead=dead
    )
    if not values.size:
        return counted
    with np.errstate(over="ignore"):  # the sum of large float64 values can be infinite
        mean = _sum(values) / values.size
        std = math.sqrt(_sum(values, lambda part: np.square(part - mean)) / values.size)
    return dataclasses.replace(
        counted,
        mean=_finite_or_none(mean),
        std=_finite_or_none(std),
        minimum=float(values[0]),
        p5=_finite_or_none(_percentile(values, 5)),
        median=_finite_or_none(_percentile(values, 50)),
        p95=_finite_or_none(_percentile(values, 95)),
        maximum=float(values[-1]),
    )


def _in_memory_order(array: Array) -> Array:
    """Flatten in the order of the strides, so that contiguous memory is not copied."""
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    flat: Array = array.transpose(order).reshape(-1)
    return flat


def _percentile(ordered: Array, percent: int) -> float:
    """Return a percentile of sorted values, interpolated between neighbours."""
    at, part = divmod((ordered.size - 1) * percent, 100)
    below, above = float(ordered[at]), float(ordered[min(at + 1, ordered.size - 1)])
    return below + (above - below) * part / 100


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sum(values: Array, change: Callable[[Array], Array] = lambda part: part) -> float:
    """Return the sum in float64, added up in chunks."""
    parts = (values[at : at + _CHUNK].astype(np.float64) for at in range(0, values.size, _CHUNK))
    return float(sum(float(change(part).sum()) for part in parts))
