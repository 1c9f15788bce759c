"""Jobs in processes of this machine: how much two workers do compared with one."""

from __future__ import annotations

import functools
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np

import tfckpt
from tfckpt import jobs
from tfckpt.jobs.processes import LocalProcesses

from .measure import Result, best_of_each

_TASKS = 16
_MEBIBYTES_EACH = 32


def scaling() -> Iterator[Result]:
    """Time an export of 512 MiB in 16 tasks by one process and by two, which have been started before."""
    values = np.random.default_rng(1).standard_normal(_MEBIBYTES_EACH << 18, np.float32)
    tensors = {f"layer_{number}/kernel": values for number in range(_TASKS)}
    with tempfile.TemporaryDirectory() as name, LocalProcesses(2) as two:
        folder = pathlib.Path(name)
        tfckpt.save(tensors, folder / "source", checkpoint_state=False)
        plan = jobs.plan_export(folder / "source", folder / "out", shard_size=values.nbytes)
        one_seconds, two_seconds = best_of_each(
            functools.partial(jobs.run, plan, LocalProcesses(1), restart=False),
            functools.partial(jobs.run, plan, two, restart=False),
            runs=3,
        )
    rate = f"{_TASKS * values.nbytes / two_seconds / 1e6:.0f} MB/s"
    yield Result("export by tasks, two processes and one", one_seconds / two_seconds, 1.5, False, "times", rate)
