"""SavedModel folders: a graph with signatures, and a checkpoint of its variables.

::

    FOLDER/saved_model.pb                          a SavedModel message: one or more meta graphs with different tags
    FOLDER/saved_model.pbtxt                       or the same as text, which is rare
    FOLDER/variables/variables.index               the checkpoint, with the prefix FOLDER/variables/variables
    FOLDER/variables/variables.data-?????-of-?????
    FOLDER/assets, assets.extra, fingerprint.pb, tfhub_module.pb, keras_metadata.pb      not read

Source: TensorFlow `protobuf/saved_model.proto` and `saved_model/constants.h`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .._typing import ByteSource
from ..errors import CorruptionError, error_context
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import Storage
from .meta_graph import MetaGraph, decode_meta_graph, read_message

FILE_NAME = "saved_model.pb"
TEXT_FILE_NAME = "saved_model.pbtxt"
#: The checkpoint of the variables: its folder in the SavedModel folder, and its name.
VARIABLES = ("variables", "variables")
#: The signature that TF2 adds to run a model's initialization; TensorFlow does not list it either.
INIT_SIGNATURE = "__saved_model_init_op"
_SERVE = "serve"


@dataclasses.dataclass(frozen=True, slots=True)
class SavedModel:
    """The meta graphs of a SavedModel, in stored order."""

    schema_version: int
    meta_graphs: tuple[MetaGraph, ...]

    @property
    def meta_graph(self) -> MetaGraph:
        """The default meta graph.

        The one with the single tag `serve`; else the first with the tag `serve`; else the first without tags, as in
        TF-Hub modules; else the first.
        """
        choices = (
            [graph for graph in self.meta_graphs if graph.tags == (_SERVE,)],
            [graph for graph in self.meta_graphs if _SERVE in graph.tags],
            [graph for graph in self.meta_graphs if not graph.tags],
            self.meta_graphs,
        )
        return next(graphs[0] for graphs in choices if graphs)


def find_folder(storage: Storage, prefix: str) -> str | None:
    """Return the SavedModel folder that the checkpoint at `prefix` belongs to, or None."""
    folder, name = storage.split(prefix)
    parent, folder_name = storage.split(folder)
    if (folder_name, name) != VARIABLES:
        return None
    return parent if is_saved_model(storage, parent) else None


def is_saved_model(storage: Storage, folder: str) -> bool:
    """Return whether a folder contains a SavedModel file, binary or text."""
    return any(storage.is_file(storage.join(folder, name)) for name in (FILE_NAME, TEXT_FILE_NAME))


def find_file(storage: Storage, folder: str) -> str:
    """Return the path of the SavedModel file in a folder, binary or text; that of the binary one if there is none."""
    path, text = (storage.join(folder, name) for name in (FILE_NAME, TEXT_FILE_NAME))
    return text if not storage.is_file(path) and storage.is_file(text) else path


def read_saved_model(storage: Storage, folder: str, limits: Limits = DEFAULT_LIMITS) -> SavedModel:
    """Read the SavedModel in a folder, from its binary file or else from the one in text form."""
    source = storage.open(find_file(storage, folder))
    try:
        return decode_saved_model(source, limits)
    finally:
        source.close()


def decode_saved_model(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> SavedModel:
    """Read a `saved_model.pb` or `saved_model.pbtxt` file."""
    message = read_message(source, "SavedModel", limits)
    with error_context(path=source.name):
        return decode_saved_model_message(message, limits)


def decode_saved_model_message(message: Any, limits: Limits = DEFAULT_LIMITS) -> SavedModel:
    """Return the SavedModel in a message; `CorruptionError` if it has no meta graph."""
    if not message.meta_graphs:
        raise CorruptionError("the SavedModel has no meta graph")
    return SavedModel(
        message.saved_model_schema_version,
        tuple(decode_meta_graph(meta_graph, limits) for meta_graph in message.meta_graphs),
    )
