"""Networks of the released code that are changed in one place are converted right or refused with the node.

The archives in tests/data/deviations hold TensorFlow's float64 values; those in tests/data/random-networks hold the
names, shapes and graphs of some of the networks that tests/random_networks.py counts.
"""

from __future__ import annotations

import io
import json
import pathlib
import tarfile
from typing import Any

import numpy as np
import pytest

import tfckpt
from converter.conversion import convert, plan_conversion
from converter.errors import GraphError, OtherNetworkError, UnknownModelError
from tfckpt import protos

DATA = pathlib.Path(__file__).parents[2] / "data"
ACTIVATIONS = {None: "silu", "silu_native": "silu", "hswish": "hard_swish"}

RIGHT = {
    "relu6-without-gates": "activation relu6",
    "hard-swish": "activation hard_swish",
    "relu": "activation relu",
    "hard-sigmoid": "gate hard_sigmoid",
    "max-pooling": "pooling max",
    "no-additions": "stage 0 does not add inputs to outputs; stage 2 does not add inputs to outputs",
    "one-activation": "gate activation silu; stage 2 has activation relu",
}

REFUSED = {
    "dilation": ("efficientnetv2-b0/blocks_3/depthwise_conv2d/depthwise/BatchToSpaceND", "BatchToSpaceND"),
    "valid": ("efficientnetv2-b0/stem/conv2d/Conv2D", "Conv2D"),
    "clipped": ("efficientnetv2-b0/blocks_4/clip_by_value/Minimum", "Minimum"),
    "activation-inside": ("efficientnetv2-b0/blocks_2/mul_1", "Mul"),
    "scaled-logits": ("mul", "Mul"),
    "scaled-when-served": ("mul", "Mul"),
}


def truth_of(path: pathlib.Path) -> Any:
    """Read the input and TensorFlow's output of a case."""
    with tarfile.open(path) as archive:
        member = archive.extractfile("truth.npz")
        assert member is not None
        return np.load(io.BytesIO(member.read()))


def compute(path: pathlib.Path, image: Any) -> Any:
    """Convert a case and run it in float64."""
    pytest.importorskip("torch")
    from ...random_networks import compute as run

    return run(convert(path), image)


@pytest.mark.parametrize("name", RIGHT)
def test_network_that_a_configuration_can_describe_is_right(name: str) -> None:
    """Its logits are TensorFlow's to 1e-10 in float64, and the report says what came from the graph."""
    path = DATA / "deviations" / f"{name}.tgz"
    truth = truth_of(path)

    logits = compute(path, truth["input"])

    assert np.abs(logits - truth["output"]).max() <= 1e-10 * np.abs(truth["output"]).max()
    assert convert(path).report.evidence[-1] == f"from the graph: {RIGHT[name]}"


@pytest.mark.parametrize("name", REFUSED)
def test_network_that_no_configuration_describes_is_refused_with_its_node(name: str) -> None:
    """The error has every operation that is not accounted for, and says what works instead."""
    with pytest.raises(OtherNetworkError) as caught:
        convert(DATA / "deviations" / f"{name}.tgz")

    assert (caught.value.node, caught.value.op) == REFUSED[name]
    assert "graph_module" in str(caught.value)


def test_scale_and_shift_of_the_image_are_left_to_the_caller() -> None:
    """The report has them, and an image that was scaled gives TensorFlow's logits."""
    path = DATA / "deviations" / "scaled-input.tgz"
    truth = truth_of(path)

    logits = compute(path, (truth["input"] - 0.5) * 2)

    assert np.abs(logits - truth["output"]).max() <= 1e-10 * np.abs(truth["output"]).max()
    assert convert(path).report.inputs == ("x * (2) + (-1) (mul)",)


def test_logits_that_are_scaled_only_for_the_loss_are_right() -> None:
    """What the graph returns decides, and nothing of the training counts."""
    path = DATA / "deviations" / "scaled-when-trained.tgz"
    truth = truth_of(path)

    logits = compute(path, truth["input"])

    assert np.abs(logits - truth["output"]).max() <= 1e-10 * np.abs(truth["output"]).max()
    assert convert(path).report.outputs == ()


