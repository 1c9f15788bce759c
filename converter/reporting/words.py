"""The texts of the page: facts, remarks, rows of the list of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfckpt.errors import join_some, pluralize

from ..mapping.report import describe_classes
from .record import FullReport
from .statistics import Remark

#: Names that a remark lists before it counts the rest; every one of them is marked in the tables.
_NAMED = 6

ALL_WELL = "Every value is finite, no variance is negative, no layer is dead, and no kernel is an outlier."


def facts(report: FullReport) -> list[tuple[str, str]]:
    """Pairs of a word and what is said of it."""
    conversion, output = report.conversion, report.output
    raw = len(conversion.tensors) - conversion.averaged
    weights = f"{conversion.averaged:,} moving averages" if conversion.averaged else f"{raw:,} raw values"
    if conversion.averaged and raw:
        weights += f", {raw:,} raw values where there is none"
    elif not conversion.averaged and conversion.weights == "ema":
        weights += " (no moving averages here)"
    found = [
        ("source", conversion.source),
        ("network", f"{conversion.network}: {conversion.parameters:,} parameters" + _classes(report)),
        ("decided by", "; ".join(conversion.evidence)),
        ("weights", weights),
        ("tensors", totals(report)),
        ("output", f"{pluralize(output.tensors, 'tensor')}, {output.nbytes:,} bytes, {_dtypes(output.dtypes)}"),
        ("target", output.target + (f", its model {output.model}" if output.model is not None else "")),
        ("classifier", f"the dense layer {conversion.head}" if conversion.head is not None else ""),
        ("labels", f"{output.labels:,} names of classes" if output.labels is not None else ""),
        ("scope", conversion.scope),
        ("rules", f"{conversion.rules}, version {conversion.rules_version}"),
    ]
    return [(word, said) for word, said in found if said]


def totals(report: FullReport) -> str:
    """Say how the sources and the targets add up."""
    used, ignored, constants = (
        len(records) for records in (report.conversion.tensors, report.conversion.ignored, report.conversion.constants)
    )
    return (
        f"{used + ignored:,} in the source = {used:,} used + {ignored:,} ignored; "
        f"{used + constants:,} targets = {used:,} used + {constants:,} constant"
    )


def notes(report: FullReport) -> tuple[str, ...]:
    """Sentences of the conversion and of the target."""
    return (*report.conversion.notes, *report.output.notes)


def remark_lines(remark: Remark) -> str:
    """Say a remark with the first of its tensors."""
    named = (f"{target} ({said})" if said else target for target, said in remark.targets.items())
    return f"{remark.sentence}: {join_some(named, most=_NAMED)}"


def number(value: float | None) -> str:
    """Three digits; a dash for what there is not."""
    return "–" if value is None else f"{value:.3g}"


class Row(NamedTuple):
    """A tensor of the list: of the kind `used`, `constant` or `ignored`; what is empty is not said.

    `written` says under which name, where that is another, or that it is not.
    """

    kind: str
    target: str
    written: str
    source: str
    how: str
    shape: str
    dtype: str
    checksum: str


def rows(report: FullReport) -> Iterator[Row]:
    """Every tensor there is: used, then constant, then ignored."""
    for used in report.conversion.tensors:
        yield Row(
            "used",
            used.target,
            _written(report, used.target),
            used.source,
            used.layout,
            shapes(used.source_shape, used.target_shape),
            used.dtype,
            "" if used.crc32c is None else f"{used.crc32c:08x}",
        )
    for filled in report.conversion.constants:
        written = _written(report, filled.target)
        yield Row("constant", filled.target, written, "", f"{filled.value:g}: {filled.reason}", "", filled.dtype, "")
    for ignored in report.conversion.ignored:
        yield Row("ignored", "", "", ignored.source, ignored.reason, "", "", "")


def shapes(source: tuple[int, ...], target: tuple[int, ...]) -> str:
    """Both shapes, or one where they are the same."""
    written = ["×".join(map(str, shape)) or "scalar" for shape in (source, target)]
    return written[0] if source == target else f"{written[0]} → {written[1]}"


def megabytes(nbytes: int) -> str:
    """Bytes for people."""
    return f"{nbytes / 1e6:,.1f} MB" if nbytes >= 100_000 else f"{nbytes / 1e3:,.1f} kB"


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
