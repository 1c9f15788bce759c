"""Conversion of the arguments of TensorFlow's functions: text and paths."""

from __future__ import annotations

import os
from typing import Any

from ..storage.base import SEPARATOR, Storage
from ..storage.local import LocalStorage
from ..storage.locate import Options, locate


def as_bytes(value: Any) -> bytes:
    """Return bytes, or a text as UTF-8; `TypeError` for anything else."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8")
    raise TypeError(f"Expected binary or unicode string, got {value!r}")


def as_text(value: Any, *, or_path: bool = False) -> str:
    """Return a text that may be UTF-8 bytes or, with `or_path`, an `os.PathLike`."""
    if or_path and isinstance(value, os.PathLike):
        value = os.fspath(value)
    return as_bytes(value).decode("utf-8")


def resolve_path(path: str) -> tuple[Storage, str]:
    """Return the storage of a path and the path in it; the path may be an address, or be inside an archive.

    Unlike for `tfckpt.open`, the path of an archive itself is that of a file.
    """
    if "://" not in path and (SEPARATOR not in path or os.path.lexists(path)):
        return LocalStorage(), path
    location = locate(path, Options())
    return location.storage, location.path


def is_folder(path: Any) -> bool:
    """Return whether a folder exists at a path."""
    storage, text = resolve_path(as_text(path, or_path=True))
    return storage.is_folder(text)
