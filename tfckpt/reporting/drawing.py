"""The frame of the plots in reports: columns from left to right, a labelled vertical scale, and names below.

Marks are SVG that is stretched to the width of the page, and labels are HTML on top of it, so that text has the same
size on a wide screen and on a narrow one. Lines keep their width in pixels (`vector-effect`), and a dot is a line
without a length.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from .pages import escape

STYLE = """\
figure { margin: 1.25rem 0 0; } figcaption { color: var(--soft); font-size: 13px; } figcaption b { color: var(--ink); }
.plot { position: relative; margin: .35rem 0 0 3.25rem; } .plot svg { position: absolute; inset: 0; width: 100%;
  height: 100%; overflow: visible; } .plot svg * { vector-effect: non-scaling-stroke; }
.plot span { position: absolute; font-size: 11px; line-height: 1.3; color: var(--soft); white-space: nowrap; }
.plot .tick { right: 100%; margin-right: .4rem; transform: translateY(-50%); }
.plot .place { overflow: hidden; text-overflow: clip; text-align: center; }
.axis { stroke: var(--line); } .zero { stroke: var(--soft); } .edge { stroke: var(--line); stroke-dasharray: 2 3; }
path.dot { stroke: var(--hue); stroke-linecap: round; } .flag, path.dot.flag { --hue: var(--bad); fill: var(--bad); }
rect.hit { fill: transparent; } rect.hit:hover { fill: var(--soft); opacity: .22; }
.key { white-space: nowrap; margin-left: .8em; } .key::before { content: ""; display: inline-block; width: .7em;
  height: .7em; border-radius: 2px; background: var(--hue); margin-right: .35em; }
"""

#: The width of a drawing; it is stretched to that of the page.
WIDTH = 1000
#: The minimum distance between two labels of the scale, in pixels.
_LINE = 13.0
#: Used for zero, which has no logarithm.
_LEAST = 1e-300
#: The width of a character in labels, in pixels, and of a plot on a narrow screen.
_CHARACTER, _NARROW = 6.0, 420.0
#: A log scale has at most so many powers of ten on either side of zero.
_DECADES = 15
#: Values are clipped to these sizes, so that the arithmetic of a scale does not overflow.
_SMALLEST, _LARGEST = 1e-290, 1e290


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The positions of columns and values in a plot: x in thousandths of its width, y in pixels.

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
        return WIDTH / max(1, self.columns)

    def x(self, column: int) -> float:
        """Return the middle of a column."""
        return (column + 0.5) * self.pitch

    def y(self, value: float) -> float:
        """Return the vertical position of a value; values beyond the scale are at its ends."""
        share = (self.high - self.bend(value)) / (self.high - self.low)
        return self.top + self.height * min(max(share, 0.0), 1.0)

    def render(self, label: str, marks: Iterable[str], *, places: Sequence[str] = ()) -> str:
        """Return the plot with the scale and the given marks; `places` has the name of the place of each column.

        Columns of one place are next to each other, and their name is below them if there is room.
        """
        total = self.bottom + self.below
        lines, labels = self._draw_scale()
        edges, names = self._draw_places(places)
        return "\n".join(
            [
                f'<div class="plot" role="img" aria-label="{escape(label)}" style="height:{total}px">',
                f'<svg viewBox="0 0 {WIDTH} {total}" preserveAspectRatio="none">',
                *lines,
                *edges,
                *marks,
                "</svg>",
                *labels,
                *names,
                "</div>",
            ]
        )

    def _draw_scale(self) -> tuple[list[str], list[str]]:
        heights: list[float] = []
        lines, labels = [], []
        for tick in self.ticks:
            y = self.y(tick)
            if self.low <= self.bend(tick) <= self.high and all(abs(y - other) >= _LINE for other in heights):
                heights.append(y)
                lines.append(f'<path class="{"axis" if tick else "zero"}" d="M0,{y:.1f}H{WIDTH}"/>')
                labels.append(f'<span class="tick" style="top:{y:.1f}px">{tick:g}</span>')
        return lines, labels

    def _draw_places(self, places: Sequence[str]) -> tuple[list[str], list[str]]:
        edges, names = [], []
        starts = [at for at, name in enumerate(places) if at == 0 or name != places[at - 1]]
        for at, end in itertools.pairwise([*starts, len(places)]):
            left, width = at * self.pitch, (end - at) * self.pitch
            if at:
                edges.append(f'<path class="edge" d="M{left:.1f},{self.top}V{self.bottom + 4}"/>')
            if width / WIDTH * _NARROW >= _CHARACTER * len(places[at]):
                style = f"top:{self.bottom + 5}px;left:{left / 10:.2f}%;width:{width / 10:.2f}%"
                names.append(f'<span class="place" style="{style}">{escape(places[at])}</span>')
        return edges, names


def draw_dot(x: float, y: float, kind: str, *, size: float = 6.0) -> str:
    """Return a dot of `size` pixels; `kind` is its class."""
    return f'<path class="dot {kind}" stroke-width="{size:.1f}" d="M{x:.1f},{y:.1f}h0"/>'


def draw_tip(frame: Frame, column: int, text: str) -> str:
    """Return an area over a column that shows a text under the pointer."""
    return (
        f'<rect class="hit" x="{frame.x(column) - frame.pitch / 2:.1f}" y="0" width="{frame.pitch:.1f}" '
        f'height="{frame.bottom}"><title>{escape(text)}</title></rect>'
    )


def render_figure(title: str, caption: str, plot: str, keys: Iterable[tuple[str, str]] = ()) -> str:
    """Return a plot under its title; `keys` are the classes of marks and their names."""
    legend = "".join(f'<span class="key {kind}">{escape(name)}</span>' for kind, name in keys)
    return f"<figure><figcaption><b>{escape(title)}</b> {escape(caption)}{legend}</figcaption>{plot}</figure>"


def make_log_frame(columns: int, low: float, high: float, **space: int) -> Frame:
    """Return a frame with a log scale between two powers of ten; `space` are `top`, `height` and `below`.

    Zero is drawn at the bottom, and a value that is infinite or not a number at the top.
    """

    def bend(value: float) -> float:
        return math.log10(max(value, _LEAST)) if math.isfinite(value) else high

    powers = [10.0**power for power in range(math.floor(high), math.floor(low) - 1, -1)]
    ticks = tuple(factor * power for factor in (1, 2, 5) for power in powers)
    return Frame(columns=columns, bend=bend, low=low, high=high, ticks=ticks, **space)


def make_ticks(low: float, high: float) -> list[float]:
    """Return about five round values that cover a linear scale; those at its ends may be outside."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [count * step for count in range(math.floor(low / step), math.ceil(high / step) + 1)]


