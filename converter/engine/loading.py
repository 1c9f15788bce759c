"""From a path to a graph with its checkpoint: `.meta` files, SavedModel folders, and frozen `.pb` files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import tfckpt
from converter.errors import GraphError
from tfckpt import Checkpoint, protos
from tfckpt.errors import CheckpointNotFoundError, error_context
from tfckpt.graphs.graph import decode_graph
from tfckpt.graphs.meta_graph import MetaGraph, read_meta_graph
from tfckpt.graphs.saved_model import FILE_NAME, VARIABLES, SavedModel, decode_saved_model, find_folder, is_saved_model
from tfckpt.limits import DEFAULT_LIMITS as DEFAULT_FILE_LIMITS
from tfckpt.limits import Limits
from tfckpt.storage.local import LocalStorage

from .limits import DEFAULT_LIMITS, ReferenceLimits
from .reference_graph import ReferenceGraph

_META = ".meta"
_TEXT = (".pbtxt", ".prototxt")
#: How the prefix of a V1 checkpoint of several files ends; its graph is named without it.
_SHARDS = re.compile(r"-\?+-of-\d+$")
_SAVED_MODEL_BEGINS = b"\x08"


def load_graph(
    path: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    tags: Sequence[str] | None = None,
    limits: ReferenceLimits = DEFAULT_LIMITS,
    file_limits: Limits = DEFAULT_FILE_LIMITS,
) -> ReferenceGraph:
    """The graph at `path`, with the checkpoint that belongs to it; a context manager that closes what it opened.

    `path` is a `.meta` file, a checkpoint with a `.meta` file beside it (anything `tfckpt.open` takes), a SavedModel
    folder or its `saved_model.pb`, or a frozen graph in a `.pb` file.
    `checkpoint` replaces the one that stands beside the graph; a frozen graph needs none.
    `tags` choose among several graphs of a SavedModel.

    Raises `GraphError` when there is no graph, and what `tfckpt.open` raises when there is nothing at all.
    """
    found = _locate(LocalStorage(), os.fspath(path), tags, file_limits)
    if not len(found.meta_graph.graph):
        raise GraphError(f"no graph at {found.path}: the file has no nodes")
    if isinstance(checkpoint, Checkpoint):
        given: Checkpoint | None = checkpoint
    else:
        given = _open_checkpoint(
            found.prefix if checkpoint is None else checkpoint, file_limits, must=checkpoint is not None
        )
    return ReferenceGraph(
        found.meta_graph.graph,
        path=found.path,
        checkpoint=given,
        owns_checkpoint=given is not checkpoint,
        signatures=found.meta_graph.signatures,
        objects=found.meta_graph.objects,
        trainable={variable.name: variable.trainable for variable in found.meta_graph.variables},
        limits=limits,
    )


class _GraphSource(NamedTuple):
    """A graph, its file, and the prefix under which its checkpoint should stand, if it has one."""

    meta_graph: MetaGraph
    path: str
    prefix: str | None


def _locate(storage: LocalStorage, place: str, tags: Sequence[str] | None, limits: Limits) -> _GraphSource:
    if is_saved_model(storage, place):
        return _read_saved_model(storage, place, tags, limits)
    if storage.is_file(place):
        folder, name = storage.split(place)
        if name == FILE_NAME:
            return _read_saved_model(storage, folder, tags, limits)
        if name.endswith(_META):
            return _read_meta(storage, place, limits)
        if name.endswith(_TEXT):
            raise GraphError(f"no graph at {place}: the text form of graphs is not read")
        if name.endswith(".pb"):
            return _read_frozen(storage, place, tags, limits)
    with tfckpt.open(place, limits=limits) as checkpoint:
        prefix = checkpoint.prefix
    meta = _SHARDS.sub("", prefix) + _META
    if storage.is_file(meta):
        return _read_meta(storage, meta, limits)._replace(prefix=prefix)
    model = find_folder(storage, prefix)
    if model is not None:
        return _read_saved_model(storage, model, tags, limits)._replace(prefix=prefix)
    raise GraphError(f"no graph with the checkpoint {prefix}: there is no {meta}, and it is of no SavedModel")


def _open_checkpoint(place: str | os.PathLike[str] | None, limits: Limits, *, must: bool) -> Checkpoint | None:
    """The checkpoint at a place; None if there is none and none is needed."""
    if place is None:
        return None
    try:
        return tfckpt.open(place, limits=limits)
    except CheckpointNotFoundError:
        if must:
            raise
        return None


def _read_meta(storage: LocalStorage, path: str, limits: Limits) -> _GraphSource:
    source = storage.open(path)
    try:
        return _GraphSource(read_meta_graph(source, limits), path, path.removesuffix(_META))
    finally:
        source.close()


def _read_saved_model(storage: LocalStorage, folder: str, tags: Sequence[str] | None, limits: Limits) -> _GraphSource:
    path = storage.join(folder, FILE_NAME)
    if not storage.is_file(path):
        raise GraphError(f"no graph at {path}: the SavedModel has only its text form, which is not read")
    source = storage.open(path)
    try:
        model = decode_saved_model(source, limits)
    finally:
        source.close()
    return _GraphSource(_choose_meta_graph(model, tags, path), path, storage.join(folder, *VARIABLES))


def _choose_meta_graph(model: SavedModel, tags: Sequence[str] | None, path: str) -> MetaGraph:
    if tags is None:
        return model.meta_graph
    for graph in model.meta_graphs:
        if set(graph.tags) == set(tags):
            return graph
    known = "; ".join(", ".join(graph.tags) or "no tags" for graph in model.meta_graphs)
    raise GraphError(f"no graph with the tags {', '.join(tags)} in {path}; there are: {known}")


def _read_frozen(storage: LocalStorage, path: str, tags: Sequence[str] | None, limits: Limits) -> _GraphSource:
    """A graph alone in its file, or a SavedModel under another name than its own.

    A SavedModel begins with its schema version, a number; a graph begins with a node, a message.
    """
    source = storage.open(path)
    try:
        if source.size > limits.max_graph_bytes:
            raise GraphError(f"the graph {path} has {source.size} bytes, more than max_graph_bytes of its limits")
        data = source.read(0, source.size)
        if bytes(data[:1]) == _SAVED_MODEL_BEGINS:
            return _GraphSource(_choose_meta_graph(decode_saved_model(source, limits), tags, path), path, None)
        with error_context(path=path):
            graph = decode_graph(protos.parse("GraphDef", data), limits)
    finally:
        source.close()
    return _GraphSource(MetaGraph(graph, (), "", {}, {}), path, None)
