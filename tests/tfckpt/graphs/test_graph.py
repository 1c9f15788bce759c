"""Graphs: nodes, attributes, functions; meta graphs: signatures, collections, variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests.builders import MemorySource
from tfckpt import protos
from tfckpt.errors import CorruptionError, LimitExceededError, UnsupportedFeatureError
from tfckpt.graphs.graph import Attributes, Graph, decode_graph
from tfckpt.graphs.meta_graph import GraphVariable, SignatureTensor, decode_meta_graph, read_meta_graph
from tfckpt.limits import Limits


def message(kind: str, text: str) -> Any:
    """Parse a message in protobuf's text format."""
    return protos.parse_text(kind, text)


def graph(text: str) -> Graph:
    """Return the graph in the text of a GraphDef."""
    return decode_graph(message("GraphDef", text))


def attributes(text: str) -> Attributes:
    """Return the attributes in the text of a NodeDef's `attr` fields."""
    return Attributes(message("NodeDef", text).attr, node="n")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("i: -3", -3, id="int"),
        pytest.param("f: 0.5", 0.5, id="float"),
        pytest.param("b: true", True, id="bool"),
        pytest.param(r's: "a\377"', b"a\xff", id="bytes"),
        pytest.param("type: 1", "float32", id="type"),
        pytest.param("type: 99", "unknown_99", id="unknown type"),
        pytest.param("shape { dim { size: 2 } dim { size: -1 } }", (2, -1), id="shape"),
        pytest.param("shape { }", (), id="shape of a scalar"),
        pytest.param("shape { unknown_rank: true }", None, id="shape of unknown rank"),
        pytest.param('func { name: "f" }', "f", id="function"),
        pytest.param('placeholder: "T"', "T", id="attribute of the calling node"),
        pytest.param("list { i: 1 i: 2 }", (1, 2), id="list of ints"),
        pytest.param("list { type: 1 type: 3 }", ("float32", "int32"), id="list of types"),
        pytest.param("list { shape { } shape { unknown_rank: true } }", ((), None), id="list of shapes"),
        pytest.param('list { s: "a" }', (b"a",), id="list of bytes"),
        pytest.param("list { }", (), id="empty list"),
        pytest.param("", None, id="no value"),
    ],
)
def test_attribute_becomes_a_python_value(value: str, expected: object) -> None:
    """Every kind of attribute has its Python type."""
    assert attributes(f'attr {{ key: "k" value {{ {value} }} }}')["k"] == expected


def test_attribute_tensor_is_an_array() -> None:
    """The value of a constant, alone and in a list."""
    tensor = "tensor { dtype: 3 tensor_shape { dim { size: 2 } } int_val: 4 int_val: 5 }"
    values = attributes(
        f'attr {{ key: "value" value {{ {tensor} }} }} attr {{ key: "all" value {{ list {{ {tensor} }} }} }}'
    )

    value, several = values["value"], values["all"]

    assert isinstance(value, np.ndarray)
    assert value.tolist() == [4, 5]
    assert isinstance(several, tuple)
    assert [array.tolist() for array in several] == [[4, 5]]


def test_attribute_with_an_unsupported_tensor_raises_on_access() -> None:
    """Other attributes of the node can be read, and the error names the node."""
    values = attributes('attr { key: "value" value { tensor { dtype: 21 } } } attr { key: "dtype" value { type: 21 } }')

    assert values["dtype"] == "variant"
    with pytest.raises(UnsupportedFeatureError) as caught:
        values["value"]
    assert caught.value.tensor == "n"


def test_attributes_are_a_mapping_in_order_of_names() -> None:
    """Looking up a missing name does not add it."""
    values = attributes('attr { key: "b" value { i: 1 } } attr { key: "a" value { i: 2 } }')

    with pytest.raises(KeyError):
        values["c"]
    assert "c" not in values
    assert list(values) == ["a", "b"]
    assert len(values) == 2
    assert repr(values) == "<Attributes a, b>"


def test_graph_has_nodes_in_stored_order_and_by_name() -> None:
    """A node has its stored name, op and inputs."""
    example = graph('node { name: "b" op: "Const" } node { name: "a" op: "Add" input: "b" input: "b:1" input: "^b" }')

    assert [node.name for node in example] == ["b", "a"]
    assert (example["a"].op, example["a"].inputs) == ("Add", ("b", "b:1", "^b"))
    assert "a" in example
    assert "c" not in example
    assert len(example) == 2


