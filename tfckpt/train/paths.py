"""Arguments of TensorFlow's functions: text, and places of files."""

from __future__ import annotations

import os
from typing import Any

from ..storage.base import SEPARATOR, Storage
from ..storage.local import LocalStorage
from ..storage.locate import Options, locate


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


def place_of(path: str) -> tuple[Storage, str]:
    """The storage of a path and the path in it: this machine's, or that of an address or of the inside of an archive.

    Unlike for `tfckpt.open`, an archive itself is a file like any other.
    """
    if "://" not in path and (SEPARATOR not in path or os.path.lexists(path)):
        return LocalStorage(), path
    place = locate(path, Options())
    return place.storage, place.path


def is_folder(path: Any) -> bool:
    """Whether a folder stands at a path."""
    storage, text = place_of(as_text(path, or_path=True))
    return storage.is_folder(text)
