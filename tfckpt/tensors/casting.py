"""Floating-point tensors rounded to another floating-point type."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..errors import printable

#: Names of the types that floating-point tensors can be converted from and to.
FLOATS = ("float16", "bfloat16", "float32", "float64")


def cast_floats(array: Array, dtype: np.dtype[Any], *, name: str) -> Array:
    """Return the numbers of the tensor `name` rounded to `dtype`; the array itself if that is its type.

    Numbers too small for the type become zero.
    Raises `ValueError` if a finite number would become infinite; infinities and NaN stay what they are.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is "invalid"
        cast: Array = array.astype(dtype)
    is_finite = np.isfinite(cast)
    if not is_finite.all():
        lost = np.isfinite(array) & ~is_finite
        if lost.any():
            value = array[lost].flat[0]
            raise ValueError(f"{printable(name)!r} holds {value}, which is beyond the range of {dtype.name}")
    return cast