@pytest.mark.parametrize(("name", "layers"), [("trained", 28), ("trained-features", 26)])
def test_graph_of_training_is_read_and_proved_as_the_network_that_it_trains(
    name: str, layers: int, tmp_path: pathlib.Path
) -> None:
    """Its batch norms, fused or written out, take the moving statistics; dropout and stochastic depth are left out."""
    path = DATA / "deviations" / f"{name}.tgz"
    truth = truth_of(path)

    logits = compute(path, truth["input"])
    from converter.exporting import export

    record = export(convert(path), tmp_path / "out.safetensors", proof="require")

    assert np.abs(logits - truth["output"]).max() <= 1e-10 * np.abs(truth["output"]).max()
    assert "one of training" in convert(path).report.notes[0]
    assert record is not None and record.layers is not None and record.layers.count == layers
    assert record.explanation is not None and "moving statistics" in record.explanation


def test_graph_of_training_is_no_proof_without_updates_of_its_statistics(tmp_path: pathlib.Path) -> None:
    """Nothing says then which variables the moving statistics are, so only the weights are proved."""
    pytest.importorskip("torch")
    from converter.exporting import export

    with tarfile.open(DATA / "deviations" / "trained.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    meta = tmp_path / "model.ckpt-1.meta"
    message = protos.parse("MetaGraphDef", meta.read_bytes())
    for node in message.graph_def.node:
        if node.op == "AssignSubVariableOp":
            node.op = "NoOp"
    meta.write_bytes(message.SerializeToString())
    result = convert(tmp_path)

    record = export(result, tmp_path / "out.safetensors")

    assert record is not None and record.reason == "the graph is one of training"
    with pytest.raises(GraphError, match="statistics of the batch"):
        export(result, tmp_path / "other.safetensors", proof="require")
    assert not (tmp_path / "other.safetensors").exists()


def test_graph_for_several_cores_of_a_tpu_is_read_and_proved_once(tmp_path: pathlib.Path) -> None:
    """The images are split between the cores, and every core computes the same network."""
    path = DATA / "deviations" / "replicated.tgz"
    truth = truth_of(path)

    logits = compute(path, truth["input"])
    from converter.exporting import export

    record = export(convert(path), tmp_path / "out.safetensors", proof="require")

    assert np.abs(logits - truth["output"]).max() <= 1e-10 * np.abs(truth["output"]).max()
    assert "several devices" in convert(path).report.notes[0]
    assert record is not None and record.layers is not None and record.layers.count == 28


def sum_over_cores(graph: Any) -> None:
    """Make a graph of training one for two cores of a TPU, as the released code writes its batch norms there."""
    statistics = {node.name for node in graph.node if node.name.endswith(("moments/Squeeze", "moments/Squeeze_1"))}
    for node in graph.node:
        node.input[:] = [f"{name}/of_cores" if name in statistics else name for name in node.input]
        node.input[:] = ["image_of_cores" if name == "images" else name for name in node.input]

    def add(name: str, op: str, *inputs: str) -> str:
        graph.node.add(name=name, op=op, input=inputs)
        return name

    def average(name: str, value: str) -> str:
        return add(f"{name}/average", "RealDiv", add(f"{name}/sum", "CrossReplicaSum", value, "cores"), "two")

    graph.node.add(name="cores", op="Const").attr["value"].tensor.CopyFrom(make_tensor(3, [[0, 1]]))
    graph.node.add(name="two", op="Const").attr["value"].tensor.CopyFrom(make_tensor(1, 2.0))
    add("image_of_cores", "TPUReplicatedInput", "images", "images")
    for mean in [name for name in statistics if name.endswith("moments/Squeeze")]:
        variance = f"{mean}_1"
        add(f"{mean}/of_cores", "Identity", average(mean, mean))
        squares = add(f"{variance}/squares", "AddV2", variance, add(f"{mean}/square", "Square", mean))
        square = add(f"{mean}/of_cores/square", "Square", f"{mean}/of_cores")
        add(f"{variance}/of_cores", "Sub", average(variance, squares), square)


def make_tensor(dtype: int, value: object) -> Any:
    """Return a tensor as a constant holds it."""
    array = np.asarray(value, {1: np.float32, 3: np.int32}[dtype])
    tensor = protos.message_class("TensorProto")(dtype=dtype, tensor_content=array.tobytes())
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def test_graph_of_training_for_several_cores_of_a_tpu_is_read_but_no_proof(tmp_path: pathlib.Path) -> None:
    """Its statistics are averages over the cores, which only a TPU computes; the weights are still right."""
    pytest.importorskip("torch")
    from converter.exporting import export

    with tarfile.open(DATA / "deviations" / "trained-features.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    truth = truth_of(DATA / "deviations" / "trained-features.tgz")
    meta = tmp_path / "model.ckpt-1.meta"
    message = protos.parse("MetaGraphDef", meta.read_bytes())
    sum_over_cores(message.graph_def)
    meta.write_bytes(message.SerializeToString())

    result = convert(tmp_path)
    features = compute(tmp_path, truth["input"])
    record = export(result, tmp_path / "out.safetensors")

    assert np.abs(features - truth["output"]).max() <= 1e-10 * np.abs(truth["output"]).max()
    assert "one of training" in result.report.notes[0]
    assert record is not None and record.layers is None and record.reason == "the graph is one of training"
    with pytest.raises(GraphError, match="statistics of the batch"):
        export(result, tmp_path / "other.safetensors", proof="require")


def test_softmax_of_the_logits_is_left_to_the_caller() -> None:
    """The converted network gives logits."""
    path = DATA / "deviations" / "softmax.tgz"
    truth = truth_of(path)

    exponentials = np.exp(compute(path, truth["input"]))

    assert np.allclose(exponentials / exponentials.sum(1, keepdims=True), truth["output"], rtol=1e-10)
    assert convert(path).report.outputs == ("softmax of the logits (Softmax)",)


@pytest.mark.parametrize("path", sorted((DATA / "random-networks").glob("*.tgz")), ids=lambda path: path.stem)
def test_random_networks_of_the_released_code_are_read_or_refused(path: pathlib.Path) -> None:
    """Activation, epsilon and class count are those that were drawn; group normalization is refused."""
    with tarfile.open(path) as archive:
        member = archive.extractfile("drawn.json")
        assert member is not None
        drawn = json.load(member)["model"]

    with tfckpt.open(path) as checkpoint:
        if drawn["bn_type"] == "gn":
            with pytest.raises(OtherNetworkError):
                plan_conversion(checkpoint)
            return
        config = plan_conversion(checkpoint).config

    assert config is not None
    assert config.activation == ACTIVATIONS.get(drawn["act_fn"], drawn["act_fn"])
    assert config.bn_epsilon == drawn["bn_epsilon"]
    assert config.gate_activation is None


def test_graph_of_a_refused_network_runs_as_the_message_says(tmp_path: pathlib.Path) -> None:
    """A `.meta` has no signatures, so the alternative names an output."""
    pytest.importorskip("torch")
    import torch

    from converter import graph_module

    with tarfile.open(DATA / "deviations" / "dilation.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    with pytest.raises(OtherNetworkError) as caught:
        convert(tmp_path)
    prefix = str(caught.value).rpartition("graph_module('")[2].partition("'")[0]
    truth = truth_of(DATA / "deviations" / "dilation.tgz")

    image, expected = (truth[name] for name in truth.files[:2])
    module = graph_module(prefix, outputs="efficientnetv2-b0/head_1/dense/BiasAdd", dtype="float64")

    np.testing.assert_allclose(module(torch.from_numpy(image)).detach().numpy(), expected, rtol=0, atol=1e-9)


def test_channels_first_are_proved(tmp_path: pathlib.Path) -> None:
    """The graph takes images with channels first, and transposes them for depthwise convolutions."""
    pytest.importorskip("torch")
    from converter.exporting import export

    path = DATA / "deviations" / "channels-first.tgz"
    truth = truth_of(path)

    logits = compute(path, truth["input"])
    record = export(convert(path), tmp_path / "out.safetensors", proof="require")

    assert np.abs(logits - truth["output"]).max() <= 1e-10 * np.abs(truth["output"]).max()
    assert record is not None and record.layers is not None and record.layers.count == 28


@pytest.mark.parametrize("name", [*RIGHT, "scaled-input", "scaled-when-trained", "softmax"])
def test_every_layer_of_a_right_network_is_proved(name: str, tmp_path: pathlib.Path) -> None:
    """Whatever its activations and gates are made of, each layer is paired with the graph's and agrees with it."""
    pytest.importorskip("torch")
    from converter.exporting import export

    result = convert(DATA / "deviations" / f"{name}.tgz")

    record = export(result, tmp_path / "out.safetensors", proof="require")

    assert record is not None
    assert record.layers is not None
    assert record.layers.count == 28 - 14 * (name == "relu6-without-gates") - 4 * (name == "no-additions")


def test_activation_of_the_caller_must_not_contradict_the_graph() -> None:
    """The error has both, and an equal one changes nothing."""
    path = DATA / "deviations" / "hard-swish.tgz"

    with pytest.raises(UnknownModelError, match=r"relu6.*hard_swish"):
        convert(path, activation="relu6")
    assert convert(path, activation="hard_swish").config == convert(path).config
    with pytest.raises(UnknownModelError, match=r"hard_swish.*silu and relu"):
        convert(DATA / "deviations" / "one-activation.tgz", activation="hard_swish")
