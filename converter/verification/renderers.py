"""The formats of a proof: JSON for programs, an HTML page for people."""

from __future__ import annotations

from collections.abc import Callable

from tfckpt.files.json_text import SCHEMA_VERSION, format_json

from ..reporting.endings import choose_by_ending
from .html import render_page
from .report import Proof


def to_json(proof: Proof) -> str:
    """Return the proof as JSON text."""
    return format_json({"schema_version": SCHEMA_VERSION, **proof.to_dict()})


def to_html(proof: Proof) -> str:
    """Return the proof as one self-contained page."""
    return render_page(proof)


FORMATS: dict[str, Callable[[Proof], str]] = {".json": to_json, ".html": to_html}


def choose_renderer(path: str) -> Callable[[Proof], str]:
    """Return the renderer for the ending of a report's name; raise `ExportError` for any other ending."""
    return choose_by_ending(path, FORMATS)
