"""`tfckpt merge`: write one checkpoint from several."""

from __future__ import annotations

import argparse
import contextlib

from ..errors import NameConflictError, pluralize, printable
from ..writing.edit import merge
from . import opening, render
from .command import report_misuse
from .costs import say_transfer
from .outputs import add_output_options, check_target, format_summary, get_state_update

HELP = """\
Write one checkpoint with the tensors of several.

  tfckpt merge backbone.ckpt head.ckpt model

A name in two of them is a conflict: all conflicts are listed, nothing is written, and the exit code is 1.
Slices of one partitioned variable may come from several checkpoints.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "merge",
        help="write one checkpoint from several",
        description=HELP,
    )
    parser.add_argument("sources", metavar="SRC", nargs="+", help=opening.PATH_HELP)
    parser.add_argument("target", metavar="DST", help="prefix of the new checkpoint")
    add_output_options(parser, shards="number of data shards (default: 1)")
    opening.add_options(parser)
    parser.set_defaults(run=run, shards=1)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Merge; exit code 1 if names conflict."""
    check_target(options.target)
    progress = render.Progress("merging")
    try:
        with contextlib.ExitStack() as stack:
            checkpoints = [stack.enter_context(opening.open_checkpoint(source, options)) for source in options.sources]
            say_transfer(checkpoints, options.target)
            report = merge(
                checkpoints,
                options.target,
                shards=options.shards,
                checkpoint_state=get_state_update(options),
                overwrite=options.force,
                progress=progress,
            )
    except NameConflictError as error:
        if options.json:
            print(render.to_json({"conflicts": error.conflicts}))
        else:
            for name, sources in error.conflicts.items():
                print(f"{printable(name)}  in {', '.join(map(printable, sources))}")
        render.complain(f"{pluralize(len(error.conflicts), 'name')} in more than one checkpoint; nothing was written")
        return 1
    finally:
        progress.close()
    print(format_summary(report, json=options.json))
    return 0
