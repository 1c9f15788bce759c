"""The statistics of a network along its depth, as inline SVG: one picture for each role a tensor can have.

In a picture, every tensor is a column: a thin line from its least to its largest number, a thick one from the
5th percentile to the 95th, a mark at the median. Columns stand at the place of their layer in the network, so that
pictures can be read one above the other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..pages import text
from .record import FullReport
from .statistics import KERNELS, Statistics, roles
from .words import number

STYLE = """\
figure { margin: 1rem 0 0; } figcaption { color: var(--soft); font-size: 13px; } figcaption b { color: var(--ink); }
.plot { overflow-x: auto; } .plot svg { min-width: 44rem; display: block; }
.axis, .edge { stroke: var(--line); } .edge { stroke-dasharray: 2 3; } .zero { stroke: var(--soft); }
.convolution { --hue: var(--blue); } .depthwise { --hue: var(--violet); } .dense { --hue: var(--good); }
.matrix { --hue: var(--amber); } .norm { --hue: var(--blue); } .bias { --hue: var(--amber); }
path.whole { stroke: var(--hue); opacity: .3; } path.most { stroke: var(--hue); opacity: .75; }
path.middle { stroke: var(--page); } circle { fill: var(--hue); } .flag, circle.flag { fill: var(--bad); }
rect.hit { fill: transparent; } rect.hit:hover { fill: var(--soft); opacity: .22; }
.key { white-space: nowrap; margin-left: .8em; } .key::before { content: ""; display: inline-block; width: .7em;
  height: .7em; border-radius: 2px; background: var(--hue); margin-right: .35em; }
"""

_Draw: TypeAlias = "Callable[[Sequence[Column], Depth], tuple[list[str], str]]"

_WIDTH, _LEFT, _RIGHT, _TOP, _HEIGHT, _BOTTOM = 1040, 56, 6, 12, 150, 20
#: What a name needs under a picture, in its units for each character.
_CHARACTER = 6.0
#: What a number at the side needs, from one to the next.
_LINE = 13.0
#: What float64 holds beyond these has no room for the arithmetic of a scale.
_SMALLEST, _LARGEST = 1e-290, 1e290
#: A scale by logarithms spans at most so many powers of ten on either side.
_DECADES = 15


class Column(NamedTuple):
    """One tensor of a picture."""

    target: str
    layer: int
    role: str
    found: Statistics


@dataclasses.dataclass(frozen=True, slots=True)
class Depth:
    """Where layers stand: their names in the network's order, and the stages that they belong to."""

    layers: tuple[str, ...]

    @property
    def pitch(self) -> float:
        """Units from one layer to the next."""
        return (_WIDTH - _LEFT - _RIGHT) / max(1, len(self.layers))

    def x(self, layer: int) -> float:
        """Middle of a layer's column."""
        return _LEFT + (layer + 0.5) * self.pitch

    def stages(self) -> list[tuple[int, str]]:
        """First layer and name of each stage: what stands before the position in it, such as `stages.3`."""
        found: list[tuple[int, str]] = []
        for at, layer in enumerate(self.layers):
            first, *rest = layer.split(".")
            name = f"{first}.{rest[0]}" if rest and rest[0].isdecimal() else first
            if not found or found[-1][1] != name:
                found.append((at, name))
        return found


def layer_of(target: str) -> str:
    """Name the layer of a tensor; a convolution and the batch norm after it are one."""
    return target.rpartition(".")[0].removesuffix(".conv").removesuffix(".bn") or target


def plots(report: FullReport) -> list[str]:
    """Draw every picture that has something to show."""
    role_of = roles(report.conversion.tensors)
    layers = list(dict.fromkeys(layer_of(target) for target in report.statistics))
    places = {layer: at for at, layer in enumerate(layers)}
    depth = Depth(tuple(layers))
    columns = [
        Column(target, places[layer_of(target)], role_of[target], found) for target, found in report.statistics.items()
    ]
    flags = {target: remark.sentence for remark in reversed(report.remarks) for target in remark.targets}
    figures = []
    for title, says, shown, draw in _PICTURES:
        chosen = [column for column in columns if column.role in shown and column.found.mean is not None]
        missing = [column for column in columns if column.role in shown and column.found.mean is None]
        if chosen:
            kinds = [kind for kind in shown if any(column.role == kind for column in chosen)]
            keys = "".join(f'<span class="key {kind}">{kind}</span>' for kind in kinds) if len(kinds) > 1 else ""
            marks, scaled = draw(chosen, depth)
            drawing = _svg(title, depth, marks, (*chosen, *missing), flags)
            figures.append(
                f"<figure><figcaption><b>{title}</b> {says}{scaled}{keys}</figcaption>"
                f'<div class="plot">{drawing}</div></figure>'
            )
    return figures


