"""`tfckpt plan-export`: plan an export as independent tasks."""

from __future__ import annotations

import argparse

from ..errors import pluralize
from ..files.atomic import atomic_file
from . import opening, render
from .command import report_misuse
from .costs import say_job
from .outputs import add_export_options, add_selection_options, get_export_options

HELP = """\
Plan the export of a checkpoint to safetensors files, and print the plan as JSON.

  tfckpt plan-export huge.ckpt -o out/ --shard-size 5GB --plan plan.json
  tfckpt run-task plan.json 7         write one file, on any machine
  tfckpt finish plan.json             write the index when all are done

Reads the index of the checkpoint and lists its files; nothing is written.
A plan has no credentials: each worker uses those of its environment.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("plan-export", help="plan an export as tasks for many machines", description=HELP)
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder or name.safetensors, or address")
    add_selection_options(parser)
    add_export_options(parser)
    parser.add_argument(
        "--salvage", action="store_true", help="let tasks leave out damaged tensors; the exit code is 4 all the same"
    )
    parser.add_argument("--plan", metavar="FILE", help="write the plan to this file (default: standard output)")
    opening.add_options(parser)
    parser.set_defaults(run=run, weights="all")


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Print the plan; what it will cost goes to standard error."""
    from ..jobs.planning import plan_export

    plan = plan_export(
        options.path,
        options.output,
        limits=opening.get_limits(options),
        salvage=options.salvage,
        **get_export_options(options),
    )
    say_job(plan)
    for reason, names in plan.left_out.items():
        render.say(f"left out: {len(names):,} ({reason})")
    if options.plan is None:
        print(plan.to_json(), end="")
        return 0
    with atomic_file(options.plan, overwrite=True) as file:
        file.write(plan.to_json().encode())
    print(f"{pluralize(len(plan.tasks), 'task')} -> {options.plan}")
    return 0
