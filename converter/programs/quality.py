"""What a program of less precision changed: reported, since rounding of int8 and float16 cannot be proved right."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import numpy as np

from .._typing import Array
from ..verification.comparison import measure, predict_classes

Precision: TypeAlias = Literal["int8", "float16"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The first output of a program of less precision, compared with the module's in float32 on the same images.

    `difference` is the largest distance, relative to the largest value, and `cosine` that of the angle between all
    values. `changed` counts images whose largest output is another, None if the output is not (N, classes).
    `broken` counts images for which only the program computes infinite values or NaN.
    The accuracies are None without labels, and `images` are then random numbers or images without labels.
    """

    precision: Precision
    images: int
    judges: str
    difference: float
    cosine: float
    changed: int | None
    broken: int = 0
    accuracy_before: float | None = None
    accuracy_after: float | None = None

    @property
    def drop(self) -> float:
        """The loss of accuracy; 0 if it was not measured."""
        if self.accuracy_before is None or self.accuracy_after is None:
            return 0.0
        return self.accuracy_before - self.accuracy_after

    def lines(self) -> list[str]:
        """Return the losses in a few lines."""
        changed = "" if self.changed is None else f", {self.changed} of {self.images} predictions changed"
        lines = [
            f"{self.precision:9} {self.judges}: within {self.difference:.1e} of the largest value,",
            f"          cosine {self.cosine:.5f}{changed}",
        ]
        if self.accuracy_before is not None and self.accuracy_after is not None:
            lines.append(f"accuracy  {self.accuracy_before:.2%} before, {self.accuracy_after:.2%} after")
        else:
            lines.append("accuracy  not measured: no labelled images were given")
        return lines


def measure_losses(precision: Precision, before: Array, after: Array, labels: Array | None, *, judges: str) -> Losses:
    """Compare outputs of a module before and after it lost precision, one row for each image."""
    _, difference, cosine = measure(after, before)
    is_classes = before.ndim == 2 and before.dtype.kind == "f"
    is_measured = labels is not None and is_classes
    return Losses(
        precision=precision,
        images=len(before),
        judges=judges,
        difference=difference,
        cosine=cosine,
        changed=int((predict_classes(after) != predict_classes(before)).sum()) if is_classes else None,
        broken=_count_broken(before, after),
        accuracy_before=float((predict_classes(before) == labels).mean()) if is_measured else None,
        accuracy_after=float((predict_classes(after) == labels).mean()) if is_measured else None,
    )


def _count_broken(before: Array, after: Array) -> int:
    """Return the number of images with values that were finite before, and are not any more."""
    is_broken = np.isfinite(before) & ~np.isfinite(after)
    return int(is_broken.reshape(len(before), -1).any(axis=1).sum())
