"""The record of a proof that is stored with an output, so that everyone who has the output can see and repeat it.

In a file it is JSON in the metadata, under `tf2torch.proof`; a folder also has it as `proof.json`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfckpt.errors import CheckpointNotFoundError, CorruptionError, pluralize
from tfckpt.files.json_text import read_json

from .._typing import Array, PathLike
from ..libraries.folders import PROOF_NAME
from .output import PROOF_KEY, TensorFile

NO_GRAPH = "no graph"
NO_TORCH = "no torch"
NO_LIBRARY = "no transformers"
BY_RULES = "converted by rules"
OF_TRAINING = "the graph is one of training"
#: Reasons for not comparing layers that say everything.
PLAIN_REASONS = (NO_GRAPH, NO_TORCH, NO_LIBRARY, BY_RULES)
#: A record is small: the space for it in a file is reserved before the proof.
_MAX_TEXT = 120
_MAX_OUTPUTS = 4
_MAX_CHANGES = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayersProof:
    """The comparison of all layers with the graph.

    `difference` is the largest of any layer in the whole run in `dtype`, relative to the layer's largest value, and
    `allowed` the tolerance of the layer that has it; `alone` is the largest difference of a layer on the graph's own
    input, in float64. `outputs` says what the final outputs of the graph are.
    `unit` is `output` if only the outputs of a module were compared, whose layers are not known; `alone` is then 0.
    """

    count: int
    dtype: str
    difference: float
    allowed: float
    alone: float
    alone_allowed: float
    outputs: tuple[str, ...]
    unit: str = "layer"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProofRecord:
    """What was proved about an output before it was published.

    `weights` counts the tensors that were equal to the source's byte for byte, and `constants` those filled with one.
    `layers` is None if layers were not compared; `reason` says why in a few words, and `explanation` in a sentence.
    With `layers`, `explanation` says how a graph of training was run, and is None for any other.
    `changes` were made after the state that was compared with the graph: the written tensors were compared with a
    second computation of these changes.
    `files` are SHA-256 in hex of the source's index and of its graph, by name.
    `probe` describes the input, and `size` is its side in pixels.
    `tensors_sha256` identifies the written tensors; see `hash_tensors`.
    """

    source: str
    weights: int
    constants: int
    layers: LayersProof | None
    reason: str | None
    explanation: str | None
    changes: tuple[str, ...]
    files: dict[str, str]
    probe: str | None
    seed: int | None
    size: int | None
    versions: dict[str, str]
    tensors_sha256: str

    @property
    def line(self) -> str:
        """The result in one line."""
        if self.layers is None:
            return f"weights proved; layers not ({self.reason})"
        before = " before the changes" if self.changes else ""
        return f"proved {self.layers.count} of {pluralize(self.layers.count, self.layers.unit)}{before}"

    def rows(self) -> list[tuple[str, str]]:
        """Return what was proved as pairs of a title and a text; lines that belong together have the same title."""
        before = " before the changes" if self.changes else ""
        rows = [
            ("source", self.source),
            ("weights", f"{pluralize(self.weights, 'tensor')} equal to the source's byte for byte{before}"),
            ("constants", f"{self.constants} correct"),
        ]
        if self.layers is not None:
            layers = self.layers
            kind = f"{layers.unit}s"
            owner = "a layer's" if layers.unit == "layer" else "the"
            largest = f"largest difference {layers.difference:.1e} of {owner} largest value"
            comma = "," if layers.unit == "layer" else ""
            if self.explanation is not None:
                rows.append(("graph", self.explanation))
            rows.append((kind, f"{layers.count} agree with the graph's ({layers.dtype}):"))
            rows.append((kind, f"{largest}, allowed {layers.allowed:.1e}{comma}"))
            if layers.unit == "layer":
                rows.append((kind, f"alone in float64 {layers.alone:.1e}, allowed {layers.alone_allowed:.1e}"))
            rows += [("output", output) for output in layers.outputs]
        elif self.explanation is not None:
            rows.append(("unproved", f"the layers: {self.explanation}"))
        rows += [("changes", change) for change in self.changes]
        if self.probe is not None:
            rows.append(("probe", self.probe))
        rows += [("sha256", f"{checksum}  {file}") for file, checksum in self.files.items()]
        rows.append(("versions", ", ".join(f"{package} {version}" for package, version in self.versions.items())))
        return rows

    @property
    def is_unexpected(self) -> bool:
        """Whether the reason why layers are not proved needs its explanation."""
        return self.layers is None and self.reason not in PLAIN_REASONS

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON; long texts are shortened, because the space for the record is limited."""
        record = dataclasses.asdict(self)
        record["changes"] = [_cut(change) for change in self.changes[:_MAX_CHANGES]]
        if self.layers is not None:
            record["layers"]["outputs"] = [_cut(output) for output in self.layers.outputs[:_MAX_OUTPUTS]]
        for name in ("source", "reason", "explanation", "probe"):
            record[name] = None if record[name] is None else _cut(record[name])
        record["files"] = {_cut(name): checksum for name, checksum in self.files.items()}
        return record

    @classmethod
    def from_dict(cls, value: Any) -> ProofRecord:
        """Return the record of `to_dict`; raise `ValueError` if it is not valid."""
        try:
            layers = value["layers"]
            if layers is not None:
                layers = LayersProof(**{**layers, "outputs": tuple(layers["outputs"])})
            files, versions = dict(value["files"]), dict(value["versions"])
            changed = {"layers": layers, "changes": tuple(value["changes"]), "files": files, "versions": versions}
            record = cls(**{**value, **changed})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the record of a proof: {error!r}") from error
        if not _is_valid(record):
            raise ValueError("not the record of a proof: a value has the wrong type")
        return record


def _is_valid(record: ProofRecord) -> bool:
    """Return whether the values have the types that the code that shows a record relies on."""
    layers = record.layers
    texts = (record.source, record.tensors_sha256, *record.changes, *record.files, *record.files.values())
    texts += (*record.versions, *record.versions.values())
    texts += tuple(text for text in (record.reason, record.explanation, record.probe) if text is not None)
    numbers: tuple[int, ...] = (record.weights, record.constants)
    numbers += tuple(number for number in (record.seed, record.size) if number is not None)
    measures: tuple[float, ...] = ()
    if layers is not None:
        texts += (layers.dtype, layers.unit, *layers.outputs)
        numbers += (layers.count,)
        measures = (layers.difference, layers.allowed, layers.alone, layers.alone_allowed)
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
        and all(isinstance(measure, int | float) for measure in measures)
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def read_proof(output: TensorFile, path: PathLike) -> ProofRecord | None:
    """Return the record stored with an output, or None; raise `CorruptionError` if it is not valid."""
    path = os.fspath(path)
    text: str | bytes | None = output.metadata.get(PROOF_KEY)
    if text is None and os.path.isdir(path):
        path = os.path.join(path, PROOF_NAME)
        if not os.path.isfile(path):
            return None
        try:
            with open(path, "rb") as file:
                text = file.read(1 << 20)
        except OSError as error:
            raise CheckpointNotFoundError(f"cannot read the file ({error.strerror or error})", path=path) from error
    if text is None:
        return None
    try:
        return ProofRecord.from_dict(read_json(text))
    except ValueError as error:
        raise CorruptionError(f"{PROOF_KEY}: {error}", path=path) from error


def hash_tensors(tensors: Mapping[str, Array]) -> str:
    """Return the SHA-256 in hex of names, dtypes, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}\0{array.dtype.name}\0{tensors[name].shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
