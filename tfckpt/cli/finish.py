"""`tfckpt finish`: write the index of a job whose tasks are done."""

from __future__ import annotations

import argparse

from ..errors import pluralize
from . import render
from .plans import read_plan_file

HELP = """\
Write the index of a job, after checking that every task is done.

  tfckpt finish plan.json

The index comes last, so an output that has it is complete.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("finish", help="write the index of a job whose tasks are done", description=HELP)
    parser.add_argument("plan", metavar="PLAN", help="file or address of the plan that plan-export printed")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the index; exit code 4 if damaged tensors were left out."""
    from ..jobs.finishing import finish

    plan = read_plan_file(options.plan)
    finished = finish(plan)
    for error in finished.damaged.values():
        render.say(error)
    if options.json:
        print(
            render.to_json(
                {
                    "files": list(finished.files),
                    "tensors": list(finished.tensors),
                    "nbytes": finished.nbytes,
                    "damaged": finished.damaged,
                }
            )
        )
    else:
        tensors = f"{pluralize(len(finished.tensors), 'tensor')}, {render.format_size(finished.nbytes)}"
        print(f"{tensors} in {pluralize(len(plan.tasks), 'file')} -> {plan.index}")
    return 4 if finished.damaged else 0
