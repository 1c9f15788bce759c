"""What a verb will read, write and request, and what that costs: said before it starts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..addresses import split_address
from ..checkpoint import Checkpoint
from ..errors import CheckpointError, pluralize
from ..sinks.opening import is_address
from ..storage.base import PIECE_BYTES
from . import render

if TYPE_CHECKING:
    from ..jobs.plan import FilePlan
    from ..jobs.verifying import VerifyPlan

#: What large stores take for a GB that leaves their region.
_EGRESS_DOLLARS = 0.09
#: Web servers, whose readers pay nothing.
_WEB = ("http://", "https://")
#: Requests for the index, its version and the graph of a checkpoint.
_OPENING_REQUESTS = 3


def say_job(plan: FilePlan) -> None:
    """Say what a job that writes files will read, write and request."""
    cost = plan.estimate
    _say_reading(plan.source, cost.read_bytes, cost.get_requests)
    _say_writing(plan.output, cost.written_bytes, cost.put_requests, where=f" to {pluralize(len(plan.tasks), 'file')}")


def say_verification(plan: VerifyPlan) -> None:
    """Say what a job that verifies a checkpoint will read and request."""
    _say_reading(plan.prefix, plan.nbytes, plan.requests, where=f" in {pluralize(len(plan.tasks), 'task')}")


def say_transfer(checkpoints: Checkpoint | Sequence[Checkpoint], output: str = "", *, passes: int = 1) -> None:
    """Say what a verb without tasks will read and write at addresses, at most; nothing if all is local.

    `passes` is how often it reads each tensor.
    """
    sources = [checkpoints] if isinstance(checkpoints, Checkpoint) else checkpoints
    total = 0
    for checkpoint in sources:
        address = checkpoint.storage.address(checkpoint.prefix)
        if not (is_address(address) or is_address(output)):
            continue
        nbytes = _measure(checkpoint)
        total += nbytes
        if is_address(address):
            requests = math.ceil(nbytes / PIECE_BYTES) + checkpoint.reader.num_shards
            _say_reading(address, passes * nbytes, passes * requests + _OPENING_REQUESTS, bound="up to ")
    if is_address(output):
        say_upload(output, total)


def say_upload(output: str, nbytes: int) -> None:
    """Say what a verb without tasks will write at an address, at most."""
    from ..sinks.objects import PART_BYTES  # imports what only addresses need

    _say_writing(output, nbytes, math.ceil(nbytes / PART_BYTES) + 4, bound="up to ")


def _measure(checkpoint: Checkpoint) -> int:
    """Return the size of all tensors in bytes, as far as the index can be read: the verb reports what is damaged."""
    with contextlib.suppress(CheckpointError):
        return sum(info.nbytes for info in checkpoint.infos())
    nbytes = 0
    for name in checkpoint.reader.salvage()[0]:
        with contextlib.suppress(CheckpointError):
            nbytes += checkpoint.reader.info(name).nbytes
    return nbytes


def _say_reading(source: str, nbytes: int, requests: int, *, bound: str = "", where: str = "") -> None:
    parts = split_address(source)
    egress = nbytes / 10**9 * _EGRESS_DOLLARS
    is_store = is_address(source) and parts is not None and parts.scheme.lower() not in _WEB
    price = f"; from outside the region about ${egress:,.2f}" if is_store and egress >= 0.01 else ""
    render.say(f"reads {bound}{render.format_size(nbytes)}{where}{_format_requests(source, requests)}{price}")


def _say_writing(output: str, nbytes: int, requests: int, *, bound: str = "", where: str = "") -> None:
    render.say(f"writes {bound}{render.format_size(nbytes)}{where}{_format_requests(output, requests)}")


def _format_requests(place: str, requests: int) -> str:
    """Return the number of requests to an address; a local disk has none."""
    return f", about {requests:,} requests" if is_address(place) else ""
