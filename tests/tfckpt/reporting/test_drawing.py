"""The frame of plots: the positions of values, and the labelled values."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from tfckpt.reporting.drawing import Frame, make_log_frame, make_value_frame
from tfckpt.reporting.scatter import Point, render_scatter


def find_labels(frame: Frame) -> list[tuple[float, float]]:
    """Return the labelled values with their heights."""
    matches = re.findall(r'class="tick" style="top:([\d.]+)px">([^<]+)<', frame.render("a plot", []))
    return [(float(value), float(y)) for y, value in matches]


@pytest.mark.parametrize(("low", "high"), [(-17, 0), (-1.1, 0.4), (2.9, 3.1), (-290.1, 290.1)])
def test_log_frame_labels_values_of_its_scale_that_do_not_overlap(low: float, high: float) -> None:
    """A scale may have hundreds of powers of ten or less than one."""
    frame = make_log_frame(10, low, high)

    heights = sorted(y for _, y in find_labels(frame))
    assert heights
    assert all(low <= math.log10(value) <= high for value, _ in find_labels(frame))
    assert all(lower - upper >= 12.9 for upper, lower in itertools.pairwise(heights))
    assert all(y == pytest.approx(frame.y(value), abs=0.06) for value, y in find_labels(frame))


def test_log_frame_draws_zero_at_the_bottom_and_infinity_at_the_top() -> None:
    """Values beyond the scale are drawn at its ends, and NaN at the top."""
    frame = make_log_frame(10, -3, 0)

    assert [frame.y(value) for value in (0.0, 1e-9, 1e-3)] == [frame.bottom] * 3
    assert [frame.y(value) for value in (1.0, 1e9, math.inf, math.nan)] == [frame.top] * 4


def test_columns_share_the_width() -> None:
    """The centers of the first and the last column are half a column from the ends."""
    frame = make_log_frame(4, -3, 0)

    assert frame.x(1) - frame.x(0) == pytest.approx(frame.pitch)
    assert frame.x(0) - frame.pitch / 2 == 0
    assert frame.x(3) + frame.pitch / 2 == pytest.approx(1000)


def test_places_have_names_where_there_is_room() -> None:
    """Each begins at an edge; a name that would not fit on a narrow screen is left out."""
    frame = make_log_frame(100, -3, 0)

    page = frame.render("a plot", [], places=["stem"] * 50 + ["a long name"] + ["<tail>"] * 49)

    assert re.findall(r'class="place"[^>]*>([^<]*)<', page) == ["stem", "&lt;tail&gt;"]
    assert page.count('class="edge"') == 2


def test_a_scale_with_an_outlier_is_linear_up_to_the_usual_values() -> None:
    """So that the others are not flattened; without one it is linear."""
    frame, words = make_value_frame(10, -1000, 1000, 0.5)

    assert words
    assert frame.y(0.5) < frame.bottom - (frame.bottom - frame.top) * 0.53
    linear, words = make_value_frame(10, -1, 2, 0.5)
    assert (words, linear.y(2), linear.y(-1)) == ("", linear.top, linear.bottom)


def test_points_of_a_scatter_are_where_their_values_are() -> None:
    """Larger x is further right, larger y higher, and the area follows the third quantity."""
    points = [Point(1.0, 50.0, "a", "this", "a", area=100), Point(100.0, 90.0, "<b>", "other", "b", area=400)]

    page = render_scatter("a plot", points)

    (x, y), (other_x, other_y) = re.findall(r'class="dot [^"]*"[^>]*d="M([\d.]+),([\d.]+)h0"', page)
    assert float(x) < float(other_x)
    assert float(y) > float(other_y)
    small, large = map(float, re.findall(r'stroke-width="([\d.]+)"', page))
    assert large == pytest.approx(2 * small)
    assert "&lt;b&gt;" in page


def test_a_scatter_of_equal_points_has_a_scale() -> None:
    """One point, or several at one place."""
    for points in ([Point(3.0, 7.0, "a", "this", "")], [Point(3.0, 7.0, "a", "this", "")] * 2):
        assert 'class="tick"' in render_scatter("a plot", points)
