"""A graph in a file of any name: a `.meta` file, or a SavedModel by its folder or file, wherever `open` can read."""

from __future__ import annotations

import hashlib
import os

from .._typing import PathLike
from ..errors import CheckpointNotFoundError
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import Storage
from ..storage.locate import Options, locate_path
from .meta_graph import MetaGraph, read_meta_graph
from .saved_model import FILE_NAME, TEXT_FILE_NAME, find_file, is_saved_model, read_saved_model

_META = ".meta"


def read_graph_file(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> MetaGraph:
    """Return the meta graph at a local path, at an address, or in an archive (`models.zip!run/eval.meta`).

    Raises `CheckpointNotFoundError` if there is nothing or a file of another kind.
    """
    storage, place = locate_path(os.fspath(path), Options(limits=limits))
    try:
        return _read(storage, place, limits)
    finally:
        storage.close()


def hash_graph_file(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> tuple[str, str]:
    """Return the name of the file that `read_graph_file` reads at a path, and its SHA-256 in hex.

    Raises `CheckpointNotFoundError` if there is nothing.
    """
    storage, place = locate_path(os.fspath(path), Options(limits=limits))
    try:
        return hash_graph(storage, find_file(storage, place) if is_saved_model(storage, place) else place)
    finally:
        storage.close()


def hash_graph(storage: Storage, place: str) -> tuple[str, str]:
    """Return the name of the file of a graph in a storage, and its SHA-256 in hex."""
    source = storage.open(place)
    try:
        return storage.split(place)[1], hashlib.sha256(source.read(0, source.size)).hexdigest()
    finally:
        source.close()


def _read(storage: Storage, place: str, limits: Limits) -> MetaGraph:
    folder, name = storage.split(place)
    if is_saved_model(storage, place):
        return read_saved_model(storage, place, limits).meta_graph
    if not storage.is_file(place):
        raise CheckpointNotFoundError("no graph: file not found", path=place)
    if name in (FILE_NAME, TEXT_FILE_NAME):
        return read_saved_model(storage, folder, limits).meta_graph
    if not name.endswith(_META):
        raise CheckpointNotFoundError(f"no graph: expected a .meta file or a SavedModel ({FILE_NAME})", path=place)
    source = storage.open(place)
    try:
        return read_meta_graph(source, limits)
    finally:
        source.close()
