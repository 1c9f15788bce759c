"""`tfckpt export`: write tensors, unchanged, to files of other formats."""

from __future__ import annotations

import argparse

from ..errors import CorruptionError, pluralize
from ..writing.export import ExportReport, export
from . import opening, render
from .command import choose_exit_code, report_misuse
from .outputs import add_selection_options

HELP = """\
Write the tensors of a checkpoint, unchanged, to a file that other libraries can read.

  tfckpt export model.ckpt-322 -o weights.safetensors
  tfckpt export model.ckpt-322 -o weights.npz --no-optimizer --ema
  tfckpt export model.ckpt -o arrays/ --include '*/kernel' --strip-prefix net/
  tfckpt export huge.ckpt -o model.safetensors --shard-size 5GB

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
    parser.add_argument("--strip-prefix", metavar="TEXT", default="", help="remove this from the start of names")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--ema",
        dest="weights",
        action="store_const",
        const="ema",
        help="write moving averages as the values of their variables",
    )
    weights.add_argument(
        "--raw", dest="weights", action="store_const", const="raw", help="write only raw values, no moving averages"
    )
    parser.add_argument(
        "--shard-size",
        metavar="SIZE",
        type=render.parse_size,
        help="split a .safetensors output into files of at most this size, such as 5GB, with an index",
    )
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="skip damaged tensors and write the rest; the exit code is 4 all the same",
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the output of an earlier export")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run, weights="all")


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Export; with --salvage the exit code still says that something was damaged."""
    progress = render.Progress("exporting")
    with opening.open_checkpoint(options.path, options) as checkpoint:
        try:
            report = export(
                checkpoint,
                options.output,
                include=options.include,
                exclude=options.exclude,
                strip_prefix=options.strip_prefix,
                rename=options.rename,
                dtype=options.dtype,
                no_optimizer=options.no_optimizer,
                weights=options.weights,
                shard_size=options.shard_size,
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
