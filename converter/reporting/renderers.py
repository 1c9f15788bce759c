"""The formats of a conversion report: JSON for programs, an HTML render_page for people."""

from __future__ import annotations

import os
from collections.abc import Callable

from tfckpt.files.json_text import SCHEMA_VERSION, format_json

from .._typing import PathLike
from .endings import choose_by_ending
from .html import render_page
from .record import FullReport


def to_json(report: FullReport) -> str:
    """Return the report as JSON text."""
    return format_json({"schema_version": SCHEMA_VERSION, **report.to_dict()})


def to_html(report: FullReport) -> str:
    """Return the report as one self-contained page."""
    return render_page(report)


FORMATS: dict[str, Callable[[FullReport], str]] = {".json": to_json, ".html": to_html}


def choose_renderer(path: PathLike) -> Callable[[FullReport], str]:
    """Return the renderer for the ending of a report's name; raise `ExportError` for any other ending."""
    return choose_by_ending(os.fspath(path), FORMATS)
