"""`tfckpt ls`: the tensors of a checkpoint, or with --all the checkpoints of a folder."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import fnmatch
import math
from collections.abc import Callable
from typing import Any

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
  tfckpt ls model.ckpt-322 stem            every name that contains "stem"
  tfckpt ls training-folder --all          the checkpoints of a folder, the oldest first
"""

_SORT_KEYS: dict[str, Callable[[TensorInfo], Any]] = {
    "name": lambda info: (),  # the order of the index
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
    parser.add_argument("path", metavar="PATH", help="prefix, member file or folder of a checkpoint")
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="only names that match: a glob with * ? [ ], else a text the name contains",
    )
    parser.add_argument("-l", "--long", action="store_true", help="also shard, offset, checksum and slices")
    parser.add_argument("--sort", choices=_SORT_KEYS, default="name", help="order of the rows (default: name)")
    parser.add_argument("--all", action="store_true", help="list the checkpoints of the folder PATH instead of tensors")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run, optional="pattern")


def run(options: argparse.Namespace) -> int:
    """List; exit code 3 when a pattern matches nothing."""
    if options.all:
        return _list_checkpoints(options.path, json=options.json)
    with opening.opened(options.path, options) as checkpoint:
        infos = [info for info in checkpoint.infos() if matches(info.name, options.pattern)]
        infos.sort(key=_SORT_KEYS[options.sort])
        missing = checkpoint.missing_files()
        if options.json:
            print(render.as_json(_as_data(checkpoint, infos, missing)))
        elif infos:
            _print_table(infos, long=options.long)
            print(_totals(infos, checkpoint))
        else:
            render.say("no tensors" if options.pattern is None else f"no tensor of {len(checkpoint)} matches")
        for path, names in missing.items():
            unlisted = "no tensor needs it" if checkpoint.format == V2 else "what stands only in it is not listed"
            costs = pluralize(len(names), "tensor") + " cannot be read" if names else unlisted
            render.complain(f"{path}: this data shard is missing; {costs}")
    return 3 if options.pattern is not None and not infos else 0


def matches(name: str, pattern: str | None) -> bool:
    """Whether a name matches a glob, or contains a text that is no glob; everything matches None."""
    if pattern is None:
        return True
    if any(c in pattern for c in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return pattern in name


def _print_table(infos: list[TensorInfo], *, long: bool) -> None:
    header = ["name", "dtype", "shape", "bytes"]
    rows = [[printable(info.name), render.dtype(info), render.shape(info.shape), f"{info.nbytes:,}"] for info in infos]
    if long:
        header += ["shard", "offset", "crc32c", "slices"]
        for row, info in zip(rows, infos, strict=True):
            row += [
                "-" if info.shard is None else str(info.shard),
                "-" if info.offset is None else f"{info.offset:,}",
                "-" if info.crc32c is None else f"{info.crc32c:08x}",
                " ".join(map(str, info.slices)) or "-",
            ]
    print(render.table(header, rows, right="lllrrrll"))


def _totals(infos: list[TensorInfo], checkpoint: Checkpoint) -> str:
    elements = sum(info.size for info in infos if info.tf_dtype != "DT_STRING")
    nbytes = sum(info.nbytes for info in infos)
    index_files = 1 if checkpoint.format == V2 else 0
    shards = pluralize(len(checkpoint.files) - index_files, "data shard")
    return f"{pluralize(len(infos), 'tensor')}, {pluralize(elements, 'element')}, {render.size(nbytes)} in {shards}"


def _as_data(checkpoint: Checkpoint, infos: list[TensorInfo], missing: dict[str, tuple[str, ...]]) -> object:
    return {
        "prefix": checkpoint.prefix,
        "format": checkpoint.format,
        "files": list(checkpoint.files),
        "missing_files": {path: list(names) for path, names in missing.items()},
        "tensors": [
            {
                "name": info.name,
                "dtype": render.dtype(info),
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
    """List, from the oldest to the newest; exit code 3 when there is none."""
    found = checkpoints(path)
    if json:
        print(render.as_json([dataclasses.asdict(one) | {"timestamp": _json_time(one.timestamp)} for one in found]))
    elif found:
        rows = [[printable(one.prefix), _time(one.timestamp), _state(one)] for one in found]
        print(render.table(["checkpoint", "written (UTC)", ""], rows))
    else:
        render.complain(f"{path}: no checkpoint in this folder")
    for one in found:
        for note in one.notes:
            render.say(note)
    return 0 if found else 3


def _time(timestamp: float | None) -> str:
    """Seconds since 1970 as a date; what is none, such as nan, as the number."""
    if timestamp is None:
        return "-"
    try:
        return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(timestamp)


def _json_time(timestamp: float | None) -> object:
    """JSON has no NaN and no infinities: they become their names."""
    return timestamp if timestamp is None or math.isfinite(timestamp) else str(timestamp)


def _state(one: KnownCheckpoint) -> str:
    """What is to be said of a checkpoint besides its name."""
    words = [
        "latest" if one.is_latest else "",
        "" if one.exists else "not there",
        "" if one.in_state_file else "not in the state file",
    ]
    return ", ".join(word for word in words if word)
