"""The reverse mapping: the tensors of an output, mapped back through their layouts, have the bytes of the source.

The source is planned again, and its tensors are read and compared with their checksums, so the comparison does not
depend on the run that wrote the output.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfckpt.errors import CorruptionError, pluralize, printable
from tfckpt.files.json_text import read_json

from .._typing import Array, PathLike, Progress, SourceLike
from ..conversion import ConversionOptions, plan_conversion, plan_with_strides_of
from ..errors import Shape
from ..families.averages import WEIGHTS_CHOICES, WeightsChoice
from ..families.settings import check_options
from ..formats.files import (
    NETWORK_KEY,
    PROVENANCE_KEY,
    NetworkFile,
    TensorFile,
    read_native,
    read_output,
    recorded_config,
)
from ..mapping.constants import fill
from ..mapping.modules import Into
from ..mapping.moves import Move, Part, group_by_source
from ..mapping.report import ConversionReport
from ..mapping.rules import RuleSet
from ..model.config import Activation, EfficientNetConfig
from ..sources import open_tensors, read_tensors
from .comparison import ComparisonReport

#: Dtypes that hold every value of another one exactly.
_WIDER = {"bfloat16": ("float32", "float64"), "float16": ("float32", "float64"), "float32": ("float64",)}


@dataclasses.dataclass(frozen=True, slots=True)
class WeightRecord:
    """The comparison of one target with its source tensor, or with a constant if `source` is None.

    `differing` of `size` elements differ, the first at `first_index` in the source's axes.
    `problem` says why the elements could not be compared, or is None.
    `widened` is True if the output has the source's values in a wider dtype, which holds all of them exactly.
    """

    target: str
    source: str | None
    size: int
    differing: int = 0
    first_index: tuple[int, ...] | None = None
    problem: str | None = None
    widened: bool = False

    @property
    def equal(self) -> bool:
        """Whether every byte is equal."""
        return not self.differing and self.problem is None

    def __str__(self) -> str:
        """Return one line for people."""
        text = printable(self.target) if self.source is None else f"{printable(self.source)} ({printable(self.target)})"
        if self.problem is not None:
            return f"{text}: {self.problem}"
        if not self.differing:
            return f"{text}: equal"
        return f"{text}: {self.differing} of {self.size} elements differ, the first at {list(self.first_index or ())}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WeightsReport(ComparisonReport):
    """A comparison of all weights: each target of the plan, unexpected tensors, and differences of the config.

    `config` is that of the source, or None if rules of the user's own describe the network.
    `averages` are the source's tensors that are moving averages; `tied` are targets that are other targets' tensors.
    """

    config: EfficientNetConfig | None
    weights: str
    records: tuple[WeightRecord, ...]
    unexpected: tuple[str, ...]
    config_differences: tuple[str, ...]
    nbytes: int
    moves: tuple[Move, ...] = ()
    averages: frozenset[str] = frozenset()
    tied: frozenset[str] = frozenset()

    def findings(self) -> list[str]:
        """Return everything that differs, one a line."""
        lines = [str(record) for record in self.records if not record.equal]
        lines += [f"{printable(name)}: in the output, but not a tensor of this network" for name in self.unexpected]
        return lines + [f"config: {difference}" for difference in self.config_differences]

    def summary(self) -> str:
        """Return the result in a line for each kind of tensor."""
        moved = self._judge_sources()
        ties = [record.equal for record in self.records if record.source is None and record.target in self.tied]
        constants = [
            record.equal for record in self.records if record.source is None and record.target not in self.tied
        ]
        kinds = [kind for kind, count in self._kinds().items() if count]
        widened = len({record.source for record in self.records if record.widened and record.equal})
        lines = [
            f"weights   {sum(moved)} of {len(moved)} source tensors reproduced byte for byte",
            f"          {self.nbytes:,} bytes, {' and '.join(kinds) or 'no values'}",
            *([f"          {widened} of them widened exactly to another dtype"] if widened else []),
            f"constants {sum(constants)} of {len(constants)} correct",
            *([f"tied      {sum(ties)} of {len(ties)} equal to the tensors that they are tied to"] if ties else []),
        ]
        return "\n".join(lines)

    def _judge_sources(self) -> list[bool]:
        """Return for each source whether all its parts are equal."""
        equal: dict[str, bool] = {}
        for record in self.records:
            if record.source is not None:
                equal[record.source] = equal.get(record.source, True) and record.equal
        return list(equal.values())

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON; equal tensors are only counted."""
        moved = self._judge_sources()
        return {
            "ok": self.ok,
            "choice": self.weights,
            "averaged": self._kinds()["moving averages"],
            "raw": self._kinds()["raw values"],
            "tensors": len(moved),
            "equal": sum(moved),
            "constants": sum(record.source is None and record.target not in self.tied for record in self.records),
            "tied": len(self.tied),
            "bytes": self.nbytes,
            "findings": self.findings(),
        }

    def _kinds(self) -> dict[str, int]:
        """Count the source tensors of each kind: "ema" takes the raw value of a variable without an average."""
        sources = {record.source for record in self.records if record.source is not None}
        averaged = [source in self.averages for source in sources]
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
    activation: Activation | None = None,
    epsilon: float | None = None,
    scope: str | None = None,
    head: str | None = None,
    part: str | None = None,
    rules: RuleSet | PathLike | None = None,
    into: Into | None = None,
    key: str | None = None,
    progress: Progress | None = None,
) -> WeightsReport:
    """Compare an output with its source; only a few copies of one tensor are in memory at a time.

    Weights, activation, epsilon, scope, head and part default to those that the output records as the options of its
    conversion, or else to those of `convert`.
    If the source does not show its strides, they are those of the output's config.
    `rules` and `into` are those of a conversion by rules. `key` chooses one of several networks in a file of a training
    program.
    """
    converted = read_native(output, key) if rules is None else read_output(output)
    recorded = Recorded.of(converted, os.fspath(output))
    with open_tensors(source) as tensors:
        choice = weights or recorded.weights or "ema"
        if rules is not None:
            planned = plan_conversion(tensors, ConversionOptions(weights=choice, rules=rules, into=into))
        else:
            planned = plan_with_strides_of(
                tensors,
                lambda: recorded.config,
                ConversionOptions(
                    weights=choice,
                    strides=strides,
                    activation=activation or recorded.activation,
                    epsilon=recorded.epsilon if epsilon is None else epsilon,
                    scope=recorded.scope if scope is None else scope,
                    head=recorded.head if head is None else head,
                    part=recorded.part if part is None else part,
                ),
            )
        return compare_weights(
            planned.report,
            planned.config,
            lambda names: read_tensors(tensors, names, threads=1),
            planned.targets,
            converted.tensors,
            recorded=recorded.config,
            is_ready=planned.network is not None,
            progress=progress,
        )


