"""What the numbers of each tensor look like, and what a person should look at among them. NumPy only.

One tensor is held at a time: a copy of its numbers, sorted, from which percentiles and counts are read off.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from .._typing import Array
from ..mapping.report import ConversionReport, TensorRecord

#: A kernel whose spread is so many times its fellows' middle one, or so small a part of it, is pointed at.
_FAR = 100
#: Largest float16.
_FLOAT16_MAX = 65_504
_CHUNK = 1 << 18
#: Layouts whose target has the output channels first.
_CHANNELS_FIRST = frozenset({"conv1d", "conv2d", "conv3d", "depthwise", "dense"})
#: Digits of a mean that do not depend on the order in which a processor adds.
_DIGITS = 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The numbers of one tensor; those from `mean` on are of the finite ones, and None where there is none.

    `p5`, `median` and `p95` are percentiles.
    `dead` counts output channels of a kernel that are all zero, of `channels`; both are 0 for what is no kernel.
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
    def finite(self) -> bool:
        """Whether every number is."""
        return not self.nan and not self.infinite

    @property
    def constant(self) -> bool:
        """Whether there are several numbers, and all are one."""
        return self.count > 1 and self.finite and self.minimum == self.maximum

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold, with as many digits as are the same on every machine."""
        return {
            field.name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }


#: By the target's name, in the network's order.
StatisticsByTarget: TypeAlias = Mapping[str, Statistics]


@dataclasses.dataclass(frozen=True, slots=True)
class Remark:
    """What a person should look at: a sentence, and the targets with what is so about each.

    `serious` is what no working network has.
    """

    sentence: str
    targets: Mapping[str, str]
    serious: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        return {"sentence": self.sentence, "serious": self.serious, "targets": dict(self.targets)}


def statistics_of(array: Array, layout: str = "identity") -> Statistics | None:
    """Describe the numbers of one converted tensor; None for complex ones, and for none at all."""
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
    if layout in _CHANNELS_FIRST and array.ndim > 1:
        channels = array.shape[0]
        if zeros:
            dead = channels - int(np.count_nonzero(np.any(array, axis=tuple(range(1, array.ndim)))))
    counted = Statistics(
        count=array.size, nan=nan, infinite=infinite, zeros=zeros, negative=negative, channels=channels, dead=dead
    )
    if not values.size:
        return counted
    with np.errstate(over="ignore"):  # the sum of the largest float64 is no number
        mean = _sum(values) / values.size
        std = math.sqrt(_sum(values, lambda part: np.square(part - mean)) / values.size)
    return dataclasses.replace(
        counted,
        mean=_known(mean),
        std=_known(std),
        minimum=float(values[0]),
        p5=_known(_percentile(values, 5)),
        median=_known(_percentile(values, 50)),
        p95=_known(_percentile(values, 95)),
        maximum=float(values[-1]),
    )


def measure(report: ConversionReport, tensors: Mapping[str, Array]) -> dict[str, Statistics]:
    """Describe every tensor that came from the source, in the order of `tensors`."""
    layouts = {record.target: record.layout for record in report.tensors}
    found = ((target, statistics_of(tensors[target], layouts[target])) for target in tensors if target in layouts)
    return {target: described for target, described in found if described is not None}


def roles(records: Iterable[TensorRecord]) -> dict[str, str]:
    """Say what each target is to its layer.

    A kernel is a `convolution`, `depthwise`, `dense` or another `matrix`; a norm has a `scale`, a `shift`, a `mean`
    and a `variance`; a `bias` belongs to a kernel; what has another name is `other`.
    """
    shapes = {record.target: record.target_shape for record in records}
    layouts = {record.target: record.layout for record in records}
    return {target: _role(target, layouts[target], shapes) for target in shapes}


KERNELS = ("convolution", "depthwise", "dense", "matrix")


