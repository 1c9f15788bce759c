"""From a path to a graph with its checkpoint: `.meta` files, SavedModel folders, and frozen `.pb` files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import tfckpt
from converter.errors import GraphError
from tfckpt import protos
from tfckpt.checkpoint import Checkpoint
from tfckpt.errors import CheckpointNotFoundError, error_context
from tfckpt.graph import graph_of
from tfckpt.limits import DEFAULT_LIMITS as DEFAULT_FILE_LIMITS
from tfckpt.limits import Limits
from tfckpt.meta_graph import MetaGraph, read_meta_graph
from tfckpt.saved_model import FILE_NAME, VARIABLES, SavedModel, decode_saved_model, folder_of, is_saved_model
from tfckpt.storage.local import LocalStorage

from .graph import ReferenceGraph
from .limits import DEFAULT_LIMITS, ReferenceLimits

_META = ".meta"
_TEXT = (".pbtxt", ".prototxt")
#: How the prefix of a V1 checkpoint of several files ends; its graph is named without it.
_SHARDS = re.compile(r"-\?+-of-\d+$")


def load_graph(
    path: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    tags: Sequence[str] | None = None,
    limits: ReferenceLimits = DEFAULT_LIMITS,
    file_limits: Limits = DEFAULT_FILE_LIMITS,
) -> ReferenceGraph:
    """The graph at `path`, with the checkpoint that belongs to it.

    `path` is a `.meta` file, a checkpoint with a `.meta` file beside it (anything `tfckpt.open` takes), a SavedModel
    folder or its `saved_model.pb`, or a frozen graph in a `.pb` file.
    `checkpoint` replaces the one that stands beside the graph; a frozen graph needs none.
    `tags` choose among several graphs of a SavedModel.

    Raises `GraphError` when there is no graph, and what `tfckpt.open` raises when there is nothing at all.
    """
    place = os.fspath(path)
    storage = LocalStorage()
    given = _open(checkpoint, file_limits)
    if is_saved_model(storage, place):
        return _saved_model(
            storage, storage.join(place, FILE_NAME), given, tags=tags, limits=limits, file_limits=file_limits
        )
    if storage.is_file(place) and place.endswith(_META):
        return _meta(storage, place, given or _beside(place, file_limits), limits, file_limits)
    if storage.is_file(place) and place.endswith((".pb", *_TEXT)):
        if storage.split(place)[1] == FILE_NAME:
            return _saved_model(storage, place, given, tags=tags, limits=limits, file_limits=file_limits)
        return _frozen(storage, place, given, tags=tags, limits=limits, file_limits=file_limits)
    found = tfckpt.open(place, limits=file_limits)
    meta = _SHARDS.sub("", found.prefix) + _META
    if storage.is_file(meta):
        return _meta(storage, meta, given or found, limits, file_limits)
    folder = folder_of(storage, found.prefix)
    if folder is not None:
        return _saved_model(
            storage, storage.join(folder, FILE_NAME), given or found, tags=tags, limits=limits, file_limits=file_limits
        )
    found.close()
    raise GraphError(f"no graph with the checkpoint {found.prefix}: there is no {meta}, and it is of no SavedModel")


def _open(checkpoint: Checkpoint | str | os.PathLike[str] | None, limits: Limits) -> Checkpoint | None:
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    return tfckpt.open(checkpoint, limits=limits)


def _beside(meta: str, limits: Limits) -> Checkpoint | None:
    """The checkpoint of a `.meta` file; None if there is only the graph."""
    try:
        return tfckpt.open(meta.removesuffix(_META), limits=limits)
    except CheckpointNotFoundError:
        return None


def _meta(
    storage: LocalStorage, path: str, checkpoint: Checkpoint | None, limits: ReferenceLimits, file_limits: Limits
) -> ReferenceGraph:
    source = storage.open(path)
    try:
        return _reference(read_meta_graph(source, file_limits), path, checkpoint, limits)
    finally:
        source.close()


def _saved_model(
    storage: LocalStorage,
    path: str,
    checkpoint: Checkpoint | None,
    *,
    tags: Sequence[str] | None,
    limits: ReferenceLimits,
    file_limits: Limits,
) -> ReferenceGraph:
    if not storage.is_file(path):
        raise GraphError(f"no graph at {path}: the SavedModel has only its text form, which is not read")
    source = storage.open(path)
    try:
        model = decode_saved_model(source, file_limits)
    finally:
        source.close()
    folder, _ = storage.split(path)
    if checkpoint is None and storage.is_file(storage.join(folder, *VARIABLES) + ".index"):
        checkpoint = tfckpt.open(storage.join(folder, *VARIABLES), limits=file_limits)
    return _reference(_choose(model, tags, path), path, checkpoint, limits)


def _choose(model: SavedModel, tags: Sequence[str] | None, path: str) -> MetaGraph:
    if tags is None:
        return model.meta_graph
    for graph in model.meta_graphs:
        if set(graph.tags) == set(tags):
            return graph
    known = "; ".join(", ".join(graph.tags) or "no tags" for graph in model.meta_graphs)
    raise GraphError(f"no graph with the tags {', '.join(tags)} in {path}; there are: {known}")


def _frozen(
    storage: LocalStorage,
    path: str,
    checkpoint: Checkpoint | None,
    *,
    tags: Sequence[str] | None,
    limits: ReferenceLimits,
    file_limits: Limits,
) -> ReferenceGraph:
    if path.endswith(_TEXT):
        raise GraphError(f"no graph at {path}: the text form of graphs is not read")
    source = storage.open(path)
    try:
        if source.size > file_limits.max_graph_bytes:
            raise GraphError(f"the graph {path} has {source.size} bytes, more than max_graph_bytes of its limits")
        data = source.read(0, source.size)
        with error_context(path=path):
            if _is_saved_model(data):
                return _reference(
                    _choose(decode_saved_model(source, file_limits), tags, path), path, checkpoint, limits
                )
            graph = graph_of(protos.parse("GraphDef", data), file_limits)
    finally:
        source.close()
    if not len(graph):
        raise GraphError(f"no graph at {path}: the file has no nodes")
    return ReferenceGraph(graph, path=path, checkpoint=checkpoint, limits=limits)


def _is_saved_model(data: memoryview) -> bool:
    """A SavedModel begins with its schema version, a number; a graph begins with a node, a message."""
    return bytes(data[:1]) == b"\x08"


def _reference(
    meta_graph: MetaGraph, path: str, checkpoint: Checkpoint | None, limits: ReferenceLimits
) -> ReferenceGraph:
    if not len(meta_graph.graph):
        raise GraphError(f"no graph at {path}: the file has no nodes")
    return ReferenceGraph(
        meta_graph.graph,
        path=path,
        checkpoint=checkpoint,
        signatures=meta_graph.signatures,
        objects=meta_graph.objects,
        trainable={variable.name: variable.trainable for variable in meta_graph.variables},
        limits=limits,
    )
