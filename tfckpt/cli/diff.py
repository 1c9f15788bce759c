"""`tfckpt diff`: compare two checkpoints."""

from __future__ import annotations

import argparse
import os

import numpy as np

from ..checkpoint import Checkpoint
from ..checks.comparison import Comparison, compare
from ..errors import pluralize, printable
from ..tensors.info import TensorInfo
from . import opening, render
from .command import report_misuse
from .costs import say_transfer
from .report import check_page_name, write_page

HELP = """\
Compare two checkpoints: names, types, shapes, values.

  tfckpt diff model.ckpt-300 model.ckpt-322
  tfckpt diff old.ckpt new.ckpt --rtol 1e-5 --atol 1e-8

Two numbers are equal if |a - b| <= atol + rtol * |b|; NaN equals NaN.
The exit code is 0 if nothing differs, else 1.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "diff",
        help="compare two checkpoints",
        description=HELP,
    )
    parser.add_argument("first", metavar="A", help=opening.PATH_HELP)
    parser.add_argument("second", metavar="B", help="the checkpoint to compare it with")
    parser.add_argument("--rtol", type=float, default=0.0, metavar="R", help="relative tolerance (default: 0)")
    parser.add_argument("--atol", type=float, default=0.0, metavar="T", help="absolute tolerance (default: 0)")
    parser.add_argument(
        "--include", metavar="GLOB", action="append", default=[], help="only names that match; may be repeated"
    )
    parser.add_argument(
        "--exclude", metavar="GLOB", action="append", default=[], help="no names that match; may be repeated"
    )
    parser.add_argument(
        "--most", type=_parse_row_count, default=20, metavar="N", help="rows of each list (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="write JSON, with all rows")
    parser.add_argument("--report", metavar="FILE", help="also write a page with the drift of each tensor, in .html")
    opening.add_options(parser)
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Compare; exit code 1 if something differs."""
    if options.report is not None:
        check_page_name(options.report)
    progress = render.Progress("comparing")
    with (
        opening.open_checkpoint(options.first, options) as first,
        opening.open_checkpoint(options.second, options) as second,
    ):
        say_transfer([first, second], passes=1 if options.report is None else 2)
        try:
            comparison = compare(
                first,
                second,
                rtol=options.rtol,
                atol=options.atol,
                include=options.include,
                exclude=options.exclude,
                progress=progress,
            )
            if options.report is not None:
                _write_report(options, comparison, first, second)
        finally:
            progress.close()
    if options.json:
        print(render.to_json(_to_data(comparison)))
    else:
        _print(comparison, options.most)
    return 0 if comparison.ok else 1


def _write_report(options: argparse.Namespace, comparison: Comparison, first: Checkpoint, second: Checkpoint) -> None:
    from ..reporting.drift_page import measure_drifts, render_page

    names = (os.path.basename(first.prefix) or "A", os.path.basename(second.prefix) or "B")
    write_page(options.report, render_page(comparison, measure_drifts(first, second), names), overwrite=True)
    render.say(f"report: {options.report}")


def _print(comparison: Comparison, most: int) -> None:
    for label, names in (("only in A", comparison.only_first), ("only in B", comparison.only_second)):
        if names:
            print(f"{label}: {pluralize(len(names), 'tensor')}")
            _print_list([printable(name) for name in names], most)
    if comparison.changed:
        print(f"other type or shape: {pluralize(len(comparison.changed), 'tensor')}")
        _print_list(
            [f"{printable(a.name)}  {_format_kind(a)} -> {_format_kind(b)}" for a, b in comparison.changed], most
        )
    if comparison.different:
        print(f"other values: {pluralize(len(comparison.different), 'tensor')}")
        rows = [
            [
                printable(d.name),
                _format_number(d.max_abs),
                _format_number(d.max_rel),
                f"{d.count:,} of {d.size:,}",
                render.format_shape(d.index),
            ]
            for d in comparison.different[:most]
        ]
        header = ["name", "max|A-B|", "max|A-B|/|B|", "differing elements", "largest at"]
        print("\n".join("  " + line for line in render.format_table(header, rows, right="lrrrl").split("\n")))
        _print_more(len(comparison.different), most)
    equal = f"{pluralize(comparison.equal, 'tensor')} equal"
    print(equal if not comparison.ok else f"{equal}, nothing differs")


def _format_kind(info: TensorInfo) -> str:
    return f"{render.format_dtype(info.tf_dtype)} {render.format_shape(info.shape)}"


def _print_list(lines: list[str], most: int) -> None:
    for line in lines[:most]:
        print(f"  {line}")
    _print_more(len(lines), most)


def _print_more(count: int, most: int) -> None:
    if count > most:
        print(f"  and {count - most:,} more (show them with --most)")


def _parse_row_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _format_number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3g}"


def _to_data(comparison: Comparison) -> dict[str, object]:
    return {
        "ok": comparison.ok,
        "only_in_a": list(comparison.only_first),
        "only_in_b": list(comparison.only_second),
        "changed": [
            {
                "name": a.name,
                "a": {"dtype": render.format_dtype(a.tf_dtype), "shape": list(a.shape)},
                "b": {"dtype": render.format_dtype(b.tf_dtype), "shape": list(b.shape)},
            }
            for a, b in comparison.changed
        ],
        "different": [
            {
                "name": d.name,
                "max_abs": _json_number(d.max_abs),
                "max_rel": _json_number(d.max_rel),
                "count": d.count,
                "size": d.size,
                "index": list(d.index),
            }
            for d in comparison.different
        ],
        "equal": comparison.equal,
    }


def _json_number(value: float) -> object:
    """Return a number as JSON can hold it: NaN becomes null, an infinity its name."""
    if np.isnan(value):
        return None
    return value if np.isfinite(value) else str(value)
