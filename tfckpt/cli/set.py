"""`tfckpt set`: copy a checkpoint with new values for some tensors."""

from __future__ import annotations

import argparse
import contextlib
import os

from .._typing import Array
from ..errors import CheckpointNotFoundError, CorruptionError, error_context
from ..files.npy import read_npy
from ..storage.archives.kinds import detect_archive
from ..storage.local import LocalStorage
from ..writing.edit import replace
from . import opening, render
from .command import report_misuse
from .costs import say_transfer
from .outputs import add_output_options, check_target, format_summary, get_state_update

HELP = """\
Copy a checkpoint with new values for some tensors.

  tfckpt set model.ckpt-322 head/dense/bias=bias.npy -o new/model

The arrays are .npy files with the dtype and the shape of the tensors they replace.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "set",
        help="copy a checkpoint with new values for some tensors",
        description=HELP,
    )
    parser.add_argument("source", metavar="SRC", help=opening.PATH_HELP)
    parser.add_argument(
        "values",
        metavar="NAME=FILE",
        type=parse_value,
        nargs="+",
        help="a tensor's name and the .npy file of its new values, split at the last =",
    )
    parser.add_argument("-o", "--output", metavar="DST", required=True, help="prefix of the new checkpoint")
    parser.add_argument(
        "--allow-change",
        action="store_true",
        help="also accept new names, and arrays of a different dtype or shape",
    )
    add_output_options(parser, shards=None)
    opening.add_options(parser)
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Copy and replace; exit code 3 if a tensor or a file does not exist."""
    names = [name for name, _ in options.values]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"more than one value for {', '.join(sorted(repeated))}")
    values = {name: load_array(path) for name, path in options.values}
    check_target(options.output)
    progress = render.Progress("copying")
    try:
        with opening.open_checkpoint(options.source, options) as checkpoint:
            say_transfer(checkpoint, options.output)
            report = replace(
                checkpoint,
                values,
                options.output,
                allow_change=options.allow_change,
                checkpoint_state=get_state_update(options),
                overwrite=options.force,
                progress=progress,
            )
    finally:
        progress.close()
    print(format_summary(report, json=options.json))
    return 0


def parse_value(text: str) -> tuple[str, str]:
    """Split NAME=FILE at the last `=`: names may contain one."""
    name, mark, path = text.rpartition("=")
    if not mark or not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} does not have the form NAME=FILE")
    return name, path


def load_array(path: str) -> Array:
    """Return the array in a .npy file, memory-mapped; nothing is unpickled."""
    if not os.path.isfile(path):
        raise CheckpointNotFoundError("file not found", path=path)
    source = LocalStorage().open(path)
    with contextlib.closing(source), error_context(path=path):
        if detect_archive(source) == "zip":
            raise CorruptionError("holds several arrays (.npz), expected one array (.npy)")
        return read_npy(source.read(0, source.size))
