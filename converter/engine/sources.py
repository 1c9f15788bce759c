"""Finding and reading a graph: a `.meta` file, a SavedModel, a frozen graph, a model of TensorFlow.js, anywhere.

A path, a path inside an archive, or an address; a whole archive may contain one graph.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import tfckpt
from converter.errors import GraphError
from tfckpt import protos
from tfckpt.errors import error_context, join_some
from tfckpt.graphs.graph import decode_graph
from tfckpt.graphs.meta_graph import MetaGraph, decode_meta_graph, read_meta_graph
from tfckpt.graphs.saved_model import (
    FILE_NAME,
    TEXT_FILE_NAME,
    VARIABLES,
    SavedModel,
    decode_saved_model,
    decode_saved_model_message,
    find_file,
    find_folder,
    is_saved_model,
)
from tfckpt.graphs.text import TEXT_ENDINGS, read_text_message
from tfckpt.limits import Limits, check_limit
from tfckpt.storage.base import Storage
from tfckpt.storage.locate import Options, locate_path
from tfckpt.storage.memory import TreeStorage

from .tensorflow_js import MANIFEST, add_weights, read_graph_model

_META = ".meta"
_JSON = ".json"
#: The usual name of a TensorFlow.js model.
_MODEL = "model.json"
#: The end of the prefix of a V1 checkpoint in several files; the name of its graph does not include it.
_SHARDS = re.compile(r"-\?+-of-\d+$")
#: The tag of the first field of a SavedModel, its schema version (a varint). A graph begins with a node (a message).
_SAVED_MODEL_BEGINS = b"\x08"


class GraphSource(NamedTuple):
    """A graph, its file, the prefix at which its checkpoint is expected, or None, and what kind of file it is."""

    meta_graph: MetaGraph
    path: str
    prefix: str | None
    kind: str
    other_tags: tuple[tuple[str, ...], ...] = ()


def read_source(path: str, tags: Sequence[str] | None, limits: Limits) -> GraphSource:
    """Read the graph at a path or address.

    Raises `GraphError` if there is no graph, and the errors of `tfckpt.open` if there is nothing.
    """
    storage, place = locate_path(os.fspath(path), Options(limits=limits))
    try:
        found = _find(storage, place)
        if found is not None:
            return _read(storage, found, tags, limits)
        # A checkpoint: its graph has the same name, or is the SavedModel whose variables it holds.
        with tfckpt.open(path, limits=limits) as checkpoint:
            prefix = checkpoint.prefix
        meta = _SHARDS.sub("", prefix) + _META
        if storage.is_file(meta):
            return _read(storage, meta, tags, limits)._replace(prefix=prefix)
        model = find_folder(storage, prefix)
        if model is not None:
            return _read(storage, find_file(storage, model), tags, limits)._replace(prefix=prefix)
        raise GraphError(f"no graph with the checkpoint {prefix}: {meta} does not exist, and there is no SavedModel")
    finally:
        storage.close()


def _find(storage: Storage, place: str) -> str | None:
    """Return the file with the graph that a path stands for; None if it stands for a checkpoint, or for nothing."""
    if is_saved_model(storage, place):
        return find_file(storage, place)
    if storage.is_file(place):
        name = storage.split(place)[1]
        return place if name.endswith((_META, ".pb", _JSON, *TEXT_ENDINGS)) else None
    model = storage.join(place, _MODEL)
    if storage.is_file(model):
        return model
    return _find_in_tree(storage) if isinstance(storage, TreeStorage) and storage.is_folder(place) else None


def _find_in_tree(storage: TreeStorage) -> str | None:
    """Return the only graph in an archive; raise `GraphError` if there are several of one kind."""
    paths = [storage.join(storage.root, name) for name in storage.names() if name not in storage.refused]
    kinds = (
        [path for path in paths if storage.split(path)[1] in (FILE_NAME, TEXT_FILE_NAME)],
        [path for path in paths if storage.split(path)[1] == _MODEL],
        [path for path in paths if path.endswith(_META)],
        [path for path in paths if path.endswith((".pb", *TEXT_ENDINGS))],
    )
    for found in kinds:
        if len(found) == 1:
            return found[0]
        if found and found is not kinds[2]:  # the checkpoints of several .meta files say which is the newest
            raise GraphError(f"the archive has {len(found)} graphs; use the path of one: {join_some(found)}")
    return None


def _read(storage: Storage, path: str, tags: Sequence[str] | None, limits: Limits) -> GraphSource:
    folder, name = storage.split(path)
    source = storage.open(path)
    try:
        if name in (FILE_NAME, TEXT_FILE_NAME):
            model = decode_saved_model(source, limits)
            return _choose(model, tags, path, storage.join(folder, *VARIABLES))
        if name.endswith(_META):
            return GraphSource(read_meta_graph(source, limits), path, path.removesuffix(_META), "MetaGraph")
        if name.endswith(_JSON):
            return GraphSource(read_graph_model(storage, path, source, limits), path, None, "TensorFlow.js")
        check_limit(limits, "max_graph_bytes", source.size, "graph file is too large", path=path)
        if name.endswith(TEXT_ENDINGS):
            kind, message = read_text_message(source, None, limits)
        else:
            data = bytes(source.read(0, source.size))
            kind = "SavedModel" if data[:1] == _SAVED_MODEL_BEGINS else "GraphDef"
            with error_context(path=path):
                message = protos.parse(kind, data)
        with error_context(path=path):
            if kind == "SavedModel":
                return _choose(decode_saved_model_message(message, limits), tags, path, None)
            if kind == "MetaGraphDef":
                return GraphSource(decode_meta_graph(message, limits), path, None, "MetaGraph")
            graph = decode_graph(message, limits)
        manifest = storage.join(folder, MANIFEST)
        if storage.is_file(manifest):
            graph = add_weights(graph, storage, manifest, limits)
        return GraphSource(MetaGraph(graph, (), "", {}, {}), path, None, "GraphDef")
    finally:
        source.close()


def _choose(model: SavedModel, tags: Sequence[str] | None, path: str, prefix: str | None) -> GraphSource:
    chosen = model.meta_graph if tags is None else _find_tags(model, tags, path)
    others = tuple(graph.tags for graph in model.meta_graphs if graph is not chosen)
    return GraphSource(chosen, path, prefix, "SavedModel", others)


def _find_tags(model: SavedModel, tags: Sequence[str], path: str) -> MetaGraph:
    for graph in model.meta_graphs:
        if set(graph.tags) == set(tags):
            return graph
    known = "; ".join(", ".join(graph.tags) or "no tags" for graph in model.meta_graphs)
    raise GraphError(f"no graph with the tags {', '.join(tags)} in {path}; available: {known}")
