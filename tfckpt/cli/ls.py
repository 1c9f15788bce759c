"""`tfckpt ls`: list the tensors of a checkpoint, or with --all the checkpoints of a folder."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
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
        listing = _Listing(checkpoint, options.pattern, options.sort)
        missing = checkpoint.missing_files()
        if options.json:
            render.print_json(_to_data(checkpoint, missing), "tensors", map(_tensor_to_data, listing))
        elif _print_table(listing, long=options.long):
            print(_format_totals(listing, checkpoint))
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
        return 3 if options.pattern is not None and not listing.count else 0


class _Listing:
    """What is listed, with totals; kept in memory only to sort it, since there may be millions."""

    def __init__(self, checkpoint: Checkpoint, pattern: str | None, sort: str) -> None:
        self._checkpoint = checkpoint
        self._pattern = pattern
        self._sorted: list[TensorInfo] | None = None
        if sort != "name":
            self._sorted = sorted(checkpoint.infos(pattern), key=_SORT_KEYS[sort])
        #: The totals, after an iteration.
        self.count = self.elements = self.nbytes = 0

    def __iter__(self) -> Iterator[TensorInfo]:
        count = elements = nbytes = 0  # local variables, for speed
        for info in self._checkpoint.infos(self._pattern) if self._sorted is None else self._sorted:
            count += 1
            elements += math.prod(info.shape) if info.tf_dtype != "DT_STRING" else 0
            nbytes += info.nbytes
            yield info
        self.count, self.elements, self.nbytes = count, elements, nbytes


def _print_table(infos: Iterable[TensorInfo], *, long: bool) -> bool:
    """Print a table unless there are no tensors; return whether there are."""
    header = ["name", "dtype", "shape", "bytes"] + (["shard", "offset", "crc32c", "slices"] if long else [])
    rows = map(_format_long_row if long else _format_row, infos)
    first = next(rows, None)
    if first is None:
        return False
    for lines in render.iterate_table(header, itertools.chain([first], rows), right="lllrrrll"):
        print(lines)
    return True


def _format_row(info: TensorInfo) -> tuple[str, ...]:
    return printable(info.name), *_format_type(info.tf_dtype, info.shape, info.nbytes)


@functools.lru_cache(1024)
def _format_type(tf_dtype: str, shape: tuple[int, ...], nbytes: int) -> tuple[str, str, str]:
    """Return three cells of a row; few differ in a network with many tensors."""
    return render.format_dtype(tf_dtype), render.format_shape(shape), f"{nbytes:,}"


def _format_long_row(info: TensorInfo) -> tuple[str, ...]:
    return (
        *_format_row(info),
        "-" if info.shard is None else str(info.shard),
        "-" if info.offset is None else f"{info.offset:,}",
        "-" if info.crc32c is None else f"{info.crc32c:08x}",
        " ".join(map(str, info.slices)) or "-",
    )


def _format_totals(listing: _Listing, checkpoint: Checkpoint) -> str:
    index_files = 1 if checkpoint.format == V2 else 0
    shards = pluralize(len(checkpoint.files) - index_files, "data shard")
    return (
        f"{pluralize(listing.count, 'tensor')}, {pluralize(listing.elements, 'element')}, "
        f"{render.format_size(listing.nbytes)} in {shards}"
    )


def _to_data(checkpoint: Checkpoint, missing: dict[str, tuple[str, ...]]) -> dict[str, object]:
    return {
        "prefix": checkpoint.prefix,
        "format": checkpoint.format,
        "files": list(checkpoint.files),
        "missing_files": {path: list(names) for path, names in missing.items()},
    }


def _tensor_to_data(info: TensorInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "dtype": render.format_dtype(info.tf_dtype),
        "shape": list(info.shape),
        "nbytes": info.nbytes,
        "shard": info.shard,
        "offset": info.offset,
        "crc32c": info.crc32c,
        "slices": list(map(str, info.slices)),
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
