"""Which of a variable's two values a conversion takes: the plain one, or its moving average where it has one.

TensorFlow keeps the moving average of a variable as a variable of its own, under the same name with a suffix.
Moving statistics of batch norms have such a twin too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from tfckpt.graphs.training_state import AVERAGE_SUFFIX

from ..mapping.rules import Ignored, Source

WeightsChoice: TypeAlias = Literal["ema", "raw"]

WEIGHTS_CHOICES: tuple[WeightsChoice, ...] = ("ema", "raw")

REASON_AVERAGED = "raw value of a variable whose moving average is used"
REASON_RAW = "moving average, and raw values were asked for"


class Selection(NamedTuple):
    """The sources to convert, each under its variable's name, and those set aside."""

    sources: tuple[Source, ...]
    set_aside: tuple[Ignored, ...]


def variable_of(name: str) -> str:
    """Name the variable that a tensor is the value or the moving average of."""
    return name.removesuffix(AVERAGE_SUFFIX)


def is_average(name: str) -> bool:
    """Tell a moving average by its name."""
    return name.endswith(AVERAGE_SUFFIX)


def select_weights(named: Iterable[Source], choice: WeightsChoice) -> Selection:
    """Choose one value for each variable: `ema` is the average where there is one, else the plain value.

    The `variable` of what is given tells averages by its suffix; that of what is chosen is without it.
    """
    candidates = list(named)
    with_average = {variable_of(source.variable) for source in candidates if is_average(source.variable)}
    sources: list[Source] = []
    set_aside: list[Ignored] = []
    for source in candidates:
        if choice == "raw" and is_average(source.variable):
            set_aside.append(Ignored(source.name, REASON_RAW))
        elif choice == "ema" and source.variable in with_average:
            set_aside.append(Ignored(source.name, REASON_AVERAGED))
        else:
            averaged = is_average(source.variable)
            sources.append(source._replace(variable=variable_of(source.variable), averaged=averaged))
    return Selection(tuple(sources), tuple(set_aside))
