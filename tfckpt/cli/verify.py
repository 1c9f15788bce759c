"""`tfckpt verify`: compare every checksum of a checkpoint."""

from __future__ import annotations

import argparse

from ..checks.integrity import Verification, verify
from ..errors import pluralize, printable
from . import opening, render
from .command import exit_code_of

HELP = """\
Read every block and every tensor of a checkpoint and compare every checksum.

  tfckpt verify model.ckpt-322

Goes on past damage and lists all of it, one finding a line.
The exit code is 0 when nothing is wrong, 4 when something is damaged, 3 when only files are missing,
5 when only values of a type that cannot be read remain unchecked.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "verify",
        help="compare every checksum",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help="prefix, member file or folder of a checkpoint")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify and report."""
    with opening.opened(options.path, options) as checkpoint:
        progress = render.Progress("verifying")
        try:
            result = verify(checkpoint, progress=progress)
        finally:
            progress.close()
        if options.json:
            print(render.as_json(_as_data(checkpoint.prefix, result)))
        else:
            for error in result.errors:
                print(error)
            print(_summary(result))
    return exit_code_of(result.errors)


def _summary(result: Verification) -> str:
    whole = f"{pluralize(len(result.whole), 'tensor')}, {render.size(result.nbytes)}"
    if result.ok:
        return f"{whole}: every checksum agrees"
    return f"{pluralize(len(result.errors), 'finding')}; still whole: {whole}"


def _as_data(prefix: str, result: Verification) -> object:
    return {
        "prefix": prefix,
        "ok": result.ok,
        "whole": list(result.whole),
        "nbytes": result.nbytes,
        "errors": [
            {
                "kind": type(error).__name__,
                "message": printable(error.message),
                "path": error.path,
                "offset": error.offset,
                "tensor": error.tensor,
            }
            for error in result.errors
        ],
    }
