"""Times, memory and what a result is.

Times are the best of several runs, because everything else on the machine only adds.
Two things that are compared run in turn, A B A B, and the ratio is that of their best times.
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
    """One measured figure beside its target.

    `measured` and `target` are numbers of the same `unit`; `at_most` says on which side of the target it should lie.
    """

    what: str
    measured: float
    target: float
    at_most: bool
    unit: str
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.measured <= self.target if self.at_most else self.measured >= self.target


def best(function: Callable[[], object], *, runs: int = 5, before: Callable[[], object] | None = None) -> float:
    """Seconds of the quickest run; `before` goes before each and takes no time of it."""
    return min(_timed(function, before) for _ in range(runs))


def best_of_each(
    *functions: Callable[[], object], runs: int = 5, before: Callable[[], object] | None = None
) -> list[float]:
    """Seconds of the quickest run of each, run in turn; `before` goes before each and takes no time of it."""
    rounds = [[_timed(function, before) for function in functions] for _ in range(runs)]
    return [min(column) for column in zip(*rounds, strict=True)]


def process(command: Sequence[str]) -> Callable[[], object]:
    """A function that runs a command to its end, its output thrown away; a failure is an error."""
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def peak_anonymous_memory() -> Iterator[list[int]]:
    """A list that holds, afterwards, by how many bytes this process's anonymous memory grew at most inside the block.

    Sampled every 2 ms from /proc (Linux), so a shorter peak can be missed.
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
    """Bytes of memory that no file backs."""
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
