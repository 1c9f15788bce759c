"""The record of an export: what was written, what it takes, and how it was checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tfckpt.errors import pluralize, printable

from ..errors import VerificationError
from ..images.recipes import Preprocessing
from .quality import Losses

#: The most findings that an error lists.
_MOST_FINDINGS = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of one output of one case with the eager module.

    `sizes` describes the inputs. `problem` says what is wrong, or is None.
    `difference` is the largest distance from float64, `units` the same in units of float32 noise, and `largest` the
    largest value of the output. `allowed` is the largest difference that agrees.
    `recorded` is the distance from a recorded value, relative to its largest, or None.
    """

    output: str
    sizes: str
    problem: str | None
    difference: float = math.inf
    units: float = math.inf
    largest: float = 0.0
    allowed: float = 0.0
    recorded: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a program was made from: the name of the source, the SHA-256 of its files, and versions of packages."""

    name: str
    sha256: Mapping[str, str]
    versions: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProgramReport:
    """An export of a module to a program file; `passes` says whether the file computes what the module computes.

    `taken_as` says what the source was taken for. `inputs` and `outputs` are names with dtype and axes.
    `files` are the sizes in bytes of all that was written, by name, and `size` is their sum.
    `origin` is the source, and `preprocessing` and `labels`, the number of names of classes, are those that it records.
    `comparisons` has every output of every case; `versions` are those of the packages that ran the file, and `device`
    ran the module.
    `losses` are those of int8 or float16, or None, and `max_drop` is the allowed loss of accuracy.
    `notes` are sentences for people. `command` repeats the export; it is None if Python code exported.
    """

    path: str
    destination: str
    taken_as: str
    origin: Origin
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    cases: int
    device: str
    comparisons: tuple[Comparison, ...]
    allowed_units: float
    versions: Mapping[str, str]
    files: Mapping[str, int] = dataclasses.field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    labels: int | None = None
    losses: Losses | None = None
    max_drop: float = 1.0
    notes: tuple[str, ...] = ()
    command: str | None = None

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(self.files.values())

    @property
    def passes(self) -> bool:
        """True if no output differs by more than is allowed."""
        return not self.findings()

    @property
    def worst_units(self) -> float:
        """The largest difference of any output in units of float32 noise."""
        return max((comparison.units for comparison in self.comparisons), default=0.0)

    def findings(self) -> list[str]:
        """Return every difference, one a line."""
        findings = [
            f"{printable(comparison.output)} with {printable(comparison.sizes)} {comparison.problem}"
            for comparison in self.comparisons
            if comparison.problem is not None
        ]
        if self.losses is not None and self.losses.broken:
            findings.append(
                f"{self.losses.precision} gives infinite values or NaN for {self.losses.broken:,} of "
                f"{pluralize(self.losses.images, 'input')}, for which the module's values are finite"
            )
        if self.losses is not None and not self.losses.drop <= self.max_drop:
            before, after = self.losses.accuracy_before, self.losses.accuracy_after
            findings.append(
                f"accuracy falls from {before:.2%} to {after:.2%}, allowed are {self.max_drop:.2%} (max_drop)"
            )
        return findings

    def require(self) -> None:
        """Raise `VerificationError` if an output differs."""
        findings = self.findings()
        if findings:
            runtime = " ".join(next(iter(self.versions.items()), ("the runtime",)))
            lines = [f"the program differs from the module in {runtime}; nothing was written:", *findings]
            if len(findings) > _MOST_FINDINGS:
                lines[_MOST_FINDINGS + 1 :] = [f"and {len(findings) - _MOST_FINDINGS} more"]
            raise VerificationError("\n  ".join(lines), report=self)

    def summary(self) -> str:
        """Return the report in a few lines."""
        runtime = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [f"source    {printable(self.taken_as)}"]
        lines += [f"takes     {printable(text)}" for text in self.inputs]
        lines += [f"returns   {printable(text)}" for text in self.outputs]
        lines.append(f"weights   {self.parameters:,} parameters")
        if self.comparisons:
            lines.append(f"check     {pluralize(self.cases, 'run')} by {runtime}, in a process of its own:")
            lines.append(
                f"          within {self.worst_units:.1f} times float32 noise ({self.allowed_units:g} are allowed)"
            )
        recorded = [comparison.recorded for comparison in self.comparisons if comparison.recorded is not None]
        if recorded:
            lines.append(f"expected  within {max(recorded):.1e} of TensorFlow's recorded values")
        if self.losses is not None:
            lines += self.losses.lines()
        lines += [f"note      {note}" for note in self.notes]
        lines.append(f"output    {self.path}, {self.size:,} bytes")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON; a number that is not finite is None."""
        record = dataclasses.asdict(self)
        if self.preprocessing is not None:
            settings = self.preprocessing
            record["preprocessing"] = {"description": settings.describe(), "settings": settings.to_dict()}
        for comparison in record["comparisons"]:
            for key, value in comparison.items():
                if isinstance(value, float) and not math.isfinite(value):
                    comparison[key] = None
        return {**record, "size": self.size, "passes": self.passes}
