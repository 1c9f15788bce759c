"""Writing and reading converted weights, as files of a format or as folders of a library.

A name with an ending of `FORMATS` is a file of that format; a name without an ending is a folder.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from tfckpt.errors import CheckpointNotFoundError, CorruptionError, printable
from tfckpt.files.atomic import strip_separators
from tfckpt.files.json_text import read_json

from .._typing import Array, PathLike, Progress
from ..errors import ConversionError, ExportError
from ..libraries import recognition as state_dicts
from ..libraries.folders import PROOF_NAME, REPLACEABLE, STEM, build_text_files, read_architecture
from ..libraries.tables import map_to_library
from ..libraries.targets import TABLES
from ..model.config import EfficientNetConfig
from . import npz, pth, safetensors, sharded
from .atomic import atomic_file, atomic_folder, check_free, check_free_folder, pending_file
from .output import (
    CONFIG_KEY,
    LABELS_KEY,
    NETWORK_KEY,
    PREPROCESSING_KEY,
    PROOF_KEY,
    PROVENANCE_KEY,
    RULES_KEY,
    TARGET_KEY,
    Format,
    Output,
    Seal,
    TensorFile,
    find_dtype,
)
from .state_dicts import choose_state

__all__ = [
    "CONFIG_KEY",
    "FORMATS",
    "LABELS_KEY",
    "NETWORK_KEY",
    "PREPROCESSING_KEY",
    "PROOF_KEY",
    "PROVENANCE_KEY",
    "RULES_KEY",
    "TARGET_KEY",
    "NetworkFile",
    "Output",
    "TensorFile",
    "atomic_file",
    "check_free",
    "check_output",
    "choose_format",
    "is_folder_name",
    "is_output",
    "measure_output",
    "name_natively",
    "read_native",
    "read_network",
    "read_output",
    "recorded_config",
    "write_output",
]

FORMATS: dict[str, Format] = {
    ".safetensors": Format(safetensors.write, safetensors.read),
    ".pth": Format(pth.write, pth.read),
    ".npz": Format(npz.write, npz.read),
}


#: Proves the tensors of a file that is not published yet, by their written names, and returns the record of the proof.
Prove: TypeAlias = Callable[[TensorFile], Mapping[str, Any]]


def choose_format(path: PathLike) -> Format:
    """Return the format for the ending of a name; raise `ExportError` for any other ending."""
    path = os.fspath(path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        *most, last = FORMATS
        raise ExportError(
            f"the output has to end in {', '.join(most)} or {last}, or have no ending to be a folder",
            path=path,
        )
    return FORMATS[ending]


def is_folder_name(path: PathLike) -> bool:
    """Return whether an output of this name is a folder, since the name has no ending."""
    return not os.path.splitext(strip_separators(os.fspath(path)))[1]


def check_output(path: PathLike, *, force: bool, shard_size: int | None = None) -> None:
    """Raise `ExportError` if the output cannot be written, before its source is read."""
    if not os.fspath(path):
        raise ExportError("the output's name is empty")
    if is_folder_name(path):
        check_free_folder(path, force=force, replaceable=REPLACEABLE)
        return
    choose_format(path)
    if shard_size is not None:
        raise ExportError("shards need a folder: give the output a name without an ending", path=str(path))
    check_free(path, force=force)


def write_output(
    output: Output,
    path: PathLike,
    *,
    shard_size: int | None = None,
    force: bool = False,
    prove: Prove | None = None,
    progress: Progress | None = None,
) -> None:
    """Write an output of `prepare`; the options are those of `converter.export`.

    `prove` reads the complete file before it gets its name; if it raises an exception, nothing is published. The record
    that it returns is stored with the tensors, if the format has a place for it.
    """
    check_output(path, force=force, shard_size=shard_size)
    if is_folder_name(path):
        _write_folder(output, path, force=force, shard_size=shard_size, prove=prove, progress=progress)
        return
    chosen = choose_format(path)
    with pending_file(path, force=force) as pending:
        seal = None if prove is None else _make_seal(prove, lambda: chosen.read(pending.temporary))
        chosen.write(output, pending.file, seal=seal, progress=progress)


def _make_seal(prove: Prove, read: Callable[[], TensorFile]) -> Seal:
    """Return the seal that proves what `read` returns."""
    return lambda: {PROOF_KEY: json.dumps(prove(read()))}


def _write_folder(
    output: Output,
    path: PathLike,
    *,
    force: bool,
    shard_size: int | None,
    prove: Prove | None,
    progress: Progress | None,
) -> None:
    """Write a folder with its texts and weights, completely or not at all."""
    output, files = plan_folder(output, shard_size=shard_size)
    with atomic_folder(path, force=force, replaceable=REPLACEABLE) as folder:
        for name, content in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        seal = None if prove is None else _seal_folder(folder, _make_seal(prove, lambda: read_output(folder)))
        sharded.write(folder, STEM, output, shard_size=shard_size, seal=seal, progress=progress)


def plan_folder(output: Output, *, shard_size: int | None) -> tuple[Output, dict[str, bytes]]:
    """Return the output whose tensors a folder has, and its other files by name, without the proof.

    Raises `ExportError` if the library does not read shards.
    """
    if shard_size is not None and output.target == "timm":
        raise ExportError("timm reads only one file of weights from a folder: omit the shard size")
    dtype = find_dtype(output.tensors.values())
    texts = build_text_files(
        output.target,
        output.config,
        model=output.model,
        dtype=dtype,
        preprocessing=output.preprocessing,
        labels=output.labels,
    )
    files = {name: text.encode() for name, text in texts.items()}
    if output.network is not None:
        files |= output.network.build_files(dtype)
        # The library ties these names itself.
        kept = {name: tensor for name, tensor in output.tensors.items() if name not in output.tied}
        output = dataclasses.replace(output, tensors=kept)
    return output, files


def _seal_folder(folder: str, seal: Seal) -> Seal:
    """Return a seal that also writes the proof to a file of the folder."""

    def seal_and_write() -> Mapping[str, str]:
        metadata = seal()
        with open(os.path.join(folder, PROOF_NAME), "w", encoding="utf-8") as file:
            file.write(format_proof(json.loads(metadata[PROOF_KEY])))
        return metadata

    return seal_and_write


def format_proof(record: Mapping[str, Any]) -> str:
    """Return the record of a proof as the text of its file."""
    return json.dumps(record, indent=2) + "\n"


def is_output(path: PathLike) -> bool:
    """Return whether a path is converted weights, by its ending or by the files of a folder, and not a checkpoint."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return _find_weights(path) is not None
    has_ending = path.endswith(sharded.INDEX_ENDING) or os.path.splitext(path)[1].lower() in FORMATS
    return has_ending or pth.is_training_file(path)


