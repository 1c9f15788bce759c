"""Writing and reading converted weights, as files of a format or as folders of a library.

A name with an ending of `FORMATS` is a file of that format; a name without an ending is a folder.
"""

from __future__ import annotations

import os

from tfckpt.errors import CheckpointNotFoundError, CorruptionError
from tfckpt.files.json_text import read_json

from .._typing import PathLike, Progress
from ..errors import ExportError
from ..libraries import recognition as state_dicts
from ..libraries.folders import REPLACEABLE, STEM, build_text_files
from ..libraries.tables import map_to_library
from ..libraries.targets import TABLES
from ..model.config import EfficientNetConfig
from . import npz, pth, safetensors, sharded
from .atomic import atomic_file, atomic_folder, check_free, check_free_folder
from .output import CONFIG_KEY, LABELS_KEY, PREPROCESSING_KEY, PROVENANCE_KEY, TARGET_KEY, Format, Output, TensorFile

__all__ = [
    "CONFIG_KEY",
    "FORMATS",
    "LABELS_KEY",
    "PREPROCESSING_KEY",
    "PROVENANCE_KEY",
    "TARGET_KEY",
    "Output",
    "TensorFile",
    "atomic_file",
    "check_free",
    "check_output",
    "choose_format",
    "is_folder_name",
    "is_output",
    "read_native",
    "read_output",
    "recorded_config",
    "write_output",
]

FORMATS: dict[str, Format] = {
    ".safetensors": Format(safetensors.write, safetensors.read),
    ".pth": Format(pth.write, pth.read),
    ".npz": Format(npz.write, npz.read),
}


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
    return not os.path.splitext(os.fspath(path).rstrip(os.sep))[1]


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
    progress: Progress | None = None,
) -> None:
    """Write an output of `prepare`; the options are those of `converter.export`."""
    check_output(path, force=force, shard_size=shard_size)
    if is_folder_name(path):
        _write_folder(output, path, force=force, shard_size=shard_size, progress=progress)
        return
    chosen = choose_format(path)
    with atomic_file(path, force=force) as file:
        chosen.write(output, file, progress=progress)


def _write_folder(
    output: Output, path: PathLike, *, force: bool, shard_size: int | None, progress: Progress | None
) -> None:
    """Write a folder with its texts and weights, completely or not at all."""
    if shard_size is not None and output.target == "timm":
        raise ExportError("timm reads only one file of weights from a folder: omit the shard size")
    dtypes = {tensor.dtype.name for tensor in output.tensors.values()}
    files = build_text_files(
        output.target,
        output.config,
        model=output.model,
        dtype=next((name for name in ("bfloat16", "float16") if name in dtypes), "float32"),
        preprocessing=output.preprocessing,
        labels=output.labels,
    )
    with atomic_folder(path, force=force, replaceable=REPLACEABLE) as folder:
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        sharded.write(folder, STEM, output, shard_size=shard_size, progress=progress)


def is_output(path: PathLike) -> bool:
    """Return whether a path is converted weights, by its ending or by the files of a folder, and not a checkpoint."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return _find_weights(path) is not None
    return path.endswith(sharded.INDEX_ENDING) or os.path.splitext(path)[1].lower() in FORMATS


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
    return choose_format(path).read(path)


def read_native(path: PathLike) -> TensorFile:
    """Read an output under our own names, even if it was written for a library.

    The metadata name the library and the network. A file without metadata, such as any `.pth`, is recognised if its
    names are exactly those of a published network; otherwise it keeps its names.
    """
    path = os.fspath(path)
    output = read_output(path)
    names = (
        _recorded_names(output, path) if TARGET_KEY in output.metadata else state_dicts.find_own_names(output.tensors)
    )
    if names is None:
        return output
    return TensorFile({names.get(name, name): array for name, array in output.tensors.items()}, output.metadata)


def recorded_config(output: TensorFile, path: str) -> EfficientNetConfig | None:
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


def _recorded_names(output: TensorFile, path: str) -> dict[str, str]:
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
