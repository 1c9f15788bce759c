"""Test that `tfckpt show` prints values, slices and statistics."""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
import pytest

import tfckpt
from tfckpt.cli import main
from tfckpt.cli.show import compute_statistics, parse_index

KERNEL = "efficientnetv2-digits/stem/conv2d/kernel"


def test_show_slice_equals_the_slice_of_the_array(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--slice has the meaning of a NumPy index."""
    assert main(["show", str(digits), KERNEL, "--slice", "0,:2,...,-1", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)["values"]
    with tfckpt.open(digits) as checkpoint:
        np.testing.assert_array_equal(np.float32(shown), checkpoint[KERNEL][0, :2, ..., -1])


def test_show_stats_agree_with_numpy(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are computed piece by piece."""
    assert main(["show", str(digits), KERNEL, "--stats", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)["statistics"]
    with tfckpt.open(digits) as checkpoint:
        values = checkpoint[KERNEL].astype(np.float64)
    expected = {"elements": 216, "min": values.min(), "max": values.max(), "mean": values.mean(), "std": values.std()}
    assert shown == pytest.approx(expected | {"zeros": 0, "non-finite": 0}, rel=1e-12)


def test_statistics_ignore_non_finite_values() -> None:
    """NaN and infinities are only counted."""
    result = compute_statistics(np.array([0.0, 1.0, -3.0, np.nan, np.inf]))

    assert result == pytest.approx(
        {"elements": 5, "min": -3.0, "max": 1.0, "mean": -2 / 3, "std": np.std([0, 1, -3]), "zeros": 1, "non-finite": 2}
    )


def test_statistics_of_an_empty_tensor_are_counts() -> None:
    """There is no minimum, maximum or mean."""
    assert compute_statistics(np.empty((0, 3), np.float32)) == {"elements": 0, "zeros": 0, "non-finite": 0}


def test_show_of_an_unknown_name_suggests_close_ones(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is the one for things not found."""
    assert main(["show", str(digits), "stem/conv2d/kernel"]) == 3

    assert KERNEL in capsys.readouterr().err


def test_show_slice_beyond_the_shape_is_wrong_usage(digits: pathlib.Path) -> None:
    """The last row can be shown; the one after it does not exist."""
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
def test_index_is_parsed_like_a_numpy_index(text: str, index: tuple[object, ...]) -> None:
    """It has integers, slices and at most one ellipsis."""
    assert parse_index(text) == index


@pytest.mark.parametrize("text", ["", "a", "1.5", "1:2:3:4", "::0", "...,...", "1,,2"])
def test_invalid_index_is_rejected(text: str) -> None:
    """NumPy would reject these too, or would evaluate a name."""
    with pytest.raises(argparse.ArgumentTypeError):
        parse_index(text)
