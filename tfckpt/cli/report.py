"""`tfckpt report`: write a page about a checkpoint."""

from __future__ import annotations

import argparse
import os

from ..files.atomic import atomic_file, strip_separators
from . import opening, render
from .command import report_misuse
from .costs import say_transfer

HELP = """\
Write one self-contained HTML page about any checkpoint.

  tfckpt report model.ckpt-322 -o model.html

It shows what the checkpoint is, where its bytes are, how the values of each
tensor are spread, what is damaged or unusual, and the list of all tensors with
a search. The page loads nothing, and has no addresses and no folders.
The exit code is 4 if a tensor is damaged.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("report", help="write a page about a checkpoint, with pictures", description=HELP)
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="page to write, ending in .html")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an existing page")
    opening.add_options(parser)
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Write the page; exit code 4 if a tensor is damaged."""
    from ..reporting.checkpoint_page import render_page
    from ..reporting.survey import survey

    check_page_name(options.output)
    progress = render.Progress("reading")
    with opening.open_checkpoint(options.path, options) as checkpoint:
        say_transfer(checkpoint)
        try:
            surveyed = survey(checkpoint, progress=progress)
        finally:
            progress.close()
        name = os.path.basename(strip_separators(checkpoint.prefix)) or "checkpoint"
    write_page(options.output, render_page(surveyed, name), overwrite=options.force)
    damaged = len(surveyed.damaged)
    print(f"{len(surveyed.tensors):,} tensors{f', {damaged:,} damaged' if damaged else ''} -> {options.output}")
    return 4 if damaged else 0


def check_page_name(path: str) -> None:
    """Raise `ValueError` unless the path ends in .html."""
    if not path.lower().endswith(".html"):
        raise ValueError(f"a report has to end in .html, not as {path}")


def write_page(path: str, page: str, *, overwrite: bool) -> None:
    """Write a page, whole or not at all."""
    with atomic_file(path, overwrite=overwrite) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