def make_value_frame(columns: int, low: float, high: float, usual: float) -> tuple[Frame, str]:
    """Return a frame for values from `low` to `high`, with zero, and a text about its scale for the caption.

    If the largest value is far beyond the `usual` one, the scale is linear up to that and logarithmic beyond, so that
    one outlier does not flatten the others.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    largest = max(-low, high) or 1.0
    near = usual or largest
    if low == high:
        high = 1.0
    if largest <= 10 * near:
        frame = Frame(columns=columns, bend=lambda value: value, low=low, high=high, ticks=tuple(make_ticks(low, high)))
        return frame, ""
    last = math.floor(math.log10(largest))
    powers = range(max(math.floor(math.log10(near)), last - _DECADES), last + 1)
    unit = 10.0 ** powers[0]
    sizes = [10.0**power for power in powers]

    def bend(value: float) -> float:
        return math.asinh(value / unit)

    ticks = sorted([0.0, *sizes, *(-size for size in sizes)], key=abs)
    frame = Frame(columns=columns, bend=bend, low=bend(low), high=bend(high), ticks=tuple(ticks))
    return frame, f", on a log scale beyond {unit:g}"


def clip(value: float | None) -> float:
    """Return a value clipped to the sizes that a scale can handle; 0 for None."""
    if value is None or abs(value) < _SMALLEST:
        return 0.0
    return max(-_LARGEST, min(value, _LARGEST))


def draw_ranges(frame: Frame, ranges: Iterable[tuple[int, Sequence[float | None]]], kind: str) -> Iterator[str]:
    """Yield marks for (column, (smallest, 5th percentile, median, 95th percentile, largest)): two lines and a notch."""
    wide = max(1.0, min(9.0, 0.45 * frame.pitch))
    whole, most, middle = [], [], []
    for column, values in ranges:
        x = frame.x(column)
        low, p5, median, p95, high = (frame.y(clip(value)) for value in values)
        whole.append(f"M{x:.1f},{max(low, high + 1):.1f}V{high:.1f}")  # at least one pixel, to be visible
        most.append(f"M{x:.1f},{max(p5, p95 + 1):.1f}V{p95:.1f}")
        middle.append(f"M{x:.1f},{median - 0.75:.2f}v1.5")
    yield f'<g class="{kind}"><path class="whole" stroke-width="{wide / 2:.1f}" d="{"".join(whole)}"/>'
    yield f'<path class="most" stroke-width="{wide:.1f}" d="{"".join(most)}"/>'
    yield f'<path class="middle" stroke-width="{wide:.1f}" d="{"".join(middle)}"/></g>'
