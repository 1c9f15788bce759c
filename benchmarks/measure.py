"""Measurement of time and memory, and the record of a result.

Times are the best of several runs, because other processes can only slow a run down.
To compare two functions, they run in turn, A B A B, and the ratio is that of their best times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """A measured figure and its target.

    `measured` and `target` are in the same `unit`; `at_most` says whether the target is an upper limit.
    """

    what: str
    measured: float
    target: float
    at_most: bool
    unit: str
    detail: str = ""

    @property
    def met(self) -> bool:
        """True if the target is met."""
        return self.measured <= self.target if self.at_most else self.measured >= self.target


def best(function: Callable[[], object], *, runs: int = 5, before: Callable[[], object] | None = None) -> float:
    """Return the seconds of the fastest run; `before` is called before each run and not timed."""
    return min(_timed(function, before) for _ in range(runs))


def best_of_each(
    *functions: Callable[[], object], runs: int = 5, before: Callable[[], object] | None = None
) -> list[float]:
    """Run the functions in turn, and return the seconds of the fastest run of each, as `best` does."""
    rounds = [[_timed(function, before) for function in functions] for _ in range(runs)]
    return [min(column) for column in zip(*rounds, strict=True)]


def process(command: Sequence[str]) -> Callable[[], object]:
    """Return a function that runs a command without its output, and raises if it fails."""
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def peak_anonymous_memory() -> Iterator[list[int]]:
    """Yield a list; after the block it has one item, the peak growth of this process's anonymous memory in bytes.

    It is sampled every 2 ms from /proc (Linux), so a shorter peak can be missed.
    """
    peak: list[int] = []
    stop = threading.Event()
    start = _anonymous_memory()
    highest = start

    def sample() -> None:
        nonlocal highest
        while not stop.is_set():
            highest = max(highest, _anonymous_memory())
            time.sleep(0.002)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        stop.set()
        sampler.join()
        peak.append(max(highest, _anonymous_memory()) - start)


def _anonymous_memory() -> int:
    """Return the size of memory that is not backed by a file, in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon line")


def _timed(function: Callable[[], object], before: Callable[[], object] | None) -> float:
    if before is not None:
        before()
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
