"""Names of classes, from a file of the user's."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from tfckpt.errors import abridged, printable
from tfckpt.files.json_text import read_json
from tfckpt.files.reading import open_file

from .._typing import PathLike
from ..errors import ExportError

#: Names of classes are short; a larger file is none of labels.
_MAX_BYTES = 16_000_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_labels(path: PathLike) -> tuple[str, ...]:
    """Read one label a line; from a name that ends in `.json`, a list, or an object from numbers from 0 to labels.

    Raises `ExportError` for what is neither, and `CheckpointNotFoundError` when the file cannot be read.
    """
    path = os.fspath(path)
    with open_file(path) as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ExportError(f"the file of labels has more than {_MAX_BYTES} bytes", path=path)
    try:
        text = content.decode("utf-8-sig")
        labels = _from_json(read_json(text)) if path.lower().endswith(".json") else text.splitlines()
    except ValueError as error:
        raise ExportError(f"the file of labels cannot be understood ({error})", path=path) from error
    while labels and not labels[-1].strip():
        labels = labels[:-1]
    empty = next((number for number, label in enumerate(labels) if not label.strip()), None)
    if empty is not None:
        raise ExportError(f"label {empty} is empty", path=path)
    stripped = tuple(label.strip() for label in labels)
    require_lines(stripped, path=path)
    return stripped


def require_lines(labels: Sequence[str], *, path: str | None = None) -> None:
    """Raise `ExportError` for a label that is no text of one line: it could not stand in a file with the others."""
    for number, label in enumerate(labels):
        if len(label.splitlines()) > 1 or _SURROGATE.search(label):
            raise ExportError(f"label {number} is no text of one line: {printable(abridged(label))!r}", path=path)


def _from_json(value: object) -> list[str]:
    if isinstance(value, dict):
        numbers = [str(number) for number in range(len(value))]
        if set(value) != set(numbers):
            raise ValueError("an object of labels has to have the keys 0, 1, 2 and so on")
        value = [value[number] for number in numbers]
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise ValueError("expected a list of strings")
    return value
