"""The report as Markdown that also reads as plain text: every table has columns of one width."""

from __future__ import annotations

from ..pages import block, plain, table
from .record import FullReport, PreprocessingCard
from .words import (
    ALL_WELL,
    STATISTICS_HEADINGS,
    Row,
    command,
    facts,
    megabytes,
    notes,
    remark_lines,
    rows,
    settings_json,
    statistics_cells,
)


def document(report: FullReport) -> str:
    """Give the whole document."""
    conversion = report.conversion
    lines = [
        f"# Converted: {plain(report.output.name)}",
        "",
        *table(("what", "is"), facts(report)),
        "",
        "## To repeat it",
        "",
        *([command(report) + "."] if report.command is None else block(command(report), "sh")),
    ]
    if report.output.changes:
        lines += ["", "## Changed after the conversion", "", *_list(report.output.changes)]
    if notes(report):
        lines += ["", "## Notes", "", *_list(notes(report))]
    lines += ["", "## What the numbers show", ""]
    if report.remarks:
        lines += [
            f"* {'**Wrong**' if remark.serious else 'Look at'}: {plain(remark_lines(remark))}"
            for remark in report.remarks
        ]
    else:
        lines.append(ALL_WELL)
    if report.preprocessing is not None:
        lines += ["", "## Preprocessing", "", *_preprocessing(report, report.preprocessing)]
    if report.family:
        lines += ["", "## Among its family", "", *_family(report)]
    listed = list(rows(report))
    written = any(row.written for row in listed)

    def named(row: Row) -> tuple[str, ...]:
        return (row.target, row.written) if written else (row.target,)

    targets = ("target", "output") if written else ("target",)
    used = [
        (*named(row), row.source, row.how, row.shape, row.dtype, row.checksum) for row in listed if row.kind == "used"
    ]
    lines += ["", "## Tensors that were used", ""]
    lines += table((*targets, "source", "layout", "shape", "dtype", "crc32c"), used)
    if conversion.constants:
        filled = [(*named(row), row.how, row.dtype) for row in listed if row.kind == "constant"]
        lines += ["", "## Targets that no source fills", "", *table((*targets, "value", "dtype"), filled)]
    if conversion.ignored:
        left = [(row.source, row.how) for row in listed if row.kind == "ignored"]
        lines += ["", "## Tensors that were left out", "", *table(("source", "reason"), left)]
    measured = [(target, *statistics_cells(found)) for target, found in report.statistics.items()]
    lines += ["", "## Statistics", "", "Of the values as they were converted.", ""]
    lines += table(STATISTICS_HEADINGS, measured, right=range(1, len(STATISTICS_HEADINGS)))
    files = [
        (file.name, "not known" if file.nbytes is None else f"{file.nbytes:,}", file.sha256 or "")
        for file in conversion.files
    ]
    if files:
        lines += ["", "## Files", "", *table(("file", "bytes", "SHA-256"), files, right=(1,))]
    lines += ["", "## Versions", "", *table(("package", "version"), list(conversion.versions.items()))]
    return "\n".join(lines) + "\n"


def _list(sentences: tuple[str, ...]) -> list[str]:
    return [f"* {plain(sentence)}" for sentence in sentences]


def _preprocessing(report: FullReport, card: PreprocessingCard) -> list[str]:
    lines = [plain(card.sentence)]
    if card.settings is not None:
        lines += ["", f"{plain(card.settings.recipe)}: {plain(card.settings.describe())}"]
    if card.others:
        lines += ["", *table(("other release", "what it does"), card.others)]
    if card.settings is not None:
        lines += ["", *block(settings_json(report), "json")]
    return lines


def _family(report: FullReport) -> list[str]:
    cells = [
        (
            f"{variant.name} (this one)" if variant.converted else variant.name,
            f"{variant.classes:,}",
            f"{variant.parameters:,}",
            megabytes(variant.nbytes),
            *(("", "") if variant.published is None else (f"{value:g}" for value in variant.published)),
        )
        for variant in report.family
    ]
    headings = ("network", "classes", "parameters", "tensors", "published, millions", "multiply-adds, billions")
    return table(headings, cells, right=range(1, len(headings)))
