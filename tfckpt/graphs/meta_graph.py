"""Meta graphs: a graph with its signatures and collections, in a `.meta` file or a SavedModel.

Source: TensorFlow `protobuf/meta_graph.proto` and `framework/variable.proto`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .. import protos
from .._typing import ByteSource
from ..errors import error_context
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from ..tensors.dtypes import data_type
from .graph import Graph, decode_graph, decode_shape
from .saved_objects import SavedObjects, decode_saved_objects
from .text import TEXT_ENDINGS, read_text_message

#: The collections whose values are VariableDef messages (TensorFlow `framework/ops.py`, GraphKeys).
_VARIABLE_COLLECTIONS = (
    "variables",
    "trainable_variables",
    "model_variables",
    "local_variables",
    "metric_variables",
    "moving_average_variables",
)


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureTensor:
    """An input or output of a signature.

    `name` is the name of the tensor in the graph, such as `serving_default_image:0`.
    `kind` is dense, sparse or composite. A tensor that is not dense has the name "", and `components` are the names of
    the tensors it consists of: of a sparse one its values, indices and dense shape.
    `dtype` is a short name such as float32.
    `shape` has -1 for each unknown dimension, and is None if the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    components: tuple[str, ...] = ()
    kind: str = "dense"


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """A way to call a model: named inputs and outputs; `method_name` is the kind of result, such as predict."""

    name: str
    inputs: Mapping[str, SignatureTensor]
    outputs: Mapping[str, SignatureTensor]
    method_name: str


@dataclasses.dataclass(frozen=True, slots=True)
class GraphVariable:
    """A variable as a graph's collections describe it.

    `name` is the name of its node, and `full_name` the name that a saver stores it under.
    The two differ for a part of a partitioned variable, which covers `part_shape` from `part_offset` of `full_shape`.
    Savers may rename variables; the names in a checkpoint are those in the graph's SaveV2 nodes.
    """

    name: str
    full_name: str
    trainable: bool
    is_resource: bool
    initializer: str
    collections: tuple[str, ...]
    full_shape: tuple[int, ...] | None = None
    part_offset: tuple[int, ...] | None = None
    part_shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class MetaGraph:
    """A graph with its signatures and collections.

    `tags` distinguish the meta graphs of one SavedModel.
    A collection is a tuple of `str` (names of nodes), `bytes` (messages), ints, floats,
    or pairs of a type URL and a message.
    `objects` is None unless the meta graph is from a TF2 SavedModel.
    """

    graph: Graph
    tags: tuple[str, ...]
    tensorflow_version: str
    signatures: Mapping[str, Signature]
    collections: Mapping[str, tuple[object, ...]]
    objects: SavedObjects | None = None

    @property
    def variables(self) -> tuple[GraphVariable, ...]:
        """The variables in the collections, in stored order; programs of TF2 have no collections."""
        messages: dict[str, Any] = {}
        member_of: dict[str, list[str]] = {}
        for collection in _VARIABLE_COLLECTIONS:
            for value in self.collections.get(collection, ()):
                if isinstance(value, bytes):
                    message = protos.parse("VariableDef", value)
                    messages.setdefault(message.variable_name, message)
                    member_of.setdefault(message.variable_name, []).append(collection)
        return tuple(_variable(message, tuple(member_of[name])) for name, message in messages.items())


def read_meta_graph(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> MetaGraph:
    """Return the meta graph in a `.meta` file; `CorruptionError` if the file does not parse."""
    with error_context(path=source.name):
        return decode_meta_graph(read_message(source, "MetaGraphDef", limits), limits)


def read_message(source: ByteSource, kind: str, limits: Limits) -> Any:
    """Read the whole file and parse it as one message, in text form if the name of the file says so."""
    if source.name.endswith(TEXT_ENDINGS):
        return read_text_message(source, kind, limits)[1]
    check_limit(limits, "max_graph_bytes", source.size, "graph file is too large", path=source.name)
    with error_context(path=source.name):
        return protos.parse(kind, source.read(0, source.size))


def decode_meta_graph(message: Any, limits: Limits = DEFAULT_LIMITS) -> MetaGraph:
    """Return the meta graph in a MetaGraphDef message."""
    return MetaGraph(
        decode_graph(message.graph_def, limits),
        tuple(message.meta_info_def.tags),
        message.meta_info_def.tensorflow_version,
        MappingProxyType(
            {name: _signature(name, message.signature_def[name]) for name in sorted(message.signature_def)}
        ),
        MappingProxyType({name: _collection(message.collection_def[name]) for name in sorted(message.collection_def)}),
        decode_saved_objects(message.object_graph_def) if message.HasField("object_graph_def") else None,
    )


def _signature(name: str, message: Any) -> Signature:
    return Signature(name, _tensors(message.inputs), _tensors(message.outputs), message.method_name)


def _tensors(messages: Any) -> Mapping[str, SignatureTensor]:
    return MappingProxyType({name: _tensor(messages[name]) for name in sorted(messages)})


def _tensor(message: Any) -> SignatureTensor:
    encoding, kind = message.WhichOneof("encoding"), "dense"
    components: tuple[str, ...] = ()
    if encoding == "coo_sparse":
        kind, sparse = "sparse", message.coo_sparse
        components = (sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
    elif encoding == "composite_tensor":
        kind = "composite"
        components = tuple(component.name for component in message.composite_tensor.components)
    dtype = data_type(message.dtype).name
    return SignatureTensor(message.name, dtype, decode_shape(message.tensor_shape), components, kind)


def _collection(message: Any) -> tuple[object, ...]:
    kind = message.WhichOneof("kind")
    if kind is None:
        return ()
    values = getattr(message, kind).value
    return tuple((item.type_url, item.value) for item in values) if kind == "any_list" else tuple(values)


def _variable(message: Any, collections: tuple[str, ...]) -> GraphVariable:
    name = message.variable_name.removesuffix(":0")
    trainable = message.trainable or "trainable_variables" in collections
    common = (trainable, message.is_resource, message.initializer_name, collections)
    if not message.HasField("save_slice_info_def"):
        return GraphVariable(name, name, *common)
    part = message.save_slice_info_def
    return GraphVariable(
        name, part.full_name, *common, tuple(part.full_shape), tuple(part.var_offset), tuple(part.var_shape)
    )
