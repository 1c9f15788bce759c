"""`tfckpt info`: summarise a checkpoint in a few lines."""

from __future__ import annotations

import argparse
import dataclasses

from ..checks.summary import Summary, summarize
from ..errors import pluralize, printable
from . import opening, render

HELP = """\
Summarise a checkpoint in a few lines: format, files, tensors, parameters, optimizer, averages.

  tfckpt info model.ckpt-322
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "info",
        help="summarise a checkpoint",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the summary."""
    with opening.open_checkpoint(options.path, options) as checkpoint:
        summary = summarize(checkpoint)
    if options.json:
        print(render.to_json(dataclasses.asdict(summary)))
        return 0
    rows = list(_format_rows(summary))
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print(render.wrap(f"{label.ljust(width)}  {value}", width + 2))
    for path in summary.missing_files:
        render.complain(f"{path}: this data shard is missing")
    if summary.objects_from_keys:
        render.say(render.OBJECTS_FROM_KEYS)
    return 0


def _format_rows(summary: Summary) -> list[tuple[str, str]]:
    kind = [f"{summary.format}, {summary.style}"]
    if summary.saved_model:
        kind.append("in a SavedModel")
    if summary.big_endian:
        kind.append("big-endian")
    writer = [] if summary.producer is None else [f"bundle version {summary.producer}"]
    if summary.keras_version:
        writer.append(f"Keras {printable(summary.keras_version)}")
    if summary.tensorflow_version:
        writer.append(f"graph by TensorFlow {printable(summary.tensorflow_version)}")
    rows = [
        ("checkpoint", printable(summary.prefix)),
        ("format", ", ".join(kind)),
        ("written as", ", ".join(writer) or "unknown"),
        ("files", str(summary.files)),
        ("tensors", f"{summary.tensors:,}"),
        ("elements", f"{summary.elements:,}"),
        ("parameters", f"{summary.parameters:,}"),
        ("bytes", f"{summary.nbytes:,} ({render.format_size(summary.nbytes)})"),
        ("optimizer", _format_share(summary.optimizer_tensors, summary.optimizer_nbytes, summary.nbytes)),
        ("moving averages", _format_share(summary.average_tensors, summary.average_nbytes, summary.nbytes)),
        (
            "types",
            ", ".join(f"{render.format_dtype(name)} x {count:,}" for name, count in summary.dtypes.items()) or "none",
        ),
    ]
    if summary.partitioned_tensors:
        rows.append(("in slices", pluralize(summary.partitioned_tensors, "tensor")))
    return rows


def _format_share(tensors: int, nbytes: int, total: int) -> str:
    if not tensors:
        return "none"
    return f"{pluralize(tensors, 'tensor')}, {render.format_size(nbytes)} ({nbytes / max(total, 1):.0%})"
