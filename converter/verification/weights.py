"""The reverse mapping: an output, taken back through every layout, has to give its source's bytes.

The plan is made anew from the source, and the source's tensors are read with their checksums,
so that what is compared with the output owes nothing to the run that wrote it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfckpt.errors import CorruptionError, pluralize, printable
from tfckpt.files.json_text import read_json

from .._typing import Array, PathLike, Progress, SourceLike
from ..conversion import open_tensors, plan_conversion, plan_with_strides_of
from ..families.averages import WEIGHTS_CHOICES, WeightsChoice, is_average
from ..formats.files import CONFIG_KEY, PROVENANCE_KEY, TensorFile, read_native
from ..mapping.layout import LAYOUTS
from ..mapping.modules import Into
from ..mapping.rules import Move, RuleSet
from ..model.config import EfficientNetConfig
from .comparison import ComparisonReport


@dataclasses.dataclass(frozen=True, slots=True)
class WeightRecord:
    """One target compared: with the source tensor it came from, or with a constant when `source` is None.

    `differing` of `size` elements differ, the first at `first_index` in the source's axes.
    `problem` says what kept them from being compared at all.
    """

    target: str
    source: str | None
    size: int
    differing: int = 0
    first_index: tuple[int, ...] | None = None
    problem: str | None = None

    @property
    def equal(self) -> bool:
        """Whether every byte is the source's."""
        return not self.differing and self.problem is None

    def __str__(self) -> str:
        """One line for people."""
        text = printable(self.target) if self.source is None else f"{printable(self.source)} ({printable(self.target)})"
        if self.problem is not None:
            return f"{text}: {self.problem}"
        if not self.differing:
            return f"{text}: equal"
        return f"{text}: {self.differing} of {self.size} elements differ, the first at {list(self.first_index or ())}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WeightsReport(ComparisonReport):
    """A whole comparison: each target of the plan, what the output has beyond them, and how its config differs.

    `config` is the source's own, None for a conversion by rules of the user's own.
    """

    config: EfficientNetConfig | None
    weights: str
    records: tuple[WeightRecord, ...]
    unexpected: tuple[str, ...]
    config_differences: tuple[str, ...]
    nbytes: int
    moves: tuple[Move, ...] = ()

    def findings(self) -> list[str]:
        """List everything that differs, one line each."""
        lines = [str(record) for record in self.records if not record.equal]
        lines += [f"{printable(name)}: in the output, but not of this network" for name in self.unexpected]
        return lines + [f"config: {difference}" for difference in self.config_differences]

    def summary(self) -> str:
        """Say it in two lines."""
        moved = [record.equal for record in self.records if record.source is not None]
        constants = [record.equal for record in self.records if record.source is None]
        kinds = [kind for kind, count in self._kinds().items() if count]
        return (
            f"weights   {sum(moved)} of {len(moved)} source tensors reproduced byte for byte "
            f"({self.nbytes:,} bytes, {' and '.join(kinds) or 'no values'})\n"
            f"constants {sum(constants)} of {len(constants)} as they should be"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold; of what is equal only the number."""
        moved = [record for record in self.records if record.source is not None]
        return {
            "ok": self.ok,
            "choice": self.weights,
            "averaged": self._kinds()["moving averages"],
            "raw": self._kinds()["raw values"],
            "tensors": len(moved),
            "equal": sum(record.equal for record in moved),
            "constants": len(self.records) - len(moved),
            "bytes": self.nbytes,
            "findings": self.findings(),
        }

    def _kinds(self) -> dict[str, int]:
        """Count the source tensors of each kind: "ema" takes the raw value of a variable without an average."""
        averaged = [is_average(record.source) for record in self.records if record.source is not None]
        return {"moving averages": sum(averaged), "raw values": len(averaged) - sum(averaged)}

    def headline(self) -> str:
        """Return how many findings there are."""
        return f"the output does not reproduce its source: {pluralize(len(self.findings()), 'finding')}"


def verify_weights(
    source: SourceLike,
    output: PathLike,
    *,
    weights: WeightsChoice | None = None,
    strides: Sequence[int] | None = None,
    scope: str | None = None,
    head: str | None = None,
    rules: RuleSet | PathLike | None = None,
    into: Into | None = None,
    progress: Progress | None = None,
) -> WeightsReport:
    """Compare an output with the checkpoint it should have come from; memory stays at a few copies of one tensor.

    The choice of weights, the scope and the head are those the output says it was made with, else `ema`, the only scope
    there and no head.
    Strides that the source does not tell are those of the output's config.
    `rules` and `into` are those of a conversion by rules of the user's own.
    """
    found = read_native(output)
    recorded = Recorded.of(found, os.fspath(output))
    with open_tensors(source) as tensors:
        choice = weights or recorded.weights or "ema"
        if rules is not None:
            planned = plan_conversion(tensors, weights=choice, rules=rules, into=into)
        else:
            planned = plan_with_strides_of(
                tensors,
                lambda: recorded.config,
                weights=choice,
                strides=strides,
                scope=recorded.scope if scope is None else scope,
                head=recorded.head if head is None else head,
            )
        records = []
        done = 0
        for move in planned.plan.moves:
            array = tensors[move.source]
            records.append(_compare(array, found.tensors.get(move.target), move.layout, move.target, move.source))
            done += array.nbytes
            if progress is not None:
                progress(done, planned.report.nbytes)
    for filled in planned.plan.constants:
        constant = np.full(planned.targets[filled.target], filled.value, filled.dtype)
        records.append(_compare(constant, found.tensors.get(filled.target), "identity", filled.target, None))
    expected = {record.target for record in records}
    return WeightsReport(
        config=planned.config,
        weights=planned.report.weights,
        records=tuple(records),
        unexpected=tuple(sorted(set(found.tensors) - expected)),
        config_differences=_differences(recorded.config, planned.config),
        nbytes=planned.report.nbytes,
        moves=planned.plan.moves,
    )


def _compare(array: Array, found: Array | None, layout: str, target: str, source: str | None) -> WeightRecord:
    """Take a target back through its layout and compare it with its source element by element, as bytes."""
    if found is None:
        return WeightRecord(target, source, array.size, problem="not in the output")
    if found.dtype != array.dtype:
        problem = f"dtype {found.dtype.name}, expected {array.dtype.name}"
        return WeightRecord(target, source, array.size, problem=problem)
    expected = LAYOUTS[layout].target_shape(array.shape)
    if found.shape != expected:
        problem = f"shape {list(found.shape)}, expected {list(expected)}"
        return WeightRecord(target, source, array.size, problem=problem)
    different = _bytes(LAYOUTS[layout].invert(found, array.shape)) != _bytes(array)
    positions = np.flatnonzero(different.any(axis=1))
    if not positions.size:
        return WeightRecord(target, source, array.size)
    first = tuple(int(index) for index in np.unravel_index(positions[0], array.shape))
    return WeightRecord(target, source, array.size, int(positions.size), first)


def _bytes(array: Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """View an array as rows of bytes, one for each element in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(array.size, array.dtype.itemsize)


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """What an output's metadata says about how it was made; None for what it does not say."""

    config: EfficientNetConfig | None = None
    weights: WeightsChoice | None = None
    scope: str | None = None
    head: str | None = None
    rules: str | None = None

    @classmethod
    def of(cls, found: TensorFile, path: str) -> Recorded:
        """Read it; `CorruptionError` when it is there and cannot be understood."""
        if CONFIG_KEY not in found.metadata:
            return cls()
        try:
            config = EfficientNetConfig.from_dict(read_json(found.metadata[CONFIG_KEY]))
            provenance = read_json(found.metadata.get(PROVENANCE_KEY, "{}"))
            weights = provenance["weights"]["choice"]
            scope = provenance["rules"]["scope"]
            head = provenance["rules"].get("head")
            rules = provenance["rules"]["name"]
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptionError(f"metadata of the output cannot be understood ({error!r})", path=path) from error
        if weights not in WEIGHTS_CHOICES or not isinstance(scope, str) or not isinstance(head, str | None):
            raise CorruptionError("metadata of the output has no known weights choice and scope", path=path)
        return cls(config, weights, scope, head, str(rules))


def _differences(recorded: EfficientNetConfig | None, config: EfficientNetConfig | None) -> tuple[str, ...]:
    """List the values of the output's config that are not the source's."""
    if recorded is None or config is None:
        return ()
    own, expected = recorded.to_dict(), config.to_dict()
    return tuple(f"{key} is {own[key]!r}, expected {expected[key]!r}" for key in expected if own[key] != expected[key])
