"""What killed processes left where they wrote: temporary files, and uploads that were never completed."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import time
from collections.abc import Callable, Iterator

from ..files.atomic import TEMPORARY_MARK
from .contract import Sink
from .local import LocalSink
from .objects import ObjectSink

_TEMPORARY = re.compile(re.escape(TEMPORARY_MARK) + r"[0-9a-f]{16}\Z")


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """A temporary file or an unfinished upload.

    `size` is in bytes, None for an upload. `age` is the time since it was last written or, for an upload, begun, in
    seconds; None if unknown. `remove` removes it.
    """

    path: str
    kind: str
    size: int | None
    age: float | None
    remove: Callable[[], object]


def find_leftovers(sink: Sink, folder: str) -> Iterator[Leftover]:
    """Yield the leftovers in a folder and below it."""
    now = time.time()
    for stored in sink.iterate_files(folder):
        if _TEMPORARY.search(stored.path):
            age = _find_age(stored.path, now) if isinstance(sink, LocalSink) else None
            remove = functools.partial(sink.remove, stored.path)
            yield Leftover(stored.path, "temporary file", stored.size, age, remove)
    if isinstance(sink, ObjectSink):
        for upload in sink.iterate_uploads(folder):
            age = None if upload.begun is None else now - upload.begun
            yield Leftover(upload.path, "unfinished upload", None, age, upload.abort)


def _find_age(path: str, now: float) -> float | None:
    """Return the seconds since a local file was written."""
    try:
        return now - os.stat(path).st_mtime
    except OSError:
        return None
