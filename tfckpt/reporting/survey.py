"""What a report shows of a checkpoint: each tensor with its kind, its statistics, and what is wrong with it."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import numpy as np

from .._typing import Array, Progress
from ..checkpoint import Checkpoint
from ..checks.objects import find_objects
from ..checks.summary import Summary, summarize
from ..errors import CheckpointError, ResourceError
from ..graphs.training_state import moving_averages, optimizer_state
from ..tensors.info import TensorInfo
from .statistics import Statistics, compute_statistics

Kind: TypeAlias = Literal["model", "average", "optimizer", "other"]

#: Bars of a histogram.
BINS = 24
#: Most elements of which a histogram is made; of larger tensors every n-th element is taken.
_SAMPLE = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor: `statistics` and `bars`, the heights of a histogram from 0 to 1, are of its finite values.

    Both are missing for values that are not numbers. `error` says why it could not be read.
    `remarks` are what is unusual about it.
    """

    info: TensorInfo
    kind: Kind
    statistics: Statistics | None
    bars: tuple[float, ...]
    remarks: tuple[str, ...]
    error: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Survey:
    """A checkpoint and its tensors, in the order of their names."""

    summary: Summary
    tensors: tuple[TensorRecord, ...]

    @property
    def damaged(self) -> tuple[TensorRecord, ...]:
        """The tensors that could not be read."""
        return tuple(tensor for tensor in self.tensors if tensor.error is not None)


def survey(checkpoint: Checkpoint, *, progress: Progress | None = None) -> Survey:
    """Read every tensor of a checkpoint once, verify its checksum, and compute its statistics.

    One tensor is in memory at a time. `progress(done, total)` is called after each with numbers of tensors.
    """
    summary = summarize(checkpoint)
    infos = list(checkpoint.infos())
    kinds = find_kinds(checkpoint, infos)
    names = [info.name for info in infos]
    records = []
    with checkpoint.reader.read_ahead(names, 8):
        for number, info in enumerate(infos, 1):
            records.append(_read(checkpoint, info, kinds[info.name]))
            if progress is not None:
                progress(number, len(infos))
    return Survey(summary, tuple(records))


def find_kinds(checkpoint: Checkpoint, infos: list[TensorInfo]) -> dict[str, Kind]:
    """Return the kind of each tensor: of the model, a moving average, of an optimizer, or none of them."""
    graph = find_objects(checkpoint).graph
    names = [info.name for info in infos]
    averages = moving_averages(names, graph)
    optimizer = optimizer_state(names, graph)
    kinds: dict[str, Kind] = {}
    for info in infos:
        is_number = info.dtype.kind in "fiucb" or (info.dtype.kind == "V" and info.dtype.type is not np.void)
        if info.name in averages:
            kinds[info.name] = "average"
        elif info.name in optimizer:
            kinds[info.name] = "optimizer"
        else:
            kinds[info.name] = "model" if is_number and info.size > 1 else "other"
    return kinds


def _read(checkpoint: Checkpoint, info: TensorInfo, kind: Kind) -> TensorRecord:
    try:
        array = checkpoint.read(info.name)
    except ResourceError:
        raise
    except CheckpointError as error:
        return TensorRecord(info, kind, None, (), (), str(error))
    if array.dtype.kind not in "fiub" and not (array.dtype.kind == "V" and array.dtype.type is not np.void):
        return TensorRecord(info, kind, None, (), (), None)
    measured = compute_statistics(array)
    if measured is None:
        return TensorRecord(info, kind, None, (), (), None)
    return TensorRecord(info, kind, measured, compute_bars(array, measured), _find_remarks(measured, kind), None)


def compute_bars(array: Array, measured: Statistics) -> tuple[float, ...]:
    """Return the heights of a histogram of the finite values, the highest 1; empty if all are equal."""
    low, high = measured.minimum, measured.maximum
    if low is None or high is None or low == high or not np.isfinite(high - low):
        return ()
    flat = array.reshape(-1)
    values = flat[:: max(1, -(-flat.size // _SAMPLE))].astype(np.float64)
    counts, _ = np.histogram(values[np.isfinite(values)], BINS, (low, high))
    return tuple((counts / max(counts.max(), 1)).tolist())


def _find_remarks(measured: Statistics, kind: Kind) -> tuple[str, ...]:
    remarks = []
    if measured.nan:
        remarks.append(f"{measured.nan:,} NaN")
    if measured.infinite:
        remarks.append(f"{measured.infinite:,} infinite")
    if kind in ("model", "average") and measured.count > 1:
        if measured.zeros == measured.count:
            remarks.append("all zero")
        elif measured.is_constant:
            remarks.append(f"all {measured.maximum:.4g}")
    return tuple(remarks)
