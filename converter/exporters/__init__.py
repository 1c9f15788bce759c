"""Destinations of a conversion, one module each, chosen by the ending of the output's name.

An exporter is a module-level function that writes a whole result into an open file.
`export` opens that file so that the output appears whole or not at all.
"""

from __future__ import annotations

import os
from typing import BinaryIO, Protocol

from ..conversion import ConversionResult, PathLike, Progress
from ..errors import ExportError
from . import pth, safetensors
from .atomic import atomic_file


class Exporter(Protocol):
    """The contract: write `result` to `file` from its current position on, telling `progress` as it goes."""

    def __call__(self, result: ConversionResult, file: BinaryIO, *, progress: Progress | None = None) -> None:
        """Write it; `ExportError` when this format cannot hold it."""


EXPORTERS: dict[str, Exporter] = {".safetensors": safetensors.write, ".pth": pth.write}


def exporter_for(path: PathLike) -> Exporter:
    """Choose by the ending of the name; `ExportError` lists the endings when it is none of them."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in EXPORTERS:
        known = " or ".join(EXPORTERS)
        raise ExportError(f"the output's name should end in {known}", path=os.fspath(path))
    return EXPORTERS[ending]


def export(result: ConversionResult, path: PathLike, *, force: bool = False, progress: Progress | None = None) -> None:
    """Write a conversion to a file, in the format its ending says.

    Nothing is overwritten without `force`, and a failure or an interruption leaves nothing behind.
    """
    write = exporter_for(path)
    with atomic_file(path, force=force) as file:
        write(result, file, progress=progress)
