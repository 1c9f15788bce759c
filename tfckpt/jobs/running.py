"""Running the tasks of a job by an executor: anything with `submit(function, *arguments)` that returns a future.

Errors are of three kinds:

* of the data, such as a checksum: the other tasks go on, and all errors are in the report;
* of a place, such as a store that does not answer, or of a worker that was killed: the task is submitted again;
* of the program: they stop the job at once and are raised as they are.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, NamedTuple, Protocol, TypeVar

from .._typing import Progress
from ..errors import CheckpointError, StorageError, WriteError
from ..sinks.opening import open_sink
from ..storage.base import PIECE_BYTES
from ..tensors.reading import CONNECTIONS
from .plan import FilePlan, FileTask, Plan
from .records import find_proofs
from .tasks import Result, run_or_list_damage

#: Most tasks that an executor has at a time; schedulers take long to start with more.
OUTSTANDING = 10_000
#: Times that a task is submitted, if its worker is lost or a place fails.
ATTEMPTS = 4

_A = TypeVar("_A")
_R = TypeVar("_R")


class Executor(Protocol):
    """What runs functions somewhere: `concurrent.futures.ProcessPoolExecutor`, `distributed.Client.get_executor()`."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Begin to run a function; the future has its result."""


class WorkerLostError(Exception):
    """The worker that ran a task is gone; an executor raises it, or `BrokenExecutor`, for a task to submit again."""


@dataclasses.dataclass(frozen=True, slots=True)
class JobReport:
    """The result of a run: what was written, what was there already, and the errors of tasks that failed."""

    results: tuple[Result, ...]
    errors: tuple[CheckpointError, ...]

    @property
    def ok(self) -> bool:
        """True if every task is done."""
        return not self.errors

    @property
    def skipped(self) -> int:
        """The number of tasks that an earlier run had done."""
        return sum(result.skipped for result in self.results)


def run(
    plan: Plan,
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    restart: bool = True,
    recheck: bool = False,
    source: str | None = None,
    output: str | None = None,
    connections: int = CONNECTIONS,
    piece_bytes: int = PIECE_BYTES,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
) -> JobReport:
    """Run all tasks of a plan that are not done, and return when they are; `finish` then writes the index.

    Without an executor, `workers` processes of this machine run them: by default as many as there are processors.
    `progress(done, total)` is called after each task with bytes of tensors.
    The other arguments are those of `run_task`.
    """
    job = functools.partial(
        run_or_list_damage,
        restart=restart,
        recheck=recheck,
        source=source,
        output=output,
        connections=connections,
        piece_bytes=piece_bytes,
    )
    return run_tasks(
        job,
        plan,
        executor,
        workers=workers,
        looks_up=restart and not recheck,
        output=output,
        attempts=attempts,
        progress=progress,
    )


def run_tasks(
    job: functools.partial[Result | tuple[CheckpointError, ...]],
    plan: FilePlan,
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    looks_up: bool = True,
    output: str | None = None,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
) -> JobReport:
    """Run a function for each task of a plan like `run`: it returns the result of a task, or all errors of its data.

    If this `looks_up` what is done, the records are read here, and the function is called with `restart=False` for the
    other tasks. An index of an earlier run is removed before a file changes.
    """
    sink, _ = open_sink(output or plan.output)
    results: dict[int, Result] = {}
    tasks: Sequence[FileTask] = plan.tasks
    if looks_up:  # workers are not needed for what is done
        proofs = zip(tasks, find_proofs(sink, tasks), strict=True)
        results = {task.number: Result(proof, skipped=True) for task, proof in proofs if proof is not None}
        tasks = tuple(task for task in tasks if task.number not in results)
        job.keywords["restart"] = False
    if tasks:
        sink.remove(plan.index)
    errors: list[tuple[int, CheckpointError]] = []
    total = sum(task.nbytes for task in plan.tasks)
    done = total - sum(task.nbytes for task in tasks)
    for task, outcome in run_all(job, tasks, executor, workers=workers, attempts=attempts):
        if isinstance(outcome, Result):
            results[task.number] = outcome
        else:
            found = (outcome,) if isinstance(outcome, CheckpointError) else outcome
            errors += [(task.number, error) for error in found]
        done += task.nbytes
        if progress is not None:
            progress(done, total)
    return JobReport(
        tuple(result for _, result in sorted(results.items())),
        tuple(error for _, error in sorted(errors, key=lambda item: item[0])),
    )


def run_all(
    function: Callable[[_A], _R],
    arguments: Sequence[_A],
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    attempts: int = ATTEMPTS,
    keeps_going: bool = False,
    outstanding: int | None = None,
) -> Iterator[tuple[_A, _R | CheckpointError]]:
    """Yield each argument with its result, or with its error of data or of a place, as they come.

    Function, arguments and results are pickled if the executor runs in other processes.
    If an argument loses its worker in every attempt, a `StorageError` is raised, or yielded if this `keeps_going`.
    At most `outstanding` arguments are submitted at a time, by default `OUTSTANDING`.
    """
    bounds = _Bounds(attempts, keeps_going, outstanding or OUTSTANDING)
    if executor is not None:
        yield from _run(function, arguments, executor, bounds)
        return
    from .processes import LocalProcesses

    with LocalProcesses(workers) as processes:
        yield from _run(function, arguments, processes, bounds)


class _Bounds(NamedTuple):
    """Attempts an argument, whether to continue after the last one, and most arguments at a time."""

    attempts: int
    keeps_going: bool
    outstanding: int


def _run(
    function: Callable[[_A], _R], arguments: Sequence[_A], executor: Executor, bounds: _Bounds
) -> Iterator[tuple[_A, _R | CheckpointError]]:
    waiting: deque[tuple[_A, int]] = deque((argument, 1) for argument in arguments)
    running: dict[Future[_R], tuple[_A, int]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < bounds.outstanding:
                argument, attempt = waiting.popleft()
                future = executor.submit(function, argument)
                running[future] = (argument, attempt)
                if future.done():  # an executor that runs it here: hand on its result before the next
                    break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                argument, attempt = running.pop(future)
                try:
                    result = future.result()
                except (BrokenExecutor, WorkerLostError) as error:
                    if attempt < bounds.attempts:
                        waiting.appendleft((argument, attempt + 1))
                        continue
                    lost = StorageError(
                        f"lost its worker {bounds.attempts} times: {error or type(error).__name__}; "
                        "a worker may have too little memory"
                    )
                    if not bounds.keeps_going:
                        raise lost from error
                    yield argument, lost
                except (StorageError, WriteError) as error:
                    if attempt == bounds.attempts or not error.is_transient:
                        yield argument, error
                    else:
                        waiting.append((argument, attempt + 1))
                except CheckpointError as error:
                    yield argument, error
                else:
                    yield argument, result
    finally:
        for future in running:
            future.cancel()
