"""Graph models of TensorFlow.js: a graph in JSON, and the values of its constants in shards.

::

    model.json              {"format": "graph-model", "modelTopology": GraphDef, "weightsManifest": [GROUP, ...],
                             "signature": {"inputs": {KEY: TensorInfo}, "outputs": {...}}}
    GROUP                   {"paths": [FILE, ...], "weights": [WEIGHT, ...]}
    WEIGHT                  {"name": NODE, "shape": [...], "dtype": "float32",
                             "quantization": {"dtype": "uint8", "scale": 0.1, "min": -1.0}}
    group1-shard1of2.bin    the weights of a group, one after the other, little-endian

Models of the first converters have the graph in `tensorflowjs_model.pb` and the groups in `weights_manifest.json`.
Quantized weights are `value * scale + min`; float16 has no scale. A string is its length in four bytes and its bytes.

Source: the documentation of `tf.io.WeightsManifestConfig`.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converter.errors import GraphError
from tfckpt import protos
from tfckpt._typing import ByteSource
from tfckpt.errors import CorruptionError, error_context, printable
from tfckpt.files.json_text import read_json
from tfckpt.graphs.graph import Function, Graph, Node, decode_graph
from tfckpt.graphs.meta_graph import MetaGraph, Signature, SignatureTensor
from tfckpt.graphs.text import data_type_number
from tfckpt.limits import Limits, check_limit
from tfckpt.storage.base import Storage
from tfckpt.tensors.dtypes import data_type

from .bodies import find_ends
from .ports import output_dtype, output_shape
from .values import Array

#: The file with the groups of models of the first converters.
MANIFEST = "weights_manifest.json"
_LAYERS = "layers-model"
_DTYPES = ("float32", "int32", "bool", "uint8", "int16", "uint16", "complex64", "float16", "int8", "int64")
_STORED = {"float16": "<f2", "uint8": "u1", "uint16": "<u2"}
#: The keys of JSON whose value is the name of a data type.
_TYPE_KEYS = ("type", "dtype")


def read_graph_model(storage: Storage, path: str, source: ByteSource, limits: Limits) -> MetaGraph:
    """Return the graph in a `model.json` file, with the values of its constants and its signature.

    Raises `GraphError` if it is not a graph model, and `CorruptionError` if the shards do not match it.
    """
    model = _read_object(source, path, limits)
    topology, manifest = model.get("modelTopology"), model.get("weightsManifest")
    if model.get("format") == _LAYERS or (isinstance(topology, dict) and "model_config" in topology):
        raise GraphError(f"no graph at {path}: a layers model of TensorFlow.js has layers and not operations")
    if not isinstance(topology, dict) or not isinstance(topology.get("node"), list):
        raise GraphError(f"no graph at {path}: not a model of TensorFlow.js, which has modelTopology with nodes")
    with error_context(path=path):
        graph = decode_graph(protos.parse_json("GraphDef", _with_type_numbers(topology)), limits)
        graph = _with_values(graph, _read_groups(storage, path, manifest, limits))
        user_defined = model.get("userDefinedMetadata")
        signature = model.get("signature") or (
            user_defined.get("signature") if isinstance(user_defined, dict) else None
        )
        chosen = _read_signature(signature) if isinstance(signature, dict) else _make_signature(graph)
    return MetaGraph(graph, (), "", {chosen.name: chosen}, {})


def add_weights(graph: Graph, storage: Storage, manifest: str, limits: Limits) -> Graph:
    """Return the graph of a model of the first converters with the values of its constants."""
    source = storage.open(manifest)
    try:
        groups = _read_json(source, manifest, limits)
    finally:
        source.close()
    with error_context(path=manifest):
        return _with_values(graph, _read_groups(storage, manifest, groups, limits))


def _read_json(source: ByteSource, path: str, limits: Limits) -> Any:
    check_limit(limits, "max_graph_bytes", source.size, "graph file is too large", path=path)
    try:
        return read_json(bytes(source.read(0, source.size)))
    except ValueError as error:
        raise CorruptionError(f"not valid JSON: {error}", path=path) from None


def _read_object(source: ByteSource, path: str, limits: Limits) -> dict[str, Any]:
    value = _read_json(source, path, limits)
    if not isinstance(value, dict):
        raise GraphError(f"no graph at {path}: not a model of TensorFlow.js")
    return value


def _with_type_numbers(topology: dict[str, Any]) -> dict[str, Any]:
    """Replace the names of data types by their numbers, in place; the nesting is limited by the reader of JSON."""
    pending: list[Any] = [topology]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
            continue
        if not isinstance(value, dict):
            continue
        for key, inner in value.items():
            if key in _TYPE_KEYS and isinstance(inner, str) and inner.startswith("DT_"):
                value[key] = data_type_number(inner)
            elif key in _TYPE_KEYS and isinstance(inner, list):
                value[key] = [data_type_number(item) if isinstance(item, str) else item for item in inner]
            else:
                pending.append(inner)
    return topology


def _read_groups(storage: Storage, path: str, groups: Any, limits: Limits) -> dict[str, Array]:
    """Return the values of all weights by name."""
    values: dict[str, Array] = {}
    for group in groups if isinstance(groups, list) else []:
        paths, weights = (group.get(key) if isinstance(group, dict) else None for key in ("paths", "weights"))
        if not isinstance(paths, list) or not isinstance(weights, list):
            raise CorruptionError("a group of weights needs the lists paths and weights")
        data = _read_shards(storage, path, paths, limits)
        position = 0
        for weight in weights:
            name, value, position = _read_weight(weight, data, position, limits)
            values[name] = value
        if position != len(data):
            raise CorruptionError(
                f"the shards {', '.join(map(printable, paths))} have {len(data)} bytes, but their "
                f"weights take {position}"
            )
    return values


def _read_shards(storage: Storage, path: str, names: list[Any], limits: Limits) -> memoryview:
    folder, parts = storage.split(path)[0], []
    total = 0
    for name in names:
        if not isinstance(name, str) or not name or posixpath.isabs(name) or ".." in name.split("/") or "\\" in name:
            raise CorruptionError(f"not the name of a shard: {name!r}")
        source = storage.open(storage.join(folder, *name.split("/")))
        try:
            total += source.size
            check_limit(limits, "max_graph_bytes", total, "shards are too large", path=path)
            parts.append(bytes(source.read(0, source.size)))
        finally:
            source.close()
    return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))


def _read_weight(weight: Any, data: memoryview, position: int, limits: Limits) -> tuple[str, Array, int]:
    """Return the name and value of the weight at a position in bytes, and the position after it."""
    name, shape, dtype = (weight.get(key) if isinstance(weight, dict) else None for key in ("name", "shape", "dtype"))
    if not isinstance(name, str) or not isinstance(shape, list) or not isinstance(dtype, str):
        raise CorruptionError("a weight needs a name, a shape and a dtype")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise CorruptionError(f"the weight {printable(name)} has an invalid shape")
    count = math.prod(shape)
    if dtype == "string":
        items, end = _read_strings(name, data, position, count, limits)
        return name, items.reshape(shape), end
    if dtype not in _DTYPES:
        raise CorruptionError(f"the weight {printable(name)} has an unknown dtype: {printable(dtype)}")
    quantization = weight.get("quantization")
    stored = np.dtype("bool" if dtype == "bool" else np.dtype(dtype).newbyteorder("<"))
    if quantization is not None:
        stored = np.dtype(_read_stored(name, quantization))
    end = position + count * stored.itemsize
    if end > len(data):
        raise CorruptionError(
            f"the weight {printable(name)} ends at byte {end}, but its shards have only {len(data)} bytes"
        )
    raw = np.frombuffer(data, stored, count, position)
    if quantization is None:
        return name, raw.reshape(shape), end
    return name, _dequantize(raw, quantization, dtype).reshape(shape), end


def _read_stored(name: str, quantization: Any) -> str:
    stored = quantization.get("dtype") if isinstance(quantization, dict) else None
    numbers = [quantization.get(key, 0) for key in ("scale", "min")] if isinstance(quantization, dict) else [None]
    if stored not in _STORED or not all(isinstance(number, int | float) for number in numbers):
        raise CorruptionError(f"the weight {printable(name)} has an unknown quantization")
    return _STORED[stored]


def _dequantize(raw: Array, quantization: Mapping[str, Any], dtype: str) -> Array:
    """Return the values of a quantized weight; computed in float64 and rounded once, as TensorFlow.js does."""
    if raw.dtype.kind == "f":
        return raw.astype(np.dtype(dtype))
    values = raw.astype(np.float64) * float(quantization.get("scale", 1)) + float(quantization.get("min", 0))
    # JavaScript rounds halves up.
    return (values if dtype == "float32" else np.floor(values + 0.5)).astype(np.dtype(dtype))


def _read_strings(name: str, data: memoryview, position: int, count: int, limits: Limits) -> tuple[Array, int]:
    check_limit(limits, "max_string_elements", count, f"the weight {printable(name)} is too large")
    items = np.empty(count, object)
    for number in range(count):
        start = position + 4
        end = start + int.from_bytes(data[position:start], "little")
        if end > len(data):
            raise CorruptionError(f"string {number} of the weight {printable(name)} ends after its shards")
        items[number] = bytes(data[start:end])
        position = end
    return items, position


class _Constant(Mapping[str, object]):
    """The attributes of a constant, with its value."""

    def __init__(self, attributes: Mapping[str, object], value: Array) -> None:
        self._attributes = attributes
        self._value = value

    def __getitem__(self, name: str) -> object:
        return self._value if name == "value" else self._attributes[name]

    def __iter__(self) -> Iterator[str]:
        return iter({*self._attributes, "value"})

    def __len__(self) -> int:
        return len({*self._attributes, "value"})


def _with_values(graph: Graph, values: Mapping[str, Array]) -> Graph:
    functions = {
        name: Function(
            function.name,
            function.inputs,
            function.outputs,
            tuple(_with_value(node, values) for node in function.nodes),
            function.returns,
            function.control_returns,
            function.attributes,
        )
        for name, function in graph.functions.items()
    }
    return Graph(tuple(_with_value(node, values) for node in graph), functions)


def _with_value(node: Node, values: Mapping[str, Array]) -> Node:
    if node.op != "Const" or node.name not in values:
        return node
    return Node(node.name, node.op, node.inputs, _Constant(node.attributes, values[node.name]))


def _read_signature(message: Mapping[str, Any]) -> Signature:
    """Return the signature of a model, whose tensors are TensorInfo messages in JSON."""
    sides = []
    for side in ("inputs", "outputs"):
        tensors = message.get(side)
        described = {}
        for key, value in tensors.items() if isinstance(tensors, dict) else ():
            info = protos.parse_json("TensorInfo", _with_type_numbers(dict(value) if isinstance(value, dict) else {}))
            shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
            described[key] = SignatureTensor(info.name or key, data_type(info.dtype).name, shape)
        sides.append(described)
    return Signature("serving_default", sides[0], sides[1], "tensorflow/serving/predict")


def _make_signature(graph: Graph) -> Signature:
    """Return the signature of a model without one: its placeholders, and the nodes on which nothing depends."""
    placeholders = {node.name: _describe(node) for node in graph if node.op == "Placeholder"}
    return Signature("serving_default", placeholders, {name: _describe(graph[name]) for name in find_ends(graph)}, "")


def _describe(node: Node) -> SignatureTensor:
    return SignatureTensor(node.name, output_dtype(node) or "float32", output_shape(node))
