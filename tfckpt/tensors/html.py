"""A table of tensors for notebooks."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable

from ..errors import abridged, pluralize, printable
from .info import TensorInfo

#: Rows of the table; a notebook keeps every output.
_MAX_ROWS = 20


def format_html(title: str, infos: Iterable[TensorInfo], count: int) -> str:
    """Return a table of the first of `count` tensors; names are escaped, since they come from files."""
    shown = list(itertools.islice(infos, _MAX_ROWS))
    rows = [
        "<tr>"
        + "".join(
            f"<td style='text-align: left'>{html.escape(printable(abridged(cell)))}</td>"
            for cell in (info.name, info.dtype.name, str(list(info.shape)), f"{info.nbytes:,}")
        )
        + "</tr>"
        for info in shown
    ]
    more = f"<p>and {pluralize(count - len(shown), 'more tensor')}</p>" if count > len(shown) else ""
    header = "".join(f"<th style='text-align: left'>{name}</th>" for name in ("name", "dtype", "shape", "bytes"))
    return (
        f"<p>{html.escape(printable(title))}: {pluralize(count, 'tensor')}</p>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}"
    )
