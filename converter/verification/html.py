"""A proof as an HTML page: verdict, summaries, findings, and a plot and a table of the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfckpt.reporting import drawing
from tfckpt.reporting.drawing import draw_dot, draw_tip, make_log_frame, render_figure
from tfckpt.reporting.pages import escape, render_document

from ..reporting.plots import find_stage
from .layers_report import ALONE_TOLERANCE, HEADINGS, LayerRecord, LayersReport
from .report import Proof

_STYLE = """\
.allowed { --hue: var(--soft); } .noise { --hue: var(--amber); } .whole { --hue: var(--blue); }
.alone { --hue: var(--violet); } polyline { stroke: var(--hue); fill: none; stroke-width: 1.5; }
polyline.allowed { stroke-dasharray: 5 4; }
"""
#: The lower end of the scale, below the precision of float64.
_LEAST_EXPONENT = -17


def render_page(proof: Proof) -> str:
    """Return the page."""
    verdict, mark = ("Proved", "good") if proof.ok else ("Not proved", "bad")
    parts = [
        f'<h1><span class="{mark}">{verdict}</span>: <code>{escape(proof.output)}</code></h1>',
        f"<p>Compared with the checkpoint <code>{escape(proof.source)}</code>.</p>",
    ]
    for title, part in proof.parts:
        parts += [f"<h2>{title}</h2><pre>{escape(part.summary())}</pre>", _render_findings(part.findings())]
        if isinstance(part, LayersReport):
            parts += [draw_plot(part), _render_table(part)]
    if proof.not_proved:
        parts += ["<h2>Not proved</h2>", *(f"<p>{escape(sentence)}</p>" for sentence in proof.not_proved)]
    return render_document(f"{verdict}: {proof.output}", parts, style=drawing.STYLE + _STYLE)


def draw_plot(report: LayersReport) -> str:
    """Draw the errors of all layers on a log scale: in the whole run, alone, the oracle's noise, and the tolerance."""
    records = report.records
    errors = [record.max_rel for record in records if record.max_rel > 0 and math.isfinite(record.max_rel)]
    high = 3 * math.ceil(math.log10(max([1e-2, *errors])) / 3)
    frame = make_log_frame(len(records), _LEAST_EXPONENT, high, height=214)
    series = (
        ("noise", "oracle in float32", [record.noise for record in records]),
        ("allowed", "allowed", [record.tolerance for record in records]),
        ("whole", f"whole run ({report.dtype})", [record.max_rel for record in records]),
        ("alone", "alone (float64)", [record.alone for record in records]),
    )
    marks = []
    for kind, _, values in series:
        points = " ".join(f"{frame.x(at):.1f},{frame.y(value):.1f}" for at, value in enumerate(values))
        marks.append(f'<polyline class="{kind}" points="{points}"/>')
    for at, record in enumerate(records):
        for kind, value in (("whole", record.max_rel), ("alone", record.alone)):
            marks.append(draw_dot(frame.x(at), frame.y(value), "flag" if _is_beyond(record, kind) else kind))
        tip = f"{record.layer}: {record.max_rel:.2g} in the whole run, {record.alone:.2g} alone"
        marks.append(draw_tip(frame, at, tip))
    places = [find_stage(record.layer) for record in records]
    plot = frame.render("error of every layer on a log scale", marks, places=places)
    return render_figure("Errors", "of every layer, on a log scale", plot, [(kind, label) for kind, label, _ in series])


def _is_beyond(record: LayerRecord, kind: str) -> bool:
    return not record.max_rel <= record.tolerance if kind == "whole" else not record.alone <= ALONE_TOLERANCE


def _render_table(report: LayersReport) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in (*HEADINGS, "tensor of the graph"))
    lines = [f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>']
    for record, row in zip(report.records, report.rows(), strict=True):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (*row, record.tensor))
        lines.append(f"<tr{'' if record.agrees else ' class=bad'}>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _render_findings(findings: Sequence[str]) -> str:
    return "" if not findings else f'<pre class="bad">{escape(chr(10).join(findings))}</pre>'
