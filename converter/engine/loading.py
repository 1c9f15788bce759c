"""Loading a graph with its checkpoint from a path: a `.meta` file, a SavedModel folder, or a frozen `.pb` file."""

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
#: The end of the prefix of a V1 checkpoint in several files; the name of its graph does not include it.
_SHARDS = re.compile(r"-\?+-of-\d+$")
#: The tag of the first field of a SavedModel, its schema version (a varint). A graph begins with a node (a message).
_SAVED_MODEL_BEGINS = b"\x08"


def load_graph(
    path: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    tags: Sequence[str] | None = None,
    limits: ReferenceLimits = DEFAULT_LIMITS,
    file_limits: Limits = DEFAULT_FILE_LIMITS,
) -> ReferenceGraph:
    """Load the graph at `path` with its checkpoint; as a context manager it closes the checkpoint that it opened.

    `path` is a `.meta` file, a checkpoint saved with a `.meta` file (anything `tfckpt.open` accepts), a SavedModel
    folder or its `saved_model.pb`, or a frozen graph in a `.pb` file.
    `checkpoint` replaces the checkpoint saved with the graph; a frozen graph needs none.
    `tags` select one graph of a SavedModel that has several.

    Raises `GraphError` if there is no graph, and the errors of `tfckpt.open` if there is nothing at `path`.
    """
    source = _locate(LocalStorage(), os.fspath(path), tags, file_limits)
    if not len(source.meta_graph.graph):
        raise GraphError(f"no graph at {source.path}: the file has no nodes")
    if isinstance(checkpoint, Checkpoint):
        opened: Checkpoint | None = checkpoint
    else:
        opened = _open_checkpoint(
            _path_of(source.prefix) if checkpoint is None else checkpoint,
            file_limits,
            is_required=checkpoint is not None,
        )
    return ReferenceGraph(
        source.meta_graph.graph,
        path=source.path,
        checkpoint=opened,
        owns_checkpoint=opened is not checkpoint,
        signatures=source.meta_graph.signatures,
        objects=source.meta_graph.objects,
        trainable={variable.name: variable.trainable for variable in source.meta_graph.variables},
        limits=limits,
        kind=source.kind,
        tags=source.meta_graph.tags,
        other_tags=source.other_tags,
    )


class _GraphSource(NamedTuple):
    """A graph, its file, the prefix at which its checkpoint is expected, or None, and what kind of file it is."""

    meta_graph: MetaGraph
    path: str
    prefix: str | None
    kind: str
    other_tags: tuple[tuple[str, ...], ...] = ()


def _locate(storage: LocalStorage, path: str, tags: Sequence[str] | None, limits: Limits) -> _GraphSource:
    if is_saved_model(storage, path):
        return _read_saved_model(storage, path, tags, limits)
    if storage.is_file(path):
        folder, name = storage.split(path)
        if name == FILE_NAME:
            return _read_saved_model(storage, folder, tags, limits)
        if name.endswith(_META):
            return _read_meta(storage, path, limits)
        if name.endswith(_TEXT):
            raise GraphError(f"no graph at {path}: graphs in text form are not supported")
        if name.endswith(".pb"):
            return _read_frozen(storage, path, tags, limits)
    with tfckpt.open(path, limits=limits) as checkpoint:
        prefix = checkpoint.prefix
    meta = _SHARDS.sub("", prefix) + _META
    if storage.is_file(meta):
        return _read_meta(storage, meta, limits)._replace(prefix=prefix)
    model = find_folder(storage, prefix)
    if model is not None:
        return _read_saved_model(storage, model, tags, limits)._replace(prefix=prefix)
    raise GraphError(f"no graph with the checkpoint {prefix}: {meta} does not exist, and there is no SavedModel")


def _path_of(prefix: str | None) -> str | None:
    """Return a path that opens the checkpoint of a prefix and no other, even if the prefix has no name (`dir/.index`).

    Such a prefix is a folder's path, in which another checkpoint may be found first.
    """
    return prefix if prefix is None or os.path.basename(prefix) else f"{prefix}.index"


def _open_checkpoint(path: str | os.PathLike[str] | None, limits: Limits, *, is_required: bool) -> Checkpoint | None:
    """Open the checkpoint at a path; return None if it does not exist and is not required."""
    if path is None:
        return None
    try:
        return tfckpt.open(path, limits=limits)
    except CheckpointNotFoundError:
        if is_required:
            raise
        return None


def _read_meta(storage: LocalStorage, path: str, limits: Limits) -> _GraphSource:
    source = storage.open(path)
    try:
        return _GraphSource(read_meta_graph(source, limits), path, path.removesuffix(_META), "MetaGraph")
    finally:
        source.close()


def _read_saved_model(storage: LocalStorage, folder: str, tags: Sequence[str] | None, limits: Limits) -> _GraphSource:
    path = storage.join(folder, FILE_NAME)
    if not storage.is_file(path):
        raise GraphError(f"no graph at {path}: the SavedModel exists only in text form, which is not supported")
    source = storage.open(path)
    try:
        model = decode_saved_model(source, limits)
    finally:
        source.close()
    return _make_source(model, tags, path, storage.join(folder, *VARIABLES))


def _make_source(model: SavedModel, tags: Sequence[str] | None, path: str, prefix: str | None) -> _GraphSource:
    chosen = _choose_meta_graph(model, tags, path)
    others = tuple(graph.tags for graph in model.meta_graphs if graph is not chosen)
    return _GraphSource(chosen, path, prefix, "SavedModel", others)


def _choose_meta_graph(model: SavedModel, tags: Sequence[str] | None, path: str) -> MetaGraph:
    if tags is None:
        return model.meta_graph
    for graph in model.meta_graphs:
        if set(graph.tags) == set(tags):
            return graph
    known = "; ".join(", ".join(graph.tags) or "no tags" for graph in model.meta_graphs)
    raise GraphError(f"no graph with the tags {', '.join(tags)} in {path}; available: {known}")


def _read_frozen(storage: LocalStorage, path: str, tags: Sequence[str] | None, limits: Limits) -> _GraphSource:
    """Read a `.pb` file: a bare graph, or a SavedModel that was renamed."""
    source = storage.open(path)
    try:
        if source.size > limits.max_graph_bytes:
            raise GraphError(
                f"the graph {path} has {source.size} bytes, over the limit max_graph_bytes={limits.max_graph_bytes}"
            )
        data = source.read(0, source.size)
        if bytes(data[:1]) == _SAVED_MODEL_BEGINS:
            return _make_source(decode_saved_model(source, limits), tags, path, None)
        with error_context(path=path):
            graph = decode_graph(protos.parse("GraphDef", data), limits)
    finally:
        source.close()
    return _GraphSource(MetaGraph(graph, (), "", {}, {}), path, None, "GraphDef")
