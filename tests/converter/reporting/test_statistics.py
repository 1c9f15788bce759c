"""Statistics of tensors, which are equal to those of NumPy, and remarks on unusual tensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from converter.mapping.layout import get_layout
from converter.mapping.report import TensorRecord
from converter.reporting.statistics import Remark, find_remarks, find_roles
from tfckpt.reporting.statistics import Statistics, compute_statistics

NAN, INF = float("nan"), float("inf")


def describe(values: Any, layout: str = "identity", dtype: Any = np.float32) -> Statistics:
    """Return the statistics of values that are not empty."""
    statistics = compute_statistics(np.array(values, dtype), channels_first=layout != "identity")
    assert statistics is not None
    return statistics


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "int8", ">f4"])
@pytest.mark.parametrize("layout", ["identity", "conv2d", "depthwise"])
def test_statistics_are_equal_to_those_of_numpy(dtype: str, layout: str) -> None:
    """The statistics agree for each dtype, for the strides of each layout, and for more than one chunk."""
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    stored = (np.random.default_rng(0).standard_normal((3, 3, 190, 200)) * 50 + 3).astype(kind)
    array = get_layout(layout).apply(stored)
    plain = stored.astype(np.float64)

    found = compute_statistics(array, channels_first=layout != "identity")

    assert found is not None
    assert found.count == plain.size > 1 << 18
    assert (found.minimum, found.maximum) == (plain.min(), plain.max())
    assert found.mean == pytest.approx(plain.mean(), rel=1e-9)
    assert found.std == pytest.approx(plain.std(), rel=1e-9)
    assert (found.p5, found.median, found.p95) == pytest.approx(np.percentile(plain, (5, 50, 95)), rel=1e-9)
    assert (found.zeros, found.negative) == (np.count_nonzero(plain == 0), np.count_nonzero(plain < 0))
    assert found.channels == {"identity": 0, "conv2d": 200, "depthwise": 190 * 200}[layout]


def test_statistics_count_values_that_are_not_finite_separately() -> None:
    """The finite values have a mean."""
    found = describe([1, NAN, 3, INF, -INF, 0])

    assert (found.nan, found.infinite, found.zeros, found.count) == (1, 2, 1, 6)
    assert (found.mean, found.minimum, found.maximum) == (pytest.approx(4 / 3), 0, 3)
    assert not found.is_finite
    assert describe([1, 3]).is_finite


def test_statistics_without_finite_values_have_only_counts() -> None:
    """There is no mean and no warning."""
    found = describe([NAN, INF])

    assert (found.mean, found.std, found.minimum, found.median) == (None, None, None, None)
    assert found.to_dict()["nan"] == 1


def test_complex_and_empty_arrays_have_no_statistics() -> None:
    """Even a single real number has statistics."""
    assert compute_statistics(np.array([1j])) is None
    assert compute_statistics(np.zeros((0, 3))) is None
    assert describe(7.0).mean == 7


def test_sums_beyond_float64_are_omitted_without_a_warning() -> None:
    """Minimum and maximum are still known."""
    found = describe([1.7e308, -1.7e308], dtype=np.float64)

    assert (found.minimum, found.maximum, found.std) == (-1.7e308, 1.7e308, None)


def test_dead_channels_are_counted_along_the_output() -> None:
    """Two of three output channels of a kernel are zero; input channels and other tensors do not count."""
    kernel = np.zeros((1, 1, 4, 3), np.float32)
    kernel[0, 0, 1, 2] = 1

    found = compute_statistics(get_layout("conv2d").apply(kernel), channels_first=True)

    assert found is not None
    assert (found.dead, found.channels) == (2, 3)
    assert describe(np.zeros((2, 2))).dead == 0


def test_json_has_seven_digits() -> None:
    """Further digits depend on the order in which a processor adds."""
    assert describe([0.1, 0.2]).to_dict()["mean"] == 0.15


def test_layout_shape_and_last_part_determine_the_role() -> None:
    """A bias next to a kernel is a bias, and next to the weight of a norm it is a shift."""
    named = {
        "a.weight": ("conv2d", (8, 3, 3, 3)),
        "a.bias": ("identity", (8,)),
        "n.weight": ("identity", (8,)),
        "n.bias": ("identity", (8,)),
        "n.running_mean": ("identity", (8,)),
        "n.running_var": ("identity", (8,)),
        "d.weight": ("depthwise", (8, 1, 3, 3)),
        "f.weight": ("dense", (8, 8)),
        "e.weight": ("identity", (30, 8)),
        "scale": ("identity", (1,)),
    }
    records = [
        TensorRecord(name, name, layout, shape, shape, "float32", None) for name, (layout, shape) in named.items()
    ]

    assert list(find_roles(records).values()) == [
        *("convolution", "bias", "scale", "shift", "mean", "variance", "depthwise", "dense", "matrix", "other")
    ]


def make_remarks(**tensors: tuple[str, Any]) -> list[Remark]:
    """Return the remarks on tensors with these roles and values; two underscores in a name stand for a dot."""
    statistics = {name.replace("__", "."): describe(values, "dense") for name, (_, values) in tensors.items()}
    return list(find_remarks(statistics, {name.replace("__", "."): role for name, (role, _) in tensors.items()}))


@pytest.mark.parametrize(
    ("role", "values", "numbers", "serious"),
    [
        ("bias", [1, NAN, INF], "1 NaN and 1 infinite of 3", True),
        ("variance", [1, -1e-9], "1 of 2", True),
        ("dense", [[0, 0]], "", True),
        ("scale", [0, 0], "", True),
        ("dense", [[0, 0], [1, 2]], "1 of 2", False),
        ("dense", [[2, 2]], "2", False),
        ("variance", [1, 70_000], "7e+04", False),
    ],
    ids=[
        *("not finite", "negative variance", "dead kernel", "dead scale", "dead channel", "constant kernel"),
        "beyond float16",
    ],
)
def test_unusual_tensor_has_a_remark(role: str, values: Any, numbers: str, serious: bool) -> None:
    """Each problem alone gives one remark with the tensor and its numbers."""
    (remark,) = make_remarks(x=(role, values))

    assert (remark.targets, remark.serious) == ({"x": numbers}, serious)


@pytest.mark.parametrize(
    ("role", "values"),
    [("bias", [0, 0]), ("mean", [-1, 1]), ("variance", [0, 1]), ("scale", [-1, 1]), ("dense", [[1], [-1]])],
)
def test_usual_tensor_has_no_remark(role: str, values: Any) -> None:
    """Trained networks can have zero biases, negative means and zero variances."""
    assert make_remarks(x=(role, values)) == []


def test_outlier_among_the_kernels_has_a_remark() -> None:
    """A spread of 1000 times the median of its kind is an outlier, 50 times is not, and other kinds do not count."""
    usual = np.array([[1.0, -1.0]])
    kernels = {f"k{number}": ("convolution", usual) for number in range(5)}

    (remark,) = make_remarks(
        **kernels, big=("convolution", 1000 * usual), half=("convolution", 50 * usual), other=("dense", 1000 * usual)
    )

    assert list(remark.targets) == ["big"]
    assert not remark.serious


def test_norms_that_never_processed_a_batch_have_a_remark() -> None:
    """All means are 0 and all variances 1; one of the two alone can be chance."""
    (remark,) = make_remarks(
        new__running_mean=("mean", [0, 0]),
        new__running_var=("variance", [1, 1]),
        old__running_mean=("mean", [0, 0.1]),
        old__running_var=("variance", [1, 1]),
    )

    assert list(remark.targets) == ["new.running_var"]
    assert not remark.serious