def test_graph_with_two_nodes_of_one_name_is_refused() -> None:
    """An input with that name would be ambiguous."""
    with pytest.raises(CorruptionError):
        graph('node { name: "a" } node { name: "a" }')

    assert len(graph('node { name: "a" } node { name: "b" }')) == 2


def test_graph_has_the_functions_of_its_library() -> None:
    """A function has arguments, a body, returned tensors and attributes."""
    example = graph(
        'library { function { signature { name: "f" '
        'input_arg { name: "x" type: 1 } input_arg { name: "all" type_attr: "T" number_attr: "N" } '
        'output_arg { name: "y" type_list_attr: "Ts" } } '
        'node_def { name: "n" op: "Neg" input: "x" } ret { key: "y" value: "n:y:0" } '
        'control_ret { key: "n" value: "n" } attr { key: "_flag" value { b: true } } } }'
    )

    function = example.functions["f"]

    assert [(argument.name, argument.dtype) for argument in function.inputs] == [("x", "float32"), ("all", None)]
    assert (function.inputs[1].type_attribute, function.inputs[1].number_attribute) == ("T", "N")
    assert function.outputs[0].type_list_attribute == "Ts"
    assert [(node.name, node.op, node.inputs) for node in function.nodes] == [("n", "Neg", ("x",))]
    assert dict(function.returns) == {"y": "n:y:0"}
    assert dict(function.control_returns) == {"n": "n"}
    assert dict(function.attributes) == {"_flag": True}


def test_meta_graph_has_signatures() -> None:
    """A tensor has a name, a type and a shape; sparse and composite tensors have the names of their components."""
    meta_graph = decode_meta_graph(
        message(
            "MetaGraphDef",
            'meta_info_def { tags: "serve" tensorflow_version: "2.21.0" } signature_def { key: "s" value { '
            'inputs { key: "x" value { name: "x:0" dtype: 1 tensor_shape { dim { size: -1 } dim { size: 3 } } } } '
            'inputs { key: "sp" value { dtype: 9 tensor_shape { unknown_rank: true } '
            'coo_sparse { values_tensor_name: "v:0" indices_tensor_name: "i:0" dense_shape_tensor_name: "d:0" } } } '
            'outputs { key: "r" value { dtype: 7 '
            'composite_tensor { components { name: "a:0" } components { name: "b:0" } } } } '
            'method_name: "tensorflow/serving/predict" } }',
        )
    )

    signature = meta_graph.signatures["s"]

    assert (meta_graph.tags, meta_graph.tensorflow_version) == (("serve",), "2.21.0")
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["x"] == SignatureTensor("x:0", "float32", (-1, 3))
    assert signature.inputs["sp"] == SignatureTensor("", "int64", None, ("v:0", "i:0", "d:0"), "sparse")
    assert signature.outputs["r"] == SignatureTensor("", "string", (), ("a:0", "b:0"), "composite")


def test_meta_graph_has_collections_as_tuples() -> None:
    """Values are names of nodes, messages, numbers, or messages with their type."""
    meta_graph = decode_meta_graph(
        message(
            "MetaGraphDef",
            'collection_def { key: "names" value { node_list { value: "n" } } } '
            r'collection_def { key: "messages" value { bytes_list { value: "\001" } } } '
            'collection_def { key: "ints" value { int64_list { value: 3 } } } '
            'collection_def { key: "floats" value { float_list { value: 0.5 } } } '
            'collection_def { key: "any" value { any_list { value { type_url: "t" value: "v" } } } } '
            'collection_def { key: "nothing" value { } }',
        )
    )

    assert dict(meta_graph.collections) == {
        "any": (("t", b"v"),),
        "floats": (0.5,),
        "ints": (3,),
        "messages": (b"\x01",),
        "names": ("n",),
        "nothing": (),
    }


