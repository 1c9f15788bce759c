"""SIGTERM as an exception, so that a command removes its temporary files before it ends.

Only the commands use this; a program that imports the package keeps its own signal handlers.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: The exit code that a shell reports for a command ended by SIGTERM.
EXIT_CODE = 128 + signal.SIGTERM


class Stopped(BaseException):  # like KeyboardInterrupt, not an error of the program
    """The process was asked to stop."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM raise `Stopped` in the block; outside the main thread Python cannot, and nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in _signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set from Python, and that Python cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _signals() -> list[int]:
    """Return the signals that ask to stop: on Windows also that of Ctrl-Break, since SIGTERM is not delivered there."""
    numbers = (getattr(signal, name, None) for name in ("SIGTERM", "SIGBREAK"))
    return [number for number in numbers if number is not None]


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
