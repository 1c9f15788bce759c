"""A few numbers that describe a tensor, computed piece by piece so that a large one needs no second copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._typing import Array

_PIECE = 1 << 20


def statistics(array: Array) -> dict[str, float]:
    """Elements, min, max, mean, std, zeros and non-finite; min to std leave out what is not finite.

    Complex numbers are taken by their absolute value, strings by their length in bytes.
    Means and deviations are computed in float64.
    """
    flat = array.reshape(-1)
    elements, zeros, finite = flat.size, 0, 0
    low, high, total = np.inf, -np.inf, 0.0
    for piece in _pieces(flat):
        zeros += int(np.count_nonzero(piece == 0))
        values = piece[np.isfinite(piece)]
        if values.size:
            finite += values.size
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            total += float(values.sum())
    found: dict[str, float] = {"elements": elements}
    if finite:
        mean = total / finite
        squares = sum(float(np.square(piece[np.isfinite(piece)] - mean).sum()) for piece in _pieces(flat))
        found |= {"min": low, "max": high, "mean": mean, "std": float(np.sqrt(squares / finite))}
    return found | {"zeros": zeros, "non-finite": elements - finite}


def _pieces(flat: Array) -> Iterator[Array]:
    for start in range(0, flat.size, _PIECE):
        yield _as_float(flat[start : start + _PIECE])


def _as_float(piece: Array) -> Array:
    if piece.dtype == object:
        return np.array([len(value) for value in piece], np.float64)
    if piece.dtype.kind == "c":
        return np.abs(piece).astype(np.float64)
    return piece.astype(np.float64)