def test_meta_graph_lists_the_variables_in_its_collections() -> None:
    """Each part of a partitioned variable has its position, and the name that it is saved under."""
    collection = with_variables(
        'variable_name: "w/part_0:0" initializer_name: "w/part_0/Assign" '
        'save_slice_info_def { full_name: "w" full_shape: 4 full_shape: 2 var_offset: 2 var_offset: 0 '
        "var_shape: 2 var_shape: 2 }",
        'variable_name: "b:0" is_resource: true',
    )

    assert decode_meta_graph(collection).variables == (
        GraphVariable(
            "w/part_0",
            "w",
            True,
            False,
            "w/part_0/Assign",
            ("variables", "trainable_variables"),
            (4, 2),
            (2, 0),
            (2, 2),
        ),
        GraphVariable("b", "b", False, True, "", ("variables",)),
    )


def with_variables(trainable: str, other: str) -> Any:
    """Return a MetaGraphDef with a trainable and another variable."""
    meta_graph = message("MetaGraphDef", "")
    first, second = (message("VariableDef", text).SerializeToString() for text in (trainable, other))
    meta_graph.collection_def["variables"].bytes_list.value.extend([first, second])
    meta_graph.collection_def["trainable_variables"].bytes_list.value.append(first)
    return meta_graph


def test_size_of_a_meta_graph_file_is_limited() -> None:
    """The file is read into memory as a whole."""
    source = MemorySource(message("MetaGraphDef", 'meta_info_def { tags: "t" }').SerializeToString(), "x.meta")

    assert read_meta_graph(source, Limits(max_graph_bytes=source.size)).tags == ("t",)
    with pytest.raises(LimitExceededError) as caught:
        read_meta_graph(source, Limits(max_graph_bytes=source.size - 1))
    assert (caught.value.limit, caught.value.claimed) == ("max_graph_bytes", source.size)


def test_number_of_nodes_is_limited() -> None:
    """Nodes of functions count, and none is decoded if there are too many."""
    graph_def = message("GraphDef", "node {} library { function { node_def {} node_def {} } }")

    with pytest.raises(LimitExceededError) as caught:
        decode_graph(graph_def, Limits(max_graph_nodes=2))
    assert (caught.value.limit, caught.value.claimed) == ("max_graph_nodes", 3)
    assert len(decode_graph(message("GraphDef", "node {}"), Limits(max_graph_nodes=1))) == 1


def test_meta_graph_file_that_does_not_parse_is_refused() -> None:
    """The error names the file."""
    with pytest.raises(CorruptionError) as caught:
        read_meta_graph(MemorySource(b"\xff\xff", "x.meta"))
    assert caught.value.path == "x.meta"


def test_graph_saved_with_a_training_checkpoint_is_read(data: Path) -> None:
    """The graph of a real training run has readable attributes and trainable variables."""
    with tfckpt.open(data / "digits-train" / "model.ckpt-322") as checkpoint:
        assert checkpoint.graph is not None
        assert checkpoint.meta_graph is not None
        graph, variables = checkpoint.graph, checkpoint.meta_graph.variables

    assert graph["efficientnetv2-digits/stem/conv2d/Conv2D"].attributes["strides"] == (1, 2, 2, 1)
    shape = graph["efficientnetv2-digits/stem/conv2d/kernel/Initializer/random_normal/shape"].attributes["value"]
    assert isinstance(shape, np.ndarray)
    assert shape.tolist() == [3, 3, 3, 8]
    for node in graph:
        assert {name: node.attributes[name] for name in node.attributes}.keys() == set(node.attributes)
    assert len(variables) == 377
    assert sum(variable.trainable for variable in variables) == 75


def test_graph_of_a_sharded_v1_checkpoint_is_found(tmp_path: Path, data: Path) -> None:
    """The shards share one graph file, whose name has no shard number."""
    original = data / "tensorflow" / "v1"
    for number in range(3):
        name = f"spread-{number:05d}-of-00003"
        (tmp_path / name).write_bytes((original / name).read_bytes())
    (tmp_path / "spread.meta").write_bytes((original / "saver" / "model.ckpt-0.meta").read_bytes())

    with tfckpt.open(tmp_path / "spread") as checkpoint:
        assert checkpoint.graph is not None
        assert checkpoint.graph["layer/kernel"].attributes["shape"] == (4, 3)


def test_checkpoint_without_a_graph_has_none(data: Path) -> None:
    """It has no signatures and no SavedModel either."""
    with tfckpt.open(data / "tensorflow" / "v1" / "types") as checkpoint:
        assert checkpoint.graph is None
        assert checkpoint.meta_graph is None
        assert checkpoint.saved_model is None
        assert checkpoint.signatures == {}
