"""Loading a graph with its checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tfckpt
from converter.errors import GraphError
from tfckpt import Checkpoint
from tfckpt.errors import CheckpointNotFoundError
from tfckpt.limits import DEFAULT_LIMITS as DEFAULT_FILE_LIMITS
from tfckpt.limits import Limits

from .limits import DEFAULT_LIMITS, ReferenceLimits
from .reference_graph import ReferenceGraph
from .sources import read_source


def load_graph(
    path: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    tags: Sequence[str] | None = None,
    limits: ReferenceLimits = DEFAULT_LIMITS,
    file_limits: Limits = DEFAULT_FILE_LIMITS,
    moving_statistics: bool = False,
) -> ReferenceGraph:
    """Load the graph at `path` with its checkpoint; as a context manager it closes the checkpoint that it opened.

    `path` is a `.meta` file, a checkpoint saved with a `.meta` file (anything `tfckpt.open` accepts), a SavedModel or
    TF-Hub folder or its `saved_model.pb`, a graph in a `.pb` file or in text form (`.pbtxt`), or the `model.json` of a
    TensorFlow.js graph model. Each may be inside an archive or at an address.
    `checkpoint` replaces the checkpoint saved with the graph; a frozen graph needs none.
    `tags` select one graph of a SavedModel that has several.
    With `moving_statistics`, the batch norms of a graph of training normalize by the moving averages of mean and
    variance, as in evaluation, wherever the graph shows which variables these are; other batch norms stay as they are.

    Raises `GraphError` if there is no graph, and the errors of `tfckpt.open` if there is nothing at `path`.
    """
    source = read_source(os.fspath(path), tags, file_limits)
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
        moving_statistics=moving_statistics,
    )


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
