"""Memory of processes that read and write large buffers."""

from __future__ import annotations

import contextlib
import sys

#: glibc's number of the option for the size from which buffers are mapped, and given back when they are freed.
_M_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 1 << 20


def give_back_buffers() -> None:
    """Let this process give back large buffers as soon as they are freed, where the C library is glibc.

    glibc raises the size from which it does so to that of the first buffer that is freed, up to 32 MiB, and keeps
    smaller ones for later: a worker then holds half as much again.
    """
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