def measure_output(path: PathLike) -> int:
    """Return the size of a file, or of all files in a folder, in bytes."""
    if not os.path.isdir(path):
        return os.stat(path).st_size
    return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())


def read_output(path: PathLike) -> TensorFile:
    """Read a file or a folder of one of the formats of `write_output`, under the stored names."""
    path = os.fspath(path)
    if os.path.isdir(path):
        weights = _find_weights(path)
        if weights is None:
            raise CheckpointNotFoundError(
                f"the folder has neither {STEM}.safetensors nor an index of shards", path=path
            )
        path = weights
    if path.endswith(sharded.INDEX_ENDING):
        return sharded.read(path)
    if is_folder_name(path) and not os.path.lexists(path):
        raise CheckpointNotFoundError("file or folder not found", path=path)
    if pth.is_training_file(path):
        return pth.read(path)
    return choose_format(path).read(path)


class NetworkFile(NamedTuple):
    """The tensors of one network in a file, by their names without prefix, and the file's metadata.

    `architecture` is the model that the file, or the config of its folder, names; `notes` say what was chosen.
    """

    tensors: dict[str, Array]
    metadata: dict[str, str]
    architecture: str | None = None
    notes: tuple[str, ...] = ()


def read_network(path: PathLike, key: str | None = None) -> NetworkFile:
    """Read the only network in a file or a folder, or the one that `key` names (`formats.state_dicts`)."""
    path = os.fspath(path)
    if not os.path.isdir(path) and (path.lower().endswith(".pth") or pth.is_training_file(path)):
        file = pth.read_state_dicts(path)
        chosen = choose_state(file.state_dicts, key)
        return NetworkFile(file.arrays(chosen.tensors), {}, file.architecture, chosen.notes)
    output = read_output(path)
    if CONFIG_KEY in output.metadata or NETWORK_KEY in output.metadata:
        if key is not None:
            raise ConversionError(f"the file has one network, so there is no key {printable(key)} to choose")
        return NetworkFile(*output)
    chosen = choose_state({"": output.tensors}, key)
    return NetworkFile(chosen.tensors, output.metadata, read_architecture(path), chosen.notes)


def read_native(path: PathLike, key: str | None = None) -> TensorFile:
    """Read an output under our own names, even if it was written for a library.

    The metadata name the library and the network. A file without metadata, such as any `.pth`, is recognised if its
    names are exactly those of a published network; otherwise it keeps its names.
    """
    file = read_network(path, key)
    return TensorFile(name_natively(file, os.fspath(path)), file.metadata)


def name_natively(file: NetworkFile, path: str) -> dict[str, Array]:
    """Return the tensors of a file by our own names, as far as the file or the names show them."""
    if TARGET_KEY in file.metadata:
        names: Mapping[str, str] | None = _recorded_names(file, path)
    else:
        names = state_dicts.find_own_names(file.tensors)
    return {(names or {}).get(name, name): array for name, array in file.tensors.items()}


def recorded_config(output: TensorFile | NetworkFile, path: str) -> EfficientNetConfig | None:
    """Return the config in the metadata of an output, or None.

    Raises `CorruptionError` if it is not valid, or if it has more blocks than the output has tensors, because the names
    of a huge network must not be built.
    """
    if CONFIG_KEY not in output.metadata:
        return None
    try:
        config = EfficientNetConfig.from_dict(read_json(output.metadata[CONFIG_KEY]))
    except ValueError as error:
        raise CorruptionError(f"metadata {CONFIG_KEY} is not a valid config ({error})", path=path) from error
    count = sum(stage.repeats for stage in config.stages)
    if count > len(output.tensors):
        raise CorruptionError(f"config of {count} blocks for a file of {len(output.tensors)} tensors", path=path)
    return config


def _recorded_names(output: NetworkFile, path: str) -> dict[str, str]:
    """Return our names by the library's, for the library and the network in the metadata of a file."""
    config = recorded_config(output, path)
    if config is None:
        raise CorruptionError(f"metadata {TARGET_KEY} without {CONFIG_KEY}", path=path)
    try:
        target = read_json(output.metadata[TARGET_KEY])["target"]
        table = TABLES[target]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"metadata {TARGET_KEY} is not valid ({error!r})", path=path) from error
    return {theirs: ours for ours, theirs in map_to_library(table, config, target).items()}


def _find_weights(folder: str) -> str | None:
    """Return the path of the weights in a folder, or None."""
    for name in (f"{STEM}.safetensors", STEM + sharded.INDEX_ENDING):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    return None
