"""The page of a comparison: accuracy against latency with size as area, and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfckpt.reporting import drawing, scatter
from tfckpt.reporting.drawing import render_figure
from tfckpt.reporting.pages import escape, render_document
from tfckpt.reporting.scatter import Point, render_scatter
from tfckpt.reporting.words import format_number, format_size

_STYLE = "td.number, th.number { text-align: right; } .other { --hue: var(--violet); }\n"
_HEADS = ("accuracy", "ms × 1", "p90", "ms × 8", "p90", "size", "memory", "difference", "changed")


def render_page(outputs: Sequence[Mapping[str, Any]], where: str) -> str:
    """Return the page; `outputs` are the records of a comparison as dicts, and `where` says how they were measured."""
    return render_document(
        f"Compared: {', '.join(str(output['name']) for output in outputs)}",
        [
            "<h1>Compared</h1>",
            f"<p>{escape(where)}; each in a process of its own. "
            f"Differences are from <code>{escape(outputs[0]['name'])}</code>, relative to its largest value.</p>",
            _render_picture(outputs),
            _render_table(outputs),
        ],
        style=drawing.STYLE + scatter.STYLE + _STYLE,
    )


def _render_picture(outputs: Sequence[Mapping[str, Any]]) -> str:
    points = [
        Point(
            output["median_ms"]["1"],
            100 * output["accuracy"],
            output["name"],
            "this" if number == 0 else "other",
            f"{output['name']}\n{output['runtime']}\n{100 * output['accuracy']:.2f} %, "
            f"{output['median_ms']['1']:.3g} ms, {format_size(output['nbytes'])}",
            area=output["nbytes"],
        )
        for number, output in enumerate(outputs)
        if output["accuracy"] is not None and "1" in output["median_ms"]
    ]
    if len(points) < 2:
        return ""
    caption = "against milliseconds for one image, on a log scale; the area is the size of the file"
    plot = render_scatter("accuracy and latency", points, x_suffix=" ms", y_suffix=" %", y_most=100.0)
    return render_figure("Accuracy", caption, plot)


def _render_table(outputs: Sequence[Mapping[str, Any]]) -> str:
    heads = "<th>output</th><th>runtime</th>" + "".join(f'<th class="number">{head}</th>' for head in _HEADS)
    rows = []
    for output in outputs:
        versions = ", ".join(f"{package} {version}" for package, version in output["versions"].items())
        accuracy = "" if output["accuracy"] is None else f"{100 * output['accuracy']:.2f} %"
        cells = [
            accuracy,
            *(format_number(output[kind].get(batch)) for batch in ("1", "8") for kind in ("median_ms", "p90_ms")),
            format_size(output["nbytes"]),
            "" if output["peak_memory_bytes"] is None else format_size(output["peak_memory_bytes"]),
            f"{output['difference']:.1e}",
            f"{output['changed']:,} of {output['images']:,}",
        ]
        numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        runtime = escape(f"{output['runtime']}, {versions}")
        rows.append(f"<tr><td>{escape(output['name'])}</td><td>{runtime}</td>{numbers}</tr>")
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
