"""Formats that a conversion is written in, one module each, chosen by the ending of the output's name."""

from __future__ import annotations

import os

from ..conversion import ConversionResult, PathLike, Progress
from ..errors import ExportError
from . import pth, safetensors
from .atomic import atomic_file, check_free
from .base import CONFIG_KEY, PROVENANCE_KEY, Format, TensorFile

__all__ = [
    "CONFIG_KEY",
    "FORMATS",
    "PROVENANCE_KEY",
    "TensorFile",
    "atomic_file",
    "check_free",
    "export",
    "format_of",
    "read_output",
]

FORMATS: dict[str, Format] = {
    ".safetensors": Format(safetensors.write, safetensors.read),
    ".pth": Format(pth.write, pth.read),
}


def format_of(path: PathLike) -> Format:
    """Choose by the ending of the name; `ExportError` lists the endings when it is none of them."""
    path = os.fspath(path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise ExportError(f"the output's name has to end in {' or '.join(FORMATS)}", path=path)
    return FORMATS[ending]


def export(result: ConversionResult, path: PathLike, *, force: bool = False, progress: Progress | None = None) -> None:
    """Write a conversion to a file, in the format its ending says.

    Nothing is overwritten without `force`, and a failure or an interruption leaves nothing behind.
    """
    chosen = format_of(path)
    with atomic_file(path, force=force) as file:
        chosen.write(result, file, progress=progress)


def read_output(path: PathLike) -> TensorFile:
    """Read a file that `export` wrote, or another of its format."""
    return format_of(path).read(path)
