"""`tf2torch verify`: show that an output is what its checkpoint says."""

from __future__ import annotations

import argparse

import tfckpt

from ..mapping.averages import WEIGHTS_CHOICES
from ..modules import import_module
from ..verification.activations import FLOAT32_TOLERANCE, compare, load_golden
from ..verification.weights import verify_weights
from .options import add_network_options, add_rules_options, require_one_way
from .render import progress_bar, say

HELP = """\
Show that converted weights are the checkpoint's: taken back through every layout, they give its bytes.

  tf2torch verify efficientnetv2-s s.safetensors
  tf2torch verify efficientnetv2-s s.safetensors --golden probe.npz      also the network's values, layer by layer

The exit code is 0 when everything agrees, else 1.
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
    add_rules_options(parser)
    parser.add_argument(
        "--golden",
        metavar="FILE.npz",
        help="values TensorFlow gave: input (NHWC), logits, endpoint:NAME; the PyTorch model's are compared with them",
    )
    parser.add_argument(
        "--tolerance",
        metavar="T",
        type=_tolerance,
        default=FLOAT32_TOLERANCE,
        help="largest difference of a layer, relative to its largest value (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare and report; layers are only run when the weights are right, since they could not agree otherwise."""
    require_one_way(options)
    golden = None if options.golden is None else load_golden(options.golden)
    with tfckpt.open(options.source) as checkpoint, progress_bar("comparing") as progress:
        for note in checkpoint.notes:
            say(note)
        weights = verify_weights(
            checkpoint,
            options.output,
            weights=options.weights,
            strides=options.strides,
            scope=options.scope,
            head=options.head,
            rules=options.rules,
            into=None if options.into is None else import_module(options.into),
            progress=progress,
        )
    print(weights.summary())
    weights.require()
    if golden is not None and weights.config is not None:
        from ..loading import load_model

        strides = tuple(stage.stride for stage in weights.config.stages)
        layers = compare(load_model(options.output, strides=strides), golden, tolerance=options.tolerance)
        print(layers.summary())
        layers.require()
    return 0


def _tolerance(text: str) -> float:
    try:
        tolerance = float(text)
    except ValueError:
        tolerance = -1.0
    if not 0 <= tolerance < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no tolerance, a number from 0 to below 1 such as 1e-5")
    return tolerance
