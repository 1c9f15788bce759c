"""The choice between the raw value of a variable and its moving average."""

from __future__ import annotations

from converter.families.averages import REASON_AVERAGED, REASON_RAW, select_weights
from converter.mapping.planning import Ignored, Source

AVERAGE = Source("a/ExponentialMovingAverage", (1,), "a/ExponentialMovingAverage")
SOURCES = [Source("a", (1,), "a"), AVERAGE, Source("b", (2,), "b")]


def test_ema_selects_the_average_if_there_is_one() -> None:
    """A variable without average gets its raw value. Rules match the name of the variable in both cases."""
    selection = select_weights(SOURCES, "ema")

    assert selection.sources == (Source("a/ExponentialMovingAverage", (1,), "a", averaged=True), Source("b", (2,), "b"))
    assert selection.set_aside == (Ignored("a", REASON_AVERAGED),)


def test_raw_selects_only_raw_values() -> None:
    """Averages are set aside with the reason."""
    selection = select_weights(SOURCES, "raw")

    assert selection.sources == (Source("a", (1,), "a"), Source("b", (2,), "b"))
    assert selection.set_aside == (Ignored("a/ExponentialMovingAverage", REASON_RAW),)


def test_raw_does_not_fall_back_to_an_average() -> None:
    """A variable that is stored only as an average is not converted."""
    selection = select_weights([AVERAGE], "raw")

    assert selection.sources == ()


def test_choice_uses_the_names_that_rules_match() -> None:
    """Keys of an object-based checkpoint do not identify averages; full names do."""
    average = Source("variables/1", (1,), "a/ExponentialMovingAverage")

    selection = select_weights([Source("variables/0", (1,), "a"), average], "ema")

    assert selection.sources == (Source("variables/1", (1,), "a", averaged=True),)
    assert selection.set_aside == (Ignored("variables/0", REASON_AVERAGED),)
