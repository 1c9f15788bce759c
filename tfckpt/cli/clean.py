"""`tfckpt clean`: list and remove what killed processes left."""

from __future__ import annotations

import argparse

from ..errors import pluralize
from ..sinks.leftovers import Leftover, find_leftovers
from ..sinks.opening import open_sink
from . import render
from .command import report_misuse

HELP = """\
List the temporary files and unfinished uploads that killed processes left in a folder.

  tfckpt clean out/
  tfckpt clean s3://bucket/out/ --remove
  tfckpt clean s3://bucket/out/ --remove --older-than 0     also those of now

Those of processes that are still writing look the same, so that only leftovers older than a day are removed.
Stores charge for the parts of unfinished uploads.
"""
_HOUR = 3600


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("clean", help="remove what killed processes left in an output", description=HELP)
    parser.add_argument("folder", metavar="OUT", help="folder or address in which outputs were written")
    parser.add_argument("--remove", action="store_true", help="remove them")
    parser.add_argument(
        "--older-than",
        metavar="HOURS",
        type=_parse_hours,
        default=24.0,
        help="do not remove later ones, nor those of unknown age unless this is 0 (default: 24)",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """List the leftovers, and remove them on request."""
    sink, folder = open_sink(options.folder)
    rows = []
    for leftover in find_leftovers(sink, folder):
        removes = options.remove and _is_old(leftover, options.older_than * _HOUR)
        if removes:
            leftover.remove()
        rows.append((leftover, removes))
    if options.json:
        print(
            render.to_json(
                {
                    "folder": folder,
                    "leftovers": [
                        {"path": each.path, "kind": each.kind, "nbytes": each.size, "age": each.age, "removed": removed}
                        for each, removed in rows
                    ],
                }
            )
        )
        return 0
    for each, removed in rows:
        size = "" if each.size is None else f", {render.format_size(each.size)}"
        age = "" if each.age is None else f", {each.age / _HOUR:.1f} hours old"
        print(f"{each.path}: {each.kind}{size}{age}{', removed' if removed else ''}")
    print(f"{pluralize(len(rows), 'leftover')}, {sum(removed for _, removed in rows):,} removed")
    return 0


def _is_old(leftover: Leftover, seconds: float) -> bool:
    return seconds == 0 if leftover.age is None else leftover.age >= seconds


def _parse_hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours")
    return hours
