"""What a conversion did, complete and in a stable order: as records, as JSON, and as a few lines for a terminal.

The source is pinned by the SHA-256 of its index file and the CRC-32C of every tensor used.
The index holds the checksum of every tensor, so that these tell a changed source without hashing gigabytes of data.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

from tfckpt.errors import pluralize, printable
from tfckpt.files.json_text import json_text

from ..errors import Shape


@dataclasses.dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the source: its name without folders, its size in bytes, and for the index its SHA-256 in hex.

    Size and checksum are None where they are not known.
    """

    name: str
    nbytes: int | None
    sha256: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class TensorRecord:
    """One tensor's way; `crc32c` is the source's stored checksum, None where it has none of its own.

    `variable` is the name that the rules read, without the suffix of moving averages.
    """

    source: str
    target: str
    layout: str
    source_shape: Shape
    target_shape: Shape
    dtype: str
    crc32c: int | None
    variable: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class IgnoredRecord:
    """A source tensor that was left out, and why."""

    source: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class ConstantRecord:
    """A target that no source fills: its scalar value, and why."""

    target: str
    value: float
    dtype: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """A whole conversion.

    `source` is the checkpoint's prefix without folders, `evidence` what decided which network it is.
    `config` is None, and `parameters` counts every number, for a conversion by rules of the user's own.
    `averaged` of the tensors used are moving averages.
    `releases` are those a published network may be, the likeliest first; empty for none.
    `head` is the dense layer that was asked for as the classifier.
    `notes` are sentences a person should know that decided nothing.
    """

    source: str
    files: tuple[FileRecord, ...]
    config: dict[str, Any] | None
    parameters: int
    evidence: tuple[str, ...]
    weights: str
    averaged: int
    scope: str
    rules: str
    rules_version: str
    tensors: tuple[TensorRecord, ...]
    ignored: tuple[IgnoredRecord, ...]
    constants: tuple[ConstantRecord, ...]
    nbytes: int
    versions: dict[str, str]
    releases: tuple[str, ...] = ()
    head: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def network(self) -> str:
        """The network's name, or that of the rules for what is no EfficientNet."""
        return str(self.config["name"]) if self.config is not None else self.rules

    def provenance(self) -> dict[str, Any]:
        """Give what an output file keeps about where it came from."""
        return {
            "source": self.source,
            "files": [dataclasses.asdict(file) for file in self.files],
            "model": {"name": self.network, "evidence": list(self.evidence)},
            "weights": {"choice": self.weights, "averaged": self.averaged, "raw": len(self.tensors) - self.averaged},
            "rules": {"name": self.rules, "version": self.rules_version, "scope": self.scope, "head": self.head},
            "versions": dict(self.versions),
        }

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        return {
            **self.provenance(),
            "releases": list(self.releases),
            "notes": list(self.notes),
            "config": self.config,
            "totals": {
                "source_tensors": len(self.tensors) + len(self.ignored),
                "used": len(self.tensors),
                "ignored": len(self.ignored),
                "constants": len(self.constants),
                "targets": len(self.tensors) + len(self.constants),
                "parameters": self.parameters,
                "bytes": self.nbytes,
            },
            "tensors": [_tensor(record) for record in self.tensors],
            "ignored": [dataclasses.asdict(record) for record in self.ignored],
            "constants": [dataclasses.asdict(record) for record in self.constants],
        }

    def to_json(self) -> str:
        """Give the report as JSON text, the same for the same conversion."""
        return json_text(self.to_dict())

    def summary(self) -> str:
        """Say it in a few lines."""
        raw = len(self.tensors) - self.averaged
        reasons = collections.Counter(record.reason for record in self.ignored)
        if self.averaged:
            weights = f"{self.averaged} moving averages" + (f", {raw} raw values where there is none" if raw else "")
        else:
            weights = f"{raw} raw values" + (" (no moving averages here)" if self.weights == "ema" else "")
        lines = [
            f"source    {printable(self.source)}",
            f"network   {self.network}: {self.parameters:,} parameters"
            + (f", {say_classes(self.config['num_classes'])}" if self.config is not None else ""),
            *(f"          {sentence}" for sentence in self.evidence),
            f"weights   {weights}",
            f"tensors   {len(self.tensors)} used + {len(self.constants)} constant = "
            f"{len(self.tensors) + len(self.constants)} targets, {self.nbytes:,} bytes",
            f"ignored   {len(self.ignored)}",
            *(f"          {count} × {reason}" for reason, count in sorted(reasons.items())),
            *(f"note      {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def say_classes(count: int) -> str:
    """Say how many classes a network tells apart."""
    return pluralize(count, "class") if count else "no classifier"


def _tensor(record: TensorRecord) -> dict[str, Any]:
    checksum = None if record.crc32c is None else f"{record.crc32c:08x}"
    return {**dataclasses.asdict(record), "crc32c": checksum}
