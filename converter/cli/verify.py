"""`tf2torch verify`: show that an output is what its checkpoint says."""

from __future__ import annotations

import argparse

import tfckpt

from ..mapping.averages import WEIGHTS_CHOICES
from ..verification.weights import verify_weights
from .options import add_network_options
from .render import progress_bar, say

HELP = """\
Show that converted weights are the checkpoint's: taken back through every layout, they give its bytes.

  tf2torch verify efficientnetv2-s s.safetensors

The exit code is 0 when every tensor does, else 1.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "verify",
        help="compare converted weights with their checkpoint",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", help="prefix, member file or folder of the checkpoint")
    parser.add_argument("output", metavar="OUT", help="file that was converted from it")
    parser.add_argument(
        "--weights", choices=WEIGHTS_CHOICES, help="what OUT was made of (default: what OUT says, else ema)"
    )
    add_network_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare and report."""
    with tfckpt.open(options.source) as checkpoint, progress_bar("comparing") as progress:
        for note in checkpoint.notes:
            say(note)
        report = verify_weights(
            checkpoint,
            options.output,
            weights=options.weights,
            strides=options.strides,
            scope=options.scope,
            progress=progress,
        )
    print(report.summary())
    report.require()
    return 0
