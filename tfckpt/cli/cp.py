"""`tfckpt cp`: copy a checkpoint, with changes."""

from __future__ import annotations

import argparse

from ..writing.edit import copy
from . import opening, render
from .command import report_misuse
from .costs import say_transfer
from .outputs import add_output_options, add_selection_options, check_target, format_summary, get_state_update

HELP = """\
Copy a checkpoint, or part of it, to another prefix.

  tfckpt cp model.ckpt-322 new/model
  tfckpt cp model.ckpt-322 new/model --ema-to-raw --no-optimizer     only the averaged weights
  tfckpt cp model.ckpt-322 new/model --include 'net/*' --rename '^net/=body/'
  tfckpt cp old.ckpt new/model --to-v2                               from V1

Unchanged payloads are copied as bytes, after their checksums have been verified.
The .meta file is not copied.
A copy at an address, such as s3://bucket/model, is written to a temporary folder
and uploaded from there, the index last.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "cp",
        help="copy a checkpoint, with changes",
        description=HELP,
    )
    parser.add_argument("source", metavar="SRC", help=opening.PATH_HELP)
    parser.add_argument("target", metavar="DST", help="prefix of the new checkpoint")
    add_selection_options(parser)
    parser.add_argument("--ema-to-raw", action="store_true", help="give each variable the value of its moving average")
    parser.add_argument(
        "--to-v2",
        action="store_true",
        help="also convert V1 and big-endian checkpoints, and join the slices of variables",
    )
    add_output_options(parser, shards="number of data shards (default: the same as SRC)")
    opening.add_options(parser)
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Copy the checkpoint."""
    check_target(options.target)
    progress = render.Progress("copying")
    try:
        with opening.open_checkpoint(options.source, options) as checkpoint:
            say_transfer(checkpoint, options.target)
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
                checkpoint_state=get_state_update(options),
                overwrite=options.force,
                progress=progress,
            )
    finally:
        progress.close()
    print(format_summary(report, json=options.json))
    return 0
