"""The formats of a report of an export: JSON for programs, an HTML page for people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tfckpt.files.json_text import SCHEMA_VERSION, format_json

from .._typing import PathLike
from ..errors import VerificationError
from ..formats.atomic import atomic_file
from ..reporting.endings import choose_by_ending
from .page import render_page
from .report import ProgramReport


def to_json(report: ProgramReport) -> str:
    """Return the report as JSON text."""
    return format_json({"schema_version": SCHEMA_VERSION, **report.to_dict()})


FORMATS: dict[str, Callable[[ProgramReport], str]] = {".json": to_json, ".html": render_page}


@contextlib.contextmanager
def writing_report(path: PathLike | None, *, force: bool) -> Iterator[Callable[[ProgramReport], None]]:
    """Yield a function that keeps a report, and write the last one that was kept when the block ends.

    It is also written if the block raises `VerificationError`, and not after any other exception.
    """
    kept: list[ProgramReport] = []
    if path is None:
        yield kept.append
        return
    render = choose_by_ending(str(path), FORMATS)
    difference = None
    with atomic_file(path, force=force) as file:
        try:
            yield kept.append
        except VerificationError as error:
            difference = error
        file.write(render(kept[-1]).encode())
    if difference is not None:
        raise difference
