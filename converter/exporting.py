"""Writing a conversion to a file or a folder, with a report on request.

`prepare` checks everything before a byte is written: that the target library has the network, and that the requested
changes can be combined.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import tfckpt
from tfckpt import Checkpoint
from tfckpt.errors import pluralize
from tfckpt.sinks.opening import is_address
from tfckpt.sinks.staging import staged

from ._typing import Array, PathLike, Progress, SourceLike
from .conversion import ConversionResult
from .errors import ExportError
from .formats.changes import cast_tensors, fold_batch_norms, replace_classifier
from .formats.files import Output, atomic_file, check_free, check_output, write_output
from .formats.output import Writable
from .formats.proof import ProofRecord
from .images.labels import check_labels
from .images.recipes import Preprocessing
from .libraries.models import TARGETS, TargetName
from .libraries.tables import map_to_library
from .libraries.targets import TABLES, find_model, list_label_notes, list_notes
from .model.config import EfficientNetConfig
from .reporting.record import build_report
from .reporting.renderers import choose_renderer
from .verification.modules import Interface
from .verification.publishing import ProofChoice, Prover, check_proof_choice


def prepare(
    result: ConversionResult,
    *,
    target: TargetName = "native",
    dtype: str | None = None,
    num_classes: int | None = None,
    fuse_bn: bool = False,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Output:
    """Plan the output of a conversion.

    `dtype` is `float32`, `float16` or `bfloat16`, for floating-point tensors; None keeps their dtypes.
    `num_classes` different from the network's replaces the classifier by a new one; 0 removes it.
    `fuse_bn` folds batch norms into the convolutions before them; only our own module supports this.
    `labels` has one name for each class.

    Raises `ExportError` if the target has no such network or the options cannot be combined.
    """
    if target not in TARGETS:
        raise ExportError(f"unknown target {target!r}, expected one of {', '.join(TARGETS)}")
    config = result.config
    if config is None:
        own = ("native", *([] if result.network is None else [result.network.library]))
        if target not in own or num_classes is not None or fuse_bn:
            raise ExportError(
                "the network is not an EfficientNet: its target, classifier and batch norms cannot be changed"
            )
        target = "native"
    elif fuse_bn and target != "native":
        raise ExportError(
            f"the models of {target} need their batch norms; they can only be folded for the target native"
        )
    changes = Changes(target, dtype, num_classes, fuse_bn)
    changed = change_tensors(result.state_dict, config, changes)
    config = changed.config
    if labels is not None and config is not None and len(labels) != config.num_classes:
        count = pluralize(config.num_classes, "class")
        raise ExportError(f"{pluralize(len(labels), 'label')} for a network of {count}")
    if labels is not None:
        check_labels(labels)
    return Output(
        tensors=changed.tensors,
        config=config,
        report=result.report,
        target=target,
        model=changed.model,
        names=changed.names,
        changes=changed.sentences,
        notes=() if config is None else (*list_notes(target, config, preprocessing), *list_label_notes(target, labels)),
        preprocessing=preprocessing,
        labels=None if labels is None else tuple(labels),
        network=result.network,
        rules=None if config is not None else result.rules,
        tied={} if result.network is None else {record.target: record.to for record in result.report.tied},
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What happens to the tensors of a conversion before they are written; the fields are options of `prepare`."""

    target: TargetName = "native"
    dtype: str | None = None
    num_classes: int | None = None
    fuse_bn: bool = False


class Changed(NamedTuple):
    """Tensors after changes, the config with them, and a sentence for each change.

    `model` and `names` are the target's name of the network and its names of tensors by ours.
    """

    tensors: Mapping[str, Writable]
    config: EfficientNetConfig | None
    model: str | None
    names: Mapping[str, str]
    sentences: tuple[str, ...]


def change_tensors(tensors: Mapping[str, Writable], config: EfficientNetConfig | None, changes: Changes) -> Changed:
    """Change tensors, or some of them; `list_inputs` of `formats.changes` says what a folded kernel or bias needs.

    `config` is that of an EfficientNet; None for other networks, whose dtype alone can be changed.

    Raises `ExportError` if the target has no such network.
    """
    sentences: list[str] = []
    model = None
    names: Mapping[str, str] = {}
    if config is not None:
        if changes.num_classes is not None and changes.num_classes != config.num_classes:
            tensors, config, sentence = replace_classifier(tensors, config, changes.num_classes)
            sentences.append(sentence)
        if changes.fuse_bn:
            tensors, config, sentence = fold_batch_norms(tensors, config)
            sentences.append(sentence)
        if changes.target != "native":
            model = find_model(changes.target, config)
            names = map_to_library(TABLES[changes.target], config, changes.target)
            tensors = {names[name]: tensor for name, tensor in tensors.items()}
    if changes.dtype is not None:
        tensors, sentence = cast_tensors(tensors, changes.dtype)
        sentences.append(sentence)
    return Changed(tensors, config, model, names, tuple(sentences))


