"""The choice between a variable's plain value and its moving average."""

from __future__ import annotations

from converter.mapping.averages import REASON_AVERAGED, REASON_RAW, select_weights
from converter.mapping.rules import Ignored, Source

SHAPES = {"a": (1,), "a/ExponentialMovingAverage": (1,), "b": (2,)}


def test_ema_takes_the_average_where_there_is_one_and_else_the_raw_value() -> None:
    """The rules see the variable's name in both cases."""
    selection = select_weights(SHAPES, "ema")

    assert selection.sources == (Source("a/ExponentialMovingAverage", (1,), "a"), Source("b", (2,), "b"))
    assert selection.set_aside == (Ignored("a", REASON_AVERAGED),)


def test_raw_takes_plain_values_only() -> None:
    """Averages are set aside with that reason."""
    selection = select_weights(SHAPES, "raw")

    assert selection.sources == (Source("a", (1,), "a"), Source("b", (2,), "b"))
    assert selection.set_aside == (Ignored("a/ExponentialMovingAverage", REASON_RAW),)


def test_raw_does_not_fall_back_to_an_average() -> None:
    """A variable that is stored only as an average has no raw value."""
    selection = select_weights({"a/ExponentialMovingAverage": (1,)}, "raw")

    assert selection.sources == ()
