"""Parts of graphs as PyTorch modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from converter.engine import ReferenceGraph, graph_module, load_graph
from converter.errors import FeedError, GraphError, TensorNameError
from tests.arrays import distance
from tfckpt.graphs.meta_graph import Signature, SignatureTensor

from .graphs import graph, node, placeholder
from .test_fixtures import DATA, DIGITS_LOGITS, load_arrays


def test_module_of_a_saved_model_returns_its_logits() -> None:
    """By default inputs and outputs are those of the signature, and the result is a dict."""
    golden = load_arrays("savedmodel/golden.npz")

    logits = graph_module(DATA / "savedmodel")(image=torch.tensor(golden["input"]))["logits"]

    assert distance(logits.detach().numpy(), golden["logits"]) < 3e-6


def test_module_computes_in_float64_on_request() -> None:
    """The dtype is chosen when the module is created."""
    golden = load_arrays("savedmodel/golden.npz")

    module = graph_module(DATA / "savedmodel", dtype="float64")

    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}
    assert distance(module(golden["input"])["logits"].detach().numpy(), golden["logits64"]) < 1e-12


def test_module_of_a_meta_graph_needs_only_outputs() -> None:
    """The placeholders that the outputs need are the inputs; a single output is returned as a tensor."""
    golden = load_arrays("digits/probe.npz")

    module = graph_module(DATA / "digits" / "efficientnetv2-digits", outputs=DIGITS_LOGITS, weights="averages")

    assert module.input_names == ("input",)
    assert distance(module(torch.tensor(golden["input"])).detach().numpy(), golden["logits"]) < 1e-6


def test_module_can_be_a_part_of_a_network() -> None:
    """A module between two inner tensors has only the variables between them as parameters."""
    graph = load_graph(DATA / "digits" / "efficientnetv2-digits")
    start, end = "efficientnetv2-digits/blocks_0/Add", "efficientnetv2-digits/blocks_1/mul_1"

    module = graph_module(graph, inputs={"x": start}, outputs=[end])

    assert sorted(name for name, _ in module.named_parameters()) == [
        "efficientnetv2-digits.blocks_1.conv2d.kernel",
        "efficientnetv2-digits.blocks_1.tpu_batch_normalization.beta",
        "efficientnetv2-digits.blocks_1.tpu_batch_normalization.gamma",
    ]
    (value,) = module(x=torch.zeros(2, 16, 16, 8))
    assert value.shape == (2, 8, 8, 32)


def test_module_rejects_unknown_and_missing_inputs() -> None:
    """An unknown input and a missing one raise an error that names the inputs."""
    module = graph_module(DATA / "savedmodel")

    with pytest.raises(TypeError, match="image"):
        module(picture=np.zeros((1, 45, 45, 3), np.float32))
    with pytest.raises(TypeError, match="image"):
        module()


def test_module_rejects_an_input_of_a_different_shape() -> None:
    """The shape of the placeholder is checked for a module, too."""
    module = graph_module(DATA / "savedmodel")

    with pytest.raises(FeedError):
        module(torch.zeros(1, 44, 45, 3))


def test_graph_without_signature_requires_outputs() -> None:
    """The outputs are never guessed."""
    with pytest.raises(GraphError):
        graph_module(DATA / "digits" / "efficientnetv2-digits")


def test_unknown_signature_is_rejected_with_the_known_ones() -> None:
    """The error has the unknown name, and lists the signatures."""
    with pytest.raises(TensorNameError, match="serving_default") as caught:
        graph_module(DATA / "savedmodel", signature="predict")

    assert caught.value.name == "predict"


def test_sparse_input_of_a_signature_is_refused_with_its_components() -> None:
    """A sparse tensor has no name of its own; the error says which tensors it consists of."""
    dense, sparse = SignatureTensor("y:0", "float32", (-1,)), ("v:0", "i:0", "d:0")
    signature = Signature(
        "s", {"x": SignatureTensor("", "float32", (-1, 9), sparse, "sparse")}, {"y": dense}, "predict"
    )
    plain = graph(placeholder("v", -1), node("y", "Neg", "v"))
    loaded = ReferenceGraph(plain.graph, path="handmade", signatures={"s": signature})

    with pytest.raises(GraphError, match=r"sparse.*v:0, i:0, d:0"):
        graph_module(loaded)
    with pytest.raises(TensorNameError):
        loaded.run(signature.inputs["x"].name, {})
    assert graph_module(loaded, inputs="v", outputs="y")(torch.ones(2)).tolist() == [-1, -1]


def test_module_survives_a_round_trip_through_a_file(tmp_path: Path) -> None:
    """Saved weights load strictly into another module of the same graph."""
    module = graph_module(DATA / "savedmodel")
    torch.save(module.state_dict(), tmp_path / "weights.pth")

    keys = graph_module(DATA / "savedmodel").load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))

    assert (keys.missing_keys, keys.unexpected_keys) == ([], [])
