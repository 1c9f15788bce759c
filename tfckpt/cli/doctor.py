"""`tfckpt doctor`: say what a path is, what is wrong with it, and what to do."""

from __future__ import annotations

import argparse
import dataclasses

from ..checks.diagnosis import diagnose
from ..errors import printable
from . import opening, render
from .command import choose_exit_code

HELP = """\
Say what a path is, what is missing or damaged, the likely cause, and what to do.

  tfckpt doctor model.ckpt-322.data-00000-of-00001

Checks the size of every file and every block of the index. It does not read tensors; `tfckpt verify` does.
The exit code is 0 if nothing is wrong.
"""

#: Columns for what was checked, if the finding is in the same line.
_WIDEST_NAME = 24
_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "doctor",
        help="say what is wrong with a checkpoint and what to do",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help="any file, folder, prefix or address")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Diagnose the path."""
    diagnosis = diagnose(options.path, limits=opening.get_limits(options))
    if options.json:
        print(
            render.to_json(
                {"ok": diagnosis.error is None, "findings": list(map(dataclasses.asdict, diagnosis.findings))}
            )
        )
    else:
        width = max(len(finding.what) for finding in diagnosis.findings)
        is_narrow = width <= _WIDEST_NAME
        column = width + 11 if is_narrow else 9
        for finding in diagnosis.findings:
            what = printable(finding.what)
            before = f"{what.ljust(width)}  " if is_narrow else f"{what}\n{' ' * column}"
            text = f"{_MARKS[finding.level].ljust(8)} {before}{printable(finding.found)}"
            if finding.advice:
                text += f"\n{' ' * column}{'do: ' if finding.level == 'problem' else ''}{finding.advice}"
            print(render.wrap(text, column))
        print("no problem found" if diagnosis.error is None else "see PROBLEM above")
    return 0 if diagnosis.error is None else choose_exit_code((diagnosis.error,))
