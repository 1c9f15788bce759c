"""The objects of a checkpoint, also if the data shard with the object graph is missing."""

from __future__ import annotations

from typing import NamedTuple

from ..checkpoint import Checkpoint
from ..errors import CheckpointNotFoundError
from ..graphs.object_graph import ObjectGraph
from ..graphs.object_graph_keys import graph_from_keys


class Objects(NamedTuple):
    """The object graph, None for a name-based checkpoint, and whether only the keys of its values could be read."""

    graph: ObjectGraph | None
    from_keys: bool


def find_objects(checkpoint: Checkpoint) -> Objects:
    """Return the object graph of a checkpoint, or what its keys say if the data shard with the graph is missing."""
    try:
        return Objects(checkpoint.object_graph, False)
    except CheckpointNotFoundError:
        meta_graph = checkpoint.meta_graph
        saved = None if meta_graph is None else meta_graph.objects
        return Objects(graph_from_keys(checkpoint, saved), True)
