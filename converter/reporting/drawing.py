"""The frame of the plots in reports, as SVG: columns from left to right and a labelled vertical scale."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

from .pages import escape

WIDTH, LEFT, RIGHT = 1040, 56, 6
#: The minimum distance between two labels of the scale.
_LINE = 13.0
#: Used for zero, which has no logarithm.
_LEAST = 1e-300


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The positions of columns and values in a plot, in SVG units.

    `bend` maps a value to its linear position, such as its logarithm; `low` and `high` are the ends of the scale after
    `bend`. `ticks` are values that the scale may label, the most important first.
    `top`, `height` and `below` are the heights of the space above the scale, of the scale, and of the space below it.
    """

    columns: int
    bend: Callable[[float], float]
    low: float
    high: float
    ticks: tuple[float, ...]
    top: int = 12
    height: int = 150
    below: int = 20

    @property
    def bottom(self) -> int:
        """The lower end of the scale."""
        return self.top + self.height

    @property
    def pitch(self) -> float:
        """The width of a column."""
        return (WIDTH - LEFT - RIGHT) / max(1, self.columns)

    def x(self, column: int) -> float:
        """Return the middle of a column."""
        return LEFT + (column + 0.5) * self.pitch

    def y(self, value: float) -> float:
        """Return the vertical position of a value; values beyond the scale are at its ends."""
        share = (self.high - self.bend(value)) / (self.high - self.low)
        return self.top + self.height * min(max(share, 0.0), 1.0)

    def render(self, label: str, marks: Iterable[str]) -> str:
        """Return the drawing with the scale and the given marks."""
        box = f"0 0 {WIDTH} {self.bottom + self.below}"
        begin = f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">'
        return "\n".join([begin, *self._draw_scale(), *marks, "</svg>"])

    def _draw_scale(self) -> Iterator[str]:
        labelled: list[float] = []
        for tick in self.ticks:
            y = self.y(tick)
            if self.low <= self.bend(tick) <= self.high and all(abs(y - other) >= _LINE for other in labelled):
                labelled.append(y)
                kind = "axis" if tick else "zero"
                yield f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'


def make_log_frame(columns: int, low: float, high: float, **space: int) -> Frame:
    """Return a frame with a log scale between two powers of ten; `space` are `top`, `height` and `below`.

    Zero is drawn at the bottom, and a value that is infinite or not a number at the top.
    """

    def bend(value: float) -> float:
        return math.log10(max(value, _LEAST)) if math.isfinite(value) else high

    powers = [10.0**power for power in range(math.floor(high), math.floor(low) - 1, -1)]
    ticks = tuple(factor * power for factor in (1, 2, 5) for power in powers)
    return Frame(columns=columns, bend=bend, low=low, high=high, ticks=ticks, **space)
