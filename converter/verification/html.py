"""A proof as an HTML page: verdict, summaries, findings, and a plot and a table of the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..reporting.drawing import LEFT, make_log_frame
from ..reporting.pages import escape, render_document
from .layers_report import ALONE_TOLERANCE, HEADINGS, LayerRecord, LayersReport
from .report import Proof

_STYLE = """\
.allowed { stroke: var(--soft); stroke-dasharray: 5 4; fill: none; }
.noise { stroke: var(--amber); fill: none; stroke-width: 1.5; } .whole { stroke: var(--blue); fill: none;
  stroke-width: 1.75; } .alone { stroke: var(--violet); fill: none; stroke-width: 1.75; }
circle.whole { fill: var(--blue); stroke: none; } circle.alone { fill: var(--violet); stroke: none; }
circle.faulty { fill: var(--bad); stroke: none; }
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
    return render_document(f"{verdict}: {proof.output}", parts, style=_STYLE)


def draw_plot(report: LayersReport) -> str:
    """Draw the errors of all layers on a log scale: in the whole run, alone, the oracle's noise, and the tolerance."""
    records = report.records
    errors = [record.max_rel for record in records if record.max_rel > 0 and math.isfinite(record.max_rel)]
    high = 3 * math.ceil(math.log10(max([1e-2, *errors])) / 3)
    frame = make_log_frame(len(records), _LEAST_EXPONENT, high, top=34, height=214, below=132)
    series = (
        ("noise", "oracle in float32", [record.noise for record in records]),
        ("allowed", "allowed", [record.tolerance for record in records]),
        ("whole", f"whole run ({report.dtype})", [record.max_rel for record in records]),
        ("alone", "alone (float64)", [record.alone for record in records]),
    )
    marks = []
    for number, (kind, label, values) in enumerate(series):
        points = " ".join(f"{frame.x(at):.1f},{frame.y(value):.1f}" for at, value in enumerate(values))
        marks.append(f'<polyline class="{kind}" points="{points}"/>')
        left = LEFT + 170 * number
        marks.append(f'<line class="{kind}" x1="{left}" y1="14" x2="{left + 22}" y2="14"/>')
        marks.append(f'<text x="{left + 28}" y="18">{escape(label)}</text>')
    for at, record in enumerate(records):
        for kind, value in (("whole", record.max_rel), ("alone", record.alone)):
            mark = "faulty" if _is_beyond(record, kind) else kind
            marks.append(
                f'<circle class="{mark}" cx="{frame.x(at):.1f}" cy="{frame.y(value):.1f}" r="3">'
                f"<title>{escape(f'{record.layer}: {value:.2g} {kind}')}</title></circle>"
            )
    for at in range(0, len(records), math.ceil(len(records) / 60)):  # as many names as can be read
        x, y = frame.x(at) + 3, frame.bottom + 14
        marks.append(
            f'<text x="{x:.1f}" y="{y}" text-anchor="end" transform="rotate(-60 {x:.1f},{y})">'
            f"{escape(records[at].layer)}</text>"
        )
    return frame.render("error of every layer on a log scale", marks)


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
