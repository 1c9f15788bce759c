"""A proof as one page that needs nothing else: verdict, a plot of the error by layer, the layers, and the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..pages import document, text
from .layers_report import ALONE_TOLERANCE, HEADINGS, LayerRecord, LayersReport
from .report import Proof

_STYLE = """\
.allowed { stroke: var(--soft); stroke-dasharray: 5 4; fill: none; }
.noise { stroke: var(--amber); fill: none; stroke-width: 1.5; } .whole { stroke: var(--blue); fill: none;
  stroke-width: 1.75; } .alone { stroke: var(--violet); fill: none; stroke-width: 1.75; }
circle.whole { fill: var(--blue); stroke: none; } circle.alone { fill: var(--violet); stroke: none; }
circle.faulty { fill: var(--bad); stroke: none; }
"""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1040, 380, 52, 34, 132
#: What is zero, or below what float64 can tell, is drawn here.
_LEAST_EXPONENT = -17


def page(proof: Proof) -> str:
    """The whole document."""
    verdict, mark = ("Proved", "good") if proof.ok else ("Not proved", "bad")
    parts = [
        f'<h1><span class="{mark}">{verdict}</span>: <code>{text(proof.output)}</code></h1>',
        f"<p>Compared with the checkpoint <code>{text(proof.source)}</code>.</p>",
    ]
    for title, part in proof.parts:
        parts += [f"<h2>{title}</h2><pre>{text(part.summary())}</pre>", _findings(part.findings())]
        if isinstance(part, LayersReport):
            parts += [plot(part), _table(part)]
    if proof.not_proved:
        parts += ["<h2>Not proved</h2>", *(f"<p>{text(sentence)}</p>" for sentence in proof.not_proved)]
    return document(f"{verdict}: {proof.output}", parts, style=_STYLE)


def plot(report: LayersReport) -> str:
    """The error of every layer on a log scale: in the whole run, alone, the oracle's noise, and what is allowed."""
    records = report.records
    top = max([-2, *(_exponent(record.max_rel) for record in records)])
    least, most = _LEAST_EXPONENT, 3 * math.ceil(top / 3)

    def x(position: int) -> float:
        return _LEFT + (position + 0.5) * (_WIDTH - _LEFT - 8) / len(records)

    def y(exponent: float) -> float:
        return _TOP + (most - min(max(exponent, least), most)) * (_HEIGHT - _TOP - _BOTTOM) / (most - least)

    lines = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="error of every layer on a log scale">',
        *_axis(least, most, y),
    ]
    series = (
        ("noise", "oracle in float32", [record.noise for record in records]),
        ("allowed", "allowed", [record.tolerance for record in records]),
        ("whole", f"whole run ({report.dtype})", [record.max_rel for record in records]),
        ("alone", "alone (float64)", [record.alone for record in records]),
    )
    for number, (kind, label, values) in enumerate(series):
        points = " ".join(f"{x(at):.1f},{y(_exponent(value)):.1f}" for at, value in enumerate(values))
        lines.append(f'<polyline class="{kind}" points="{points}"/>')
        left = _LEFT + 170 * number
        lines.append(f'<line class="{kind}" x1="{left}" y1="14" x2="{left + 22}" y2="14"/>')
        lines.append(f'<text x="{left + 28}" y="18">{text(label)}</text>')
    for at, record in enumerate(records):
        for kind, value in (("whole", record.max_rel), ("alone", record.alone)):
            mark = "faulty" if _is_beyond(record, kind) else kind
            tip = text(f"{record.layer}: {value:.2g} {kind}")
            lines.append(
                f'<circle class="{mark}" cx="{x(at):.1f}" cy="{y(_exponent(value)):.1f}" r="3">'
                f"<title>{tip}</title></circle>"
            )
    lines += _names(records, x)
    return "\n".join([*lines, "</svg>"])


def _axis(least: int, most: int, y: Callable[[float], float]) -> list[str]:
    lines = []
    for exponent in range(least, most + 1):
        if exponent % 3 == 0:
            at = y(exponent)
            lines.append(f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH}" y2="{at:.1f}"/>')
            lines.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">1e{exponent}</text>')
    return lines


def _names(records: Sequence[LayerRecord], x: Callable[[int], float]) -> list[str]:
    """Names under the plot, as many as can be read."""
    step = math.ceil(len(records) / 60)
    bottom = _HEIGHT - _BOTTOM + 14
    lines = []
    for at in range(0, len(records), step):
        place = f"{x(at) + 3:.1f},{bottom}"
        lines.append(
            f'<text x="{x(at) + 3:.1f}" y="{bottom}" text-anchor="end" transform="rotate(-60 {place})">'
            f"{text(records[at].layer)}</text>"
        )
    return lines


def _is_beyond(record: LayerRecord, kind: str) -> bool:
    return not record.max_rel <= record.tolerance if kind == "whole" else not record.alone <= ALONE_TOLERANCE


def _table(report: LayersReport) -> str:
    head = "".join(f"<th>{text(heading)}</th>" for heading in (*HEADINGS, "tensor of the graph"))
    lines = [f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>']
    for record, row in zip(report.records, report.rows(), strict=True):
        cells = "".join(f"<td>{text(cell)}</td>" for cell in (*row, record.tensor))
        lines.append(f"<tr{'' if record.agrees else ' class=bad'}>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _findings(findings: Sequence[str]) -> str:
    return "" if not findings else f'<pre class="bad">{text(chr(10).join(findings))}</pre>'


def _exponent(value: float) -> float:
    """The power of ten, within what is drawn; what is not finite stands at the top."""
    if not math.isfinite(value):
        return 0.0
    return max(math.log10(value), _LEAST_EXPONENT) if value > 0 else _LEAST_EXPONENT
