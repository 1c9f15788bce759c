"""Parts of a graph as PyTorch modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from converter.engine import graph_module, load_graph
from converter.errors import FeedError, GraphError, TensorNameError
from tests.arrays import distance

from .test_fixtures import DATA, DIGITS_LOGITS, read


def test_module_of_a_saved_model_gives_its_logits() -> None:
    """Without names, inputs and outputs are those of the signature, and outputs come by name."""
    golden = read("savedmodel/golden.npz")

    logits = graph_module(DATA / "savedmodel")(image=torch.tensor(golden["input"]))["logits"]

    assert distance(logits.detach().numpy(), golden["logits"]) < 3e-6


def test_module_computes_in_float64_when_asked() -> None:
    """The dtype is chosen when the module is made."""
    golden = read("savedmodel/golden.npz")

    module = graph_module(DATA / "savedmodel", dtype="float64")

    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}
    assert distance(module(golden["input"])["logits"].detach().numpy(), golden["logits64"]) < 1e-12


def test_module_of_a_meta_graph_needs_only_outputs() -> None:
    """The placeholders on the way are the inputs; one output named alone comes alone."""
    golden = read("digits/probe.npz")

    module = graph_module(DATA / "digits" / "efficientnetv2-digits", outputs=DIGITS_LOGITS, weights="averages")

    assert module.input_names == ("input",)
    assert distance(module(torch.tensor(golden["input"])).detach().numpy(), golden["logits"]) < 1e-6


def test_module_can_be_a_part_of_a_network() -> None:
    """Between two inner tensors, only the variables between them are parameters."""
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


def test_module_says_which_inputs_it_takes() -> None:
    """A name that is none of the inputs is an error that lists them, and so is an input left out."""
    module = graph_module(DATA / "savedmodel")

    with pytest.raises(TypeError, match=r"picture: not an input; the inputs are image"):
        module(picture=np.zeros((1, 45, 45, 3), np.float32))
    with pytest.raises(TypeError, match=r"image: not given"):
        module()


def test_module_refuses_an_input_of_another_shape() -> None:
    """What the placeholder says holds for the module too."""
    module = graph_module(DATA / "savedmodel")

    with pytest.raises(FeedError, match=r"\[1, 44, 45, 3\], and the graph has \[\?, 45, 45, 3\]"):
        module(torch.zeros(1, 44, 45, 3))


def test_graph_without_signature_needs_outputs() -> None:
    """Nothing is guessed where nothing says what the outputs are."""
    with pytest.raises(GraphError, match="name them"):
        graph_module(DATA / "digits" / "efficientnetv2-digits")


def test_unknown_signature_is_refused_with_those_there_are() -> None:
    """The error lists the signatures."""
    with pytest.raises(TensorNameError, match="serving_default"):
        graph_module(DATA / "savedmodel", signature="predict")


def test_module_survives_a_round_trip_through_a_file(tmp_path: Path) -> None:
    """Saved weights load strictly into a module of the same graph."""
    module = graph_module(DATA / "savedmodel")
    torch.save(module.state_dict(), tmp_path / "weights.pth")

    found = graph_module(DATA / "savedmodel").load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))

    assert (found.missing_keys, found.unexpected_keys) == ([], [])
