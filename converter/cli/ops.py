"""`tf2torch ops`: the TensorFlow operations that can be run without TensorFlow."""

from __future__ import annotations

import argparse
import json
import sys

HELP = """\
List the TensorFlow operations of which a graph may consist that is run as proof, or as a PyTorch module.

  tf2torch ops                 every operation, one a line
  tf2torch ops Conv2D Selu     whether these are among them

With names the exit code is 0 when all of them can be run, else 5.
"""
_UNSUPPORTED = 5


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "ops",
        help="list the TensorFlow operations that can be run",
        description=HELP,
    )
    parser.add_argument("names", metavar="OP", nargs="*", help="operations to ask for, as TensorFlow calls them")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the list, or the answer for each name."""
    from ..engine.registry import supported_ops

    supported = supported_ops()
    if not options.names:
        print(json.dumps(supported) if options.json else "\n".join(supported))
        return 0
    answers = {name: name in supported for name in options.names}
    if options.json:
        print(json.dumps(answers))
    else:
        width = max(map(len, answers))
        for name, is_supported in answers.items():
            sys.stdout.write(f"{name:{width}}  {'yes' if is_supported else 'no'}\n")
    return 0 if all(answers.values()) else _UNSUPPORTED
