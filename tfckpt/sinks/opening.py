"""The sink for a path or an address."""

from __future__ import annotations

import os

from .._typing import PathLike
from ..addresses import split_address
from ..errors import UnsupportedFeatureError
from .contract import Sink
from .local import LocalSink


def is_address(path: PathLike) -> bool:
    """Return whether the output is at an address, and not a local path."""
    parts = split_address(os.fspath(path))
    return parts is not None and parts.scheme.lower() != "file://"


def open_sink(path: PathLike) -> tuple[Sink, str]:
    """Return the sink for an output, and the path of the output in it, without secrets.

    Raises `UnsupportedFeatureError` for addresses that cannot be written, such as `https://`, and
    `MissingDependencyError` if a package for the protocol is missing.
    """
    text = os.fspath(path)
    parts = split_address(text)
    if parts is None:
        return LocalSink(), text
    scheme = parts.scheme.lower()
    if scheme == "file://":
        from urllib.request import url2pathname  # imports a web client

        return LocalSink(), url2pathname(parts.location.removeprefix("localhost"))
    if scheme in ("http://", "https://"):
        raise UnsupportedFeatureError(f"cannot write to {scheme}: use a local path or object storage", path=text)
    from .objects import ObjectSink

    return ObjectSink(scheme + text[len(scheme) :]), parts.plain