def _svg(title: str, depth: Depth, marks: Sequence[str], columns: Sequence[Column], flags: Mapping[str, str]) -> str:
    height = _TOP + _HEIGHT + _BOTTOM
    bottom = _TOP + _HEIGHT
    lines = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{text(title)} along the network">']
    free = 0.0
    stages = depth.stages()
    for position, (first, name) in enumerate(stages):
        left = _LEFT + first * depth.pitch
        end = _LEFT + stages[position + 1][0] * depth.pitch if position + 1 < len(stages) else _WIDTH - _RIGHT
        if first:
            lines.append(f'<line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP}" y2="{bottom + 4}"/>')
        wide = _CHARACTER * len(name)
        middle = min((left + end) / 2, _WIDTH - _RIGHT - wide / 2)
        if middle - wide / 2 >= free and (end - left >= wide or first == 0 or position + 1 == len(stages)):
            lines.append(f'<text x="{middle:.1f}" y="{bottom + 15}" text-anchor="middle">{text(name)}</text>')
            free = middle + wide / 2 + _CHARACTER
    lines += marks
    for column in columns:
        x, flag = depth.x(column.layer), flags.get(column.target)
        if flag is not None:
            lines.append(f'<path class="flag" d="M{x - 4:.1f},1h8l-4,7z"/>')
    for column in columns:
        left = depth.x(column.layer) - depth.pitch / 2
        tip = text("\n".join(filter(None, (column.target, _numbers(column.found), flags.get(column.target)))))
        lines.append(
            f'<rect class="hit" x="{left:.1f}" y="0" width="{depth.pitch:.1f}" height="{bottom}">'
            f"<title>{tip}</title></rect>"
        )
    return "\n".join([*lines, "</svg>"])


def _numbers(found: Statistics) -> str:
    said = (
        f"mean {number(found.mean)}, std {number(found.std)}\n"
        f"{number(found.minimum)} to {number(found.maximum)}, middle 90 % {number(found.p5)} to {number(found.p95)}"
    )
    return said if found.finite else f"{said}\n{found.nan:,} NaN, {found.infinite:,} infinite"


def _spread(columns: Sequence[Column], depth: Depth) -> tuple[list[str], str]:
    """Standard deviations on a log scale, as dots; zero stands at the bottom."""
    known = [(column, _drawn(column.found.std)) for column in columns if column.found.std is not None]
    spreads = [spread for _, spread in known if spread]
    least, most = math.log10(min(spreads, default=0.1)) - 0.1, math.log10(max(spreads, default=1.0)) + 0.1

    def y(value: float) -> float:
        return _TOP + _HEIGHT * (most - math.log10(value)) / (most - least)

    factors = (1, 2, 5) if most - least < 2 else (1,)
    step = math.ceil((most - least) / 8)
    powers = [power for power in range(math.floor(least), math.ceil(most) + 1) if power % step == 0]
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    marks = [_tick(y(tick), f"{tick:g}") for tick in ticks if least <= math.log10(tick) <= most]
    radius = min(3.0, max(1.5, depth.pitch / 2))
    for column, spread in known:
        at = y(spread) if spread else _TOP + _HEIGHT
        mark = column.role if spread else "flag"
        marks.append(f'<circle class="{mark}" cx="{depth.x(column.layer):.1f}" cy="{at:.1f}" r="{radius:.1f}"/>')
    return marks, ", on a log scale"


