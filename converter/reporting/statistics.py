"""Statistics of each converted tensor, and remarks on unusual ones; only NumPy is needed."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from tfckpt.reporting.statistics import Statistics, compute_statistics

from .._typing import Array
from ..mapping.report import ConversionReport, TensorRecord

#: A kernel is an outlier if its spread is so many times the median of its kind, or the median so many times its spread.
_FAR = 100
#: The largest float16.
_FLOAT16_MAX = 65_504
#: Layouts that put the output channels of a target first.
_CHANNELS_FIRST = frozenset({"conv1d", "conv2d", "conv3d", "depthwise", "dense"})


#: Statistics by the target's name, in network order.
StatisticsByTarget: TypeAlias = Mapping[str, Statistics]


@dataclasses.dataclass(frozen=True, slots=True)
class Remark:
    """Tensors that a person should look at: what is unusual, and each target with its numbers.

    `serious` remarks are never true of a working network.
    """

    sentence: str
    targets: Mapping[str, str]
    serious: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {"sentence": self.sentence, "serious": self.serious, "targets": dict(self.targets)}


def measure(report: ConversionReport, tensors: Mapping[str, Array]) -> dict[str, Statistics]:
    """Return the statistics of each tensor of the source, in the order of `tensors`."""
    layouts = {record.target: record.layout for record in report.tensors}
    measured = (
        (target, compute_statistics(array, channels_first=layouts[target] in _CHANNELS_FIRST))
        for target, array in tensors.items()
        if target in layouts
    )
    return {target: values for target, values in measured if values is not None}


def find_roles(records: Iterable[TensorRecord]) -> dict[str, str]:
    """Return the role of each target in its layer.

    A kernel is a `convolution`, `depthwise`, `dense` or another `matrix`; a norm has a `scale`, a `shift`, a `mean`
    and a `variance`; a `bias` belongs to a kernel; any other name is `other`.
    """
    shapes = {record.target: record.target_shape for record in records}
    layouts = {record.target: record.layout for record in records}
    return {target: _find_role(target, layouts[target], shapes) for target in shapes}


KERNELS = ("convolution", "depthwise", "dense", "matrix")


def find_remarks(measured: StatisticsByTarget, role_of: Mapping[str, str]) -> tuple[Remark, ...]:
    """Return the signs of a wrong conversion or a broken network, serious ones first."""
    kernels = {target: one for target, one in measured.items() if role_of[target] in KERNELS}
    weights = {**kernels, **{target: one for target, one in measured.items() if role_of[target] == "scale"}}
    variances = {target: one for target, one in measured.items() if role_of[target] == "variance"}
    checks = (
        (True, "values that are not finite", {t: _count_not_finite(s) for t, s in measured.items() if not s.is_finite}),
        (
            True,
            "negative variances",
            {t: f"{s.negative:,} of {s.count:,}" for t, s in variances.items() if s.negative},
        ),
        (True, "dead layers, with all values zero", {t: "" for t, s in weights.items() if _is_zero(s)}),
        (
            False,
            "output channels with an all-zero kernel",
            {t: f"{s.dead:,} of {s.channels:,}" for t, s in kernels.items() if s.dead and not _is_zero(s)},
        ),
        (
            False,
            "kernels with all values equal",
            {t: f"{s.maximum:.4g}" for t, s in kernels.items() if s.is_constant and not _is_zero(s)},
        ),
        (False, "kernels with an unusual spread for their kind", _find_outliers(kernels, role_of)),
        (
            False,
            "moving statistics never updated: means 0 and variances 1",
            _find_untouched(measured, role_of),
        ),
        (
            False,
            f"values beyond the range of float16, ±{_FLOAT16_MAX:,}",
            {t: f"{_largest(s):.4g}" for t, s in measured.items() if _largest(s) > _FLOAT16_MAX},
        ),
    )
    return tuple(Remark(sentence, targets, serious) for serious, sentence, targets in checks if targets)


def _find_role(target: str, layout: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
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
    return one.is_finite and one.zeros == one.count


def _count_not_finite(one: Statistics) -> str:
    counts = [f"{count:,} {kind}" for count, kind in ((one.nan, "NaN"), (one.infinite, "infinite")) if count]
    return f"{' and '.join(counts)} of {one.count:,}"


def _largest(one: Statistics) -> float:
    return 0.0 if one.minimum is None or one.maximum is None else max(abs(one.minimum), abs(one.maximum))


def _find_outliers(kernels: StatisticsByTarget, role_of: Mapping[str, str]) -> dict[str, str]:
    """Return kernels with an unusual spread for their kind; constant kernels have a remark of their own."""
    outliers = {}
    spreads = {target: one.std for target, one in kernels.items() if one.std and not one.is_constant}
    for kind in KERNELS:
        median = statistics.median([spread for target, spread in spreads.items() if role_of[target] == kind] or [0])
        for target, spread in spreads.items():
            if role_of[target] == kind and not median / _FAR <= spread <= median * _FAR:
                outliers[target] = f"{spread:.2g}, median {median:.2g}"
    return {target: outliers[target] for target in kernels if target in outliers}


def _find_untouched(measured: StatisticsByTarget, role_of: Mapping[str, str]) -> dict[str, str]:
    """Return the variances of batch norms that have never processed a batch."""
    untouched = {}
    for target, one in measured.items():
        mean = measured.get(f"{target.rpartition('.')[0]}.running_mean")
        if role_of[target] == "variance" and one.minimum == one.maximum == 1 and mean is not None and _is_zero(mean):
            untouched[target] = ""
    return untouched
