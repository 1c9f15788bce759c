"""`tfckpt export`: write tensors, unchanged, to files of other formats."""

from __future__ import annotations

import argparse

from ..addresses import has_secrets
from ..errors import CorruptionError, pluralize
from ..writing.export import ExportReport, export
from . import opening, render
from .command import choose_exit_code, report_misuse
from .costs import say_job, say_transfer
from .executors import (
    add_connections_option,
    add_executor_options,
    add_piece_option,
    is_requested,
    open_executor,
)
from .outputs import add_export_options, add_selection_options, get_export_options

HELP = """\
Write the tensors of a checkpoint, unchanged, to a file that other libraries can read.

  tfckpt export model.ckpt-322 -o weights.safetensors
  tfckpt export model.ckpt-322 -o weights.npz --no-optimizer --ema
  tfckpt export model.ckpt -o arrays/ --include '*/kernel' --strip-prefix net/
  tfckpt export huge.ckpt -o model.safetensors --shard-size 5GB
  tfckpt export huge.ckpt -o s3://bucket/out/ --workers 8   one task a file

The ending of OUT selects the format: .safetensors, .npz, or a folder of .npy files for a slash or no ending.
Tensors keep TensorFlow's layouts; tf2torch writes PyTorch's.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "export",
        help="write tensors to .safetensors, .npz or .npy",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="file or folder to write")
    add_selection_options(parser)
    add_export_options(parser)
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="skip damaged tensors and write the rest; the exit code is 4 all the same",
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output of an earlier export")
    parser.add_argument("--json", action="store_true", help="write JSON")
    jobs = parser.add_argument_group("jobs", "one task for each file of a .safetensors output")
    add_executor_options(jobs)
    jobs.add_argument("--restart", action="store_true", help="skip files that an earlier run has finished")
    add_connections_option(jobs)
    add_piece_option(jobs)
    opening.add_options(parser)
    parser.set_defaults(run=run, weights="all")


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Export; with --salvage the exit code still says that something was damaged."""
    if is_requested(options) or options.restart:
        return _run_job(options)
    progress = render.Progress("exporting")
    with opening.open_checkpoint(options.path, options) as checkpoint:
        say_transfer(checkpoint, options.output, passes=2 if options.salvage else 1)
        try:
            report = export(
                checkpoint,
                options.output,
                **get_export_options(options),
                salvage=options.salvage,
                overwrite=options.force,
                progress=progress,
            )
        except CorruptionError as damage:
            damage.message += "; --salvage writes the undamaged tensors, tfckpt verify lists all damage"
            raise
        finally:
            progress.close()
    for error in report.errors:
        render.say(str(error))
    print(render.to_json(_to_data(report)) if options.json else _format_summary(report, options.output))
    return choose_exit_code(report.errors)


def _run_job(options: argparse.Namespace) -> int:
    """Export by tasks; the index is written if all of them succeed."""
    from ..jobs.finishing import finish
    from ..jobs.planning import check_output, plan_export
    from ..jobs.running import run as run_tasks

    plan = plan_export(
        options.path,
        options.output,
        limits=opening.get_limits(options),
        salvage=options.salvage,
        piece_bytes=options.piece_size,
        **get_export_options(options),
    )
    check_output(plan, restart=options.restart, overwrite=options.force, output=options.output)
    say_job(plan)
    progress = render.Progress("exporting")
    try:
        with open_executor(options, prefix="tfckpt-export") as executor:
            report = run_tasks(
                plan,
                executor,
                restart=options.restart,
                source=options.path if has_secrets(options.path) else None,
                output=options.output if has_secrets(options.output) else None,
                progress=progress,
                connections=options.connections,
                piece_bytes=options.piece_size,
            )
    finally:
        progress.close()
    for error in report.errors:
        render.say(str(error))
    if report.errors:
        left = len(plan.tasks) - len(report.results)
        render.say(
            f"{left:,} of {len(plan.tasks):,} files are missing, and so is the index; run it again with --restart"
        )
        return choose_exit_code(report.errors)
    finished = finish(plan, output=options.output)
    for damage in finished.damaged.values():
        render.say(damage)
    left_out = {**plan.left_out, "damaged or missing": tuple(finished.damaged)}
    result = ExportReport(
        finished.tensors, finished.files, finished.nbytes, {why: names for why, names in left_out.items() if names}, ()
    )
    print(render.to_json(_to_data(result)) if options.json else _format_summary(result, options.output))
    if report.skipped:
        render.say(f"{report.skipped:,} of {len(plan.tasks):,} files were there already")
    return 4 if finished.damaged else 0


def _format_summary(report: ExportReport, out: str) -> str:
    where = out if len(report.files) == 1 else f"{out} ({pluralize(len(report.files), 'file')})"
    lines = [f"{pluralize(len(report.tensors), 'tensor')}, {render.format_size(report.nbytes)} -> {where}"]
    lines += [f"left out: {pluralize(len(names), 'tensor')} ({reason})" for reason, names in report.left_out.items()]
    return "\n".join(lines)


def _to_data(report: ExportReport) -> dict[str, object]:
    return {
        "tensors": list(report.tensors),
        "files": list(report.files),
        "nbytes": report.nbytes,
        "left_out": {reason: list(names) for reason, names in report.left_out.items()},
        "errors": [str(error) for error in report.errors],
    }