def _range(columns: Sequence[Column], depth: Depth) -> tuple[list[str], str]:
    """What the numbers of each tensor lie between."""
    scale, ticks, unit = _scale(columns)
    marks = [_tick(scale(value), f"{value:g}", zero=value == 0) for value in ticks]
    wide = max(1.0, min(9.0, depth.pitch * 0.7))
    for role in dict.fromkeys(column.role for column in columns):
        whole, most, middle = [], [], []
        for column in columns:
            if column.role == role:
                x, found = depth.x(column.layer), column.found
                whole.append(_stroke(x, scale(_drawn(found.minimum)), scale(_drawn(found.maximum))))
                most.append(_stroke(x, scale(_drawn(found.p5)), scale(_drawn(found.p95))))
                middle.append(f"M{x - wide / 2:.1f},{scale(_drawn(found.median)):.1f}h{wide:.1f}")
        hue = role if role in KERNELS else "bias" if role in ("bias", "other") else "norm"
        marks += [
            f'<g class="{hue}"><path class="whole" stroke-width="{wide / 2:.1f}" d="{"".join(whole)}"/>',
            f'<path class="most" stroke-width="{wide:.1f}" d="{"".join(most)}"/>',
            f'<path class="middle" stroke-width="1.5" d="{"".join(middle)}"/></g>',
        ]
    return marks, "" if unit is None else f", on a log scale beyond {unit:g}"


def _drawn(value: float | None) -> float:
    """Keep a number within what can be computed with; what is not known stands at zero."""
    if value is None or abs(value) < _SMALLEST:
        return 0.0
    return max(-_LARGEST, min(value, _LARGEST))


def _stroke(x: float, low: float, high: float) -> str:
    """Draw a line that can be seen, however short."""
    return f"M{x:.1f},{max(low, high + 1):.1f}V{high:.1f}"


def _tick(y: float, label: str, *, zero: bool = False) -> str:
    return (
        f'<line class="{"zero" if zero else "axis"}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _scale(columns: Sequence[Column]) -> tuple[Callable[[float], float], list[float], float | None]:
    """Choose where numbers stand, which are written at the side, and from where on it is by their logarithm.

    Where the largest is far from the usual, distances from zero are drawn by their logarithm beyond the usual ones,
    so that one wild tensor does not flatten the others.
    """
    least = min(0.0, *(_drawn(column.found.minimum) for column in columns))
    most = max(0.0, *(_drawn(column.found.maximum) for column in columns))
    largest = max(-least, most) or 1.0
    usual = sorted(max(abs(_drawn(column.found.p5)), abs(_drawn(column.found.p95))) for column in columns)
    near = usual[len(usual) // 2] or largest
    if largest <= 10 * near:
        ticks = _round_numbers(least, most if most > least else 1.0)
        unit = None

        def bend(value: float) -> float:
            return value

    else:
        last = math.floor(math.log10(largest))
        powers = range(max(math.floor(math.log10(near)), last - _DECADES), last + 1)
        unit = base = 10.0 ** powers[0]
        step = max(1, math.ceil(len(powers) * (2 if least < 0 < most else 1) / 8))
        sizes = [10.0**power for power in powers[::step]]
        ticks = sorted({0.0, *sizes, *(-size for size in sizes)})

        def bend(value: float) -> float:
            return math.asinh(value / base)

    ends = [least, most] if most > least else [0.0, 1.0]
    low, high = (bend(end) for end in ends)

    def y(value: float) -> float:
        return _TOP + _HEIGHT * (high - bend(value)) / (high - low)

    kept: list[float] = []
    for tick in sorted(ticks, key=abs):
        if ends[0] <= tick <= ends[1] and all(abs(y(tick) - y(other)) >= _LINE for other in kept):
            kept.append(tick)
    return y, kept, unit


def _round_numbers(least: float, most: float) -> list[float]:
    """About five numbers of one digit or two, evenly from below `least` to above `most`."""
    rough = (most - least) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [count * step for count in range(math.floor(least / step), math.ceil(most / step) + 1)]


_PICTURES: tuple[tuple[str, str, tuple[str, ...], _Draw], ...] = (
    ("Kernels, spread", "standard deviation of each", KERNELS, _spread),
    ("Kernels, values", "least to largest, middle 90 %, median", KERNELS, _range),
    ("Norms, scale", "weights of the norms (gamma)", ("scale",), _range),
    ("Norms, shift", "biases of the norms (beta)", ("shift",), _range),
    ("Norms, moving means", "of what reaches the norm", ("mean",), _range),
    ("Norms, moving variances", "of what reaches the norm", ("variance",), _range),
    ("Biases", "of kernels", ("bias",), _range),
    ("Others", "tensors with other names", ("other",), _range),
)
