"""`tf2torch revert`: write PyTorch weights as a TensorFlow checkpoint."""

from __future__ import annotations

import argparse

import tfckpt
from tfckpt.cli.opening import add_limit_option, limits_of
from tfckpt.cli.render import say
from tfckpt.errors import pluralize

from ..reverting import FAMILIES, RevertReport, revert

HELP = """\
Write PyTorch weights as a TensorFlow checkpoint.

  tf2torch revert finetuned.pth -o model.ckpt --like efficientnetv2-s     names and all else as there
  tf2torch revert s.safetensors -o efficientnetv2-s/model.ckpt            names of the released code

The weights are those that tf2torch wrote, or a state dict of the EfficientNet of timm, torchvision, transformers or
efficientnet-pytorch.
Every tensor has its place, or nothing is written.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "revert",
        help="write a TensorFlow checkpoint of PyTorch weights",
        description=HELP,
    )
    parser.add_argument("source", metavar="OUT", help="file or folder of PyTorch weights")
    parser.add_argument("-o", "--output", metavar="PREFIX", required=True, help="prefix of the checkpoint to write")
    parser.add_argument(
        "--like",
        metavar="SRC",
        help="checkpoint of the same network: gives names, dtypes, the object graph and what is not the network's",
    )
    parser.add_argument(
        "--family", choices=tuple(FAMILIES), help="names to write without --like (default: those it was converted from)"
    )
    parser.add_argument(
        "--scope", metavar="NAME", help="what the names begin with (default: as converted, or the network's name)"
    )
    parser.add_argument("--head", metavar="NAME", help="dense layer of SRC that is the classifier")
    parser.add_argument(
        "--with-averages", action="store_true", help="also write the values as moving averages of every variable"
    )
    parser.add_argument(
        "--state",
        choices=("new", "keep"),
        help="name the checkpoint in the folder's `checkpoint` file: alone, or beside those that stand there",
    )
    add_limit_option(parser)
    parser.add_argument("--force", action="store_true", help="overwrite a checkpoint that stands there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write, and say what was written."""
    like = None
    try:
        if options.like is not None:
            like = tfckpt.open(options.like, limits=limits_of(options))
            for note in like.notes:
                say(note)
        report = revert(
            options.source,
            options.output,
            like=like,
            family=options.family,
            scope=options.scope,
            head=options.head,
            with_averages=options.with_averages,
            checkpoint_state="keep" if options.state == "keep" else options.state == "new",
            overwrite=options.force,
        )
    finally:
        if like is not None:
            like.close()
    print(summary(report))
    return 0


def summary(report: RevertReport) -> str:
    """Say it in a few lines."""
    lines = [f"network   {report.network}", f"variables {len(report.names)}"]
    if report.averages:
        lines.append(f"averages  {len(report.averages)}, copies of the variables")
    if report.copied:
        lines.append(f"copied    {len(report.copied)} as they are")
    written = len(report.names) + len(report.averages) + len(report.copied)
    lines.append(f"output    {report.prefix}: {pluralize(written, 'tensor')}, {report.nbytes:,} bytes")
    return "\n".join(lines)
