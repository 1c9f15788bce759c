"""The frame of plots: where values are drawn, and which are labelled."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from converter.reporting.drawing import Frame, log_frame


def labels(frame: Frame) -> list[tuple[float, float]]:
    """The labelled values with their heights."""
    found = re.findall(r'y="([\d.]+)" text-anchor="end">([^<]+)<', frame.svg("a plot", []))
    return [(float(value), float(y) - 4) for y, value in found]


@pytest.mark.parametrize(("low", "high"), [(-17, 0), (-1.1, 0.4), (2.9, 3.1), (-290.1, 290.1)])
def test_log_frame_labels_values_within_it_that_are_far_enough_apart(low: float, high: float) -> None:
    """Over hundreds of powers of ten as over a part of one."""
    frame = log_frame(10, low, high)

    heights = sorted(y for _, y in labels(frame))
    assert heights
    assert all(low <= math.log10(value) <= high for value, _ in labels(frame))
    assert all(other - one >= 12.9 for one, other in itertools.pairwise(heights))
    assert all(y == pytest.approx(frame.y(value), abs=0.06) for value, y in labels(frame))


def test_log_frame_draws_zero_at_the_bottom_and_what_is_not_finite_at_the_top() -> None:
    """Values beyond the scale are at its ends."""
    frame = log_frame(10, -3, 0)

    assert [frame.y(value) for value in (0.0, 1e-9, 1e-3)] == [frame.bottom] * 3
    assert [frame.y(value) for value in (1.0, 1e9, math.inf, math.nan)] == [frame.top] * 4


def test_columns_share_the_width() -> None:
    """The first and the last are half a column from the ends."""
    frame = log_frame(4, -3, 0)

    assert frame.x(1) - frame.x(0) == pytest.approx(frame.pitch)
    assert frame.x(0) - frame.pitch / 2 == 56
    assert frame.x(3) + frame.pitch / 2 == pytest.approx(1034)
