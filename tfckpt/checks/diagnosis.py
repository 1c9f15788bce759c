"""Diagnosis of a path: what it is, what is missing or damaged, and what to do about it."""

from __future__ import annotations

import dataclasses
import ntpath
import os
from typing import Literal, TypeAlias

from .._typing import PathLike
from ..addresses import plain_address
from ..bundle import naming
from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    ResourceError,
    join_some,
    past_end,
    pluralize,
)
from ..finding.detect import KERAS, list_keras_files
from ..finding.file_kinds import describe_wrong_download
from ..finding.folder_advice import describe_renamed
from ..finding.state_file import STATE_NAME, read_state, windows_name
from ..limits import DEFAULT_LIMITS, Limits

Level: TypeAlias = Literal["ok", "note", "problem"]


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: `what` was checked, what was `found`, and advice for a problem."""

    level: Level
    what: str
    found: str
    advice: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, and the error of the first problem, or None."""

    findings: tuple[Finding, ...]
    error: CheckpointError | None


def diagnose(path: PathLike, *, limits: Limits = DEFAULT_LIMITS) -> Diagnosis:
    """Open a path as `tfckpt.open` does and check every file of the checkpoint, without reading tensors."""
    try:
        checkpoint = open_checkpoint(path, limits=limits)
    except ResourceError:
        raise
    except CheckpointError as error:
        exists = os.path.lexists(path) or "://" in os.fspath(path)
        advice = _advise(error) if exists or not isinstance(error, CheckpointNotFoundError) else _USAGE
        return Diagnosis((Finding("problem", plain_address(os.fspath(path)), error.message, advice),), error)
    with checkpoint:
        findings = [_describe_path(plain_address(os.fspath(path)), checkpoint)]
        findings += [Finding("note", "lookup", note) for note in checkpoint.notes]
        errors: list[CheckpointError] = []
        names, damage = checkpoint.reader.salvage()
        errors += damage
        if damage:
            findings += [Finding("problem", "index", str(error), _advise(error)) for error in damage]
        else:
            checked = "every block checked" if checkpoint.reader.has_checksums else "all structures checked"
            findings.append(Finding("ok", "index", f"{pluralize(len(names), 'tensor')}, {checked}"))
        if not damage:
            shards, shard_errors = _check_shards(checkpoint)
            findings += shards
            errors += shard_errors
        findings += [*_check_graph(checkpoint, errors), *_check_state_file(checkpoint), *_find_keras(checkpoint)]
        if not errors:
            advice = "`tfckpt verify` reads them and compares every checksum"
            if not checkpoint.reader.has_checksums:
                advice = "Keras files have no checksums, so damaged values cannot be noticed"
            findings.append(Finding("note", "tensors", "not read", advice))
        return Diagnosis(tuple(findings), errors[0] if errors else None)


def _describe_path(path: str, checkpoint: Checkpoint) -> Finding:
    """Return which file of which checkpoint the path is."""
    name = os.path.basename(path.rstrip("/" + os.sep))
    storage = checkpoint.storage
    if path == checkpoint.prefix and checkpoint.format == KERAS:
        return Finding("ok", "path", f"a Keras file, {checkpoint.prefix}")
    if path == checkpoint.prefix:
        member = "the prefix"
    elif storage.is_folder(path):
        member = "a folder"
    elif name == STATE_NAME:
        member = "the state file"
    elif name.endswith(naming.INDEX_SUFFIX):
        member = "the index file"
    elif name.endswith(naming.META_SUFFIX):
        member = "the graph file"
    elif naming.prefix_of_member(path) is not None:
        member = "a data shard"
    else:
        member = "a path"
    return Finding("ok", "path", f"{member} of a {checkpoint.format} checkpoint, {checkpoint.prefix}")


