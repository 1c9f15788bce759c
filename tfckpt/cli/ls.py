"""`tfckpt ls`: list the tensors of a checkpoint, or with --all the checkpoints of a folder."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import math
from collections.abc import Callable
from typing import Any

from ..addresses import hide_secrets, plain_address
from ..checkpoint import Checkpoint
from ..errors import pluralize, printable
from ..finding.detect import V2
from ..finding.folder import KnownCheckpoint, checkpoints
from ..tensors.info import TensorInfo
from . import opening, render

HELP = """\
List the tensors of a checkpoint.

  tfckpt ls model.ckpt-322
  tfckpt ls model.ckpt-322 '*/kernel' --sort size
  tfckpt ls model.ckpt-322 stem            names that contain "stem"
  tfckpt ls training-folder --all          the checkpoints of a folder, oldest first
"""

_SORT_KEYS: dict[str, Callable[[TensorInfo], Any]] = {
    "name": lambda info: (),  # keep the order of the index
    "size": lambda info: -info.nbytes,
    "dtype": lambda info: info.tf_dtype,
    "shape": lambda info: (len(info.shape), info.shape),
    "offset": lambda info: (-1 if info.shard is None else info.shard, info.offset or 0),
}


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "ls",
        help="list the tensors",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="only names that match a glob with * ? [ ], or that contain this text",
    )
    parser.add_argument("-l", "--long", action="store_true", help="also show shard, offset, checksum and slices")
    parser.add_argument("--sort", choices=_SORT_KEYS, default="name", help="order of the rows (default: name)")
    parser.add_argument("--all", action="store_true", help="list the checkpoints of the folder PATH instead of tensors")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run, optional="pattern")


def run(options: argparse.Namespace) -> int:
    """List; exit code 3 if a pattern matches nothing."""
    if options.all:
        return _list_checkpoints(options.path, json=options.json)
    with opening.open_checkpoint(options.path, options) as checkpoint:
        infos = list(checkpoint.infos(options.pattern))
        infos.sort(key=_SORT_KEYS[options.sort])
        missing = checkpoint.missing_files()
        if options.json:
            print(render.to_json(_to_data(checkpoint, infos, missing)))
        elif infos:
            _print_table(infos, long=options.long)
            print(_format_totals(infos, checkpoint))
        else:
            render.say(
                "no tensors"
                if options.pattern is None
                else f"none of {pluralize(len(checkpoint), 'tensor')} matches {options.pattern!r}"
            )
        for path, names in missing.items():
            # Only V2 has an index, which lists the tensors of a missing shard as well.
            unlisted = "no tensor needs it" if checkpoint.format == V2 else "its tensors are not listed"
            effect = pluralize(len(names), "tensor") + " cannot be read" if names else unlisted
            render.complain(f"{path}: this data shard is missing; {effect}")
    return 3 if options.pattern is not None and not infos else 0


def _print_table(infos: list[TensorInfo], *, long: bool) -> None:
    header = ["name", "dtype", "shape", "bytes"]
    rows = [
        [printable(info.name), render.format_dtype(info.tf_dtype), render.format_shape(info.shape), f"{info.nbytes:,}"]
        for info in infos
    ]
    if long:
        header += ["shard", "offset", "crc32c", "slices"]
        for row, info in zip(rows, infos, strict=True):
            row += [
                "-" if info.shard is None else str(info.shard),
                "-" if info.offset is None else f"{info.offset:,}",
                "-" if info.crc32c is None else f"{info.crc32c:08x}",
                " ".join(map(str, info.slices)) or "-",
            ]
    print(render.format_table(header, rows, right="lllrrrll"))


def _format_totals(infos: list[TensorInfo], checkpoint: Checkpoint) -> str:
    elements = sum(info.size for info in infos if info.tf_dtype != "DT_STRING")
    nbytes = sum(info.nbytes for info in infos)
    index_files = 1 if checkpoint.format == V2 else 0
    shards = pluralize(len(checkpoint.files) - index_files, "data shard")
    return (
        f"{pluralize(len(infos), 'tensor')}, {pluralize(elements, 'element')}, {render.format_size(nbytes)} in {shards}"
    )


def _to_data(checkpoint: Checkpoint, infos: list[TensorInfo], missing: dict[str, tuple[str, ...]]) -> dict[str, object]:
    return {
        "prefix": checkpoint.prefix,
        "format": checkpoint.format,
        "files": list(checkpoint.files),
        "missing_files": {path: list(names) for path, names in missing.items()},
        "tensors": [
            {
                "name": info.name,
                "dtype": render.format_dtype(info.tf_dtype),
                "shape": list(info.shape),
                "nbytes": info.nbytes,
                "shard": info.shard,
                "offset": info.offset,
                "crc32c": info.crc32c,
                "slices": list(map(str, info.slices)),
            }
            for info in infos
        ],
    }


def _list_checkpoints(path: str, *, json: bool) -> int:
    """List the checkpoints from the oldest to the newest; exit code 3 if there are none."""
    known = [
        dataclasses.replace(item, prefix=plain_address(item.prefix), notes=tuple(map(hide_secrets, item.notes)))
        for item in checkpoints(path)
    ]
    if json:
        rows = [dataclasses.asdict(item) | {"timestamp": _json_time(item.timestamp)} for item in known]
        print(render.to_json({"checkpoints": rows}))
    elif known:
        cells = [[printable(item.prefix), _format_time(item.timestamp), _describe_state(item)] for item in known]
        print(render.format_table(["checkpoint", "written (UTC)", ""], cells))
    else:
        render.complain(f"{path}: no checkpoint in this folder")
    for item in known:
        for note in item.notes:
            render.say(note)
    return 0 if known else 3


def _format_time(timestamp: float | None) -> str:
    """Format seconds since 1970 as a date; a value that is not a date, such as nan, stays a number."""
    if timestamp is None:
        return "-"
    try:
        return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(timestamp)


def _json_time(timestamp: float | None) -> object:
    """Return a time as JSON can hold it: NaN and infinities become their names."""
    return timestamp if timestamp is None or math.isfinite(timestamp) else str(timestamp)


def _describe_state(item: KnownCheckpoint) -> str:
    """Describe the state of a checkpoint in a few words."""
    words = [
        "latest" if item.is_latest else "",
        "" if item.exists else "missing",
        "" if item.in_state_file else "not in the state file",
    ]
    return ", ".join(word for word in words if word)
