"""Safetensors split into several files with an index, the usual form of large models.

::

    NAME-00001-of-00003.safetensors ...     each with the metadata of the output
    NAME.safetensors.index.json             {"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}

The index is written last, so a set with an index is complete.
A tensor is never split; if it is larger than the shard size, it has a shard of its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence

from tfckpt.errors import CorruptionError
from tfckpt.files.json_text import read_json
from tfckpt.files.reading import open_file

from .._typing import PathLike, Progress
from . import safetensors
from .output import Output, Seal, TensorFile, Writable

INDEX_ENDING = ".safetensors.index.json"
#: An index only lists names, so a larger file is refused.
_MAX_INDEX_BYTES = 100_000_000
_SHARD_NAME = re.compile(r"[^/\\]+\.safetensors")


def split_tensors(output: Output, shard_size: int) -> list[dict[str, Writable]]:
    """Return the tensors, in order, in groups of at most `shard_size` bytes; only a single tensor may be larger."""
    shards: list[dict[str, Writable]] = [{}]
    size = 0
    for name, tensor in output.tensors.items():
        if shards[-1] and size + tensor.nbytes > shard_size:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def name_shards(stem: str, count: int) -> list[str]:
    """Return the file names of a set of shards."""
    return [f"{stem}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def format_index(output: Output, shards: Sequence[Iterable[str]], names: Sequence[str]) -> str:
    """Return the index as JSON text."""
    weight_map = {tensor: name for shard, name in zip(shards, names, strict=True) for tensor in shard}
    return json.dumps({"metadata": {"total_size": output.nbytes}, "weight_map": weight_map}, indent=2) + "\n"


def write(
    folder: str,
    stem: str,
    output: Output,
    *,
    shard_size: int | None,
    seal: Seal | None = None,
    progress: Progress | None = None,
) -> None:
    """Write `STEM.safetensors` into a folder, or shards with an index if there are more than `shard_size` bytes.

    What `seal` returns is added to the metadata of a single file; shards are left as they are.
    """
    shards = [dict(output.tensors)] if shard_size is None else split_tensors(output, shard_size)
    names = [f"{stem}.safetensors"] if len(shards) == 1 else name_shards(stem, len(shards))
    before = 0
    for shard, name in zip(shards, names, strict=True):
        with open(os.path.join(folder, name), "w+b") as file:  # a seal reads the header again
            safetensors.write_tensors(
                shard,
                output.metadata(),
                file,
                seal=seal if len(shards) == 1 else None,
                progress=_offset_progress(progress, before, output.nbytes),
            )
        before += sum(tensor.nbytes for tensor in shard.values())
    if len(shards) > 1:
        with open(os.path.join(folder, stem + INDEX_ENDING), "w", encoding="utf-8") as file:
            file.write(format_index(output, shards, names))
        if seal is not None:
            seal()


def read(path: PathLike) -> TensorFile:
    """Read a set by its index; each shard is next to the index and has exactly the tensors listed for it."""
    path = os.fspath(path)
    return read_shards(os.path.dirname(path), _read_weight_map(path), path=path)


def read_shards(folder: str, weight_map: Mapping[str, str], *, path: str) -> TensorFile:
    """Read a set by its map of tensors to files in a folder; errors are about the index at `path`."""
    tensors = {}
    metadata: dict[str, str] = {}
    for name in sorted(set(weight_map.values())):
        if not _SHARD_NAME.fullmatch(name):
            raise CorruptionError(
                f"the index names {name!r}, expected a .safetensors file in the same folder", path=path
            )
        shard = safetensors.read(os.path.join(folder, name))
        expected = {tensor for tensor, file in weight_map.items() if file == name}
        if set(shard.tensors) != expected:
            wrong = min(set(shard.tensors) ^ expected)
            raise CorruptionError(f"{name} and the index do not agree about this tensor", path=path, tensor=wrong)
        tensors.update(shard.tensors)
        metadata.update(shard.metadata)
    return TensorFile({name: tensors[name] for name in weight_map}, metadata)


def _read_weight_map(path: str) -> Mapping[str, str]:
    with open_file(path) as file:
        text = file.read(_MAX_INDEX_BYTES + 1)
    try:
        index = read_json(text) if len(text) <= _MAX_INDEX_BYTES else None
    except ValueError as error:
        raise CorruptionError(f"the index is not valid JSON ({error})", path=path) from error
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CorruptionError("the index does not have a weight_map of tensors to files", path=path)
    return weight_map


def _offset_progress(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return a progress callback for a shard that adds the bytes of the shards before it."""
    if progress is None:
        return None
    report = progress
    return lambda done, _: report(before + done, total)
