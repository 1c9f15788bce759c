"""`tf2torch revert`: write PyTorch weights as a TensorFlow checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import os

import tfckpt
from tfckpt.cli.costs import say_transfer, say_upload
from tfckpt.cli.opening import add_limit_option, get_limits
from tfckpt.cli.render import say, to_json, wrap
from tfckpt.errors import pluralize
from tfckpt.sinks.opening import is_address

from ..formats.files import measure_output
from ..reverting import FAMILIES, RevertReport, revert
from .options import add_key_option

HELP = """\
Write PyTorch weights as a TensorFlow checkpoint.

  tf2torch revert finetuned.pth -o model.ckpt --like efficientnetv2-s     with the names and types of a checkpoint
  tf2torch revert s.safetensors -o efficientnetv2-s/model.ckpt            with the names of the released code

OUT is a file or folder that tf2torch wrote, also by rules, or a state dict of an EfficientNet of timm, torchvision,
transformers or efficientnet-pytorch, also inside a checkpoint of timm's or Lightning's training. The command says which
weights it takes, and what it assumes about the model that a state dict does not show: its padding and epsilon.
Every tensor must be assigned, or nothing is written.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "revert",
        help="write PyTorch weights as a TensorFlow checkpoint",
        description=HELP,
    )
    parser.add_argument("source", metavar="OUT", help="file or folder of PyTorch weights")
    parser.add_argument("-o", "--output", metavar="PREFIX", required=True, help="prefix of the checkpoint to write")
    parser.add_argument(
        "--like",
        metavar="SRC",
        help="checkpoint of the same network, for names, dtypes, the object graph and all tensors outside the network",
    )
    parser.add_argument(
        "--family",
        choices=tuple(FAMILIES),
        help="names to write without --like (default: those that OUT was converted from)",
    )
    parser.add_argument(
        "--scope", metavar="NAME", help="start of the names (default: as converted, else the network's name)"
    )
    add_key_option(parser)
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="also accept weights of a model that computes something else than TensorFlow: torchvision's, unless "
        "converter.same_padding_ changed it, and timm's without tf_ in its name",
    )
    parser.add_argument(
        "--rules", metavar="RULES.toml", help="rules of the conversion, if OUT does not record them, such as a .pth"
    )
    parser.add_argument("--head", metavar="NAME", help="name of the dense layer in SRC that is the classifier")
    parser.add_argument(
        "--with-averages", action="store_true", help="also write every value as the moving average of its variable"
    )
    parser.add_argument(
        "--state",
        choices=("new", "keep"),
        help="record the checkpoint in the folder's `checkpoint` file: alone, or in addition to those listed there",
    )
    add_limit_option(parser)
    parser.add_argument("--force", action="store_true", help="overwrite an existing checkpoint")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the checkpoint and print a summary."""
    like = None
    try:
        if options.like is not None:
            like = tfckpt.open(options.like, limits=get_limits(options))
            for note in like.notes:
                say(note)
            say_transfer(like, options.output)
        elif is_address(options.output) and os.path.exists(options.source):
            say_upload(options.output, measure_output(options.source))
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
            as_is=options.as_is,
            key=options.key,
            rules=options.rules,
        )
    finally:
        if like is not None:
            like.close()
    print(to_json(dataclasses.asdict(report)) if options.json else wrap(format_summary(report), 10))
    return 0


def format_summary(report: RevertReport) -> str:
    """Return a summary of a few lines."""
    lines = [f"network   {report.network}", f"variables {len(report.names)}"]
    if report.averages:
        lines.append(f"averages  {len(report.averages)}, equal to the variables")
    if report.copied:
        lines.append(f"copied    {len(report.copied)}, unchanged")
    lines += [f"note      {note}" for note in report.notes]
    written = len(report.names) + len(report.averages) + len(report.copied)
    lines.append(f"output    {report.prefix}: {pluralize(written, 'tensor')}, {report.nbytes:,} bytes")
    return "\n".join(lines)
