"""SavedModels in folders and archives: meta graphs, signatures, variables."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests.arrays import digest
from tests.builders import MemorySource
from tests.tfckpt.recorded import TENSORFLOW, expected
from tfckpt import protos
from tfckpt.errors import CorruptionError, LimitExceededError
from tfckpt.graphs.saved_model import SavedModel, decode_saved_model, read_saved_model
from tfckpt.graphs.text import read_text_message
from tfckpt.limits import Limits
from tfckpt.storage.local import LocalStorage

CASES = ("savedmodel-tf1", "savedmodel-tf2")


def encoded(*tags: list[str]) -> MemorySource:
    """Encode a SavedModel file with a meta graph for each list of tags."""
    message = protos.message_class("SavedModel")(saved_model_schema_version=1)
    for meta_graph_tags in tags:
        message.meta_graphs.add().meta_info_def.tags.extend(meta_graph_tags)
    return MemorySource(message.SerializeToString(), "saved_model.pb")


@pytest.mark.parametrize("case", CASES)
def test_signatures_equal_tensorflows_record(case: str) -> None:
    """Names, types, shapes and method names in each meta graph."""
    with tfckpt.open(TENSORFLOW / case) as checkpoint:
        saved_model = checkpoint.saved_model

    assert saved_model is not None
    assert saved_model.schema_version == 1
    assert [_as_record(meta_graph) for meta_graph in saved_model.meta_graphs] == [
        {"tags": record["tags"], "signatures": _without_init(record["signatures"])}
        for record in expected(case)["meta_graphs"]
    ]


def _as_record(meta_graph: tfckpt.MetaGraph) -> Any:
    return {
        "tags": list(meta_graph.tags),
        "signatures": {
            name: {
                "method_name": signature.method_name,
                "inputs": _tensors(signature.inputs),
                "outputs": _tensors(signature.outputs),
            }
            for name, signature in _without_init(meta_graph.signatures).items()
        },
    }


def _tensors(tensors: Any) -> Any:
    return {
        name: {
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": None if tensor.shape is None else list(tensor.shape),
        }
        for name, tensor in tensors.items()
    }


def _without_init(signatures: Any) -> Any:
    return {name: signature for name, signature in signatures.items() if name != "__saved_model_init_op"}


@pytest.mark.parametrize("case", CASES)
def test_variables_of_a_saved_model_are_read(case: str) -> None:
    """They are a checkpoint, name-based in an export of TF1 and object-based in one of TF2."""
    (record,) = expected(case)["checkpoints"]

    with tfckpt.open(TENSORFLOW / case) as checkpoint:
        assert {name: digest(checkpoint[name]) for name in checkpoint} == {
            tensor["name"]: tensor["sha256"] for tensor in record["tensors"]
        }
        assert (checkpoint.object_graph is None) == (case == "savedmodel-tf1")
        assert checkpoint["dense/kernel"].shape == (3, 2)


def test_signatures_are_those_of_the_default_meta_graph() -> None:
    """The signature for initialization is left out; it is in `meta_graph`."""
    with tfckpt.open(TENSORFLOW / "savedmodel-tf2") as checkpoint:
        assert list(checkpoint.signatures) == ["look_up", "serving_default"]
        assert checkpoint.meta_graph is not None
        assert "__saved_model_init_op" in checkpoint.meta_graph.signatures
        signature = checkpoint.signatures["serving_default"]

    assert signature.inputs["image"].shape == (-1, 3)
    assert {name: tensor.dtype for name, tensor in signature.outputs.items()} == {"best": "int64", "logits": "float32"}


def test_graph_of_a_saved_model_has_its_functions(data: Path) -> None:
    """The serving signature leads to a call of a function, and each constant can be read."""
    with tfckpt.open(data / "savedmodel") as checkpoint:
        graph, signature = checkpoint.graph, checkpoint.signatures["serving_default"]

    assert graph is not None
    call = graph[signature.outputs["logits"].name.partition(":")[0]]
    function = graph.functions[str(call.attributes["f"])]
    assert call.op == "StatefulPartitionedCall"
    assert len(function.inputs) == len(call.inputs)
    assert all(
        isinstance(node.attributes["value"], np.ndarray)
        for called in graph.functions.values()
        for node in called.nodes
        if node.op == "Const"
    )


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        pytest.param([["train"], ["serve"]], 1, id="serve"),
        pytest.param([["serve", "gpu"], ["serve"]], 1, id="serve alone after serve with other tags"),
        pytest.param([["train"], ["serve", "gpu"], ["serve", "tpu"]], 1, id="first serve with other tags"),
        pytest.param([["train"], []], 1, id="no tags, as in TF-Hub modules"),
        pytest.param([["train"], ["eval"]], 0, id="first of all"),
    ],
)
def test_default_meta_graph_is_the_one_for_serving(tags: list[list[str]], chosen: int) -> None:
    """Tags decide which of several meta graphs is used."""
    saved_model = decode_saved_model(encoded(*tags))

    assert saved_model.meta_graph is saved_model.meta_graphs[chosen]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(encoded(), id="no meta graph"),
        pytest.param(MemorySource(b"\xff\xff", "saved_model.pb"), id="not a message"),
    ],
)
def test_invalid_saved_model_is_refused(source: MemorySource) -> None:
    """The error names the file; a SavedModel with an empty meta graph is accepted."""
    assert isinstance(decode_saved_model(encoded([])), SavedModel)
    with pytest.raises(CorruptionError) as caught:
        decode_saved_model(source)
    assert caught.value.path == "saved_model.pb"


def test_size_of_a_saved_model_file_is_limited() -> None:
    """The file is read into memory as a whole."""
    source = encoded(["serve"])

    assert decode_saved_model(source, Limits(max_graph_bytes=source.size))
    with pytest.raises(LimitExceededError) as caught:
        decode_saved_model(source, Limits(max_graph_bytes=source.size - 1))
    assert (caught.value.limit, caught.value.claimed) == ("max_graph_bytes", source.size)


def test_saved_model_in_text_form_is_read(tmp_path: Path) -> None:
    """With the names of TensorFlow's enumerations, and with fields that we do not read."""
    shutil.copytree(TENSORFLOW / "savedmodel-tf1", tmp_path / "text")
    binary = tmp_path / "text" / "saved_model.pb"
    text = protos.format_text(protos.parse("SavedModel", binary.read_bytes()))
    text = re.sub(r"(?m)^( *(?:d?type): )1$", r"\1DT_FLOAT", text) + '\nunknown_field { a: DT_FLOAT b: "DT_FLOAT" }\n'
    assert "dtype: DT_FLOAT" in text
    binary.unlink()
    (tmp_path / "text" / "saved_model.pbtxt").write_text(text)

    with tfckpt.open(tmp_path / "text") as checkpoint, tfckpt.open(TENSORFLOW / "savedmodel-tf1") as original:
        assert list(checkpoint) == ["dense/bias", "dense/kernel"]
        assert checkpoint.signatures == original.signatures
        assert checkpoint.graph is not None and original.graph is not None
        for node, other in zip(checkpoint.graph, original.graph, strict=True):
            assert (node.name, node.op, node.inputs) == (other.name, other.op, other.inputs)
            assert repr(dict(node.attributes)) == repr(dict(other.attributes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "saved_model_schema_version: 1\n",
        "meta_graphs {",
        "meta_graphs { graph_def { node { attr { key: 'T' value { type: DT_NONE } } } } }",
    ],
)
def test_damaged_text_form_is_corrupt(tmp_path: Path, text: str) -> None:
    """An empty file, a fragment and an unknown type are not SavedModels."""
    (tmp_path / "saved_model.pbtxt").write_text(text)

    with pytest.raises(CorruptionError):
        read_saved_model(LocalStorage(), str(tmp_path))


