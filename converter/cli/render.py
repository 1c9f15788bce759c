"""How sizes, talk and progress look, the same for every verb."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tfckpt.errors import printable

from ..conversion import Progress


def say(text: str) -> None:
    """Print talk on standard error; names in it cannot reach the terminal as control characters."""
    for line in text.splitlines() or [""]:
        print(printable(line), file=sys.stderr)


def complain(text: str) -> None:
    """Print what went wrong on standard error."""
    say(f"tf2torch: {text}")


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Progress | None]:
    """Give a callback that draws a bar of bytes on standard error: None unless that is a terminal and rich is there."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    except ImportError:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
