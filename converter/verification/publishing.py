"""The proof of an output before it is published: its written tensors against the source and the source's graph.

The written tensors are read back and mapped to our names. Without changes such as `--dtype`, they are compared with the
source byte for byte, and a network built of them is compared with the graph, layer by layer.
With changes, the network before them is compared, and the written tensors are compared with the changes computed again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

import tfckpt
from tfckpt import Checkpoint
from tfckpt.errors import CheckpointError, MissingDependencyError, printable
from tfckpt.graphs.graph_file import hash_graph, hash_graph_file
from tfckpt.graphs.saved_model import find_file, find_folder

from .._typing import Array, PathLike
from ..conversion import ConversionResult
from ..errors import GraphError, UnsupportedOpError, VerificationError
from ..formats.files import Output, TensorFile
from ..formats.output import Materialized, materialize
from ..formats.proof import (
    BY_RULES,
    NO_GRAPH,
    NO_LIBRARY,
    NO_TORCH,
    OF_TRAINING,
    LayersProof,
    ProofRecord,
    hash_tensors,
)
from ..mapping.moves import group_by_source, restore_source
from ..sources import read_tensors
from .layers_report import ALONE_TOLERANCE, MOVING_STATISTICS, LayersReport
from .modules import GUESSED, Interface, ModuleReport, fill_module, prove_module
from .pairing import TrainingGraphError
from .report import Proof
from .weights import WeightsReport, compare_weights

if TYPE_CHECKING:
    from ..engine.reference_graph import ReferenceGraph

#: `auto` proves as much as the source and the installed packages allow, `require` raises unless the layers are proved,
#: and `none` proves nothing.
ProofChoice: TypeAlias = Literal["auto", "require", "none"]
PROOF_CHOICES: tuple[ProofChoice, ...] = ("auto", "require", "none")

#: The seed of the probe.
SEED = 0
#: The end of the prefix of a V1 checkpoint in several files; the name of its graph does not include it.
_SHARDS = re.compile(r"-\?+-of-\d+$")


@dataclasses.dataclass(frozen=True, slots=True)
class _Layers:
    """The comparison of layers, or the reason why there is none: a few words, and a sentence."""

    report: LayersReport | ModuleReport | None = None
    reason: str | None = None
    explanation: str | None = None


class Prover:
    """Proves what was written for a conversion; `record` has the result after the call."""

    def __init__(
        self,
        result: ConversionResult,
        output: Output,
        source: Mapping[str, Array] | None,
        *,
        required: bool = False,
        interface: Interface = GUESSED,
    ) -> None:
        """`source` is the open source, or None if it cannot be opened again.

        `interface` says which tensors of the graph a module that is not an EfficientNet takes and returns.
        """
        self._result = result
        self._output = output
        self._source = source
        self._required = required
        self._interface = interface
        self.record: ProofRecord | None = None

    def __call__(self, written: TensorFile) -> dict[str, Any]:
        """Return the record of the proof as values for JSON.

        Raises `VerificationError` if anything differs, and if a proof of the layers is required but impossible,
        `GraphError` or `MissingDependencyError`.
        """
        back = {theirs: ours for ours, theirs in self._output.names.items()}
        tensors: Mapping[str, Array]
        tensors = {back.get(name, name): array for name, array in written.tensors.items()}
        # A folder leaves tied names out.
        tensors |= {
            name: tensors[to] for name, to in self._output.tied.items() if name not in tensors and to in tensors
        }
        if self._output.changes:
            self._check_changes(written.tensors)
            tensors = Materialized(self._result.state_dict)
        with ThreadPoolExecutor(1) as thread:
            digest = thread.submit(hash_tensors, written.tensors)  # takes half as long as the comparison
            weights = self._compare_weights(tensors)
        self._require(weights, None)
        layers = self._compare_layers(tensors, weights)
        if layers.report is not None:
            self._require(weights, layers.report)
        self.record = self._make_record(weights, layers, digest.result())
        return self.record.to_dict()

    def _require(self, weights: WeightsReport, layers: LayersReport | ModuleReport | None) -> None:
        name = printable(self._result.report.source)
        proof = Proof(source=self._result.report.source, output="", weights=weights, layers=layers)
        if not proof.ok:
            headline = f"nothing is published, because the result does not agree with {name}"
            raise VerificationError(f"{headline}\n{proof.message()}", report=proof)

    def _check_changes(self, written: Mapping[str, Array]) -> None:
        """Compare the written tensors with a second computation of the changes."""
        different = [name for name in self._output.tensors if name not in written and name not in self._output.tied]
        for name, tensor in self._output.tensors.items():
            if name in written and not _has_same_bytes(written[name], materialize(tensor)):
                different.append(name)
        if different:
            names = ", ".join(printable(name) for name in different[:8])
            message = f"nothing is published, because {len(different)} written tensors differ from the result: {names}"
            raise VerificationError(message, report=None)

    def _compare_weights(self, tensors: Mapping[str, Array]) -> WeightsReport:
        result = self._result
        moves = group_by_source(record.move for record in result.report.tensors)

        def read_again(names: Sequence[str]) -> Iterator[Array]:
            if self._source is not None:
                return read_tensors(self._source, names, threads=1)
            return (restore_source(moves[name], result.state_dict) for name in names)

        targets = {name: array.shape for name, array in result.state_dict.items()}
        return compare_weights(result.report, result.config, read_again, targets, tensors)

    def _compare_layers(self, tensors: Mapping[str, Array], weights: WeightsReport) -> _Layers:
        is_known = self._result.config is not None or self._result.network is not None
        if not is_known and not hasattr(self._result.into, "load_state_dict"):
            return self._give_up(BY_RULES, "no module is known to run: give one with --into (into=)")
        try:
            graph = self._build_graph()
            if graph is not None and self._result.config is None:
                return _Layers(self._prove_module(graph, tensors, weights))
            if graph is not None:
                return _Layers(self._prove_layers(graph, tensors, weights))
        except (ModuleNotFoundError, MissingDependencyError) as error:
            if getattr(error, "name", None) not in ("torch", None) or self._required:
                raise
            if getattr(error, "extra", None) == "transformers":
                return _Layers(reason=NO_LIBRARY, explanation="transformers cannot be imported (extra transformers)")
            return _Layers(reason=NO_TORCH, explanation="torch is not installed (extra torch)")
        except CheckpointError as error:
            return self._give_up("the graph cannot be read", str(error))
        except TrainingGraphError as error:
            return self._give_up(OF_TRAINING, str(error))
        except (GraphError, UnsupportedOpError) as error:
            return self._give_up("the graph cannot be compared", str(error))
        if self._source is None:
            return self._give_up("source closed", "the source cannot be opened again, so its graph is not known")
        return self._give_up(NO_GRAPH, "no graph is saved with the source (.meta or saved_model.pb)")

    def _prove_layers(
        self, graph: ReferenceGraph, tensors: Mapping[str, Array], weights: WeightsReport
    ) -> LayersReport:
        """Compare on a small probe; if that fails, on one of the size that the graph declares."""
        from ..loading import build_model
        from .oracle import ProbeOptions, prove_layers

        model = build_model(self._result.required_config(), tensors)
        with contextlib.suppress(GraphError):
            report = prove_layers(graph, model, weights, ProbeOptions(seed=SEED, small=True), is_final=False)
            if report.ok:
                return report
        return prove_layers(graph, model, weights, ProbeOptions(seed=SEED), needs_finite=True)

    def _prove_module(
        self, graph: ReferenceGraph, tensors: Mapping[str, Array], weights: WeightsReport
    ) -> ModuleReport:
        """Compare the outputs of the module of a ready network, or of the user's own."""
        from ..loading import fill_network
        from .oracle import choose_oracle_weights

        ready = self._result.network
        if ready is not None:
            module = fill_network(ready.title, ready.build_config("float32"), tensors)
        else:
            module = fill_module(self._result.into, tensors)
        variables = {record.variable: record.source_shape for record in self._result.report.tensors}
        return prove_module(
            graph, module, variables, self._interface, weights=choose_oracle_weights(weights), seed=SEED
        )

    def _build_graph(self) -> ReferenceGraph | None:
        """Return the graph to compare with, that of the conversion or the one saved with the source, or None."""
        if not isinstance(self._source, Checkpoint):
            return None
        if self._result.graph is None and self._source.meta_graph is None:
            return None  # before torch is imported, which costs a second and 100 MB

        from ..engine.loading import load_graph
        from .oracle import build_oracle

        if self._result.graph is not None:
            return load_graph(self._result.graph, checkpoint=self._source, moving_statistics=True)
        return build_oracle(self._source)

    def _give_up(self, reason: str, explanation: str) -> _Layers:
        if self._required:
            raise GraphError(f"the layers cannot be proved, so nothing is written: {explanation}")
        return _Layers(reason=reason, explanation=explanation)

    def _make_record(self, weights: WeightsReport, layers: _Layers, digest: str) -> ProofRecord:
        report = layers.report
        versions = {"tfckpt": tfckpt.__version__, "numpy": np.__version__}
        files = {file.name: file.sha256 for file in self._result.report.files if file.sha256 is not None}
        if report is not None:
            import torch

            versions["torch"] = str(torch.__version__)
            if isinstance(self._source, Checkpoint):
                with contextlib.suppress(CheckpointError):  # an address may need what only its opener knows
                    files |= _hash_graph(self._source, self._result.graph or self._source.graph_file)
        moved = len({record.source for record in weights.records if record.source is not None})
        return ProofRecord(
            source=self._result.report.source,
            weights=moved,
            constants=sum(record.source is None for record in weights.records),
            layers=None if report is None else _summarize(report),
            reason=layers.reason,
            explanation=MOVING_STATISTICS if report is not None and report.moving_statistics else layers.explanation,
            changes=self._output.changes,
            files=files,
            probe=None if report is None else report.probe,
            seed=None if report is None else SEED,
            size=None if report is None else report.size,
            versions=versions,
            tensors_sha256=digest,
        )


