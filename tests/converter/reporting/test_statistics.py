"""The numbers of tensors: equal to NumPy's, exact about what is wrong, and never more than one tensor in memory."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from converter.mapping.layout import LAYOUTS
from converter.mapping.report import TensorRecord
from converter.reporting.statistics import Remark, Statistics, remarks, roles, statistics_of

NAN, INF = float("nan"), float("inf")


def described(values: Any, layout: str = "identity", dtype: Any = np.float32) -> Statistics:
    """The statistics of some values, of which there are some."""
    found = statistics_of(np.array(values, dtype), layout)
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "int8", ">f4"])
@pytest.mark.parametrize("layout", ["identity", "conv2d", "depthwise"])
def test_statistics_are_numpys(dtype: str, layout: str) -> None:
    """For every kind of number, in whatever strides the layout left it, over more than one piece."""
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    stored = (np.random.default_rng(0).standard_normal((3, 3, 190, 200)) * 50 + 3).astype(kind)
    array = LAYOUTS[layout].apply(stored)
    plain = stored.astype(np.float64)

    found = statistics_of(array, layout)

    assert found is not None
    assert found.count == plain.size > 1 << 18
    assert (found.minimum, found.maximum) == (plain.min(), plain.max())
    assert found.mean == pytest.approx(plain.mean(), rel=1e-9)
    assert found.std == pytest.approx(plain.std(), rel=1e-9)
    assert (found.p5, found.median, found.p95) == pytest.approx(np.percentile(plain, (5, 50, 95)), rel=1e-9)
    assert (found.zeros, found.negative) == (np.count_nonzero(plain == 0), np.count_nonzero(plain < 0))
    assert found.channels == {"identity": 0, "conv2d": 200, "depthwise": 190 * 200}[layout]


def test_statistics_leave_out_what_is_not_finite_and_count_it() -> None:
    """The rest still has a mean."""
    found = described([1, NAN, 3, INF, -INF, 0])

    assert (found.nan, found.infinite, found.zeros, found.count) == (1, 2, 1, 6)
    assert (found.mean, found.minimum, found.maximum) == (pytest.approx(4 / 3), 0, 3)
    assert not found.finite
    assert described([1, 3]).finite


def test_statistics_of_nothing_finite_have_counts_only() -> None:
    """No mean, and no warning."""
    found = described([NAN, INF])

    assert (found.mean, found.std, found.minimum, found.median) == (None, None, None, None)
    assert found.to_dict()["nan"] == 1


def test_what_has_no_order_or_no_numbers_has_no_statistics() -> None:
    """Complex numbers, and arrays of none; a single number has some."""
    assert statistics_of(np.array([1j])) is None
    assert statistics_of(np.zeros((0, 3))) is None
    assert described(7.0).mean == 7


def test_sums_beyond_float64_are_left_out_without_a_warning() -> None:
    """The extremes are still known."""
    found = described([1.7e308, -1.7e308], dtype=np.float64)

    assert (found.minimum, found.maximum, found.std) == (-1.7e308, 1.7e308, None)


def test_dead_channels_are_counted_along_the_output() -> None:
    """Two of three output channels of a kernel are zero; input channels do not count, nor do other tensors."""
    kernel = np.zeros((1, 1, 4, 3), np.float32)
    kernel[0, 0, 1, 2] = 1

    found = statistics_of(LAYOUTS["conv2d"].apply(kernel), "conv2d")

    assert found is not None
    assert (found.dead, found.channels) == (2, 3)
    assert described(np.zeros((2, 2))).dead == 0


def test_numbers_in_json_have_seven_digits() -> None:
    """What depends on the order in which a processor adds is not shown."""
    assert described([0.1, 0.2]).to_dict()["mean"] == 0.15


def test_roles_are_told_by_layout_shape_and_last_part() -> None:
    """A bias beside a kernel is one, beside a norm's weight a shift."""
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

    assert list(roles(records).values()) == [
        *("convolution", "bias", "scale", "shift", "mean", "variance", "depthwise", "dense", "matrix", "other")
    ]


def remarks_on(**tensors: tuple[str, Any]) -> list[Remark]:
    """What is said about tensors given by their roles and values; dots in names are underscores here."""
    found = {name.replace("__", "."): described(values, "dense") for name, (_, values) in tensors.items()}
    return list(remarks(found, {name.replace("__", "."): role for name, (role, _) in tensors.items()}))


@pytest.mark.parametrize(
    ("role", "values", "sentence", "said", "serious"),
    [
        ("bias", [1, NAN, INF], "values that are not finite", "1 NaN and 1 infinite of 3", True),
        ("variance", [1, -1e-9], "negative variances, whose roots are no numbers", "1 of 2", True),
        ("dense", [[0, 0]], "dead layers, whose every value is zero", "", True),
        ("scale", [0, 0], "dead layers, whose every value is zero", "", True),
        ("dense", [[0, 0], [1, 2]], "output channels whose kernel is all zero", "1 of 2", False),
        ("dense", [[2, 2]], "every value of a kernel is the same", "2", False),
        ("variance", [1, 70_000], "values beyond the range of float16, ±65,504", "7e+04", False),
    ],
)
def test_what_to_look_at_is_said(role: str, values: Any, sentence: str, said: str, serious: bool) -> None:
    """Each trouble by itself, with the tensor and the numbers."""
    assert remarks_on(x=(role, values)) == [Remark(sentence, {"x": said}, serious)]


@pytest.mark.parametrize(
    ("role", "values"),
    [("bias", [0, 0]), ("mean", [-1, 1]), ("variance", [0, 1]), ("scale", [-1, 1]), ("dense", [[1], [-1]])],
)
def test_what_is_usual_is_not_remarked_on(role: str, values: Any) -> None:
    """Zero biases, negative means, a variance of zero: trained networks have them."""
    assert remarks_on(x=(role, values)) == []


def test_kernel_unlike_its_fellows_is_pointed_at() -> None:
    """A thousand times the usual spread of its kind; fifty times is left alone, and other kinds do not count."""
    usual = np.array([[1.0, -1.0]])
    kernels = {f"k{number}": ("convolution", usual) for number in range(5)}

    (remark,) = remarks_on(
        **kernels, big=("convolution", 1000 * usual), half=("convolution", 50 * usual), other=("dense", 1000 * usual)
    )

    assert remark == Remark("spread far from that of other kernels of its kind", {"big": "1e+03, where 1 is common"})


def test_norms_that_never_saw_a_batch_are_pointed_at() -> None:
    """Mean 0 and variance 1 throughout; either alone can be chance."""
    found = remarks_on(
        new__running_mean=("mean", [0, 0]),
        new__running_var=("variance", [1, 1]),
        old__running_mean=("mean", [0, 0.1]),
        old__running_var=("variance", [1, 1]),
    )

    assert found == [Remark("moving statistics as before training: means 0 and variances 1", {"new.running_var": ""})]
