"""Texts of the page: facts, remarks, and rows of the list of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfckpt.errors import join_some, pluralize

from ..mapping.constants import format_value
from ..mapping.report import describe_classes
from .record import FullReport
from .statistics import Remark

#: A remark lists so many names and counts the others; the tables mark all of them.
_NAMED = 6

ALL_WELL = "Every value is finite, no variance is negative, no layer is dead, and no kernel is an outlier."


def list_facts(report: FullReport) -> list[tuple[str, str]]:
    """Return the facts about a conversion and its output, as pairs of a name and a text."""
    conversion, output = report.conversion, report.output
    raw = conversion.used - conversion.averaged
    weights = f"{conversion.averaged:,} moving averages" if conversion.averaged else f"{raw:,} raw values"
    if conversion.averaged and raw:
        weights += f", {raw:,} raw values without an average"
    elif not conversion.averaged and conversion.weights == "ema":
        weights += " (the source has no moving averages)"
    pairs = [
        ("source", conversion.source),
        ("network", f"{conversion.network}: {conversion.parameters:,} parameters" + _classes(report)),
        ("decided by", "; ".join(conversion.evidence)),
        ("assumed", conversion.assumed or ""),
        ("weights", weights),
        ("tensors", describe_totals(report)),
        ("output", f"{pluralize(output.tensors, 'tensor')}, {output.nbytes:,} bytes, {_dtypes(output.dtypes)}"),
        ("target", output.target + (f", its model {output.model}" if output.model is not None else "")),
        ("classifier", f"the dense layer {conversion.head}" if conversion.head is not None else ""),
        ("labels", f"{output.labels:,} class names" if output.labels is not None else ""),
        ("proof", "not asked for" if report.proof is None else report.proof.line),
        ("scope", conversion.scope),
        ("rules", f"{conversion.rules}, version {conversion.rules_version}"),
    ]
    return [(name, value) for name, value in pairs if value]


def describe_totals(report: FullReport) -> str:
    """Return how the counts of sources and targets add up."""
    conversion = report.conversion
    used, filled, ignored = conversion.used, conversion.filled, len(conversion.ignored)
    constants, tied = len(conversion.constants), len(conversion.tied)
    return (
        f"{used + ignored:,} in the source = {used:,} used + {ignored:,} ignored; "
        f"{filled + constants + tied:,} targets = {filled:,} used + {constants:,} constant"
        + (f" + {tied:,} tied" if tied else "")
    )


def list_notes(report: FullReport) -> tuple[str, ...]:
    """Return the notes of the conversion and of the target."""
    return (*report.conversion.notes, *report.output.notes)


def format_remark(remark: Remark) -> str:
    """Return a remark with the first of its tensors."""
    names = (f"{target} ({numbers})" if numbers else target for target, numbers in remark.targets.items())
    return f"{remark.sentence}: {join_some(names, most=_NAMED)}"


class Row(NamedTuple):
    """A row of the list of tensors, with the kind `used`, `constant`, `tied` or `ignored`; empty cells are not shown.

    `written` says whether the tensor was not written, or was written under another name.
    """

    kind: str
    target: str
    written: str
    source: str
    how: str
    shape: str
    dtype: str
    checksum: str


def iterate_rows(report: FullReport) -> Iterator[Row]:
    """Yield a row for each tensor: used, then constant, tied and ignored ones."""
    for used in report.conversion.tensors:
        yield Row(
            "used",
            used.target,
            _written(report, used.target),
            used.source,
            used.layout,
            format_shapes(used.source_shape, used.target_shape),
            used.dtype,
            "" if used.crc32c is None else f"{used.crc32c:08x}",
        )
    for filled in report.conversion.constants:
        written = _written(report, filled.target)
        yield Row(
            "constant",
            filled.target,
            written,
            "",
            f"{format_value(filled.value)}: {filled.reason}",
            "",
            filled.dtype,
            "",
        )
    for tie in report.conversion.tied:
        yield Row(
            "tied", tie.target, _written(report, tie.target), "", f"the tensor {tie.to}: {tie.reason}", "", "", ""
        )
    for ignored in report.conversion.ignored:
        yield Row("ignored", "", "", ignored.source, ignored.reason, "", "", "")


def format_shapes(source: tuple[int, ...], target: tuple[int, ...]) -> str:
    """Return both shapes, or one if they are equal."""
    written = ["×".join(map(str, shape)) or "scalar" for shape in (source, target)]
    return written[0] if source == target else f"{written[0]} → {written[1]}"


def _written(report: FullReport, target: str) -> str:
    written = report.written_as(target)
    if written is None:
        return "not written"
    return "" if written == target else f"written as {written}"


def _classes(report: FullReport) -> str:
    config = report.conversion.config
    return "" if config is None else f", {describe_classes(config['num_classes'])}"


def _dtypes(dtypes: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {name}" for name, count in dtypes.items())
