"""What TensorFlow keeps for a whole program: the default graphs and sessions, and whether it runs eagerly.

A new state begins with each stand-in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class State:
    """The stacks of default graphs, sessions and scopes of variables; the graph at the bottom is created when needed.

    They are of classes of other modules, which import this one.
    """

    def __init__(self) -> None:
        self.is_eager = True
        self.graphs: list[Any] = []
        self.sessions: list[Any] = []
        self.bottom: Any = None
        self.scopes: list[Any] = []


_current = State()


def current() -> State:
    """Return the state of the program."""
    return _current


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Begin with a new state, and return to the old one at the end of the block."""
    global _current  # noqa: PLW0603 there is one state, as in TensorFlow
    before, _current = _current, State()
    try:
        yield
    finally:
        _current = before


def executing_eagerly() -> bool:
    """Return whether values are computed at once: until a program asks for graphs, and outside of any graph."""
    return _current.is_eager and not _current.graphs


def enable_eager_execution(config: object = None, device_policy: object = None, execution_mode: object = None) -> None:
    """Let `executing_eagerly` return True."""
    _current.is_eager = True


def disable_eager_execution() -> None:
    """Let `executing_eagerly` return False."""
    _current.is_eager = False