def test_deeply_nested_text_is_corrupt(tmp_path: Path) -> None:
    """It does not reach the limit of Python's stack as an error of Python."""
    text = "graph_def { node { attr { key: 'a' value { " + "func { attr { key: 'a' value { " * 2000
    (tmp_path / "graph.pbtxt").write_text(text)

    with pytest.raises(CorruptionError):
        read_text_message(LocalStorage().open(str(tmp_path / "graph.pbtxt")), "MetaGraphDef")


def test_signatures_are_found_from_any_path_of_a_saved_model() -> None:
    """The path may be the prefix, the index file, the graph file or the folder of the variables."""
    for path in ("variables/variables", "variables/variables.index", "saved_model.pb", "variables"):
        with tfckpt.open(TENSORFLOW / "savedmodel-tf1" / path) as checkpoint:
            assert list(checkpoint.signatures) == ["classify", "serving_default"]


@pytest.mark.parametrize("top", ["", "my-model/1"], ids=["at the top", "in folders"])
def test_saved_model_in_an_archive_is_read(tmp_path: Path, top: str) -> None:
    """TF-Hub provides .tar.gz files whose members begin with `./`; others have folders above."""
    path = tmp_path / "module.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(TENSORFLOW / "savedmodel-tf2", arcname=f"./{top}")

    with tfckpt.open(path) as checkpoint:
        assert list(checkpoint.signatures) == ["look_up", "serving_default"]
        assert checkpoint["dense/kernel"].shape == (3, 2)
        assert checkpoint.object_graph is not None
