"""Class labels, read from a file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from tfckpt.errors import abridged, printable
from tfckpt.files.json_text import read_json
from tfckpt.files.reading import open_file

from .._typing import PathLike
from ..errors import ExportError

#: Largest file of labels that is read.
_MAX_BYTES = 16_000_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_labels(path: PathLike) -> tuple[str, ...]:
    """Return the labels in a file: one a line, or for `.json` a list, or an object with the keys "0", "1" and so on.

    Raises `ExportError` for an invalid file, and `CheckpointNotFoundError` if the file cannot be read.
    """
    path = os.fspath(path)
    with open_file(path) as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ExportError(f"a file of labels must not be larger than {_MAX_BYTES} bytes", path=path)
    try:
        text = content.decode("utf-8-sig")
        labels = _parse_json(read_json(text)) if path.lower().endswith(".json") else text.splitlines()
    except ValueError as error:
        raise ExportError(f"cannot parse the labels ({error})", path=path) from error
    while labels and not labels[-1].strip():
        labels = labels[:-1]
    empty = next((number for number, label in enumerate(labels) if not label.strip()), None)
    if empty is not None:
        raise ExportError(f"label {empty} is empty", path=path)
    stripped = tuple(label.strip() for label in labels)
    check_labels(stripped, path=path)
    return stripped


def check_labels(labels: Sequence[str], *, path: str | None = None) -> None:
    """Raise `ExportError` for a label that is not one line of valid Unicode, which a file of labels cannot contain."""
    for number, label in enumerate(labels):
        if len(label.splitlines()) > 1 or _SURROGATE.search(label):
            raise ExportError(f"label {number} is not one line of text: {printable(abridged(label))!r}", path=path)


def find_duplicates(labels: Sequence[str]) -> dict[str, list[int]]:
    """Return the numbers of the classes of every label that several classes have, such as ImageNet's "crane"."""
    numbers: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        numbers.setdefault(label, []).append(number)
    return {label: found for label, found in numbers.items() if len(found) > 1}


def make_unique(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels with the number of the class after each that several classes have, such as `crane (134)`."""
    unique = tuple(labels)
    while duplicates := find_duplicates(unique):
        unique = tuple(f"{label} ({number})" if label in duplicates else label for number, label in enumerate(unique))
    return unique


def _parse_json(value: object) -> list[str]:
    if isinstance(value, dict):
        numbers = [str(number) for number in range(len(value))]
        if set(value) != set(numbers):
            raise ValueError("expected the keys 0, 1, 2 and so on")
        value = [value[number] for number in numbers]
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise ValueError("expected a list of strings")
    return value
