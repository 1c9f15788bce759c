"""From the path of a Keras file to the HDF5 files with its weights.

::

    model.keras             a zip archive, stored: metadata.json | config.json | model.weights.h5
    model.weights.json      {"metadata": ..., "weight_map": {"/layers/conv2d/vars": "model_00000.weights.h5", ...}}
    anything else           the HDF5 file itself

The shards are next to the `.weights.json` file; a group that is split has a list of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from .._typing import ByteSource
from ..errors import CheckpointNotFoundError, CorruptionError, abridged, error_context, printable
from ..files.json_text import read_json
from ..limits import Limits, check_limit
from ..storage.archives.zip import MAGICS
from ..storage.base import SEPARATOR, Storage

#: The signature of HDF5.
MAGIC = b"\x89HDF\r\n\x1a\n"
WEIGHTS, CONFIG, METADATA = "model.weights.h5", "config.json", "metadata.json"
ARCHIVE_ENDING, SHARDED_ENDING, HDF5_ENDINGS = ".keras", ".weights.json", (".h5", ".hdf5")
#: All endings of Keras files.
ENDINGS = (ARCHIVE_ENDING, SHARDED_ENDING, *HDF5_ENDINGS)
_SHARD = re.compile(r"(?P<base>.+)_[0-9]{5}\.weights\.h5", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Weights:
    """The open HDF5 files with the weights, and the configuration and the metadata as JSON text, or None.

    `paths` are the files of the checkpoint, the index first; `closing` is an archive to close with them.
    `weight_map` has the groups of a sharded file.
    """

    sources: tuple[ByteSource, ...]
    paths: tuple[str, ...]
    config: str | None = None
    metadata: str | None = None
    closing: Storage | None = None
    weight_map: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


def find_sharded(path: str) -> str | None:
    """Return the path of the `.weights.json` file that a shard would belong to; None for other names."""
    match = _SHARD.fullmatch(path)
    return None if match is None else match["base"] + SHARDED_ENDING


def is_hdf5(source: ByteSource) -> bool:
    """Return whether a file begins with the signature of HDF5."""
    return source.size >= len(MAGIC) and bytes(source.read(0, len(MAGIC))) == MAGIC


def is_zip(source: ByteSource) -> bool:
    """Return whether a file begins like a zip archive."""
    return source.size >= 4 and bytes(source.read(0, 4)) in MAGICS


def open_weights(storage: Storage, path: str, limits: Limits) -> Weights:
    """Open the HDF5 files that a path refers to; the caller closes them."""
    if path.endswith(SHARDED_ENDING):
        return _open_sharded(storage, path, limits)
    source = storage.open(path)
    try:
        if is_zip(source):
            from ..storage.archives.storage import ArchiveStorage

            archive = ArchiveStorage(source, limits, address=storage.address(path))
            inside = archive.join(archive.root, WEIGHTS)
            if not archive.is_file(inside):
                raise CheckpointNotFoundError(f"a zip archive without {WEIGHTS}, so not a Keras model", path=path)
            config, metadata = _read_texts(archive, archive.root, limits)
            return Weights((archive.open(inside),), (path,), config, metadata, closing=archive)
        folder, name = storage.split(path)
        config, metadata = _read_texts(storage, folder, limits) if name == WEIGHTS else (None, None)
    except BaseException:
        source.close()
        raise
    return Weights((source,), (path,), config, metadata)


def _open_sharded(storage: Storage, path: str, limits: Limits) -> Weights:
    """Open the shards that a `.weights.json` file names."""
    text = _read_text(storage, path, limits)
    with error_context(path=path):
        weight_map = _parse_map(text or "")
        names = sorted({name for files in weight_map.values() for name in files})
        check_limit(limits, "max_shards", len(names), "too many shards")
    folder = storage.split(path)[0]
    sources: list[ByteSource] = []
    paths = [storage.join(folder, name) for name in names]
    try:
        for shard in paths:
            try:
                sources.append(storage.open(shard))
            except CheckpointNotFoundError:
                raise CheckpointNotFoundError(
                    f"a shard of {printable(storage.split(path)[1])} is missing; put the file next to it", path=shard
                ) from None
    except BaseException:
        for source in sources:
            source.close()
        raise
    numbers = {name: number for number, name in enumerate(names)}
    groups = {group.strip("/"): tuple(numbers[name] for name in files) for group, files in weight_map.items()}
    return Weights(tuple(sources), (path, *paths), weight_map=groups)


def _parse_map(text: str) -> dict[str, tuple[str, ...]]:
    """Return the names of the shards of each group; `CorruptionError` for anything but plain names of files."""
    parsed = parse_config(text)
    weight_map = parsed.get("weight_map") if isinstance(parsed, dict) else None
    if not isinstance(weight_map, dict):
        raise CorruptionError('not the JSON of a sharded Keras file: no "weight_map"')
    shards: dict[str, tuple[str, ...]] = {}
    for group, files in weight_map.items():
        names = [files] if isinstance(files, str) else files
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CorruptionError(f"the shards of {abridged(group)!r} are not a list of names")
        for name in names:
            if not name.endswith(HDF5_ENDINGS) or set(name) & set(f"/\\:\0{SEPARATOR}"):
                raise CorruptionError(
                    f"{abridged(name)!r} is not the name of a shard next to the file; do not trust this file"
                )
        shards[group] = tuple(names)
    return shards


def parse_config(text: str) -> Any:
    """Parse a configuration; `CorruptionError` if it is not JSON."""
    try:
        return read_json(text)
    except (ValueError, RecursionError) as error:
        raise CorruptionError(f"invalid JSON: {error}") from None


def _read_texts(storage: Storage, folder: str, limits: Limits) -> tuple[str | None, str | None]:
    """Return the configuration and the metadata next to the weights in a `.keras` file."""
    config, metadata = (_read_text(storage, storage.join(folder, name), limits) for name in (CONFIG, METADATA))
    return config, metadata


def _read_text(storage: Storage, path: str, limits: Limits) -> str | None:
    """Return the text of a small file next to the weights; None if it does not exist."""
    if not storage.is_file(path):
        return None
    source = storage.open(path)
    try:
        with error_context(path=path):
            check_limit(limits, "max_graph_bytes", source.size, "configuration is too large")
            try:
                return bytes(source.read(0, source.size)).decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise CorruptionError("not UTF-8 text", offset=error.start) from None
    finally:
        source.close()
