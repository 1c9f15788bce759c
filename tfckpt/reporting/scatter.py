"""Points with names over two axes: x on a log scale, y linear; the area of a point may show a third quantity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .drawing import WIDTH, draw_dot, make_ticks
from .pages import escape

STYLE = """\
.scatter .under { top: 100%; transform: translateX(-50%); margin-top: 4px; }
.scatter .label { transform: translate(var(--off), -50%); color: var(--ink); pointer-events: none; }
.scatter .label.left { transform: translate(calc(-100% - var(--off)), -50%); }
.scatter .label.above { transform: translate(-50%, calc(-100% - var(--off))); }
.scatter .label.below { transform: translate(-50%, var(--off)); } .scatter .published { --hue: var(--soft); }
.scatter .this { --hue: var(--blue); } .scatter .label.this { font-weight: 700; }
"""
_TOP, _HEIGHT = 16, 240
#: Diameters of points in pixels: without a third quantity, and of the largest and the smallest with one.
_USUAL, _LARGEST, _SMALLEST = 9.0, 34.0, 7.0
#: Distance in pixels below which two labels would overlap.
_LABEL = 13.0
#: The width of a character of a name, in thousandths of a plot on a narrow screen.
_SHARE = 14.0


class Point(NamedTuple):
    """A point: its values, its name, its class, the text under the pointer, and a quantity shown by its area."""

    x: float
    y: float
    name: str
    kind: str
    tip: str
    area: float | None = None


def render_scatter(
    label: str, points: Sequence[Point], *, x_suffix: str = "", y_suffix: str = "", y_most: float = math.inf
) -> str:
    """Return the plot; `x` values are positive, and the axis of `y` ends at `y_most` at the latest."""
    low_x, high_x = _widen([math.log10(point.x) for point in points], 0.12)
    low_y, high_y = _widen([point.y for point in points], 0.1)
    high_y = min(high_y, y_most)
    largest = max((point.area or 0.0 for point in points), default=0.0)
    total = _TOP + _HEIGHT
    lines, labels = [], []
    placed = []
    for point in points:
        x = WIDTH * (math.log10(point.x) - low_x) / (high_x - low_x)
        y = _TOP + _HEIGHT * (high_y - point.y) / (high_y - low_y)
        is_sized = point.area is not None and largest
        size = max(_SMALLEST, _LARGEST * math.sqrt((point.area or 0.0) / largest)) if is_sized else _USUAL
        placed.append(_Placed(x, y, size, point))
    for tick in make_ticks(low_y, high_y):
        if low_y <= tick <= high_y:
            y = _TOP + _HEIGHT * (high_y - tick) / (high_y - low_y)
            lines.append(f'<path class="axis" d="M0,{y:.1f}H{WIDTH}"/>')
            labels.append(f'<span class="tick" style="top:{y:.1f}px">{tick:g}{escape(y_suffix)}</span>')
    for tick in _log_ticks(low_x, high_x):
        x = WIDTH * (math.log10(tick) - low_x) / (high_x - low_x)
        lines.append(f'<path class="edge" d="M{x:.1f},{_TOP}V{total}"/>')
        labels.append(f'<span class="under" style="left:{x / 10:.2f}%">{tick:g}{escape(x_suffix)}</span>')
    dots = []
    for each in placed:
        dot = draw_dot(each.x, each.y, each.point.kind, size=each.size).removesuffix("/>")
        dots.append(f'{dot} opacity="0.75"><title>{escape(each.point.tip)}</title></path>')
    labels += _place_labels(placed)
    return "\n".join(
        [
            f'<div class="plot scatter" role="img" aria-label="{escape(label)}" '
            f'style="height:{total}px;margin-bottom:28px">',
            f'<svg viewBox="0 0 {WIDTH} {total}" preserveAspectRatio="none">',
            *lines,
            *dots,
            "</svg>",
            *labels,
            "</div>",
        ]
    )


class _Placed(NamedTuple):
    """A point with its position and its diameter in pixels."""

    x: float
    y: float
    size: float
    point: Point


def _place_labels(placed: Sequence[_Placed]) -> Iterator[str]:
    """Yield the names at the first side of their points where they are over no other one, else none."""
    taken: list[tuple[float, float, float]] = []
    for each in sorted(placed, key=lambda one: one.point.kind != "this"):
        off = each.size / 2 + 4
        width = _SHARE * len(each.point.name)
        sides = {
            "": (each.x + 10 + width / 2, each.y),
            "left": (each.x - 10 - width / 2, each.y),
            "above": (each.x, each.y - off - _LABEL / 2),
            "below": (each.x, each.y + off + _LABEL / 2),
        }
        for side, (x, y) in sides.items():
            is_inside = width / 2 <= x <= WIDTH - width / 2 and y <= _TOP + _HEIGHT
            is_free = all(
                abs(y - other_y) >= _LABEL or abs(x - other) >= (width + wide) / 2 for other, other_y, wide in taken
            )
            if is_inside and is_free:
                taken.append((x, y, width))
                style = f"left:{each.x / 10:.2f}%;top:{each.y:.1f}px;--off:{off:.0f}px"
                yield f'<span class="label {each.point.kind} {side}" style="{style}">{escape(each.point.name)}</span>'
                break


def _widen(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return the ends of an axis: the values and some space, also if all are equal."""
    low, high = min(values), max(values)
    space = (high - low) * share or max(abs(high) * share, 0.1)
    return low - space, high + space


def _log_ticks(low: float, high: float) -> Iterator[float]:
    """Yield 1, 2 and 5 times powers of ten between two exponents."""
    for power in range(math.floor(low), math.floor(high) + 1):
        for factor in (1, 2, 5):
            if low <= math.log10(factor) + power <= high:
                yield factor * 10.0**power
