"""Tables, sizes, messages and progress, the same for every verb."""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..addresses import hide_secrets
from ..errors import printable
from ..files.json_text import SCHEMA_VERSION, dump_json
from .streams import write_message

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
#: Text is not wrapped to less than this, whatever the terminal says.
_LEAST_WIDTH = 40
#: Rows of a large table that are aligned at a time.
TABLE_ROWS = 2_000
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?", re.IGNORECASE)


def wrap(text: str, indent: int) -> str:
    """Wrap the lines that are wider than the terminal, with `indent` spaces before what continues a line.

    Without a terminal the width is that of `COLUMNS`, or 80. Words, such as names, are never broken.
    """
    width = get_width()
    lines: list[str] = []
    for line in text.split("\n"):
        fits = len(line) <= width
        lines += (
            [line]
            if fits
            else textwrap.wrap(
                line,
                width,
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def get_width() -> int:
    """Return the number of columns of the terminal."""
    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    """Align columns under their headings; `right` has one character per column, "l" or "r": "lrl"."""
    return "\n".join(iterate_table(header, rows, right=right, most_rows=len(rows)))


def iterate_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: str = "", most_rows: int = TABLE_ROWS
) -> Iterator[str]:
    """Yield a table like `format_table` in parts of `most_rows` rows, of which one is kept in memory.

    Columns are as wide as the parts so far need, so that a table of more parts may get wider on the way.
    """
    sides = right.ljust(len(header), "l")[: len(header)]
    remaining = iter(rows)
    part = [tuple(header), *map(tuple, itertools.islice(remaining, most_rows))]
    widths = [0] * len(header)
    while part:
        widths = [max(width, *map(len, column)) for width, column in zip(widths, zip(*part, strict=True), strict=True)]
        template = "  ".join(
            f"%{'' if side == 'r' else '-'}{width}s" for side, width in zip(sides, widths, strict=True)
        )
        lines = map(template.__mod__, part)
        yield "\n".join(lines if sides[-1] == "r" else map(str.rstrip, lines))
        part = list(map(tuple, itertools.islice(remaining, most_rows)))


def format_size(nbytes: int) -> str:
    """Format a number of bytes: 512 bytes, 1.5 KiB."""
    value = float(nbytes)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{nbytes} {_UNITS[0]}" if unit == _UNITS[0] else f"{value:.1f} {unit}"


def parse_size(text: str) -> int:
    """Parse a number of bytes with a unit: 500MB, 5GB (powers of 1000), 2GiB (powers of 1024)."""
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _FACTORS[(match[2] or "").upper()]) if match else 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500MB or 5GB")
    return size


def format_shape(dimensions: Sequence[int]) -> str:
    """Format a shape as a list: [2, 3], or [] for a scalar."""
    return "[" + ", ".join(map(str, dimensions)) + "]"


def format_dtype(tf_dtype: str) -> str:
    """Return TensorFlow's short name of a type, such as float32, qint8 or string, for a name such as DT_FLOAT."""
    name = tf_dtype.removeprefix("DT_").lower()
    return {"float": "float32", "double": "float64", "half": "float16"}.get(name, name)


def to_json(data: Mapping[str, object]) -> str:
    """Return indented JSON with the version of its schema and non-ASCII characters escaped."""
    return dump_json({"schema_version": SCHEMA_VERSION, **data})


def print_json(data: Mapping[str, object], name: str, items: Iterable[object]) -> None:
    """Print what `to_json` returns for `data` with a list in its last field, of which only one item is kept."""
    head = to_json({**data, name: []})
    print(head.removesuffix("]\n}"), end="")
    separator = ""
    for item in items:
        text = dump_json(item).replace("\n", "\n    ")
        print(f"{separator}\n    {text}", end="")
        separator = ","
    print("\n  ]\n}" if separator else "]\n}")


def say(text: str) -> None:
    """Print one line to standard error, with control characters escaped and without the secrets of addresses."""
    write_message(printable(hide_secrets(text)))


def complain(text: str, *, command: str = "tfckpt") -> None:
    """Print one line to standard error that says what went wrong."""
    say(f"{command}: {text}")


#: Said if the object graph cannot be read; the missing data shard is named in a line of its own.
OBJECTS_FROM_KEYS = (
    "the object graph is in a missing data shard; objects are those that the keys name, and other names are unknown"
)


class Progress:
    """A progress line on standard error, drawn on terminals only, at most ten times a second, removed at the end."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._shown_at = 0.0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` bytes or steps are done."""
        now = time.monotonic()
        if self._is_terminal and (now - self._shown_at >= 0.1 or done == total):
            self._shown_at = now
            filled = 30 * done // max(total, 1)
            bar = "#" * filled + "-" * (30 - filled)
            write_message(f"\r{self._label} [{bar}] {done:,}/{total:,}", end="")

    def close(self) -> None:
        """Remove the line."""
        if self._is_terminal and self._shown_at:
            write_message("\r\x1b[K", end="")
