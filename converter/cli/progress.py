"""A progress bar, the same for every verb."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._typing import Progress


@contextlib.contextmanager
def progress_bar(label: str, *, counts: bool = False) -> Iterator[Progress | None]:
    """Yield a callback that draws a bar on standard error; None if that is not a terminal or rich is not installed.

    The callback takes `done` and `total` in bytes, or with `counts` as numbers of items.
    """
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    except ImportError:
        yield None
        return
    amount = MofNCompleteColumn() if counts else DownloadColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
