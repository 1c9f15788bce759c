"""The conversion report: complete records in a stable order, as JSON and as a summary for a terminal.

The source is identified by the SHA-256 of its index file and the CRC-32C of every tensor used.
The index contains the checksum of every tensor, so any change of the source shows without hashing gigabytes of data.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from tfckpt.errors import pluralize, printable
from tfckpt.files.json_text import SCHEMA_VERSION, format_json

from ..errors import Shape
from .moves import Move, Part


@dataclasses.dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the source: its name without directories, its size in bytes, and the SHA-256 of an index file in hex.

    Size and checksum are None if unknown.
    """

    name: str
    nbytes: int | None
    sha256: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class TensorRecord:
    """A converted tensor: `crc32c` is the source's stored checksum, None if it has no checksum of its own.

    `variable` is the name that rules match, without the suffix of moving averages; `averaged` is True for an average.
    `source_part` and `target_part` are the parts that were moved if the source was cut or the target joined.
    """

    source: str
    target: str
    layout: str
    source_shape: Shape
    target_shape: Shape
    dtype: str
    crc32c: int | None
    variable: str = ""
    averaged: bool = False
    source_part: Part | None = None
    target_part: Part | None = None

    @property
    def move(self) -> Move:
        """The move that converted the tensor."""
        return Move(
            self.source,
            self.source_shape,
            self.layout,
            self.target,
            self.target_shape,
            self.source_part,
            self.target_part,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class IgnoredRecord:
    """A source tensor that was not converted, and the reason."""

    source: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class ConstantRecord:
    """A target filled with a constant, one value or several for equal parts of its first axis, and the reason."""

    target: str
    value: float | tuple[float, ...]
    dtype: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class TiedRecord:
    """A target filled with the tensor of another target, and the reason."""

    target: str
    to: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class SettingRecord:
    """A setting of a converted network, and its origin in words."""

    name: str
    value: Any
    origin: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """The report of a conversion.

    `source` is the checkpoint's prefix without directories, and `evidence` says how the network was identified.
    `config` is None for a conversion by the user's own rules; `parameters` then counts all values.
    `averaged` is the number of tensors used that are moving averages.
    `releases` lists the releases that a published network may be, most likely first.
    `head` is the dense layer that the user chose as the classifier.
    `operations` counts the graph's operations from the image to the logits, all of which belong to the network; None if
    there is no graph. `inputs` and `outputs` say what the graph does before the first layer and after the logits, which
    the converted network does not.
    `notes` are messages for the user that did not affect the conversion.
    `specified` has the activation and the epsilon that the user said, and `padding` is that of the code base.
    `configured` names those of them that the configuration in a Keras file shows.
    `title` is the model's name, `part` the part of the checkpoint, and `settings` what its configuration says, for a
    network that has ready rules and is not an EfficientNet.
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
    tied: tuple[TiedRecord, ...] = dataclasses.field(default=(), kw_only=True)
    nbytes: int
    versions: dict[str, str]
    releases: tuple[str, ...] = ()
    head: str | None = None
    notes: tuple[str, ...] = ()
    operations: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    specified: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    padding: str = "SAME"
    configured: tuple[str, ...] = ()
    title: str | None = None
    part: str | None = None
    settings: tuple[SettingRecord, ...] = ()

    @property
    def used(self) -> int:
        """The number of source tensors that were converted."""
        return len({record.source for record in self.tensors})

    @property
    def filled(self) -> int:
        """The number of targets that source tensors fill."""
        return len({record.target for record in self.tensors})

    @property
    def assumed(self) -> str | None:
        """What no graph shows and is assumed, as a sentence; None if there is a graph, no config, or all is said."""
        if self.config is None or self.operations is not None:
            return None
        activations = dict.fromkeys(
            stage["activation"] or self.config["activation"] for stage in ({"activation": None}, *self.config["stages"])
        )
        inner = self.config["gate_activation"]
        gates = f" ({inner} in squeeze-and-excitation)" if inner is not None else ""
        settings = {
            "activation": f"activation {' and '.join(activations)}{gates}",
            "epsilon": f"batch norm epsilon {self.config['bn_epsilon']:g}",
            "padding": f"padding {self.padding}",
        }
        said = [sentence for name, sentence in settings.items() if name not in {*self.specified, *self.configured}]
        if not said:
            return None
        return f"{', '.join(said)}: no graph shows {'them' if len(said) > 1 else 'it'}"

    @property
    def network(self) -> str:
        """The name of the network, or of the rules if the user's own rules were used."""
        return str(self.config["name"]) if self.config is not None else self.title or self.rules

    def provenance(self) -> dict[str, Any]:
        """Return the facts about the source that an output file records."""
        return {
            "source": self.source,
            "files": [dataclasses.asdict(file) for file in self.files],
            "model": {"name": self.network, "evidence": list(self.evidence), "specified": dict(self.specified)},
            "weights": {"choice": self.weights, "averaged": self.averaged, "raw": self.used - self.averaged},
            "rules": {
                "name": self.rules,
                "version": self.rules_version,
                "scope": self.scope,
                "head": self.head,
                "part": self.part,
            },
            "versions": dict(self.versions),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can represent."""
        return {
            **self.provenance(),
            "releases": list(self.releases),
            "notes": list(self.notes),
            "assumed": self.assumed,
            "graph": {"operations": self.operations, "input": list(self.inputs), "output": list(self.outputs)},
            "config": self.config,
            "settings": [dataclasses.asdict(setting) for setting in self.settings],
            "totals": {
                "source_tensors": self.used + len(self.ignored),
                "used": self.used,
                "ignored": len(self.ignored),
                "constants": len(self.constants),
                "tied": len(self.tied),
                "targets": self.filled + len(self.constants) + len(self.tied),
                "parameters": self.parameters,
                "bytes": self.nbytes,
            },
            "tensors": [_tensor_to_dict(record) for record in self.tensors],
            "ignored": [dataclasses.asdict(record) for record in self.ignored],
            "constants": [dataclasses.asdict(record) for record in self.constants],
            "tied": [dataclasses.asdict(record) for record in self.tied],
        }

    def to_json(self) -> str:
        """Return the report as JSON text; it is deterministic."""
        return format_json({"schema_version": SCHEMA_VERSION, **self.to_dict()})

    def summary(self) -> str:
        """Return a summary of a few lines."""
        raw = self.used - self.averaged
        reasons = collections.Counter(record.reason for record in self.ignored)
        if self.averaged:
            weights = f"{self.averaged} moving averages" + (f", {raw} raw values without average" if raw else "")
        else:
            weights = f"{raw} raw values"
            weights += " (no moving averages in the checkpoint)" if self.weights == "ema" else ""
        lines = [
            f"source    {printable(self.source)}",
            f"network   {self.network}: {self.parameters:,} parameters"
            + (f", {describe_classes(self.config['num_classes'])}" if self.config is not None else ""),
            *(f"          {sentence}" for sentence in self.evidence),
            *self._describe_settings(),
            *([] if self.operations is None else [f"graph     {self.operations:,} operations, all accounted for"]),
            *([] if self.assumed is None else [f"assumed   {self.assumed}"]),
            *(f"input     {printable(sentence)}, left to the caller" for sentence in self.inputs),
            *(f"output    {printable(sentence)}, left to the caller" for sentence in self.outputs),
            f"weights   {weights}",
            f"tensors   {self.describe_targets()}, {self.nbytes:,} bytes",
            *(f"tied      {printable(record.target)} = {printable(record.to)}" for record in self.tied),
            f"ignored   {len(self.ignored)}",
            *(f"          {count} × {reason}" for reason, count in sorted(reasons.items())),
            *(f"note      {note}" for note in self.notes),
        ]
        return "\n".join(lines)

    def _describe_settings(self) -> list[str]:
        """Return a line for each origin of settings."""
        origins: dict[str, list[str]] = collections.defaultdict(list)
        for setting in self.settings:
            shown = setting.value if isinstance(setting.value, str | int | float) else "…"
            origins[setting.origin].append(f"{setting.name} {shown}")
        return [f"setting   {', '.join(shown)}: {printable(origin)}" for origin, shown in origins.items()]

    def describe_targets(self) -> str:
        """Return in words how many targets are filled, and with what."""
        sources = f"{self.used} used"
        if self.used != self.filled:
            sources += f" for {self.filled}"
        tied = f" + {len(self.tied)} tied" if self.tied else ""
        total = self.filled + len(self.constants) + len(self.tied)
        return f"{sources} + {len(self.constants)} constant{tied} = {pluralize(total, 'target')}"


def describe_classes(count: int) -> str:
    """Return the number of classes in words."""
    return pluralize(count, "class") if count else "no classifier"


def _tensor_to_dict(record: TensorRecord) -> dict[str, Any]:
    checksum = None if record.crc32c is None else f"{record.crc32c:08x}"
    parts = {
        key: None if part is None else part._asdict()
        for key, part in (("source_part", record.source_part), ("target_part", record.target_part))
    }
    return {**dataclasses.asdict(record), "crc32c": checksum, **parts}
