"""Arguments of TensorFlow's functions: text, and places of files."""

from __future__ import annotations

import os
from typing import Any

from ..storage.base import Storage
from ..storage.local import LocalStorage


def as_bytes(value: Any) -> bytes:
    """The UTF-8 bytes of a text, or bytes as they are; `TypeError` for anything else."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8")
    raise TypeError(f"Expected binary or unicode string, got {value!r}")


def as_text(value: Any, *, or_path: bool = False) -> str:
    """The text of a path given as text or as UTF-8 bytes, if `or_path` also as an `os.PathLike`."""
    if or_path and isinstance(value, os.PathLike):
        value = os.fspath(value)
    return as_bytes(value).decode("utf-8")


def storage_of(path: str) -> Storage:
    """The storage that a path belongs to."""
    return LocalStorage()


def is_folder(path: Any) -> bool:
    """Whether a folder stands at a path."""
    text = as_text(path, or_path=True)
    return storage_of(text).is_folder(text)
