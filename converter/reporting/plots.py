"""Plots of the statistics along the depth of a network, as inline SVG: one plot for each role of a tensor.

Each tensor is a column: a thin line from its smallest to its largest value, a thick line from the 5th to the 95th
percentile, and a mark at the median. A layer has the same column in all plots, so they can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from tfckpt.reporting.drawing import (
    Frame,
    clip,
    draw_dot,
    draw_ranges,
    draw_tip,
    make_log_frame,
    make_value_frame,
    render_figure,
)
from tfckpt.reporting.statistics import Statistics
from tfckpt.reporting.words import format_number

from .record import FullReport
from .statistics import KERNELS, find_roles

STYLE = """\
.convolution { --hue: var(--blue); } .depthwise { --hue: var(--violet); } .dense { --hue: var(--good); }
.matrix { --hue: var(--amber); } .norm { --hue: var(--blue); } .bias { --hue: var(--amber); }
path.whole { stroke: var(--hue); opacity: .3; } path.most { stroke: var(--hue); opacity: .75; }
path.middle { stroke: var(--page); }
"""


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
            frame, marks, scale = draw(finite, len(layers))
            drawing = frame.render(
                f"{title} along the network",
                [*marks, *_draw_tips(frame, columns, flags)],
                places=[find_stage(layer) for layer in layers],
            )
            keys = [(kind, kind) for kind in kinds] if len(kinds) > 1 else []
            figures.append(render_figure(title, caption + scale, drawing, keys))
    return figures


def find_stage(layer: str) -> str:
    """Return the stage of a layer: `stages.3` for `stages.3.1.project`."""
    parts = layer.split(".")
    return ".".join(parts[: 2 if parts[1:] and parts[1].isdecimal() else 1])


def _draw_tips(frame: Frame, columns: Sequence[Column], flags: Mapping[str, str]) -> Iterator[str]:
    """Draw an area that shows the numbers of a tensor under the pointer, and a flag if there is a remark on it."""
    for column in columns:
        flag = flags.get(column.target)
        if flag is not None:
            yield draw_dot(frame.x(column.layer), 4, "flag", size=7)
        yield draw_tip(
            frame, column.layer, "\n".join(filter(None, (column.target, _format_numbers(column.statistics), flag)))
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
    known = [(column, clip(column.statistics.std)) for column in columns if column.statistics.std is not None]
    spreads = [spread for _, spread in known if spread] or [0.1, 1.0]
    frame = make_log_frame(layers, math.log10(min(spreads)) - 0.1, math.log10(max(spreads)) + 0.1)
    size = min(6.0, max(3.0, frame.pitch * 0.6))
    dots = [
        draw_dot(frame.x(column.layer), frame.y(spread), column.role if spread else "flag", size=size)
        for column, spread in known
    ]
    return frame, dots, ", on a log scale"


def _draw_range(columns: Sequence[Column], layers: int) -> tuple[Frame, list[str], str]:
    """Draw the range of the values of each tensor."""
    lows = [clip(column.statistics.minimum) for column in columns]
    highs = [clip(column.statistics.maximum) for column in columns]
    usual = sorted(max(abs(clip(column.statistics.p5)), abs(clip(column.statistics.p95))) for column in columns)
    frame, scale = make_value_frame(layers, min(lows), max(highs), usual[len(usual) // 2])
    marks: list[str] = []
    for role in dict.fromkeys(column.role for column in columns):
        hue = role if role in KERNELS else "bias" if role in ("bias", "other") else "norm"
        ranges = [(column.layer, _five_numbers(column.statistics)) for column in columns if column.role == role]
        marks += draw_ranges(frame, ranges, hue)
    return frame, marks, scale


def _five_numbers(measured: Statistics) -> tuple[float | None, ...]:
    return measured.minimum, measured.p5, measured.median, measured.p95, measured.maximum


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