def export(
    result: ConversionResult,
    path: PathLike,
    *,
    target: TargetName = "native",
    dtype: str | None = None,
    num_classes: int | None = None,
    fuse_bn: bool = False,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    shard_size: int | None = None,
    report: PathLike | None = None,
    proof: ProofChoice = "auto",
    probe: Mapping[str, str] | None = None,
    compare: Mapping[str, str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ProofRecord | None:
    """Write a conversion to a file, in the format of its ending, or to a folder if the name has no ending.

    The options up to `preprocessing` are those of `prepare`. A folder is split into shards of at most `shard_size`
    bytes. `report` is the path of a report to write, JSON or HTML by its ending.
    Nothing is overwritten without `force`, and a failure or an interruption leaves nothing behind.
    An output at an address (`s3://bucket/model.safetensors`) is written and proved in a temporary folder, and uploaded.

    Before the output gets its name, what was written is proved: its weights against the source, and its layers against
    the graph saved with the source, if there is one and torch is installed. `proof="require"` raises if the layers
    cannot be proved, and `proof="none"` proves nothing. The record of the proof is stored in the output and returned.
    Of a network that is not an EfficientNet the outputs are compared: of its module, or of that given to `convert` as
    `into`. `probe` maps inputs of the module to tensors of the graph, and `compare` its outputs; without them they are
    guessed where only one way is possible.

    Raises `VerificationError` if the output does not agree with its source; then nothing is written.
    """
    check_proof_choice(proof)
    if not is_address(path):
        check_output(path, force=force, shard_size=shard_size)
    if report is not None:
        check_report(report, path, force=force)
    output = prepare(
        result,
        target=target,
        dtype=dtype,
        num_classes=num_classes,
        fuse_bn=fuse_bn,
        labels=labels,
        preprocessing=preprocessing,
    )
    with staged(path, overwrite=force) as local, contextlib.ExitStack() as stack:
        check_output(local, force=force, shard_size=shard_size)
        prover = None
        if proof != "none":
            source = stack.enter_context(_open_source(result.source))
            required = proof == "require" or bool(probe or compare)
            prover = Prover(result, output, source, required=required, interface=Interface(probe or {}, compare or {}))
        with writing_report(report, result, output, path, prover=prover, force=force):
            write_output(output, local, shard_size=shard_size, force=force, prove=prover, progress=progress)
    return None if prover is None else prover.record


@contextlib.contextmanager
def _open_source(source: SourceLike | None) -> Iterator[Mapping[str, Array] | None]:
    """Yield the source of a conversion, opened again if it is closed; None if that fails."""
    if isinstance(source, Checkpoint) and not source.is_open:
        source = source.prefix
    if source is None or isinstance(source, Mapping):
        yield source
        return
    try:
        checkpoint = tfckpt.open(source)
    except tfckpt.CheckpointError:
        yield None
        return
    with checkpoint:
        yield checkpoint


def check_report(report: PathLike, path: PathLike, *, force: bool) -> None:
    """Raise `ExportError` if a report of the output at `path` cannot be written to this path."""
    if os.path.realpath(report) == os.path.realpath(path):
        raise ExportError("the report and the output cannot be the same file", path=os.fspath(path))
    choose_renderer(report)
    check_free(report, force=force)


@contextlib.contextmanager
def writing_report(
    report: PathLike | None,
    result: ConversionResult,
    output: Output,
    path: PathLike,
    *,
    prover: Prover | None = None,
    command: str | None = None,
    force: bool = False,
) -> Iterator[None]:
    """Write a report of the output that the block writes to `path`, if `report` is not None and the block succeeds.

    `prover` has the record of the proof when the block ends.
    `command` is the command line that repeats the conversion.
    """
    if report is None:
        yield
        return
    render = choose_renderer(report)
    with atomic_file(report, force=force) as file:
        full = build_report(result, output, path, command=command)
        yield
        proof = None if prover is None else prover.record
        file.write(render(dataclasses.replace(full, proof=proof)).encode())
