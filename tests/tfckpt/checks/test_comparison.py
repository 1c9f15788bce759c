"""Two checkpoints side by side."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import tfckpt
from tfckpt.checks.comparison import compare


def saved(folder: pathlib.Path, name: str, **arrays: object) -> tfckpt.Checkpoint:
    """A small checkpoint with these tensors."""
    return tfckpt.open(tfckpt.save(arrays, folder / name))


def test_equal_checkpoints_do_not_differ(tmp_path: pathlib.Path) -> None:
    """NaN equals NaN, and strings are compared too."""
    arrays = {"f": np.float32([1, np.nan, np.inf]), "s": np.array([b"a", b""], object), "i": np.int64(7)}

    found = compare(saved(tmp_path, "a", **arrays), saved(tmp_path, "b", **arrays))

    assert found.ok
    assert found.equal == 3


def test_names_types_and_shapes_that_differ_are_listed(tmp_path: pathlib.Path) -> None:
    """Values are compared only where type and shape agree."""
    first = saved(tmp_path, "a", gone=np.float32(1), shape=np.zeros(3, np.float32), dtype=np.int32(1), same=np.int8(1))
    second = saved(tmp_path, "b", new=np.float32(1), shape=np.zeros(4, np.float32), dtype=np.int64(1), same=np.int8(1))

    found = compare(first, second)

    assert not found.ok
    assert (found.only_first, found.only_second, found.equal) == (("gone",), ("new",), 1)
    assert [(a.name, a.shape, b.shape) for a, b in found.changed] == [("dtype", (), ()), ("shape", (3,), (4,))]


def test_differences_are_measured_and_sorted(tmp_path: pathlib.Path) -> None:
    """Largest absolute difference first, with its place and the number of differing elements."""
    first = saved(tmp_path, "a", small=np.float32([1, 2]), large=np.float64([[0, 10], [20, 30]]))
    second = saved(tmp_path, "b", small=np.float32([1, 2.5]), large=np.float64([[0, 8], [25, 30]]))

    large, small = compare(first, second).different

    assert (large.name, large.max_abs, large.max_rel, large.count, large.index) == ("large", 5.0, 0.25, 2, (1, 0))
    assert (small.name, small.max_abs, small.max_rel, small.count, small.index) == ("small", 0.5, 0.2, 1, (1,))


@pytest.mark.parametrize(
    ("rtol", "atol", "equal"), [(0, 0.2, False), (0, 0.25, True), (0.1, 0, False), (0.13, 0, True)]
)
def test_tolerances_mean_what_numpy_means(tmp_path: pathlib.Path, rtol: float, atol: float, equal: bool) -> None:
    """|a - b| <= atol + rtol * |b|."""
    first, second = saved(tmp_path, "a", x=np.float64([2.0])), saved(tmp_path, "b", x=np.float64([2.25]))

    assert compare(first, second, rtol=rtol, atol=atol).ok is equal


def test_a_nan_on_one_side_differs_whatever_the_tolerance(tmp_path: pathlib.Path) -> None:
    """It stands before every number, and its size is not a number."""
    first = saved(tmp_path, "a", x=np.float32([np.nan, 1]), y=np.float32([1e9]))
    second = saved(tmp_path, "b", x=np.float32([0, 1]), y=np.float32([0]))

    x, y = compare(first, second, atol=10).different

    assert (x.name, x.count, x.index) == ("x", 1, (0,))
    assert np.isnan(x.max_abs)
    assert y.max_abs == 1e9


def test_large_integers_are_compared_exactly(tmp_path: pathlib.Path) -> None:
    """2**53 and 2**53 + 1 are the same float64 and different int64."""
    first, second = saved(tmp_path, "a", x=np.int64([2**53])), saved(tmp_path, "b", x=np.int64([2**53 + 1]))

    (difference,) = compare(first, second).different

    assert difference.max_abs == 1.0


def test_zero_and_minus_zero_are_equal(tmp_path: pathlib.Path) -> None:
    """Other bytes, the same number."""
    assert compare(saved(tmp_path, "a", x=np.float32([0.0])), saved(tmp_path, "b", x=np.float32([-0.0]))).ok


def test_negative_tolerance_is_misuse(tmp_path: pathlib.Path) -> None:
    """As is a tolerance that is not a number."""
    checkpoint = saved(tmp_path, "a", x=np.float32(0))
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="tolerances"):
            compare(checkpoint, checkpoint, rtol=bad)


def test_names_to_include_that_neither_has_are_misuse(tmp_path: pathlib.Path) -> None:
    """A mistyped glob must not pass as two checkpoints that do not differ; a name that only one has is a difference."""
    first, second = saved(tmp_path, "a", w=np.ones(2)), saved(tmp_path, "b", w=np.ones(2), b=np.ones(2))

    with pytest.raises(ValueError, match="no tensor matches 'bais'"):
        compare(first, second, include=["bais"])
    assert compare(first, second, include=["b"]).only_second == ("b",)
