"""The choice between the raw value of a variable and its moving average.

TensorFlow stores the moving average of a variable under the variable's name with a suffix.
The moving statistics of batch norms have moving averages too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from tfckpt.graphs.training_state import AVERAGE_SUFFIX

from ..mapping.planning import Ignored, Source

WeightsChoice: TypeAlias = Literal["ema", "raw"]

WEIGHTS_CHOICES: tuple[WeightsChoice, ...] = ("ema", "raw")

REASON_AVERAGED = "raw value of a variable whose moving average is used"
REASON_RAW = "moving average; raw values were requested"


class Selection(NamedTuple):
    """The sources to convert, under the names of their variables, and the sources to ignore."""

    sources: tuple[Source, ...]
    set_aside: tuple[Ignored, ...]


def strip_average(name: str) -> str:
    """Return the name of a variable without the suffix of moving averages."""
    return name.removesuffix(AVERAGE_SUFFIX)


def is_average(name: str) -> bool:
    """Return whether a name is that of a moving average."""
    return name.endswith(AVERAGE_SUFFIX)


def select_weights(sources: Iterable[Source], choice: WeightsChoice) -> Selection:
    """Choose one value for each variable: with `ema` the moving average if there is one, otherwise the raw value.

    The suffix of `Source.variable` marks averages; the returned sources have names without it.
    """
    candidates = list(sources)
    with_average = {strip_average(source.variable) for source in candidates if is_average(source.variable)}
    selected: list[Source] = []
    set_aside: list[Ignored] = []
    for source in candidates:
        if choice == "raw" and is_average(source.variable):
            set_aside.append(Ignored(source.name, REASON_RAW))
        elif choice == "ema" and source.variable in with_average:
            set_aside.append(Ignored(source.name, REASON_AVERAGED))
        else:
            averaged = is_average(source.variable)
            selected.append(source._replace(variable=strip_average(source.variable), averaged=averaged))
    return Selection(tuple(selected), tuple(set_aside))