def compare_weights(
    report: ConversionReport,
    config: EfficientNetConfig | None,
    read: Callable[[Sequence[str]], Iterator[Array]],
    targets: Mapping[str, Shape],
    converted: Mapping[str, Array],
    *,
    recorded: EfficientNetConfig | None = None,
    is_ready: bool = False,
    progress: Progress | None = None,
) -> WeightsReport:
    """Compare converted tensors by our names with the source tensors that `read` yields, in the order of their names.

    `targets` has the shape of every target, and `recorded` is the config in the metadata of the output.
    `is_ready` is True for a network with ready rules, whose tied names may be left out.
    """
    moves = tuple(record.move for record in report.tensors)
    records = []
    done = 0
    groups = group_by_source(moves)
    for group, array in zip(groups.values(), read(list(groups)), strict=True):
        records += [_compare(array, converted.get(move.target), move) for move in group]
        done += array.nbytes
        if progress is not None:
            progress(done, report.nbytes)
    for constant in report.constants:
        shape = targets.get(constant.target)  # a changed result may lack it, which the comparison reports
        array = np.zeros(0) if shape is None else fill(shape, constant.value, constant.dtype)
        records.append(_compare_whole(array, converted.get(constant.target), constant.target))
    for tie in report.tied:
        if is_ready and tie.target not in converted:
            continue  # a folder leaves tied names out
        records.append(_compare_whole(converted.get(tie.to, np.zeros(0)), converted.get(tie.target), tie.target))
    expected = {record.target for record in records}
    return WeightsReport(
        config=config,
        weights=report.weights,
        records=tuple(records),
        unexpected=tuple(sorted(set(converted) - expected)),
        config_differences=_compare_configs(recorded, config),
        nbytes=report.nbytes,
        moves=moves,
        averages=frozenset(record.source for record in report.tensors if record.averaged),
        tied=frozenset(record.target for record in report.tied),
    )


