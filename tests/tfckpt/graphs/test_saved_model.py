"""SavedModel folders: meta graphs, signatures, variables, from folders and archives."""

from __future__ import annotations

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
from tfckpt.errors import CorruptionError, LimitExceededError, UnsupportedFeatureError
from tfckpt.graphs.saved_model import SavedModel, decode_saved_model
from tfckpt.limits import Limits

CASES = ("savedmodel-tf1", "savedmodel-tf2")


def encoded(*tags: list[str]) -> MemorySource:
    """A SavedModel file with a meta graph for each list of tags."""
    message = protos.message_class("SavedModel")(saved_model_schema_version=1)
    for some in tags:
        message.meta_graphs.add().meta_info_def.tags.extend(some)
    return MemorySource(message.SerializeToString(), "saved_model.pb")


@pytest.mark.parametrize("case", CASES)
def test_saved_model_gives_the_signatures_tensorflow_recorded(case: str) -> None:
    """Names, types, shapes and method of every meta graph."""
    with tfckpt.open(TENSORFLOW / case) as checkpoint:
        found = checkpoint.saved_model

    assert found is not None
    assert found.schema_version == 1
    assert [_as_record(meta_graph) for meta_graph in found.meta_graphs] == [
        {"tags": record["tags"], "signatures": _known(record["signatures"])} for record in expected(case)["meta_graphs"]
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
            for name, signature in meta_graph.signatures.items()
            if name != "__saved_model_init_op"
        },
    }


def _tensors(tensors: Any) -> Any:
    return {
        name: {"name": one.name, "dtype": one.dtype, "shape": None if one.shape is None else list(one.shape)}
        for name, one in tensors.items()
    }


def _known(signatures: Any) -> Any:
    return {name: signature for name, signature in signatures.items() if name != "__saved_model_init_op"}


@pytest.mark.parametrize("case", CASES)
def test_saved_model_gives_its_variables(case: str) -> None:
    """As an ordinary checkpoint; TF1 exports are name-based, TF2 exports are objects."""
    (record,) = expected(case)["checkpoints"]

    with tfckpt.open(TENSORFLOW / case) as checkpoint:
        assert {name: digest(checkpoint[name]) for name in checkpoint} == {
            tensor["name"]: tensor["sha256"] for tensor in record["tensors"]
        }
        assert (checkpoint.object_graph is None) == (case == "savedmodel-tf1")
        assert checkpoint["dense/kernel"].shape == (3, 2)


def test_signatures_are_those_of_the_meta_graph_that_is_meant() -> None:
    """Without the one under which TensorFlow keeps the initialisation; it stands in `meta_graph`."""
    with tfckpt.open(TENSORFLOW / "savedmodel-tf2") as checkpoint:
        assert list(checkpoint.signatures) == ["look_up", "serving_default"]
        assert checkpoint.meta_graph is not None
        assert "__saved_model_init_op" in checkpoint.meta_graph.signatures
        signature = checkpoint.signatures["serving_default"]

    assert signature.inputs["image"].shape == (-1, 3)
    assert {name: tensor.dtype for name, tensor in signature.outputs.items()} == {"best": "int64", "logits": "float32"}


def test_graph_of_a_saved_model_has_its_functions(data: Path) -> None:
    """The serving function leads to a call, and every call and constant can be followed."""
    with tfckpt.open(data / "savedmodel") as checkpoint:
        graph, signature = checkpoint.graph, checkpoint.signatures["serving_default"]

    assert graph is not None
    call = graph[signature.outputs["logits"].name.partition(":")[0]]
    function = graph.functions[str(call.attributes["f"])]
    assert call.op == "StatefulPartitionedCall"
    assert len(function.inputs) == len(call.inputs)
    assert all(
        isinstance(node.attributes["value"], np.ndarray)
        for one in graph.functions.values()
        for node in one.nodes
        if node.op == "Const"
    )


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        pytest.param([["train"], ["serve"]], 1, id="served alone"),
        pytest.param([["serve", "gpu"], ["serve"]], 1, id="served alone after served with more"),
        pytest.param([["train"], ["serve", "gpu"], ["serve", "tpu"]], 1, id="first that is served with more"),
        pytest.param([["train"], []], 1, id="without tags, as TF-Hub modules have it"),
        pytest.param([["train"], ["eval"]], 0, id="first of all"),
    ],
)
def test_meta_graph_that_is_meant_is_the_one_that_serves(tags: list[list[str]], chosen: int) -> None:
    """Of several meta graphs one is meant when nobody says which."""
    found = decode_saved_model(encoded(*tags))

    assert found.meta_graph is found.meta_graphs[chosen]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(encoded(), "without a meta graph", id="no meta graph"),
        pytest.param(MemorySource(b"\xff\xff", "saved_model.pb"), "do not parse as SavedModel", id="no message"),
    ],
)
def test_saved_model_that_is_none_is_refused(source: MemorySource, message: str) -> None:
    """The error names the file; the nearest legal twin has one meta graph without anything."""
    assert isinstance(decode_saved_model(encoded([])), SavedModel)
    with pytest.raises(CorruptionError, match=message) as caught:
        decode_saved_model(source)
    assert caught.value.path == "saved_model.pb"


def test_saved_model_file_is_limited() -> None:
    """It is read whole."""
    source = encoded(["serve"])

    assert decode_saved_model(source, Limits(max_graph_bytes=source.size))
    with pytest.raises(LimitExceededError, match="max_graph_bytes"):
        decode_saved_model(source, Limits(max_graph_bytes=source.size - 1))


def test_text_form_of_a_saved_model_leaves_the_variables_readable(tmp_path: Path) -> None:
    """The graph in saved_model.pbtxt is not read, and that is said when it is asked for."""
    shutil.copytree(TENSORFLOW / "savedmodel-tf1" / "variables", tmp_path / "variables")
    (tmp_path / "saved_model.pbtxt").write_text("saved_model_schema_version: 1\n")

    with tfckpt.open(tmp_path) as checkpoint:
        assert list(checkpoint) == ["dense/bias", "dense/kernel"]
        with pytest.raises(UnsupportedFeatureError, match="the text form"):
            checkpoint.graph  # noqa: B018  # reading it is what fails


def test_variables_of_a_saved_model_know_their_graph_from_any_side() -> None:
    """Opened by prefix or index file, the checkpoint still has the signatures of the folder above."""
    for given in ("variables/variables", "variables/variables.index", "saved_model.pb", "variables"):
        with tfckpt.open(TENSORFLOW / "savedmodel-tf1" / given) as checkpoint:
            assert list(checkpoint.signatures) == ["classify", "serving_default"]


@pytest.mark.parametrize("top", ["", "my-model/1"], ids=["at the top", "in folders"])
def test_saved_model_in_an_archive_is_the_same(tmp_path: Path, top: str) -> None:
    """As TF-Hub delivers them: a .tar.gz whose members begin with `./`, or stand in a folder."""
    path = tmp_path / "module.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(TENSORFLOW / "savedmodel-tf2", arcname=f"./{top}")

    with tfckpt.open(path) as checkpoint:
        assert list(checkpoint.signatures) == ["look_up", "serving_default"]
        assert checkpoint["dense/kernel"].shape == (3, 2)
        assert checkpoint.object_graph is not None
