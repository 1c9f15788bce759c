"""`tfckpt cp`: a copy of a checkpoint, with changes."""

from __future__ import annotations

import argparse
import os

from ..copying import Report
from ..editing import copy
from ..errors import pluralize
from ..writing import StateUpdate
from . import places, render
from .command import report_misuse

HELP = """\
Copy a checkpoint, or a part of it, under another prefix.

  tfckpt cp model.ckpt-322 new/model
  tfckpt cp model.ckpt-322 new/model --ema-to-raw --no-optimizer     only the averaged weights
  tfckpt cp model.ckpt-322 new/model --include 'net/*' --rename '^net/=backbone/'
  tfckpt cp old.ckpt new/model --to-v2                               from V1

Payloads that stay as they are are copied as bytes, their checksums compared and used again.
The .meta file is not copied.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "cp",
        help="copy a checkpoint, with changes",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", help="prefix, member file or folder of a checkpoint")
    parser.add_argument("target", metavar="DST", help="prefix of the new checkpoint")
    parser.add_argument(
        "--include", metavar="GLOB", action="append", default=[], help="only names that match; may be repeated"
    )
    parser.add_argument(
        "--exclude", metavar="GLOB", action="append", default=[], help="no names that match; may be repeated"
    )
    parser.add_argument(
        "--rename",
        metavar="REGEX=REPL",
        type=parse_rename,
        action="append",
        default=[],
        help="replace what a regular expression finds in each name, split at the last =; may be repeated",
    )
    parser.add_argument("--dtype", help="convert floats to float16, bfloat16, float32 or float64")
    parser.add_argument("--no-optimizer", action="store_true", help="without slot variables and other optimizer state")
    parser.add_argument(
        "--ema-to-raw", action="store_true", help="moving averages become the values of their variables"
    )
    parser.add_argument(
        "--to-v2", action="store_true", help="read V1 and big-endian checkpoints too, join the slices of variables"
    )
    add_output_options(parser, shards="number of data shards (default: as in SRC)")
    places.add_options(parser)
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Copy."""
    check_target(options.target)
    progress = render.Progress("copying")
    try:
        with places.opened(options.source, options) as checkpoint:
            report = copy(
                checkpoint,
                options.target,
                include=options.include,
                exclude=options.exclude,
                rename=options.rename,
                dtype=options.dtype,
                shards=options.shards,
                no_optimizer=options.no_optimizer,
                ema_to_raw=options.ema_to_raw,
                to_v2=options.to_v2,
                checkpoint_state=state_update(options),
                overwrite=options.force,
                progress=progress,
            )
    finally:
        progress.close()
    print(summary(report))
    return 0


def parse_rename(text: str) -> tuple[str, str]:
    """A regular expression and its replacement, which has no `=`."""
    pattern, mark, replacement = text.rpartition("=")
    if not mark or not pattern:
        raise argparse.ArgumentTypeError(f"{text!r} is no REGEX=REPL")
    return pattern, replacement


def check_target(prefix: str) -> None:
    """Refuse a folder, which whoever names one means to write into."""
    if os.path.isdir(prefix):
        raise ValueError(f"{prefix} is a folder, expected a prefix such as {os.path.join(prefix, 'model.ckpt')}")


def add_output_options(parser: argparse.ArgumentParser, *, shards: str | None) -> None:
    """The options that every verb has that writes a checkpoint."""
    if shards is not None:
        parser.add_argument("--shards", metavar="N", type=int, help=shards)
    parser.add_argument(
        "--state",
        choices=("new", "keep"),
        help="name the checkpoint in the folder's `checkpoint` file: alone, or beside those that stand there",
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite a checkpoint that stands there")


def state_update(options: argparse.Namespace) -> StateUpdate:
    """What --state means to the library."""
    return "keep" if options.state == "keep" else options.state == "new"


def summary(report: Report) -> str:
    """What was written, in lines for people."""
    written = len(report.copied) + len(report.converted)
    lines = [f"{pluralize(written, 'tensor')}, {render.size(report.nbytes)} written to {report.prefix}"]
    if report.converted:
        lines.append(f"  {len(report.converted):,} encoded anew, {len(report.copied):,} copied as bytes")
    if report.averaged:
        lines.append(f"  {len(report.averaged):,} with the values of their moving averages")
    if report.dropped:
        lines.append(f"  {pluralize(len(report.dropped), 'tensor')} of the source left out")
    return "\n".join(lines)
