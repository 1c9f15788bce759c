"""`tfckpt verify`: verify every checksum of a checkpoint."""

from __future__ import annotations

import argparse

from ..checks.integrity import Verification, verify
from ..errors import pluralize, printable
from . import opening, render
from .command import choose_exit_code
from .costs import say_transfer, say_verification
from .executors import add_connections_option, add_executor_options, add_piece_option, is_requested, open_executor

HELP = """\
Read every block and every tensor of a checkpoint and verify every checksum.

  tfckpt verify model.ckpt-322
  tfckpt verify s3://bucket/huge.ckpt --workers 8     by tasks of about 1 GB

Continues past damage and lists all of it, one finding per line.
Keras files have no checksums: only their structure is checked.
The exit code is 0 if nothing is wrong, 4 if something is damaged, 3 if files are missing and nothing is damaged,
and 5 if the only findings are values of a type that cannot be read.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "verify",
        help="verify every checksum",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument("--json", action="store_true", help="write JSON")
    jobs = parser.add_argument_group("jobs", "tasks of about 1 GB, with the same findings")
    add_executor_options(jobs)
    add_connections_option(jobs)
    add_piece_option(jobs)
    opening.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify the checkpoint and print the findings."""
    progress = render.Progress("verifying")
    try:
        prefix, result = (_verify_by_tasks if is_requested(options) else _verify_here)(options, progress)
    finally:
        progress.close()
    if options.json:
        print(render.to_json(_to_data(prefix, result)))
    else:
        for error in result.errors:
            print(error)
        print(render.wrap(_format_summary(result), 2))
    return choose_exit_code(result.errors)


def _verify_here(options: argparse.Namespace, progress: render.Progress) -> tuple[str, Verification]:
    with opening.open_checkpoint(options.path, options) as checkpoint:
        say_transfer(checkpoint)
        return checkpoint.prefix, verify(checkpoint, progress=progress)


def _verify_by_tasks(options: argparse.Namespace, progress: render.Progress) -> tuple[str, Verification]:
    from ..jobs.verifying import plan_verify, run_verify

    plan = plan_verify(
        options.path,
        limits=opening.get_limits(options),
        connections=options.connections,
        piece_bytes=options.piece_size,
    )
    say_verification(plan)
    with open_executor(options, prefix="tfckpt-verify") as executor:
        return plan.prefix, run_verify(plan, executor, progress=progress)


def _format_summary(result: Verification) -> str:
    undamaged = f"{pluralize(len(result.whole), 'tensor')}, {render.format_size(result.nbytes)}"
    if result.ok and not result.checksums:
        return f"{undamaged}: all are in the file; Keras files have no checksums, so damaged values are not noticed"
    if result.ok:
        return f"{undamaged}: all checksums match"
    return f"{pluralize(len(result.errors), 'finding')}; undamaged: {undamaged}"


def _to_data(prefix: str, result: Verification) -> dict[str, object]:
    return {
        "prefix": prefix,
        "ok": result.ok,
        "whole": list(result.whole),
        "nbytes": result.nbytes,
        "checksums": result.checksums,
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
