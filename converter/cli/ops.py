"""`tf2torch ops`: list the TensorFlow operations that run without TensorFlow."""

from __future__ import annotations

import argparse
import sys

from tfckpt.cli.render import to_json

HELP = """\
List the TensorFlow operations that tf2torch can run, as proof of a conversion or as a PyTorch module.

  tf2torch ops                 all operations, one per line
  tf2torch ops Conv2D Selu     whether it can run these

With names, the exit code is 0 if it can run all of them, else 5.
"""
_UNSUPPORTED = 5


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "ops",
        help="list the TensorFlow operations that tf2torch can run",
        description=HELP,
    )
    parser.add_argument(
        "names", metavar="OP", nargs="*", help="names of operations to look up, as TensorFlow spells them"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all operations, or whether each of the given ones is supported."""
    from ..engine.registry import supported_ops

    supported = supported_ops()
    if not options.names:
        print(to_json({"ops": supported}) if options.json else "\n".join(supported))
        return 0
    answers = {name: name in supported for name in options.names}
    if options.json:
        print(to_json({"supported": answers}))
    else:
        width = max(map(len, answers))
        for name, is_supported in answers.items():
            sys.stdout.write(f"{name:{width}}  {'yes' if is_supported else 'no'}\n")
    return 0 if all(answers.values()) else _UNSUPPORTED
