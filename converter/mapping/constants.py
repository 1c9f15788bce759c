"""The arrays of constants."""

from __future__ import annotations

import numpy as np

from .._typing import Array
from ..errors import Shape


def fill(shape: Shape, value: float | tuple[float, ...], dtype: str) -> Array:
    """Return an array filled with a value, or with several, one for each equal part of the first axis."""
    if not isinstance(value, tuple):
        return np.full(shape, value, dtype)
    parts = np.array(value, dtype).repeat(shape[0] // len(value))
    filled: Array = np.broadcast_to(parts.reshape(-1, *(1,) * (len(shape) - 1)), shape).copy()
    return filled


def format_value(value: float | tuple[float, ...]) -> str:
    """Return a constant for people."""
    return f"{value:g}" if not isinstance(value, tuple) else f"[{', '.join(f'{part:g}' for part in value)}]"
