"""What may be a checkpoint in a folder or bucket, by its listings alone.

::

    NAME.index, NAME.data-?????-of-?????, NAME.meta     a V2 checkpoint, also if only data shards are there
    FOLDER/saved_model.pb, FOLDER/variables/...         a SavedModel
    NAME.keras, NAME.h5, NAME.weights.json              a Keras file; shards belong to their `.weights.json` file
    NAME, NAME-?????-of-?????                           a V1 checkpoint, if the name suggests one or NAME.meta exists

Only the content of a file shows whether it is a V1 checkpoint or a Keras file; other candidates are certain.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterable, Iterator

from ..addresses import split_address
from ..bundle import naming
from ..errors import CheckpointNotFoundError, UnsupportedFeatureError
from ..finding.detect import KERAS, V1, V2
from ..finding.state_file import STATE_NAME
from ..graphs import saved_model
from ..keras import files as keras
from ..sinks.contract import Stored
from ..sinks.opening import is_address, open_sink
from ..storage.clutter import drop_clutter
from ..storage.remote.filesystems import FileSystem, find_version, quote_name
from ..v1 import naming as v1_naming

SAVED_MODEL = "SavedModel"
#: Names that TensorFlow 1 and its tutorials gave to checkpoints: `model.ckpt`, `model.ckpt-7`, `model-7`, `ckpt-7`.
_V1_NAME = re.compile(r"(?s).*\.ckpt|(.*\.)?ckpt-\d+|.*\.ckpt-\d+|model-\d+", re.IGNORECASE)
_GRAPH_FILES = (saved_model.FILE_NAME, saved_model.TEXT_FILE_NAME)


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A possible checkpoint: what `tfckpt.open` takes, without secrets, its expected format, and its listed files.

    If it is not `is_certain`, it is no checkpoint unless its content says so.
    """

    address: str
    format: str
    files: tuple[Stored, ...]
    is_certain: bool = True

    @property
    def version(self) -> str:
        """A hash of the names, sizes and versions of the files."""
        content = [[file.path, file.size, file.version] for file in self.files]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def list_files(root: str) -> Iterator[Stored]:
    """Yield all files below a local folder or an address, from listings, with plain paths.

    Raises `CheckpointNotFoundError` if there is nothing, and `UnsupportedFeatureError` if listing is impossible.
    """
    if not is_address(root):
        sink, folder = open_sink(root)
        if not os.path.isdir(folder):
            raise CheckpointNotFoundError("no such folder", path=root)
        yield from sink.iterate_files(folder)
        return
    parts = split_address(root)
    assert parts is not None, "an address has parts"
    if parts.scheme.lower() in ("http://", "https://"):
        raise UnsupportedFeatureError("HTTP cannot list folders; scan a local copy or object storage", path=root)
    system = FileSystem(root)
    base = system.path(parts.plain).rstrip("/") + "/"
    with system.translate(parts.plain):
        found = system.files.find(base, detail=True)
    if not found:
        raise CheckpointNotFoundError("nothing is stored below this address", path=root)
    for path, info in found.items():
        if path.startswith(base) and info.get("size") is not None:
            name = quote_name(path[len(base) :])
            yield Stored(f"{parts.plain.rstrip('/')}/{name}", int(info["size"]), find_version(info))


def find_candidates(files: Iterable[Stored]) -> list[Candidate]:
    """Return the candidates among listed files, by address."""
    folders: dict[str, dict[str, Stored]] = {}
    for file in files:
        folder, name = _split(file.path)
        folders.setdefault(folder, {})[name] = file
    models = {folder for folder, names in folders.items() if any(name in names for name in _GRAPH_FILES)}
    found: list[Candidate] = []
    for folder, stored in folders.items():
        names = {name: stored[name] for name in drop_clutter(stored)}
        parent, last = _split(folder)
        if folder in models:
            variables = folders.get(_join(folder, saved_model.VARIABLES[0]), {})
            graphs = [names[name] for name in _GRAPH_FILES if name in names]
            found.append(_make(folder, SAVED_MODEL, [*graphs, *_list_members(variables, saved_model.VARIABLES[1])]))
        is_variables = parent in models and last == saved_model.VARIABLES[0]
        found += _find_in_folder(folder, names, omit=saved_model.VARIABLES[1] if is_variables else None)
    return sorted(found, key=lambda candidate: candidate.address)


def _find_in_folder(folder: str, names: dict[str, Stored], *, omit: str | None) -> Iterator[Candidate]:
    """Yield the candidates directly in a folder, without the V2 checkpoint of the name `omit`."""
    prefixes: dict[str, list[Stored]] = {}
    graphs: dict[str, Stored] = {}
    others: list[str] = []
    for name, file in names.items():
        prefix = naming.prefix_of_member(name)
        if prefix is None:
            others.append(name)
        elif name.endswith(naming.META_SUFFIX):
            graphs[prefix] = file
        else:
            prefixes.setdefault(prefix, []).append(file)
    for prefix, members in prefixes.items():
        if prefix != omit:
            yield _make(_join(folder, prefix), V2, [*members, *_get(graphs, prefix)])
    sets: dict[str, list[Stored]] = {}
    for name in others:
        shard = v1_naming.parse_shard(name)
        if name.endswith(keras.ENDINGS):
            sharded = keras.find_sharded(name)
            if sharded is None or sharded not in names:
                yield _make(_join(folder, name), KERAS, _list_keras(names, name), is_certain=not _may_be_data(name))
        elif shard is not None:
            sets.setdefault(v1_naming.pattern_name(shard[0], shard[2]), []).append(names[name])
        elif name not in prefixes and name != STATE_NAME and (name in graphs or _V1_NAME.fullmatch(name)):
            files = [names[name], *_get(graphs, name)]
            yield _make(_join(folder, name), V1, files, is_certain=name in graphs)
    for pattern, members in sets.items():
        base = (v1_naming.parse_pattern(pattern) or ("", 0))[0]
        yield _make(_join(folder, pattern), V1, [*members, *_get(graphs, base)], is_certain=base in graphs)


def _list_members(names: dict[str, Stored], prefix: str) -> list[Stored]:
    return [file for name, file in names.items() if naming.prefix_of_member(name) == prefix]


def _list_keras(names: dict[str, Stored], name: str) -> list[Stored]:
    shards = [file for other, file in names.items() if keras.find_sharded(other) == name]
    return [names[name], *shards]


def _may_be_data(name: str) -> bool:
    """Return whether programs other than Keras write files of this name."""
    return name.endswith(keras.HDF5_ENDINGS) and not name.endswith(".weights.h5")


def _make(address: str, expected: str, files: Iterable[Stored], *, is_certain: bool = True) -> Candidate:
    return Candidate(address, expected, tuple(sorted(files, key=lambda file: file.path)), is_certain)


def _get(files: dict[str, Stored], name: str) -> list[Stored]:
    return [files[name]] if name in files else []


def _split(path: str) -> tuple[str, str]:
    return posixpath.split(path) if "://" in path else os.path.split(path)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if "://" in folder else os.path.join(folder, name)
