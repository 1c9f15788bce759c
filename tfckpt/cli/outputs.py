"""Shared by the verbs that write checkpoints and exports: options, checks and the summary."""

from __future__ import annotations

import argparse
import os

from ..errors import pluralize
from ..writing.copy import Report
from ..writing.writer import StateUpdate
from . import render


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose, rename and convert tensors."""
    parser.add_argument(
        "--include", metavar="GLOB", action="append", default=[], help="only names that match; may be repeated"
    )
    parser.add_argument(
        "--exclude", metavar="GLOB", action="append", default=[], help="no names that match; may be repeated"
    )
    parser.add_argument(
        "--rename",
        metavar="REGEX=REPL",
        type=parse_rename,
        action="append",
        default=[],
        help="replace what a regular expression finds in each name, split at the last =; may be repeated",
    )
    parser.add_argument("--dtype", help="convert floats to float16, bfloat16, float32 or float64")
    parser.add_argument("--no-optimizer", action="store_true", help="without slot variables and other optimizer state")


def parse_rename(text: str) -> tuple[str, str]:
    """Split the text at its last `=` into a regular expression and its replacement."""
    pattern, mark, replacement = text.rpartition("=")
    if not mark or not pattern:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form REGEX=REPL")
    return pattern, replacement


def check_target(prefix: str) -> None:
    """Raise `ValueError` if the prefix is an existing folder: the user probably means a file in it."""
    if os.path.isdir(prefix):
        raise ValueError(f"{prefix} is a folder, expected a prefix such as {os.path.join(prefix, 'model.ckpt')}")


def add_output_options(parser: argparse.ArgumentParser, *, shards: str | None) -> None:
    """Add the options of every verb that writes a checkpoint; `shards` is the help of --shards, if it has that."""
    if shards is not None:
        parser.add_argument("--shards", metavar="N", type=int, help=shards)
    parser.add_argument(
        "--state",
        choices=("new", "keep"),
        help="name the checkpoint in the folder's `checkpoint` file: alone, or with those already listed",
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an existing checkpoint")


def state_update(options: argparse.Namespace) -> StateUpdate:
    """Return --state as the argument `checkpoint_state` of the library."""
    return "keep" if options.state == "keep" else options.state == "new"


def summary(report: Report) -> str:
    """Return what was written, as lines for people."""
    written = len(report.copied) + len(report.converted)
    lines = [f"{pluralize(written, 'tensor')}, {render.size(report.nbytes)} written to {report.prefix}"]
    if report.converted:
        lines.append(f"  {len(report.converted):,} encoded anew, {len(report.copied):,} copied as bytes")
    if report.averaged:
        lines.append(f"  {len(report.averaged):,} with the values of their moving averages")
    if report.dropped:
        lines.append(f"  {pluralize(len(report.dropped), 'tensor')} of the source left out")
    return "\n".join(lines)
