"""Standard output and error that are closed, or that cannot be written: the work is still done, without a traceback."""

from __future__ import annotations

import os
import sys
from typing import IO


def replace_closed() -> None:
    """Replace standard streams that were closed when Python started, such as by `>&-`, with the null device.

    Opening it takes the lowest free descriptors, which are those of the closed streams.
    Otherwise the next file that is opened would get them, and messages of native code would be written into it.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115


def discard(stream: IO[str]) -> None:
    """Write nothing more to a stream, not even what is buffered: Python fails at exit if it cannot flush that."""
    try:
        descriptor = stream.fileno()
    except OSError:  # a stream in memory
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def write_message(text: str, end: str = "\n") -> None:
    """Write to standard error; if it cannot be written, nobody can be told, and messages are discarded."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)