def _compare(array: Array, converted: Array | None, move: Move) -> WeightRecord:
    """Move a target back, and compare the bytes of its elements with those of its part of the source."""
    part = array if move.source_part is None else move.source_part.of(array)
    is_widened = converted is not None and converted.dtype.name in _WIDER.get(part.dtype.name, ())
    if is_widened and converted is not None:
        part = part.astype(converted.dtype)
    problem = _find_problem(part, converted, move.target_shape)
    if converted is None or problem is not None:
        return WeightRecord(move.target, move.source, part.size, problem=problem)
    record = _compare_elements(part, move.invert(converted), move.target, move.source, move.source_part)
    return dataclasses.replace(record, widened=is_widened)


def _compare_whole(array: Array, converted: Array | None, target: str) -> WeightRecord:
    """Compare the bytes of a target with those of a constant, or of the target that it is tied to."""
    problem = _find_problem(array, converted, array.shape)
    if converted is None or problem is not None:
        return WeightRecord(target, None, array.size, problem=problem)
    return _compare_elements(array, converted, target, None, None)


def _find_problem(array: Array, converted: Array | None, shape: Shape) -> str | None:
    if converted is None:
        return "not in the output"
    if converted.dtype != array.dtype:
        return f"dtype {converted.dtype.name}, expected {array.dtype.name}"
    return None if converted.shape == shape else f"shape {list(converted.shape)}, expected {list(shape)}"


def _compare_elements(
    array: Array, restored: Array, target: str, source: str | None, part: Part | None
) -> WeightRecord:
    different = _view_words(restored) != _view_words(array)
    # One word an element is the usual case; reducing a short axis takes longer than everything else.
    positions = np.flatnonzero(different if different.shape[1] == 1 else different.any(axis=1))
    if not positions.size:
        return WeightRecord(target, source, array.size)
    first = [int(index) for index in np.unravel_index(positions[0], array.shape)]
    if part is not None:
        first[part.axis] += part.start
    return WeightRecord(target, source, array.size, int(positions.size), tuple(first))


def _view_words(array: Array) -> Array:
    """Return a view of the bytes of an array as unsigned integers, a row for each element in C order."""
    itemsize = array.dtype.itemsize
    word = next(size for size in (8, 4, 2, 1) if itemsize % size == 0)
    return np.ascontiguousarray(array).reshape(-1).view(f"u{word}").reshape(array.size, itemsize // word)


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """The options of a conversion that are recorded in the metadata of its output; None if not recorded."""

    config: EfficientNetConfig | None = None
    weights: WeightsChoice | None = None
    scope: str | None = None
    head: str | None = None
    rules: str | None = None
    activation: Activation | None = None
    epsilon: float | None = None
    part: str | None = None

    @classmethod
    def of(cls, output: TensorFile | NetworkFile, path: str) -> Recorded:
        """Return the options in the metadata; raise `CorruptionError` if they are not valid."""
        config = recorded_config(output, path)
        if config is None and NETWORK_KEY not in output.metadata:
            return cls()
        if PROVENANCE_KEY not in output.metadata:  # fine-tuned weights, from `save_model`
            return cls(config)
        try:
            provenance = read_json(output.metadata[PROVENANCE_KEY])
            weights = provenance["weights"]["choice"]
            scope = provenance["rules"]["scope"]
            head = provenance["rules"].get("head")
            rules = provenance["rules"]["name"]
            part = provenance["rules"].get("part")
            specified = provenance["model"].get("specified", {})
            activation, epsilon = specified.get("activation"), specified.get("epsilon")
            check_options(activation, epsilon)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptionError(f"metadata of the output are not valid ({error!r})", path=path) from error
        if weights not in WEIGHTS_CHOICES or not isinstance(scope, str) or not isinstance(head, str | None):
            raise CorruptionError("metadata of the output have no valid choice of weights and scope", path=path)
        part = None if part is None else str(part)
        return cls(config, weights, scope, head, str(rules), activation, epsilon, part)


def _compare_configs(recorded: EfficientNetConfig | None, config: EfficientNetConfig | None) -> tuple[str, ...]:
    """Return the values of the output's config that differ from the source's."""
    if recorded is None or config is None:
        return ()
    own, expected = recorded.to_dict(), config.to_dict()
    return tuple(f"{key} is {own[key]!r}, expected {expected[key]!r}" for key in expected if own[key] != expected[key])
