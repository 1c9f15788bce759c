"""The report of an export as an HTML page: verdict, facts, differences, losses, and where the program came from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfckpt.errors import pluralize
from tfckpt.reporting import drawing
from tfckpt.reporting.drawing import draw_dot, draw_tip, make_log_frame, render_figure
from tfckpt.reporting.pages import escape, render_document
from tfckpt.reporting.words import format_number, format_size

from ..reporting import parts
from ..reporting.parts import render_command, render_list, render_pairs, render_settings
from .destinations import DESTINATIONS
from .quality import Losses
from .report import Comparison, ProgramReport

_STYLE = """\
td.number, th.number { text-align: right; } figure + .scroll { margin-top: .75rem; } .apart { --hue: var(--blue); }
path.limit { stroke: var(--amber); stroke-dasharray: 5 4; fill: none; } .allowed { --hue: var(--amber); }
"""
#: The ends of the scale of float32 noise, as powers of ten, if no difference is beyond them.
_LOW, _HIGH = -2.0, 2.0
#: The most comparisons that the picture shows; the table has all.
_MOST_COLUMNS = 200
_HEADS = ("difference", "allowed", "float32 noise", "largest value")
#: The distance from values that TensorFlow recorded, relative to the largest.
_RECORDED = "from TensorFlow"


def render_page(report: ProgramReport) -> str:
    """Return the page."""
    verdict, mark = ("Exported", "good") if report.passes else ("Not exported", "bad")
    name = _name(report.path)
    title = DESTINATIONS[report.destination].title
    findings = report.findings()
    return render_document(
        f"{verdict}: {name}",
        [
            f'<h1><span class="{mark}">{verdict}</span>: <code>{escape(name)}</code></h1>',
            f"<p>{escape(title)}, from {escape(report.taken_as)}.</p>",
            f'<pre class="bad">{escape(chr(10).join(findings))}</pre>' if findings else "",
            render_pairs(_list_facts(report)),
            *_render_check(report),
            "" if report.losses is None else _render_losses(report.losses, report.max_drop),
            *_render_preprocessing(report),
            render_command(report.command, otherwise="None: exported from Python."),
            render_list("Notes", report.notes),
            _render_origin(report),
        ],
        style=parts.STYLE + drawing.STYLE + _STYLE,
    )


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _list_facts(report: ProgramReport) -> list[tuple[str, str]]:
    files = [
        ("file" if number == 0 else "", f"{name}, {size:,} bytes ({format_size(size)})")
        for number, (name, size) in enumerate(report.files.items())
    ]
    precision = "float32" if report.losses is None else report.losses.precision
    facts = [
        *(("takes" if number == 0 else "", text) for number, text in enumerate(report.inputs)),
        *(("returns" if number == 0 else "", text) for number, text in enumerate(report.outputs)),
        ("parameters", f"{report.parameters:,}"),
        ("precision", precision),
        *(files or [("file", "none was written")]),
    ]
    return facts if report.labels is None else [*facts, ("labels", f"{report.labels:,} names of classes")]


def _render_check(report: ProgramReport) -> list[str]:
    """Say what ran the program, and draw and list how far its outputs are from the module's."""
    runtime = ", ".join(f"{package} {version}" for package, version in report.versions.items())
    what = "float32 program, from which the other was made," if report.losses is not None else "program"
    sentence = (
        f"{runtime} ran the {what} on {pluralize(report.cases, 'input')}, in a process of its own. "
        f"Differences are from the network in float64; {report.allowed_units:g} times the noise of its own float32 "
        f"({report.device}) are allowed, and the largest has {report.worst_units:.2g}."
    )
    return [
        "<h2>Check</h2>",
        f"<p>{escape(sentence)}</p>",
        _draw_comparisons(report.comparisons[:_MOST_COLUMNS], report.allowed_units),
        _render_table(report.comparisons),
    ]