def check_proof_choice(choice: str) -> None:
    """Raise `ValueError` unless this is a choice of `PROOF_CHOICES`."""
    if choice not in PROOF_CHOICES:
        raise ValueError(f"proof is {choice!r}, expected one of {', '.join(PROOF_CHOICES)}")


def _summarize(report: LayersReport | ModuleReport) -> LayersProof:
    if isinstance(report, ModuleReport):
        largest = max(report.records, key=lambda record: record.difference)
        return LayersProof(
            count=len(report.records),
            dtype="float32",
            difference=largest.difference,
            allowed=largest.allowed,
            alone=0.0,
            alone_allowed=0.0,
            outputs=tuple(f"{record.output} is {record.tensor}" for record in report.records),
            unit="output",
        )
    worst = max(report.records, key=lambda record: record.max_rel)
    return LayersProof(
        count=len(report.records),
        dtype=report.dtype,
        difference=worst.max_rel,
        allowed=worst.tolerance,
        alone=max(record.alone for record in report.records),
        alone_allowed=ALONE_TOLERANCE,
        outputs=tuple(str(output) for output in report.outputs),
    )


def _has_same_bytes(one: Array, other: Array) -> bool:
    same = (one.dtype, one.shape) == (other.dtype, other.shape)
    return same and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _hash_graph(checkpoint: Checkpoint, given: PathLike | None) -> dict[str, str]:
    """Return the SHA-256 of the file of the graph by its name: of a given one, or of that saved with a checkpoint."""
    if given is not None:
        return dict([hash_graph_file(given)])
    storage = checkpoint.storage
    folder = find_folder(storage, checkpoint.prefix)
    path = _SHARDS.sub("", checkpoint.prefix) + ".meta" if folder is None else find_file(storage, folder)
    return dict([hash_graph(storage, path)]) if storage.is_file(path) else {}
