"""Options of verbs that run many tasks, and the executor that they choose."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..storage.base import PIECE_BYTES
from ..tensors.reading import CONNECTIONS
from . import render

if TYPE_CHECKING:
    from ..jobs.running import Executor


def add_executor_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose where tasks run."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", metavar="N", type=parse_count, help="run tasks in N processes of this machine")
    where.add_argument(
        "--scheduler", metavar="ADDRESS", help="run tasks on the Dask cluster with this scheduler: tcp://HOST:8786"
    )


def add_connections_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that says how many requests a task sends at a time."""
    parser.add_argument(
        "--connections",
        metavar="N",
        type=parse_count,
        default=CONNECTIONS,
        help="requests of each task in flight (default: %(default)s)",
    )


def add_piece_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that says how large a request is."""
    parser.add_argument(
        "--piece-size",
        metavar="SIZE",
        type=_parse_piece,
        default=PIECE_BYTES,
        help="most bytes of a request, 8MiB to 64MiB: larger ones are fewer (default: 8MiB)",
    )


def _parse_piece(text: str) -> int:
    size = render.parse_size(text)
    if not 8 << 20 <= size <= 64 << 20:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size of 8MiB to 64MiB")
    return size >> 20 << 20


def is_requested(options: argparse.Namespace) -> bool:
    """Return whether the user chose to run tasks."""
    return options.workers is not None or options.scheduler is not None


@contextlib.contextmanager
def open_executor(options: argparse.Namespace, *, prefix: str) -> Iterator[Executor]:
    """Return the executor that the options choose; it is stopped at the end."""
    if options.scheduler is not None:
        from ..jobs.dask import DaskExecutor, connect

        with connect(options.scheduler) as client:
            yield DaskExecutor(client, prefix=prefix)
        return
    from ..jobs.memory import give_back_buffers
    from ..jobs.processes import LocalProcesses

    give_back_buffers()  # one worker is this process
    with LocalProcesses(options.workers) as processes:
        yield processes


def parse_count(text: str) -> int:
    """Parse a number of workers or connections."""
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)
