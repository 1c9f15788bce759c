"""How fast a process sends requests: as fast as it can, until a store says that this is too fast.

A store that answers 503 gets fewer requests a second, and more again while it answers.
The pace is a token bucket: each request takes a token, and tokens come at the current rate.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ..._threads import Lock
from ...errors import StorageError

_T = TypeVar("_T")

#: Attempts for one range, besides those of the file system itself.
_ATTEMPTS = 5
#: Seconds before the second attempt; it doubles every time.
_DELAY = 0.2
_LONGEST_DELAY = 10.0
#: Requests a second after the first failure, and the least.
_FIRST_RATE, _LEAST_RATE = 64.0, 1.0
#: Requests a second that are added for each success; above `_FREE_RATE` the bucket is not needed any more.
_GAIN, _FREE_RATE = 0.5, 256.0


class Pace:
    """A token bucket shared by the threads of a process; its rate is None as long as nothing has failed."""

    def __init__(self, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic):
        self._sleep, self._clock = sleep, clock
        self._lock = Lock()
        self._rate: float | None = None
        self._next = 0.0

    @property
    def rate(self) -> float | None:
        """The allowed number of requests a second; None if there is no limit."""
        return self._rate

    def call(self, request: Callable[[], _T]) -> _T:
        """Return the result of a request, which is repeated after errors of the storage that may be transient."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._wait_for_token()
            try:
                result = request()
            except StorageError as error:
                if attempt == _ATTEMPTS or not error.is_transient:
                    raise
                self._slow_down()
                self._sleep(min(_DELAY * 2 ** (attempt - 1) * random.uniform(0.75, 1.25), _LONGEST_DELAY))
            else:
                self._speed_up()
                return result
        raise AssertionError("the last attempt returns or raises")

    def _wait_for_token(self) -> None:
        with self._lock:
            if self._rate is None:
                return
            now = self._clock()
            self._next = max(self._next, now) + 1 / self._rate
            pause = self._next - now
        self._sleep(pause)

    def _slow_down(self) -> None:
        with self._lock:
            self._rate = _FIRST_RATE if self._rate is None else max(_LEAST_RATE, self._rate / 2)

    def _speed_up(self) -> None:
        with self._lock:
            if self._rate is not None:
                self._rate = None if self._rate + _GAIN > _FREE_RATE else self._rate + _GAIN