def remarks(found: StatisticsByTarget, role_of: Mapping[str, str]) -> tuple[Remark, ...]:
    """Look for what tells a wrong conversion or a sick network: the serious first."""
    kernels = {target: one for target, one in found.items() if role_of[target] in KERNELS}
    weights = {**kernels, **{target: one for target, one in found.items() if role_of[target] == "scale"}}
    variances = {target: one for target, one in found.items() if role_of[target] == "variance"}
    looked_for = (
        (True, "values that are not finite", {t: _not_finite(one) for t, one in found.items() if not one.finite}),
        (
            True,
            "negative variances, whose roots are no numbers",
            {t: f"{one.negative:,} of {one.count:,}" for t, one in variances.items() if one.negative},
        ),
        (True, "dead layers, whose every value is zero", {t: "" for t, one in weights.items() if _is_zero(one)}),
        (
            False,
            "output channels whose kernel is all zero",
            {t: f"{one.dead:,} of {one.channels:,}" for t, one in kernels.items() if one.dead and not _is_zero(one)},
        ),
        (
            False,
            "every value of a kernel is the same",
            {t: f"{one.maximum:.4g}" for t, one in kernels.items() if one.constant and not _is_zero(one)},
        ),
        (False, "spread far from that of other kernels of its kind", _far(kernels, role_of)),
        (False, "moving statistics as before training: means 0 and variances 1", _untouched(found, role_of)),
        (
            False,
            f"values beyond the range of float16, ±{_FLOAT16_MAX:,}",
            {t: f"{_largest(one):.4g}" for t, one in found.items() if _largest(one) > _FLOAT16_MAX},
        ),
    )
    return tuple(Remark(sentence, targets, serious) for serious, sentence, targets in looked_for if targets)


def _in_memory_order(array: Array) -> Array:
    """Flatten in the order of the strides, so that nothing is copied where the memory is one piece."""
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    flat: Array = array.transpose(order).reshape(-1)
    return flat


def _percentile(ordered: Array, percent: int) -> float:
    """Read it off, between two neighbours by their distance."""
    at, part = divmod((ordered.size - 1) * percent, 100)
    below, above = float(ordered[at]), float(ordered[min(at + 1, ordered.size - 1)])
    return below + (above - below) * part / 100


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sum(values: Array, change: Callable[[Array], Array] = lambda part: part) -> float:
    """Add up in float64, a piece at a time."""
    parts = (values[at : at + _CHUNK].astype(np.float64) for at in range(0, values.size, _CHUNK))
    return float(sum(float(change(part).sum()) for part in parts))


def _role(target: str, layout: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    layer, _, part = target.rpartition(".")
    if layout in ("depthwise", "dense"):
        return layout
    if layout != "identity":
        return "convolution"
    if len(shapes[target]) > 1:
        return "matrix"
    if part in ("running_mean", "running_var"):
        return {"running_mean": "mean", "running_var": "variance"}[part]
    if part == "weight":
        return "scale"
    if part == "bias":
        return "shift" if len(shapes.get(f"{layer}.weight", ())) == 1 else "bias"
    return "other"


def _is_zero(one: Statistics) -> bool:
    return one.finite and one.zeros == one.count


def _not_finite(one: Statistics) -> str:
    said = [f"{count:,} {what}" for count, what in ((one.nan, "NaN"), (one.infinite, "infinite")) if count]
    return f"{' and '.join(said)} of {one.count:,}"


def _largest(one: Statistics) -> float:
    return 0.0 if one.minimum is None or one.maximum is None else max(abs(one.minimum), abs(one.maximum))


def _far(kernels: StatisticsByTarget, role_of: Mapping[str, str]) -> dict[str, str]:
    """Find kernels of a spread unlike that of others; what is constant has a remark of its own."""
    found = {}
    spreads = {target: one.std for target, one in kernels.items() if one.std and not one.constant}
    for kind in KERNELS:
        middle = statistics.median([spread for target, spread in spreads.items() if role_of[target] == kind] or [0])
        for target, spread in spreads.items():
            if role_of[target] == kind and not middle / _FAR <= spread <= middle * _FAR:
                found[target] = f"{spread:.2g}, where {middle:.2g} is common"
    return {target: found[target] for target in kernels if target in found}


def _untouched(found: StatisticsByTarget, role_of: Mapping[str, str]) -> dict[str, str]:
    """Find batch norms that never saw a batch, by their variances."""
    untouched = {}
    for target, one in found.items():
        mean = found.get(f"{target.rpartition('.')[0]}.running_mean")
        if role_of[target] == "variance" and one.minimum == one.maximum == 1 and mean is not None and _is_zero(mean):
            untouched[target] = ""
    return untouched
