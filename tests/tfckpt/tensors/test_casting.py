"""Conversion of floating-point tensors to another type."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tfckpt.tensors.casting import FLOATS, cast_floats

DTYPES = [np.dtype(getattr(ml_dtypes, name, name)) for name in FLOATS]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_numbers_zeros_infinities_and_nan_are_kept(source: np.dtype[np.float64], dtype: object) -> None:
    """This holds for any two of the types, and there is no warning."""
    array = np.array([1.5, -2.0, -0.0, np.inf, -np.inf, np.nan]).astype(source)

    cast = cast_floats(array, np.dtype(dtype), name="w")  # type: ignore[call-overload]  # a parameter of any dtype

    assert cast.dtype == dtype
    np.testing.assert_array_equal(cast.astype(np.float64), [1.5, -2.0, -0.0, np.inf, -np.inf, np.nan])


def test_array_of_the_type_is_not_copied() -> None:
    """The same array is returned."""
    array = np.ones(3, np.float32)

    assert cast_floats(array, np.dtype(np.float32), name="w") is array


@pytest.mark.parametrize("others", [[], [np.inf], [np.nan]], ids=["alone", "with infinity", "with NaN"])
@pytest.mark.parametrize(
    ("dtype", "largest", "too_large"),
    [(np.float16, 65504, 65520), (ml_dtypes.bfloat16, 3.38e38, 3.4e38), (np.float32, 3.4e38, 3.5e38)],
    ids=["float16", "bfloat16", "float32"],
)
def test_finite_number_that_would_become_infinite_is_refused(
    dtype: type, largest: float, too_large: float, others: list[float]
) -> None:
    """The largest number of the type is accepted."""
    assert np.isfinite(cast_floats(np.array([largest]), np.dtype(dtype), name="w")).all()

    with pytest.raises(ValueError, match="'w'"):
        cast_floats(np.array([*others, too_large]), np.dtype(dtype), name="w")


def test_numbers_too_small_for_the_type_become_zero() -> None:
    """A number that is subnormal in the new type is not zero."""
    cast = cast_floats(np.array([1e-8, 6e-8, 1e-4], np.float32), np.dtype(np.float16), name="w")

    assert cast[0] == 0
    assert 0 < cast[1] < np.finfo(np.float16).smallest_normal


def test_signaling_nan_stays_nan_without_a_warning() -> None:
    """A file may contain its bits."""
    array = np.array([0x7F800001], np.uint32).view(np.float32)

    assert np.isnan(cast_floats(array, np.dtype(ml_dtypes.bfloat16), name="w")).all()
