"""`tfckpt run-task`: run one task of a plan."""

from __future__ import annotations

import argparse

from ..errors import pluralize
from . import render
from .command import report_misuse
from .executors import add_connections_option, add_piece_option, parse_count
from .plans import read_plan_file

HELP = """\
Run one task of a plan: write one file and its record.

  tfckpt run-task plan.json 7
  tfckpt run-task plan.json "$SLURM_ARRAY_TASK_ID"

A task whose record proves that its file is complete is skipped.
Running a task twice, also at the same time, is harmless.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("run-task", help="run one task of a plan", description=HELP)
    parser.add_argument("plan", metavar="PLAN", help="file or address of the plan that plan-export printed")
    parser.add_argument("number", metavar="N", type=parse_count, help="number of the task, from 1")
    parser.add_argument("--recheck", action="store_true", help="read a file that is there, and compare its SHA-256")
    parser.add_argument("--json", action="store_true", help="write JSON: the record")
    add_connections_option(parser)
    add_piece_option(parser)
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Run the task; exit code 4 if it left out damaged tensors."""
    from ..jobs.memory import give_back_buffers
    from ..jobs.tasks import run_task

    give_back_buffers()
    plan = read_plan_file(options.plan)
    if options.number > len(plan.tasks):
        raise ValueError(f"the plan has {pluralize(len(plan.tasks), 'task')}, not {options.number}")
    task = plan.tasks[options.number - 1]
    result = run_task(task, recheck=options.recheck, connections=options.connections, piece_bytes=options.piece_size)
    record = result.record
    for error in record.damaged.values():
        render.say(error)
    if options.json:
        print(record.to_json(), end="")
    else:
        kept = len(task.tensors) - len(record.damaged)
        done = (
            "was done already" if result.skipped else f"{pluralize(kept, 'tensor')}, {render.format_size(record.size)}"
        )
        print(f"{record.output}: {done}")
    return 4 if record.damaged else 0
