"""The comparison of outputs, in units of float32 noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converter.programs.check import Case, compare_outputs
from converter.programs.report import Comparison
from converter.programs.subject import Argument, Subject

SUBJECT = Subject(
    kind="module",
    title="test",
    module=nn.Identity(),
    make_exact=nn.Identity,
    arguments=(Argument(name="x", dtype=torch.float32, shape=(None,)),),
    outputs=("y",),
)
NAN, INF = float("nan"), float("inf")


def compare(values: object, single: object, exact: object, dtype: type = np.float32) -> Comparison:
    """Compare the values of one output."""
    single_array, exact_array = np.array(single, dtype), np.array(exact, np.float64 if dtype is np.float32 else dtype)
    case = Case({"x": np.zeros(1, np.float32)}, [single_array], [exact_array])
    (comparison,) = compare_outputs(SUBJECT, case, [np.array(values, dtype)])
    return comparison


@pytest.mark.parametrize(
    ("values", "single", "exact", "agrees"),
    [
        ([1.0, 2.0], [1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.000003], [1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.000006], [1.0, 2.0], [1.0, 2.0], False),
        ([1.0, 2.007], [1.0, 2.001], [1.0, 2.0], True),
        ([1.0, 2.009], [1.0, 2.001], [1.0, 2.0], False),
        ([1.0], [1.0, 2.0], [1.0, 2.0], False),
        ([1.0, NAN], [1.0, NAN], [1.0, NAN], True),
        ([1.0, NAN], [1.0, 2.0], [1.0, 2.0], False),
        ([NAN, NAN], [1.0, NAN], [1.0, NAN], False),
        ([1.0, INF], [1.0, INF], [1.0, INF], True),
        ([1.0, -INF], [1.0, INF], [1.0, INF], False),
        ([1.0, INF], [1.0, INF], [1.0, 1e39], True),
        ([1.1, INF], [1.0, INF], [1.0, 1e39], False),
        ([0.0], [0.0], [0.0], True),
        ([1e-30], [0.0], [0.0], False),
        ([], [], [], True),
    ],
)
def test_floats_agree_within_eight_units_of_noise(values: object, single: object, exact: object, agrees: bool) -> None:
    """The noise is the distance of float32 from float64, and at least a little of the largest value."""
    assert (compare(values, single, exact).problem is None) == agrees


@pytest.mark.parametrize(
    ("values", "single", "exact", "agrees"),
    [
        ([1, 2, 3], [1, 2, 3], [1, 2, 3], True),
        ([1, 2, 4], [1, 2, 3], [1, 2, 3], False),
        ([1, 2, 4], [1, 2, 4], [1, 2, 3], True),
    ],
)
def test_whole_numbers_are_equal_unless_float32_and_float64_decide_differently(
    values: object, single: object, exact: object, agrees: bool
) -> None:
    """Such as the numbers of classes whose logits are equal."""
    assert (compare(values, single, exact, np.int64).problem is None) == agrees