def _check_shards(checkpoint: Checkpoint) -> tuple[list[Finding], list[CheckpointError]]:
    """Compare the size of each data shard with what its entries need."""
    findings: list[Finding] = []
    errors: list[CheckpointError] = []
    missing = checkpoint.missing_files()
    folder, _ = checkpoint.storage.split(checkpoint.prefix)
    renamed = describe_renamed(checkpoint.storage.list(folder)) if missing else {}
    for shard_id, (path, nbytes) in enumerate(checkpoint.reader.shard_sizes().items()):
        what = f"data shard {shard_id}"
        if path in missing:
            lost = f"{pluralize(len(missing[path]), 'tensor')} cannot be read"
            errors.append(CheckpointNotFoundError(f"the data shard is missing; {lost}", path=path))
            found = f"{path} is missing; {lost}"
            name = checkpoint.storage.split(path)[1]
            advice = renamed.get(name, "put the file next to the index, or download it again")
            findings.append(Finding("problem", what, found, advice))
            continue
        source = checkpoint.storage.open(path)
        size = source.size
        content = describe_wrong_download(source) if size < nbytes else ""
        source.close()
        if size < nbytes:
            errors.append(past_end("data shard", needed=nbytes, available=size, path=path))
            found = f"{path} has {pluralize(size, 'byte')}, its tensors need {nbytes:,}"
            advice = f"the file is {content}" if content else "the file is incomplete; download it again"
            findings.append(Finding("problem", what, found, advice))
        else:
            findings.append(Finding("ok", what, f"{path}, {pluralize(size, 'byte')}"))
    return findings, errors


def _check_graph(checkpoint: Checkpoint, errors: list[CheckpointError]) -> list[Finding]:
    try:
        meta_graph = checkpoint.meta_graph
    except ResourceError:
        raise
    except CheckpointError as error:
        errors.append(error)
        advice = "tensors can be read without the graph; download the file again if you need it"
        return [Finding("problem", "graph", str(error), advice)]
    if meta_graph is None:
        return [Finding("note", "graph", "not saved with this checkpoint; tensors can be read without it")]
    by = f", by TensorFlow {meta_graph.tensorflow_version}" if meta_graph.tensorflow_version else ""
    return [Finding("ok", "graph", f"{pluralize(len(meta_graph.graph), 'node')}{by}")]


def _check_state_file(checkpoint: Checkpoint) -> list[Finding]:
    """Return whether the state file of the folder, if any, names this checkpoint as the latest."""
    storage = checkpoint.storage
    folder, name = storage.split(checkpoint.prefix)
    try:
        state = read_state(storage, folder)
    except ResourceError:
        raise
    except CheckpointError as error:
        return [Finding("note", "state file", str(error))]
    if state is None:
        return []
    path = state.model_checkpoint_path
    latest = windows_name(path) or storage.split(path)[1]
    if latest == name:
        return [Finding("ok", "state file", "names this checkpoint as the latest")]
    return [Finding("note", "state file", f"names {latest or 'nothing'} as the latest, not this checkpoint")]


def _find_keras(checkpoint: Checkpoint) -> list[Finding]:
    """Return the Keras files beside a checkpoint of TensorFlow, which opening their folder leaves out."""
    storage = checkpoint.storage
    if checkpoint.format == KERAS:
        return []
    others = [match.prefix for match in list_keras_files(storage, storage.split(checkpoint.prefix)[0])]
    if not others:
        return []
    found = f"{pluralize(len(others), 'Keras file')} in this folder: {join_some(others)}"
    return [Finding("note", "Keras files", found, "open one by its own path")]


_USAGE = "pass the prefix of a checkpoint (the path without .index), one of its files, or its folder"


def _advise(error: CheckpointError) -> str:
    """Return what to do, or nothing if the message already says it."""
    is_about_state = "state" in error.message.lower() and not error.message.startswith("not a state file")
    if ntpath.basename(error.path or "") == STATE_NAME and is_about_state:
        if isinstance(error, CorruptionError):
            return "correct the state file or remove it; its checkpoints can be opened by their prefixes"
        return "put the files of that checkpoint back, or correct the state file"
    if error.message.endswith("download it again"):
        return ""
    if isinstance(error, CorruptionError):
        return "download the file again; `tfckpt verify` lists the damage, and `tfckpt export --salvage` saves the rest"
    return ""
