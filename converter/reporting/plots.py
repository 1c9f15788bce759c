"""The statistics of a network along its depth, as inline SVG: one plot for each role of a tensor.

Every tensor is a column: a thin line from its least to its largest value, a thick one from the 5th percentile to the
95th, a mark at the median. A layer has the same column in every plot, so that plots can be read one above the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from .drawing import LEFT, Frame, log_frame
from .pages import text
from .record import FullReport
from .statistics import KERNELS, Statistics, roles
from .words import number

STYLE = """\
figure { margin: 1rem 0 0; } figcaption { color: var(--soft); font-size: 13px; } figcaption b { color: var(--ink); }
.plot { overflow-x: auto; } .plot svg { min-width: 44rem; display: block; }
.edge { stroke: var(--line); stroke-dasharray: 2 3; } .zero { stroke: var(--soft); }
.convolution { --hue: var(--blue); } .depthwise { --hue: var(--violet); } .dense { --hue: var(--good); }
.matrix { --hue: var(--amber); } .norm { --hue: var(--blue); } .bias { --hue: var(--amber); }
path.whole { stroke: var(--hue); opacity: .3; } path.most { stroke: var(--hue); opacity: .75; }
path.middle { stroke: var(--page); } circle { fill: var(--hue); } .flag, circle.flag { fill: var(--bad); }
rect.hit { fill: transparent; } rect.hit:hover { fill: var(--soft); opacity: .22; }
.key { white-space: nowrap; margin-left: .8em; } .key::before { content: ""; display: inline-block; width: .7em;
  height: .7em; border-radius: 2px; background: var(--hue); margin-right: .35em; }
