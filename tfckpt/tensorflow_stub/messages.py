"""TensorFlow's modules of messages (`tensorflow.core...._pb2`), with the messages that this package knows.

Fields that it does not read are kept when a message is parsed and serialized, and have no attributes.
Enumerations are plain numbers; `types_pb2` has their names.
"""

from __future__ import annotations

from typing import Any

from .. import protos
from .._typing import Array
from ..tensors.dtypes import data_type
from ..tensors.tensor_proto import decode_constant
from ..train.errors import as_tensorflow

#: Module -> messages, in the folders of TensorFlow's sources.
MODULES = {
    "core.framework.attr_value_pb2": ("AttrValue", "NameAttrList"),
    "core.framework.function_pb2": ("FunctionDef", "FunctionDefLibrary"),
    "core.framework.graph_pb2": ("GraphDef",),
    "core.framework.node_def_pb2": ("NodeDef",),
    "core.framework.op_def_pb2": ("OpDef",),
    "core.framework.tensor_pb2": ("TensorProto", "VariantTensorDataProto"),
    "core.framework.tensor_shape_pb2": ("TensorShapeProto",),
    "core.framework.tensor_slice_pb2": ("TensorSliceProto",),
    "core.framework.variable_pb2": ("SaveSliceInfoDef", "VariableDef"),
    "core.framework.versions_pb2": ("VersionDef",),
    "core.protobuf.meta_graph_pb2": ("CollectionDef", "MetaGraphDef", "SignatureDef", "TensorInfo"),
    "core.protobuf.saved_model_pb2": ("SavedModel",),
    "core.protobuf.saved_object_graph_pb2": (
        "SavedConcreteFunction",
        "SavedObject",
        "SavedObjectGraph",
        "SavedVariable",
    ),
    "core.protobuf.saver_pb2": ("SaverDef",),
    "core.protobuf.tensor_bundle_pb2": ("BundleEntryProto", "BundleHeaderProto"),
    "core.protobuf.trackable_object_graph_pb2": ("RegisteredSaver", "TrackableObjectGraph"),
    "core.util.saved_tensor_slice_pb2": ("SavedSlice", "SavedSliceMeta", "SavedTensorSliceMeta", "SavedTensorSlices"),
    "python.training.checkpoint_state_pb2": ("CheckpointState",),
}
TYPES_MODULE = "core.framework.types_pb2"
_LAST_TYPE = 33


class _DataTypes:
    """The enumeration of data types, as generated code offers it."""

    def Name(self, number: int) -> str:  # noqa: N802 protobuf's name
        """Return the name of a number, such as DT_FLOAT."""
        return data_type(number).enum_name

    def Value(self, name: str) -> int:  # noqa: N802 protobuf's name
        """Return the number of a name."""
        return type_numbers()[name]

    def items(self) -> list[tuple[str, int]]:
        """Return the names with their numbers."""
        return list(type_numbers().items())


def type_numbers() -> dict[str, int]:
    """Return the number of each data type by its name in `types.proto`."""
    numbers = {data_type(number).enum_name: number for number in range(1, _LAST_TYPE + 1)}
    return {"DT_INVALID": 0, **numbers, **{f"{name}_REF": number + 100 for name, number in numbers.items()}}


def contents(module: str) -> dict[str, Any]:
    """Return what a module of messages offers."""
    if module == TYPES_MODULE:
        return {"DataType": _DataTypes(), **type_numbers()}
    return {name: protos.message_class(name) for name in MODULES[module]}


def make_ndarray(tensor: Any) -> Array:
    """Return the array in a TensorProto message, as a writable copy."""
    with as_tensorflow():
        array: Array = decode_constant(protos.parse("TensorProto", tensor.SerializeToString())).copy()
    array.flags.writeable = True
    return array
