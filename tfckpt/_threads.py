"""Locks that a forked child can use, and properties that are computed once without a lock.

A child gets a copy of every lock, also of those that other threads of the parent hold at that moment.
Those threads do not exist in the child, so nothing there would ever release the locks.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Lock:
    """A lock for `with`; it is free again in a forked child.

    What it protects must stay valid if a holder stops halfway, since in the child it does.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def reset(self) -> None:
        """Make the lock free, whoever holds it."""
        self._lock = threading.Lock()


class cached_property(Generic[_T]):  # noqa: N801  # read as a decorator, as `functools.cached_property`
    """A property that is computed on first use and then stored in the object's `__dict__`.

    Threads may compute it more than once, but all get the same value.
    Before Python 3.12 `functools.cached_property` holds a lock while it computes, which a forked child cannot reset.
    """

    def __init__(self, compute: Callable[[Any], _T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> _T:
        if instance is None:
            return self  # type: ignore[return-value]  # the property itself, for help() and documentation tools
        value: _T = instance.__dict__.setdefault(self._name, self._compute(instance))
        return value


_LOCKS: weakref.WeakSet[Lock] = weakref.WeakSet()


def _reset_locks() -> None:
    for lock in list(_LOCKS):
        lock.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_locks)
