"""The report as an HTML page: facts, remarks, preprocessing, plots of the weights, the family, and all tensors.

The list of tensors is complete without the script, which adds a search, a filter, and links such as
`#q=stem&kind=used`.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable

from tfckpt.reporting import drawing, scatter, search
from tfckpt.reporting.drawing import render_figure
from tfckpt.reporting.pages import escape, render_document
from tfckpt.reporting.scatter import Point, render_scatter
from tfckpt.reporting.search import render_search
from tfckpt.reporting.words import format_number, format_size

from ..formats.proof import ProofRecord
from . import parts, plots
from .parts import render_command, render_list, render_pairs, render_settings
from .record import FullReport, PreprocessingCard
from .sizes import Variant
from .words import ALL_WELL, Row, format_remark, iterate_rows, list_facts, list_notes

_STYLE = """\
tr.this td { font-weight: 700; } .doubt { color: var(--amber); }
.bar { min-width: 4rem; width: 30%; } .bar i { display: block; height: .8em; min-width: 1px; border-radius: 2px;
  background: var(--line); } .this .bar i { background: var(--blue); }
#listed td { vertical-align: top; padding-top: .35rem; padding-bottom: .35rem; }
#listed td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 15rem; width: 45%; }
#listed small { display: block; font-size: 12px; color: var(--soft); }
"""


def render_page(report: FullReport) -> str:
    """Return the page."""
    return render_document(
        f"Converted: {report.output.name}",
        [
            f"<h1>Converted: <code>{escape(report.output.name)}</code></h1>",
            f"<p>From the checkpoint <code>{escape(report.conversion.source)}</code>.</p>",
            render_pairs(list_facts(report)),
            "" if report.proof is None else _render_proof(report.proof),
            render_command(report.command, otherwise="None: converted from Python."),
            render_list("Changes after the conversion", report.output.changes),
            render_list("Notes", list_notes(report)),
            _render_remarks(report),
            "" if report.preprocessing is None else _render_preprocessing(report.preprocessing),
            _render_weights(report),
            _render_variants(report) if report.variants else "",
            _render_tensors(report),
            _render_provenance(report),
        ],
        style=parts.STYLE + _STYLE + search.STYLE + drawing.STYLE + scatter.STYLE + plots.STYLE,
        script=search.SCRIPT,
    )


def _render_proof(proof: ProofRecord) -> str:
    """Render what was proved, with the SHA-256 of what was compared and of what was written."""
    rows = [*proof.rows(), ("sha256", f"{proof.tensors_sha256}  the tensors of the output")]
    titles = ["" if number and rows[number - 1][0] == title else title for number, (title, _) in enumerate(rows)]
    return "<h2>Proof</h2>" + render_pairs((title, text) for title, (_, text) in zip(titles, rows, strict=True))


def _render_remarks(report: FullReport) -> str:
    if not report.remarks:
        return f"<h2>What the numbers show</h2><p>{ALL_WELL}</p>"
    items = (
        f"<li{' class=bad' if remark.serious else ''}>{escape(format_remark(remark))}</li>" for remark in report.remarks
    )
    return f"<h2>What the numbers show</h2><ul>{''.join(items)}</ul>"


def _render_preprocessing(card: PreprocessingCard) -> str:
    lines = [f"<h2>Preprocessing</h2><p{' class=doubt' if card.doubtful else ''}>{escape(card.sentence)}</p>"]
    pairs = list(card.others)
    if card.settings is not None:
        pairs.insert(0, (f"stored ({card.settings.recipe})", card.settings.describe()))
    if pairs:
        lines.append(render_pairs(pairs))
    if card.settings is not None:
        lines.append(render_settings(card.settings))
    return "\n".join(lines)


def _render_weights(report: FullReport) -> str:
    figures = plots.draw_plots(report)
    if not figures:
        return ""
    changed = ", before the changes above" if report.output.changes else ""
    return "\n".join([f"<h2>Weights along the network</h2><p>The converted values{changed}.</p>", *figures])


def _render_variants(report: FullReport) -> str:
    most = max(variant.parameters for variant in report.variants)
    lines = []
    for variant in report.variants:
        figures = variant.published or ("", "", None)
        published = ["" if value in ("", None) else f"{value:g}" for value in figures]
        cells = (f"{variant.classes:,}", f"{variant.parameters:,}", format_size(variant.nbytes), *published)
        numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        own = " (this one)" if variant.converted else ""
        width = 100 * variant.parameters / most
        lines.append(
            f"<tr{' class=this' if variant.converted else ''}><td>{escape(variant.name)}{own}</td>"
            f'<td class="bar"><i style="width:{width:.2f}%"></i></td>{numbers}</tr>'
        )
    heads = ("classes", "parameters", "tensors", "published, M", "multiply-adds, G", "top-1, %")
    head = "<th>network</th><th></th>" + "".join(f'<th class="number">{heading}</th>' for heading in heads)
    return "\n".join(
        [
            "<h2>Family</h2><p>Sizes of this network are as written, those of the others in float32.</p>",
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>',
            *lines,
            "</tbody></table></div>",
            *_render_family_plots(report.variants),
        ]
    )


def _render_family_plots(variants: Iterable[Variant]) -> list[str]:
    """Draw published accuracy against size and multiply-adds; the network at hand is marked."""
    known = [(variant, variant.published) for variant in variants if variant.published is not None]
    sizes = [(each, figures.parameters, figures.top1) for each, figures in known if figures.top1 is not None]
    work = [(each, figures.multiply_adds, figures.top1) for each, figures in known if figures.top1 is not None]
    if len(sizes) < 2:
        return []
    plots = []
    for title, axis, rows in (
        ("Accuracy and size", "million parameters", sizes),
        ("Accuracy and work", "billion multiply-adds", work),
    ):
        points = [
            Point(
                x,
                top1,
                variant.name.removeprefix("efficientnet"),
                "this" if variant.converted else "published",
                f"{variant.name}\n{top1:g} %, {x:g} {axis}, as published",
            )
            for variant, x, top1 in rows
        ]
        caption = f"published top-1 on ImageNet against {axis}, on a log scale"
        plots.append(render_figure(title, caption, render_scatter(title, points, y_suffix=" %")))
    return plots


def _render_tensors(report: FullReport) -> str:
    listed = list(iterate_rows(report))
    counts = collections.Counter(row.kind for row in listed)
    serious = {target for remark in report.remarks if remark.serious for target in remark.targets}
    choices = [
        ("all", len(listed)),
        *((kind, counts[kind]) for kind in ("used", "constant", "tied", "ignored") if counts[kind]),
    ]
    heads = ("shape", "layout", "dtype", "crc32c")
    numbers = ("mean", "std", "min", "max")
    head = "<th>tensor and source</th>" + "".join(f"<th>{heading}</th>" for heading in heads)
    head += "".join(f'<th class="number">{heading}</th>' for heading in numbers)
    return "\n".join(
        [
            "<h2>Tensors</h2>",
            render_search(choices, "part of a name, shape, checksum …"),
            f'<div class="scroll"><table id="listed"><thead><tr>{head}</tr></thead><tbody>',
            *(_render_row(report, row, row.target in serious) for row in listed),
            "</tbody></table></div>",
        ]
    )


def _render_row(report: FullReport, row: Row, serious: bool) -> str:
    begin = f'<tr data-kind="{row.kind}"{" class=bad" if serious else ""}>'
    how = {
        "used": f"← {row.source}",
        "constant": f"constant {row.how}",
        "tied": f"tied: {row.how}",
        "ignored": f"ignored: {row.how}",
    }[row.kind]
    name = _break_name(row.target or row.source) + "".join(
        f"<small>{_break_name(line)}</small>" for line in (row.written, how) if line
    )
    if row.kind != "used":
        return f'{begin}<td>{name}</td><td colspan="8"></td></tr>'
    measured = report.statistics.get(row.target)
    values = (None,) * 4 if measured is None else (measured.mean, measured.std, measured.minimum, measured.maximum)
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in (row.shape, row.how, row.dtype, row.checksum))
    cells += "".join(f'<td class="number">{format_number(value)}</td>' for value in values)
    return f"{begin}<td>{name}</td>{cells}</tr>"


def _break_name(name: str) -> str:
    """Return an escaped name that may be wrapped after a slash."""
    return escape(name).replace("/", "/<wbr>")


def _render_provenance(report: FullReport) -> str:
    conversion = report.conversion
    files = [
        (
            file.name,
            ("unknown size" if file.nbytes is None else f"{file.nbytes:,} bytes")
            + (f", SHA-256 {file.sha256}" if file.sha256 is not None else ""),
        )
        for file in conversion.files
    ]
    versions = ", ".join(f"{package} {version}" for package, version in conversion.versions.items())
    return f"<h2>Provenance</h2>{render_pairs([*files, ('versions', versions)])}"
