"""Options, checks and the summary of the verbs that write checkpoints and exports."""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import Any

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
        help="replace matches of a regular expression in names; split at the last =; may be repeated",
    )
    parser.add_argument("--dtype", help="convert floating-point tensors to float16, bfloat16, float32 or float64")
    parser.add_argument(
        "--no-optimizer", action="store_true", help="leave out slot variables and other optimizer state"
    )


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of exports, of one file and of jobs."""
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


def get_export_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `export` and `plan_export` for the options that choose, rename and convert tensors."""
    chosen = {
        "include": options.include,
        "exclude": options.exclude,
        "strip_prefix": options.strip_prefix,
        "rename": options.rename,
        "dtype": options.dtype,
        "no_optimizer": options.no_optimizer,
        "weights": options.weights,
    }
    return chosen if options.shard_size is None else {**chosen, "shard_size": options.shard_size}


def parse_rename(text: str) -> tuple[str, str]:
    """Split the text at its last `=` into a regular expression and its replacement."""
    pattern, mark, replacement = text.rpartition("=")
    if not mark or not pattern:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form REGEX=REPL")
    return pattern, replacement


def check_target(prefix: str) -> None:
    """Raise `ValueError` if the prefix is an existing folder: the user probably means a prefix in it."""
    if os.path.isdir(prefix):
        raise ValueError(f"{prefix} is a folder; give a prefix such as {os.path.join(prefix, 'model.ckpt')}")


def add_output_options(parser: argparse.ArgumentParser, *, shards: str | None) -> None:
    """Add the options for writing a checkpoint; `shards` is the help for --shards, or None for no such option."""
    if shards is not None:
        parser.add_argument("--shards", metavar="N", type=int, help=shards)
    parser.add_argument(
        "--state",
        choices=("new", "keep"),
        help="record the checkpoint in the folder's `checkpoint` file: alone, or in addition to those listed there",
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an existing checkpoint")
    parser.add_argument("--json", action="store_true", help="write JSON")


def get_state_update(options: argparse.Namespace) -> StateUpdate:
    """Return the value of --state in the form of the library's argument `checkpoint_state`."""
    return "keep" if options.state == "keep" else options.state == "new"


def format_summary(report: Report, *, json: bool) -> str:
    """Return a summary of what was written, as lines of text or as JSON."""
    if json:
        return render.to_json(dataclasses.asdict(report))
    written = len(report.copied) + len(report.converted)
    lines = [f"{pluralize(written, 'tensor')}, {render.format_size(report.nbytes)} written to {report.prefix}"]
    if report.converted:
        lines.append(f"  {len(report.converted):,} re-encoded, {len(report.copied):,} copied as bytes")
    if report.averaged:
        lines.append(f"  {len(report.averaged):,} with the values of their moving averages")
    if report.dropped:
        lines.append(f"  left out: {pluralize(len(report.dropped), 'tensor')} of the source")
    return "\n".join(lines)
