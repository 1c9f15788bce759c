"""Plans of jobs in files, local or at addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CheckpointNotFoundError
from ..sinks.opening import open_sink

if TYPE_CHECKING:
    from ..jobs.plan import Plan


def read_plan_file(path: str) -> Plan:
    """Read a plan; raise `CheckpointNotFoundError` if there is none, and `CheckpointError` if it is not a plan."""
    from ..jobs.plan import MAX_PLAN_BYTES, read_plan

    sink, plain = open_sink(path)
    data = sink.read(plain, MAX_PLAN_BYTES)
    if data is None:
        raise CheckpointNotFoundError("plan not found", path=path)
    return read_plan(data, path=path)
