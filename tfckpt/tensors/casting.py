"""Conversion of floating-point tensors to another floating-point type."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..errors import printable

#: Names of the supported types.
FLOATS = ("float16", "bfloat16", "float32", "float64")


def cast_floats(array: Array, dtype: np.dtype[Any], *, name: str) -> Array:
    """Round the array to `dtype`, or return it unchanged if it already has this type.

    Numbers that are too small become zero; infinities and NaN are kept.
    Raises `ValueError` if a finite number would become infinite; its message contains `name`, the tensor's name.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):  # NumPy calls a signaling NaN "invalid"
        cast: Array = array.astype(dtype)
    is_finite = np.isfinite(cast)
    if not is_finite.all():
        is_overflow = np.isfinite(array) & ~is_finite
        if is_overflow.any():
            value = array[is_overflow].flat[0]
            raise ValueError(f"{printable(name)!r} holds {value}, which is beyond the range of {dtype.name}")
    return cast