"""

#: Width of a character under a plot.
_CHARACTER = 6.0
#: Beyond these there is no room in float64 for the arithmetic of a scale.
_SMALLEST, _LARGEST = 1e-290, 1e290
#: A log scale spans at most so many powers of ten on either side of zero.
_DECADES = 15


class Column(NamedTuple):
    """One tensor of a plot; `layer` counts the layers before its own."""

    target: str
    layer: int
    role: str
    found: Statistics


#: Makes the frame of some columns in so many layers, their marks, and what the caption says of the scale.
_Draw: TypeAlias = Callable[[Sequence[Column], int], tuple[Frame, list[str], str]]


def layer_of(target: str) -> str:
    """Return the layer of a tensor; a convolution and the batch norm after it are one."""
    return target.rpartition(".")[0].removesuffix(".conv").removesuffix(".bn") or target


def plots(report: FullReport) -> list[str]:
    """Return every plot that has something to show, as a figure."""
    role_of = roles(report.conversion.tensors)
    layers = list(dict.fromkeys(map(layer_of, report.statistics)))
    places = {layer: at for at, layer in enumerate(layers)}
    flags = {target: remark.sentence for remark in reversed(report.remarks) for target in remark.targets}
    figures = []
    for title, says, shown, draw in _PICTURES:
        columns = [
            Column(target, places[layer_of(target)], role_of[target], found)
            for target, found in report.statistics.items()
            if role_of[target] in shown
        ]
        finite = [column for column in columns if column.found.mean is not None]
        if finite:
            kinds = [kind for kind in shown if any(column.role == kind for column in finite)]
            keys = "".join(f'<span class="key {kind}">{kind}</span>' for kind in kinds) if len(kinds) > 1 else ""
            frame, marks, scale = draw(finite, len(layers))
            drawing = frame.svg(
                f"{title} along the network", [*_stages(frame, layers), *marks, *_tips(frame, columns, flags)]
            )
            figures.append(
                f"<figure><figcaption><b>{title}</b> {says}{scale}{keys}</figcaption>"
                f'<div class="plot">{drawing}</div></figure>'
            )
    return figures


def _stages(frame: Frame, layers: Sequence[str]) -> Iterator[str]:
    """Draw where each stage begins, and its name where there is room: `stages.3` for `stages.3.1.project`."""
    parts = [layer.split(".") for layer in layers]
    names = [".".join(part[: 2 if part[1:] and part[1].isdecimal() else 1]) for part in parts]
    starts = [at for at, name in enumerate(names) if at == 0 or name != names[at - 1]]
    for at, end in itertools.pairwise([*starts, len(names)]):
        left, right = LEFT + at * frame.pitch, LEFT + end * frame.pitch
        if at:
            yield f'<line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{frame.top}" y2="{frame.bottom + 4}"/>'
        if right - left >= _CHARACTER * len(names[at]):
            middle = (left + right) / 2
            yield f'<text x="{middle:.1f}" y="{frame.bottom + 15}" text-anchor="middle">{text(names[at])}</text>'


def _tips(frame: Frame, columns: Sequence[Column], flags: Mapping[str, str]) -> Iterator[str]:
    """Draw what shows the numbers of a tensor under the pointer, and a flag for a remark on it."""
    for column in columns:
        x, flag = frame.x(column.layer), flags.get(column.target)
        if flag is not None:
            yield f'<path class="flag" d="M{x - 4:.1f},1h8l-4,7z"/>'
        tip = text("\n".join(filter(None, (column.target, _numbers(column.found), flag))))
        yield (
            f'<rect class="hit" x="{x - frame.pitch / 2:.1f}" y="0" width="{frame.pitch:.1f}" height="{frame.bottom}">'
            f"<title>{tip}</title></rect>"
        )


def _numbers(found: Statistics) -> str:
    said = (
        f"mean {number(found.mean)}, std {number(found.std)}\n"
        f"{number(found.minimum)} to {number(found.maximum)}, middle 90 % {number(found.p5)} to {number(found.p95)}"
    )
    return said if found.finite else f"{said}\n{found.nan:,} NaN, {found.infinite:,} infinite"


def _spread(columns: Sequence[Column], layers: int) -> tuple[Frame, list[str], str]:
    """Draw standard deviations as dots on a log scale; zero is at the bottom."""
    known = [(column, _within(column.found.std)) for column in columns if column.found.std is not None]
    spreads = [spread for _, spread in known if spread] or [0.1, 1.0]
    frame = log_frame(layers, math.log10(min(spreads)) - 0.1, math.log10(max(spreads)) + 0.1)
    radius = min(3.0, max(1.5, frame.pitch / 2))
    dots = [
        f'<circle class="{column.role if spread else "flag"}" cx="{frame.x(column.layer):.1f}" '
        f'cy="{frame.y(spread):.1f}" r="{radius:.1f}"/>'
        for column, spread in known
    ]
    return frame, dots, ", on a log scale"


def _range(columns: Sequence[Column], layers: int) -> tuple[Frame, list[str], str]:
    """Draw what the values of each tensor lie between."""
    frame, scale = _value_frame(columns, layers)
    wide = max(1.0, min(9.0, frame.pitch * 0.7))
    marks = []
    for role in dict.fromkeys(column.role for column in columns):
        whole, most, middle = [], [], []
        for column in columns:
            if column.role == role:
                x, found = frame.x(column.layer), column.found
                low, p5, median, p95, high = (
                    frame.y(_within(value))
                    for value in (found.minimum, found.p5, found.median, found.p95, found.maximum)
                )
                whole.append(f"M{x:.1f},{max(low, high + 1):.1f}V{high:.1f}")  # visible, however short
                most.append(f"M{x:.1f},{max(p5, p95 + 1):.1f}V{p95:.1f}")
                middle.append(f"M{x - wide / 2:.1f},{median:.1f}h{wide:.1f}")
        hue = role if role in KERNELS else "bias" if role in ("bias", "other") else "norm"
        marks += [
            f'<g class="{hue}"><path class="whole" stroke-width="{wide / 2:.1f}" d="{"".join(whole)}"/>',
            f'<path class="most" stroke-width="{wide:.1f}" d="{"".join(most)}"/>',
            f'<path class="middle" stroke-width="1.5" d="{"".join(middle)}"/></g>',
        ]
    return frame, marks, scale


def _within(value: float | None) -> float:
    """Return a value within what a scale can compute with; zero for one that is not known."""
    if value is None or abs(value) < _SMALLEST:
        return 0.0
    return max(-_LARGEST, min(value, _LARGEST))


def _value_frame(columns: Sequence[Column], layers: int) -> tuple[Frame, str]:
    """Return the frame of some ranges, and what the caption says of its scale.

    If the largest value is far beyond most percentiles, the scale is linear up to these and logarithmic beyond, so that
    one wild tensor does not flatten the others.
    """
    low = min(0.0, *(_within(column.found.minimum) for column in columns))
    high = max(0.0, *(_within(column.found.maximum) for column in columns))
    largest = max(-low, high) or 1.0
    usual = sorted(max(abs(_within(column.found.p5)), abs(_within(column.found.p95))) for column in columns)
    near = usual[len(usual) // 2] or largest
    if low == high:
        high = 1.0
    if largest <= 10 * near:
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        ticks = [count * step for count in range(math.floor(low / step), math.ceil(high / step) + 1)]
        return Frame(columns=layers, bend=lambda value: value, low=low, high=high, ticks=tuple(ticks)), ""
    last = math.floor(math.log10(largest))
    powers = range(max(math.floor(math.log10(near)), last - _DECADES), last + 1)
    unit = 10.0 ** powers[0]
    sizes = [10.0**power for power in powers]

    def bend(value: float) -> float:
        return math.asinh(value / unit)

    ticks = sorted([0.0, *sizes, *(-size for size in sizes)], key=abs)
    frame = Frame(columns=layers, bend=bend, low=bend(low), high=bend(high), ticks=tuple(ticks))
    return frame, f", on a log scale beyond {unit:g}"


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
