"""The forms of a conversion report: JSON for programs, an HTML page for people."""

from __future__ import annotations

import os
from collections.abc import Callable

from tfckpt.files.json_text import format_json

from .._typing import PathLike
from .html import page
from .pages import by_ending
from .record import FullReport


def to_json(report: FullReport) -> str:
    """Return the report as JSON text."""
    return format_json(report.to_dict())


def to_html(report: FullReport) -> str:
    """Return the report as one self-contained page."""
    return page(report)


FORMATS: dict[str, Callable[[FullReport], str]] = {".json": to_json, ".html": to_html}


def renderer_of(path: PathLike) -> Callable[[FullReport], str]:
    """Return the renderer for the ending of a report's name; raise `ExportError` for any other ending."""
    return by_ending(os.fspath(path), FORMATS)
