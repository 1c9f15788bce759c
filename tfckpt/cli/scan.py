"""`tfckpt scan`: a table of all checkpoints in a folder or bucket."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import pluralize
from ..sinks.opening import open_sink
from . import render
from .command import report_misuse
from .executors import add_executor_options, open_executor, parse_count

if TYPE_CHECKING:
    from ..jobs.scanning import Row

HELP = """\
Write a table of all checkpoints below a folder or address, one row for each.

  tfckpt scan runs/ -o table.jsonl
  tfckpt scan s3://bucket/ -o table.parquet --workers 8
  tfckpt scan s3://bucket/ -o table.parquet --depth graph --restart

Finds V2 and V1 checkpoints, SavedModels and Keras files, but none in archives.
A row has the address, the format, numbers of tensors, parameters and bytes, and two separate facts: what is damaged,
and whether running the graph would touch files, the network or Python code (--depth graph).
Any error is a row, and the exit code is 0.
--restart keeps the rows of checkpoints whose files have not changed.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("scan", help="write a table of all checkpoints below a folder", description=HELP)
    parser.add_argument("root", metavar="ROOT", help="folder or address that can be listed")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="table.jsonl or table.parquet")
    parser.add_argument(
        "--depth",
        choices=("index", "checksums", "graph"),
        default="index",
        help="what is read: the index; also all data, for checksums; or also the graphs (default: %(default)s)",
    )
    parser.add_argument(
        "--batch", metavar="N", type=parse_count, default=500, help="checkpoints of one task (default: %(default)s)"
    )
    add_executor_options(parser)
    parser.add_argument("--restart", action="store_true", help="continue, or update, an earlier table")
    parser.add_argument("-f", "--force", action="store_true", help="begin anew and overwrite an earlier table")
    parser.add_argument("--json", action="store_true", help="write the summary as JSON")
    parser.set_defaults(run=run)


@report_misuse
def run(options: argparse.Namespace) -> int:
    """Scan; every error of a checkpoint is a row."""
    from ..jobs.scanning import plan_scan, run_scan
    from ..jobs.tables import Table

    table = Table(*open_sink(options.output))
    if not options.restart and not options.force:
        table.check_free()
    plan = plan_scan(options.root, depth=options.depth)
    wanted = {plan.key(candidate): candidate for candidate in plan.candidates}
    rows: dict[tuple[str, ...], Row] = {}
    if options.restart:
        rows = {row.key: row for row in table.read() if row.key in wanted}
    elif options.force:
        table.remove_parts()
    missing = [candidate for key, candidate in wanted.items() if key not in rows]
    kept = len(rows)
    requests = f", about {plan.requests:,} requests" if plan.requests else ""
    render.say(
        f"{len(wanted):,} to examine, {kept:,} of them done; all: {render.format_size(plan.read_bytes)}{requests}"
    )
    progress = render.Progress("scanning")
    try:
        with open_executor(options, prefix="tfckpt-scan") as executor:
            for batch in run_scan(plan, missing, executor=executor, batch=options.batch):
                table.add_part(batch)
                rows.update((row.key, row) for row in batch)
                progress(len(rows), len(wanted))
    finally:
        progress.close()
    found = [rows[key] for key in sorted(rows) if rows[key].format is not None]
    table.finish(found)
    _print_summary(found, kept, options)
    return 0


def _print_summary(rows: list[Row], kept: int, options: argparse.Namespace) -> None:
    damaged = sum(row.damaged for row in rows)
    unread = sum(row.error is not None and not row.damaged for row in rows)
    dangerous = None if options.depth != "graph" else sum(bool(row.dangerous) for row in rows)
    if options.json:
        counts = {"checkpoints": len(rows), "damaged": damaged, "dangerous": dangerous, "unread": unread, "kept": kept}
        print(render.to_json({"root": options.root, "output": options.output, **counts}))
        return
    parts = [f"{damaged:,} damaged"]
    parts += [] if dangerous is None else [f"{dangerous:,} dangerous"]
    parts += [f"{unread:,} not examined because of other errors"] if unread else []
    print(f"{pluralize(len(rows), 'checkpoint')}: {', '.join(parts)} -> {options.output}")
