"""SavedModel folders: a graph that can be served beside a checkpoint of its variables.

::

    FOLDER/saved_model.pb                          a SavedModel message: one meta graph or more, told apart by tags
    FOLDER/saved_model.pbtxt                       or the same as text, which is not read
    FOLDER/variables/variables.index               the checkpoint, of the prefix FOLDER/variables/variables
    FOLDER/variables/variables.data-?????-of-?????
    FOLDER/assets, assets.extra, fingerprint.pb, tfhub_module.pb, keras_metadata.pb      not read

Source: TensorFlow `protobuf/saved_model.proto` and `saved_model/constants.h`.
"""

from __future__ import annotations

import dataclasses

from .._typing import ByteSource
from ..errors import CorruptionError, UnsupportedFeatureError, error_context
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import Storage
from .meta_graph import MetaGraph, meta_graph_of, read_message

FILE_NAME = "saved_model.pb"
TEXT_FILE_NAME = "saved_model.pbtxt"
#: Where the variables' checkpoint stands in the folder.
VARIABLES = ("variables", "variables")
#: The signature under which TF2 keeps a model's initialisation; TensorFlow itself does not show it.
INIT_SIGNATURE = "__saved_model_init_op"
_SERVE = "serve"


@dataclasses.dataclass(frozen=True, slots=True)
class SavedModel:
    """The meta graphs of a SavedModel, in stored order."""

    schema_version: int
    meta_graphs: tuple[MetaGraph, ...]

    @property
    def meta_graph(self) -> MetaGraph:
        """The meta graph that is meant when nobody says which.

        Tagged `serve` alone; else the first tagged `serve` among others; else the first without tags, as TF-Hub modules
        have it; else the first.
        """
        choices = (
            [graph for graph in self.meta_graphs if graph.tags == (_SERVE,)],
            [graph for graph in self.meta_graphs if _SERVE in graph.tags],
            [graph for graph in self.meta_graphs if not graph.tags],
            self.meta_graphs,
        )
        return next(graphs[0] for graphs in choices if graphs)


def folder_of(storage: Storage, prefix: str) -> str | None:
    """The SavedModel folder whose variables the checkpoint at `prefix` is; None if it is of no such folder."""
    folder, name = storage.split(prefix)
    parent, folder_name = storage.split(folder)
    if (folder_name, name) != VARIABLES:
        return None
    return parent if is_saved_model(storage, parent) else None


def is_saved_model(storage: Storage, folder: str) -> bool:
    """Whether a folder holds a SavedModel's file, binary or text."""
    return any(storage.is_file(storage.join(folder, name)) for name in (FILE_NAME, TEXT_FILE_NAME))


def read_saved_model(storage: Storage, folder: str, limits: Limits = DEFAULT_LIMITS) -> SavedModel:
    """The SavedModel in a folder; `UnsupportedFeatureError` if only the text form is there."""
    path = storage.join(folder, FILE_NAME)
    if not storage.is_file(path) and storage.is_file(storage.join(folder, TEXT_FILE_NAME)):
        raise UnsupportedFeatureError(
            f"the graph stands in {TEXT_FILE_NAME}, the text form, which is not read; the variables can be",
            path=storage.join(folder, TEXT_FILE_NAME),
        )
    source = storage.open(path)
    try:
        return decode_saved_model(source, limits)
    finally:
        source.close()


def decode_saved_model(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> SavedModel:
    """The SavedModel in a `saved_model.pb` file."""
    message = read_message(source, "SavedModel", limits)
    with error_context(path=source.name):
        if not message.meta_graphs:
            raise CorruptionError("SavedModel without a meta graph")
        return SavedModel(
            message.saved_model_schema_version,
            tuple(meta_graph_of(meta_graph, limits) for meta_graph in message.meta_graphs),
        )
