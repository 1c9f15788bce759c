"""Comparison of two checkpoints."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import tfckpt
from tfckpt.checks.comparison import compare


def save(folder: pathlib.Path, name: str, **arrays: object) -> tfckpt.Checkpoint:
    """Write a checkpoint with these tensors and open it."""
    return tfckpt.open(tfckpt.save(arrays, folder / name))


def test_equal_checkpoints_do_not_differ(tmp_path: pathlib.Path) -> None:
    """NaN equals NaN, and strings are compared as well."""
    arrays = {"f": np.float32([1, np.nan, np.inf]), "s": np.array([b"a", b""], object), "i": np.int64(7)}

    comparison = compare(save(tmp_path, "a", **arrays), save(tmp_path, "b", **arrays))

    assert comparison.ok
    assert comparison.equal == 3


def test_different_names_types_and_shapes_are_listed(tmp_path: pathlib.Path) -> None:
    """Values are compared only if type and shape are equal."""
    first = save(tmp_path, "a", gone=np.float32(1), shape=np.zeros(3, np.float32), dtype=np.int32(1), same=np.int8(1))
    second = save(tmp_path, "b", new=np.float32(1), shape=np.zeros(4, np.float32), dtype=np.int64(1), same=np.int8(1))

    comparison = compare(first, second)

    assert not comparison.ok
    assert (comparison.only_first, comparison.only_second, comparison.equal) == (("gone",), ("new",), 1)
    assert [(a.name, a.shape, b.shape) for a, b in comparison.changed] == [("dtype", (), ()), ("shape", (3,), (4,))]


def test_differences_are_measured_and_sorted(tmp_path: pathlib.Path) -> None:
    """The largest absolute difference comes first, with its index and the number of different elements."""
    first = save(tmp_path, "a", small=np.float32([1, 2]), large=np.float64([[0, 10], [20, 30]]))
    second = save(tmp_path, "b", small=np.float32([1, 2.5]), large=np.float64([[0, 8], [25, 30]]))

    large, small = compare(first, second).different

    assert (large.name, large.max_abs, large.max_rel, large.count, large.index) == ("large", 5.0, 0.25, 2, (1, 0))
    assert (small.name, small.max_abs, small.max_rel, small.count, small.index) == ("small", 0.5, 0.2, 1, (1,))


@pytest.mark.parametrize(
    ("rtol", "atol", "equal"), [(0, 0.2, False), (0, 0.25, True), (0.1, 0, False), (0.13, 0, True)]
)
def test_tolerances_are_those_of_numpy(tmp_path: pathlib.Path, rtol: float, atol: float, equal: bool) -> None:
    """|a - b| <= atol + rtol * |b|."""
    first, second = save(tmp_path, "a", x=np.float64([2.0])), save(tmp_path, "b", x=np.float64([2.25]))

    assert compare(first, second, rtol=rtol, atol=atol).ok is equal


def test_nan_on_one_side_is_a_difference_at_any_tolerance(tmp_path: pathlib.Path) -> None:
    """Its tensor is listed first, with a difference of NaN."""
    first = save(tmp_path, "a", x=np.float32([np.nan, 1]), y=np.float32([1e9]))
    second = save(tmp_path, "b", x=np.float32([0, 1]), y=np.float32([0]))

    x, y = compare(first, second, atol=10).different

    assert (x.name, x.count, x.index) == ("x", 1, (0,))
    assert np.isnan(x.max_abs)
    assert y.max_abs == 1e9


def test_large_integers_are_compared_exactly(tmp_path: pathlib.Path) -> None:
    """2**53 and 2**53 + 1 are different in int64 and equal in float64."""
    first, second = save(tmp_path, "a", x=np.int64([2**53])), save(tmp_path, "b", x=np.int64([2**53 + 1]))

    (difference,) = compare(first, second).different

    assert difference.max_abs == 1.0


def test_zero_and_minus_zero_are_equal(tmp_path: pathlib.Path) -> None:
    """The bytes differ, but not the values."""
    assert compare(save(tmp_path, "a", x=np.float32([0.0])), save(tmp_path, "b", x=np.float32([-0.0]))).ok


def test_negative_tolerance_is_refused(tmp_path: pathlib.Path) -> None:
    """So is NaN."""
    checkpoint = save(tmp_path, "a", x=np.float32(0))
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError):
            compare(checkpoint, checkpoint, rtol=bad)


def test_glob_that_matches_no_name_is_refused(tmp_path: pathlib.Path) -> None:
    """Otherwise a typo would look like equal checkpoints; a name in only one of them is a difference."""
    first, second = save(tmp_path, "a", w=np.ones(2)), save(tmp_path, "b", w=np.ones(2), b=np.ones(2))

    with pytest.raises(ValueError, match="bais"):
        compare(first, second, include=["bais"])
    assert compare(first, second, include=["b"]).only_second == ("b",)


def test_variants_are_compared_as_bytes(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Equal ones do not stop the comparison, and different ones are a difference without a size."""
    source = data / "tensorflow" / "variant" / "ckpt"
    for name in ("list", "unset"):
        tfckpt.copy(source, tmp_path / name, include=[f"variant/{name}"], rename=[(f"variant/{name}", "v")])

    with tfckpt.open(source) as first, tfckpt.open(source) as second:
        assert compare(first, second).ok
    with tfckpt.open(tmp_path / "list") as first, tfckpt.open(tmp_path / "unset") as second:
        (difference,) = compare(first, second).different

    assert (difference.name, difference.count, difference.size, difference.index) == ("v", 1, 1, ())
    assert np.isnan(difference.max_abs)
