"""Which of a variable's two values a conversion takes: the plain one, or its moving average where it has one.

TensorFlow keeps the moving average of a variable as a variable of its own, under the same name with a suffix.
Moving statistics of batch norms have such a twin too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from ..errors import Shape
from .rules import Ignored, Source

WeightsChoice: TypeAlias = Literal["ema", "raw"]

WEIGHTS_CHOICES: tuple[WeightsChoice, ...] = ("ema", "raw")
AVERAGE_SUFFIX = "/ExponentialMovingAverage"

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


def select_weights(shapes: Mapping[str, Shape], choice: WeightsChoice) -> Selection:
    """Choose one value for each variable: `ema` is the average where there is one, else the plain value."""
    sources: list[Source] = []
    set_aside: list[Ignored] = []
    for name, shape in shapes.items():
        if choice == "raw" and is_average(name):
            set_aside.append(Ignored(name, REASON_RAW))
        elif choice == "ema" and name + AVERAGE_SUFFIX in shapes:
            set_aside.append(Ignored(name, REASON_AVERAGED))
        else:
            sources.append(Source(name, shape, variable_of(name)))
    return Selection(tuple(sources), tuple(set_aside))
