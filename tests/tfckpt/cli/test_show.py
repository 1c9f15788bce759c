"""`tfckpt show` prints values, parts of them and statistics."""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
import pytest

import tfckpt
from tfckpt.cli import main
from tfckpt.cli.show import parse_index, statistics

KERNEL = "efficientnetv2-digits/stem/conv2d/kernel"


def test_show_slice_equals_the_slice_of_the_array(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--slice means what NumPy means."""
    assert main(["show", str(digits), KERNEL, "--slice", "0,:2,...,-1", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)["values"]
    with tfckpt.open(digits) as checkpoint:
        np.testing.assert_array_equal(np.float32(shown), checkpoint[KERNEL][0, :2, ..., -1])


def test_show_stats_agree_with_numpy(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Computed piece by piece, the numbers are those of the whole."""
    assert main(["show", str(digits), KERNEL, "--stats", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)["statistics"]
    with tfckpt.open(digits) as checkpoint:
        values = checkpoint[KERNEL].astype(np.float64)
    expected = {"elements": 216, "min": values.min(), "max": values.max(), "mean": values.mean(), "std": values.std()}
    assert shown == pytest.approx(expected | {"zeros": 0, "non-finite": 0}, rel=1e-12)


def test_statistics_leave_out_what_is_not_finite() -> None:
    """NaN and infinities are counted and do not spoil the rest."""
    found = statistics(np.array([0.0, 1.0, -3.0, np.nan, np.inf]))

    assert found == pytest.approx(
        {"elements": 5, "min": -3.0, "max": 1.0, "mean": -2 / 3, "std": np.std([0, 1, -3]), "zeros": 1, "non-finite": 2}
    )


def test_statistics_of_nothing_have_no_extremes() -> None:
    """An empty tensor has counts only."""
    assert statistics(np.empty((0, 3), np.float32)) == {"elements": 0, "zeros": 0, "non-finite": 0}


def test_show_of_an_unknown_name_offers_close_ones(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is that of things not found."""
    assert main(["show", str(digits), "stem/conv2d/kernel"]) == 3

    assert KERNEL in capsys.readouterr().err


def test_show_slice_beyond_the_shape_is_wrong_usage(digits: pathlib.Path) -> None:
    """The last row that exists can be shown, the one after it cannot."""
    assert main(["show", str(digits), KERNEL, "--slice", "3"]) == 2
    assert main(["show", str(digits), KERNEL, "--slice", "2"]) == 0


@pytest.mark.parametrize(
    ("text", "index"),
    [
        pytest.param("3", (3,), id="integer"),
        pytest.param("-1,0", (-1, 0), id="two integers"),
        pytest.param("0:4", (slice(0, 4),), id="slice"),
        pytest.param("[::-2, ...]", (slice(None, None, -2), ...), id="step, ellipsis and brackets"),
        pytest.param(":", (slice(None),), id="everything"),
    ],
)
def test_index_is_read_as_numpy_writes_it(text: str, index: tuple[object, ...]) -> None:
    """Integers, slices and one ellipsis."""
    assert parse_index(text) == index


@pytest.mark.parametrize("text", ["", "a", "1.5", "1:2:3:4", "::0", "...,...", "1,,2"])
def test_index_that_is_none_is_refused(text: str) -> None:
    """What NumPy would refuse, and what it would evaluate."""
    with pytest.raises(argparse.ArgumentTypeError):
        parse_index(text)
