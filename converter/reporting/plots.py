"""Plots of the statistics along the depth of a network, as inline SVG: one plot for each role of a tensor.

Each tensor is a column: a thin line from its smallest to its largest value, a thick line from the 5th to the 95th
percentile, and a mark at the median. A layer has the same column in all plots, so they can be compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from .drawing import LEFT, Frame, make_log_frame
from .pages import escape
from .record import FullReport
from .statistics import KERNELS, Statistics, find_roles
from .words import format_number

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

#: The width of a character in labels.
_CHARACTER = 6.0
#: Values are clipped to these sizes, so that the arithmetic of a scale does not overflow.
_SMALLEST, _LARGEST = 1e-290, 1e290
#: A log scale has at most so many powers of ten on either side of zero.
_DECADES = 15


class Column(NamedTuple):
    """A tensor in a plot; `layer` is the number of layers before its own."""

    target: str
    layer: int
    role: str
    statistics: Statistics


#: Returns the frame for some columns and the number of layers, the marks, and a text about the scale for the caption.
_Draw: TypeAlias = Callable[[Sequence[Column], int], tuple[Frame, list[str], str]]


def find_layer(target: str) -> str:
    """Return the layer of a tensor; a convolution and its batch norm are one layer."""
    return target.rpartition(".")[0].removesuffix(".conv").removesuffix(".bn") or target


def draw_plots(report: FullReport) -> list[str]:
    """Return the plots that have any columns, as figures."""
    role_of = find_roles(report.conversion.tensors)
    layers = list(dict.fromkeys(map(find_layer, report.statistics)))
    places = {layer: position for position, layer in enumerate(layers)}
    flags = {target: remark.sentence for remark in reversed(report.remarks) for target in remark.targets}
    figures = []
    for title, caption, shown, draw in _PLOTS:
        columns = [
            Column(target, places[find_layer(target)], role_of[target], measured)
            for target, measured in report.statistics.items()
            if role_of[target] in shown
        ]
        finite = [column for column in columns if column.statistics.mean is not None]
        if finite:
            kinds = [kind for kind in shown if any(column.role == kind for column in finite)]
            keys = "".join(f'<span class="key {kind}">{kind}</span>' for kind in kinds) if len(kinds) > 1 else ""
            frame, marks, scale = draw(finite, len(layers))
            drawing = frame.render(
                f"{title} along the network", [*_draw_stages(frame, layers), *marks, *_draw_tips(frame, columns, flags)]
            )
            figures.append(
                f"<figure><figcaption><b>{title}</b> {caption}{scale}{keys}</figcaption>"
                f'<div class="plot">{drawing}</div></figure>'
            )
    return figures


def _draw_stages(frame: Frame, layers: Sequence[str]) -> Iterator[str]:
    """Draw the beginning of each stage, and its name if there is room: `stages.3` for `stages.3.1.project`."""
    parts = [layer.split(".") for layer in layers]
    names = [".".join(part[: 2 if part[1:] and part[1].isdecimal() else 1]) for part in parts]
    starts = [at for at, name in enumerate(names) if at == 0 or name != names[at - 1]]
    for at, end in itertools.pairwise([*starts, len(names)]):
        left, right = LEFT + at * frame.pitch, LEFT + end * frame.pitch
        if at:
            yield f'<line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{frame.top}" y2="{frame.bottom + 4}"/>'
        if right - left >= _CHARACTER * len(names[at]):
            middle = (left + right) / 2
            yield f'<text x="{middle:.1f}" y="{frame.bottom + 15}" text-anchor="middle">{escape(names[at])}</text>'


def _draw_tips(frame: Frame, columns: Sequence[Column], flags: Mapping[str, str]) -> Iterator[str]:
    """Draw an area that shows the numbers of a tensor under the pointer, and a flag if there is a remark on it."""
    for column in columns:
        x, flag = frame.x(column.layer), flags.get(column.target)
        if flag is not None:
            yield f'<path class="flag" d="M{x - 4:.1f},1h8l-4,7z"/>'
        tip = escape("\n".join(filter(None, (column.target, _format_numbers(column.statistics), flag))))
        yield (
            f'<rect class="hit" x="{x - frame.pitch / 2:.1f}" y="0" width="{frame.pitch:.1f}" height="{frame.bottom}">'
            f"<title>{tip}</title></rect>"
        )


def _format_numbers(measured: Statistics) -> str:
    numbers = (
        f"mean {format_number(measured.mean)}, std {format_number(measured.std)}\n"
        f"{format_number(measured.minimum)} to {format_number(measured.maximum)}, "
        f"middle 90 % {format_number(measured.p5)} to {format_number(measured.p95)}"
    )
    return numbers if measured.is_finite else f"{numbers}\n{measured.nan:,} NaN, {measured.infinite:,} infinite"


def _draw_spread(columns: Sequence[Column], layers: int) -> tuple[Frame, list[str], str]:
    """Draw standard deviations as dots on a log scale; zero is at the bottom."""
    known = [(column, _clip(column.statistics.std)) for column in columns if column.statistics.std is not None]
    spreads = [spread for _, spread in known if spread] or [0.1, 1.0]
    frame = make_log_frame(layers, math.log10(min(spreads)) - 0.1, math.log10(max(spreads)) + 0.1)
    radius = min(3.0, max(1.5, frame.pitch / 2))
    dots = [
        f'<circle class="{column.role if spread else "flag"}" cx="{frame.x(column.layer):.1f}" '
        f'cy="{frame.y(spread):.1f}" r="{radius:.1f}"/>'
        for column, spread in known
    ]
    return frame, dots, ", on a log scale"


def _draw_range(columns: Sequence[Column], layers: int) -> tuple[Frame, list[str], str]:
    """Draw the range of the values of each tensor."""
    frame, scale = _make_value_frame(columns, layers)
    wide = max(1.0, min(9.0, frame.pitch * 0.7))
    marks = []
    for role in dict.fromkeys(column.role for column in columns):
        whole, most, middle = [], [], []
        for column in columns:
            if column.role == role:
                x, measured = frame.x(column.layer), column.statistics
                low, p5, median, p95, high = (
                    frame.y(_clip(value))
                    for value in (measured.minimum, measured.p5, measured.median, measured.p95, measured.maximum)
                )
                whole.append(f"M{x:.1f},{max(low, high + 1):.1f}V{high:.1f}")  # at least one unit, to be visible
                most.append(f"M{x:.1f},{max(p5, p95 + 1):.1f}V{p95:.1f}")
                middle.append(f"M{x - wide / 2:.1f},{median:.1f}h{wide:.1f}")
        hue = role if role in KERNELS else "bias" if role in ("bias", "other") else "norm"
        marks += [
            f'<g class="{hue}"><path class="whole" stroke-width="{wide / 2:.1f}" d="{"".join(whole)}"/>',
            f'<path class="most" stroke-width="{wide:.1f}" d="{"".join(most)}"/>',
            f'<path class="middle" stroke-width="1.5" d="{"".join(middle)}"/></g>',
        ]
    return frame, marks, scale


def _clip(value: float | None) -> float:
    """Return a value clipped to the sizes that a scale can handle; 0 for None."""
    if value is None or abs(value) < _SMALLEST:
        return 0.0
    return max(-_LARGEST, min(value, _LARGEST))


def _make_value_frame(columns: Sequence[Column], layers: int) -> tuple[Frame, str]:
    """Return the frame for some ranges, and a text about its scale for the caption.

    If the largest value is far beyond most percentiles, the scale is linear up to them and logarithmic beyond, so that
    one outlier does not flatten the other tensors.
    """
    low = min(0.0, *(_clip(column.statistics.minimum) for column in columns))
    high = max(0.0, *(_clip(column.statistics.maximum) for column in columns))
    largest = max(-low, high) or 1.0
    usual = sorted(max(abs(_clip(column.statistics.p5)), abs(_clip(column.statistics.p95))) for column in columns)
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


_PLOTS: tuple[tuple[str, str, tuple[str, ...], _Draw], ...] = (
    ("Kernels, spread", "standard deviation of each", KERNELS, _draw_spread),
    ("Kernels, values", "smallest to largest, middle 90 %, median", KERNELS, _draw_range),
    ("Norms, scale", "weights of the norms (gamma)", ("scale",), _draw_range),
    ("Norms, shift", "biases of the norms (beta)", ("shift",), _draw_range),
    ("Norms, moving means", "means of the inputs of the norms", ("mean",), _draw_range),
    ("Norms, moving variances", "variances of the inputs of the norms", ("variance",), _draw_range),
    ("Biases", "biases of kernels", ("bias",), _draw_range),
    ("Others", "tensors with other names", ("other",), _draw_range),
)