def _draw_comparisons(comparisons: Sequence[Comparison], allowed: float) -> str:
    """Draw every difference in units of float32 noise on a log scale, and the limit."""
    if not comparisons:
        return ""
    finite = [each.units for each in comparisons if math.isfinite(each.units) and each.units > 0]
    high = max([_HIGH, *(math.log10(units) + 0.2 for units in finite)])
    low = min([_LOW, *(math.log10(units) - 0.2 for units in finite)])
    frame = make_log_frame(len(comparisons), low, high, height=120)
    limit = frame.y(allowed)
    marks = [f'<path class="limit" d="M0,{limit:.1f}H{drawing.WIDTH}"/>']
    for at, each in enumerate(comparisons):
        marks.append(draw_dot(frame.x(at), frame.y(each.units), "apart" if each.problem is None else "flag", size=8))
        marks.append(draw_tip(frame, at, f"{each.output}\n{each.sizes}\n{_format(each.units)} times float32 noise"))
    plot = frame.render(
        "differences in units of float32 noise", marks, places=[each.sizes.partition(" ")[2] for each in comparisons]
    )
    keys = [("apart", "an output"), ("allowed", "allowed")]
    return render_figure("Differences", "in units of float32 noise, on a log scale", plot, keys)


def _render_table(comparisons: Sequence[Comparison]) -> str:
    has_recorded = any(each.recorded is not None for each in comparisons)
    columns = (*_HEADS, _RECORDED) if has_recorded else _HEADS
    heads = "<th>output</th><th>inputs</th>" + "".join(f'<th class="number">{head}</th>' for head in columns)
    rows = []
    for each in comparisons:
        cells = (
            _format(each.difference),
            _format(each.allowed),
            f"× {_format(each.units)}",
            _format(each.largest),
            *(["" if each.recorded is None else _format(each.recorded)] if has_recorded else []),
        )
        numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        begin = "<tr>" if each.problem is None else '<tr class="bad">'
        rows.append(f"{begin}<td>{escape(each.output)}</td><td>{escape(each.sizes)}</td>{numbers}</tr>")
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _format(value: float) -> str:
    return format_number(value) if math.isfinite(value) else "infinite"


def _render_losses(losses: Losses, max_drop: float) -> str:
    """Render what less precision changed."""
    changed = "" if losses.changed is None else f"{losses.changed:,} of {losses.images:,}"
    pairs = [
        ("measured", losses.judges),
        ("difference", f"{losses.difference:.2e} of the largest value"),
        ("cosine", f"{losses.cosine:.6f}"),
        ("predictions changed", changed),
    ]
    if losses.accuracy_before is not None and losses.accuracy_after is not None:
        after = f"{losses.accuracy_after:.2%}; a loss of {max_drop:.2%} is allowed"
        pairs += [("accuracy before", f"{losses.accuracy_before:.2%}"), ("accuracy after", after)]
    else:
        pairs.append(("accuracy", "not measured: no labelled images were given"))
    return f"<h2>What {losses.precision} changed</h2>" + render_pairs((name, text) for name, text in pairs if text)


def _render_preprocessing(report: ProgramReport) -> list[str]:
    if report.preprocessing is None:
        sentence = "Not recorded by the source: the program takes what the network takes."
        return ["<h2>Preprocessing</h2>", f"<p>{sentence}</p>"]
    settings = report.preprocessing
    pairs = [(f"recorded ({settings.recipe})", settings.describe())]
    return ["<h2>Preprocessing</h2>", render_pairs(pairs), render_settings(settings)]


def _render_origin(report: ProgramReport) -> str:
    origin = report.origin
    rows = [("source", origin.name), *((name, f"SHA-256 {digest}") for name, digest in origin.sha256.items())]
    rows.append(("versions", ", ".join(f"{package} {version}" for package, version in origin.versions.items())))
    return f"<h2>Provenance</h2>{render_pairs((name, text) for name, text in rows if text)}"
