"""Parts of all comparisons: measures of differences, and a report that lists findings."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable

import numpy as np

from .._typing import Array
from ..errors import VerificationError


class ComparisonReport(abc.ABC):
    """The result of a comparison."""

    __slots__ = ()

    @abc.abstractmethod
    def summary(self) -> str:
        """Return the result in a few lines."""

    @abc.abstractmethod
    def findings(self) -> list[str]:
        """Return every difference, one a line; an empty list if everything agrees."""

    @abc.abstractmethod
    def headline(self) -> str:
        """Return the line that introduces the findings."""

    @property
    def ok(self) -> bool:
        """True if everything that was compared agrees."""
        return not self.findings()

    def message(self) -> str:
        """Return the headline and the findings below it, as an error shows them."""
        return "\n  ".join([self.headline(), *self.findings()])

    def require(self) -> None:
        """Raise `VerificationError` with every finding, if there is one."""
        if not self.ok:
            raise VerificationError(self.message(), report=self)


def measure(values: Array, reference: Array) -> tuple[float, float, float]:
    """Return max|Δ|, max|Δ| / max|reference| and the cosine of the angle between two arrays.

    All three are infinite if the shapes differ; the first two are NaN if a value is NaN.
    """
    if values.shape != reference.shape:
        return math.inf, math.inf, math.inf
    if not values.size:
        return 0.0, 0.0, 1.0
    ours, theirs = values.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    with np.errstate(invalid="ignore", over="ignore"):  # NaN is a valid result here
        max_abs = float(np.abs(ours - theirs).max())
        largest = float(np.abs(theirs).max())
        max_rel = 0.0 if max_abs == 0.0 else max_abs / largest if largest != 0.0 else math.inf
        lengths = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
        cosine = float(ours @ theirs) / lengths if lengths > 0 else float(max_abs == 0.0)
    return max_abs, max_rel, cosine


def predict_classes(outputs: Array) -> Array:
    """Return the class of the largest value of each row (N, classes), or -1 if one is NaN: that predicts nothing."""
    classes: Array = np.where(np.isnan(outputs).any(axis=1), -1, outputs.argmax(axis=1))
    return classes


def largest_of(values: Iterable[float]) -> float:
    """Return the largest value, where NaN is larger than any other."""
    return max(values, key=lambda value: math.inf if math.isnan(value) else value)


def finite_or_none(value: float) -> float | None:
    """Return the value, or None if it is infinite or NaN, which JSON does not support."""
    return value if math.isfinite(value) else None
