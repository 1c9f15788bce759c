"""A proof as one page that needs nothing else: verdict, a plot of the error by layer, the layers, and the weights."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfckpt.errors import printable

from .layers_report import ALONE_TOLERANCE, HEADINGS, LayerRecord, LayersReport

if TYPE_CHECKING:
    from .report import Proof

_STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --page: #ffffff; --band: #f6f8fa;
  --good: #1a7f37; --bad: #cf222e; --whole: #0969da; --alone: #8250df; --noise: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --page: #0d1117;
  --band: #151b23; --good: #3fb950; --bad: #f85149; --whole: #4493f8; --alone: #ab7df8; --noise: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  padding: 2rem 1.5rem 4rem; max-width: 70rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; color: var(--soft); } code, pre, td, svg text { font-variant-numeric: tabular-nums; }
code, pre, td { font-family: ui-monospace, monospace; font-size: 13px; } pre { background: var(--band);
  padding: .75rem 1rem; overflow-x: auto; border-radius: 6px; }
pre.bad { white-space: pre-wrap; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; } th { text-align: left;
  font-size: 13px; color: var(--soft); font-weight: 600; } th, td { padding: .2rem .75rem .2rem 0;
  border-bottom: 1px solid var(--line); white-space: nowrap; } tr.bad td { color: var(--bad); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.grid { stroke: var(--line); } .allowed { stroke: var(--soft); stroke-dasharray: 5 4; fill: none; }
.noise { stroke: var(--noise); fill: none; stroke-width: 1.5; } .whole { stroke: var(--whole); fill: none;
  stroke-width: 1.75; } .alone { stroke: var(--alone); fill: none; stroke-width: 1.75; }
circle.whole { fill: var(--whole); stroke: none; } circle.alone { fill: var(--alone); stroke: none; }
circle.faulty { fill: var(--bad); stroke: none; }
"""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1040, 380, 52, 34, 132
#: What is zero, or below what float64 can tell, is drawn here.
_LEAST_EXPONENT = -17


def page(proof: Proof) -> str:
    """The whole document."""
    verdict, mark = ("Proved", "good") if proof.ok else ("Not proved", "bad")
    name = _text(proof.output)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{verdict}: {name}</title><style>{_STYLE}</style></head><body>",
        f'<h1><span class="{mark}">{verdict}</span>: <code>{name}</code></h1>',
        f"<p>Compared with the checkpoint <code>{_text(proof.source)}</code>.</p>",
        f"<h2>Weights</h2><pre>{_text(proof.weights.summary())}</pre>",
        _findings(proof.weights.findings()),
    ]
    if proof.layers is not None:
        parts += [
            f"<h2>Layers</h2><pre>{_text(proof.layers.summary())}</pre>",
            _findings(proof.layers.findings()),
            plot(proof.layers),
            _table(proof.layers),
        ]
    if proof.golden is not None:
        parts += [
            f"<h2>Values TensorFlow recorded</h2><pre>{_text(proof.golden.summary())}</pre>",
            _findings(proof.golden.findings()),
        ]
    if proof.not_proved:
        parts += ["<h2>Not proved</h2>", *(f"<p>{_text(sentence)}</p>" for sentence in proof.not_proved)]
    return "\n".join([*filter(None, parts), "</body></html>"]) + "\n"


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
        lines.append(f'<text x="{left + 28}" y="18">{_text(label)}</text>')
    for at, record in enumerate(records):
        for kind, value in (("whole", record.max_rel), ("alone", record.alone)):
            mark = "faulty" if _is_beyond(record, kind) else kind
            tip = _text(f"{record.layer}: {value:.2g} {kind}")
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
            f"{_text(records[at].layer)}</text>"
        )
    return lines


def _is_beyond(record: LayerRecord, kind: str) -> bool:
    return not record.max_rel <= record.tolerance if kind == "whole" else not record.alone <= ALONE_TOLERANCE


def _table(report: LayersReport) -> str:
    head = "".join(f"<th>{_text(heading)}</th>" for heading in (*HEADINGS, "tensor of the graph"))
    lines = [f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>']
    for record, row in zip(report.records, report.rows(), strict=True):
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in (*row, record.tensor))
        lines.append(f"<tr{'' if record.agrees else ' class=bad'}>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _findings(findings: Sequence[str]) -> str:
    return "" if not findings else f'<pre class="bad">{_text(chr(10).join(findings))}</pre>'


def _exponent(value: float) -> float:
    """The power of ten, within what is drawn; what is not finite stands at the top."""
    if not math.isfinite(value):
        return 0.0
    return max(math.log10(value), _LEAST_EXPONENT) if value > 0 else _LEAST_EXPONENT


def _text(text: str) -> str:
    return html.escape("\n".join(printable(line) for line in text.split("\n")))
