"""The network of a graph, what surrounds it, and what is not accounted for."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import tfckpt
from converter.structure.reading import Reading, read_network

from .graphs import Graph, classifier

DATA = pathlib.Path(__file__).parents[2] / "data"


def read(graph: Graph, *outputs: str) -> Reading:
    """Read the network of a graph that has one."""
    reading = read_network(graph.nodes, signatures=[outputs])
    assert reading is not None
    return reading


def test_layers_of_a_network_are_read_from_the_image_on() -> None:
    """Stride, dilation, padding, batch norm, activation, pooling and dense layer."""
    reading = read(classifier("Relu6"))

    (stem,) = reading.layers
    assert (stem.kernel, stem.op, stem.stride, stem.dilation, stem.padding) == ("stem/kernel", "Conv2D", 2, 1, "SAME")
    assert stem.function is not None and stem.function.activation == "relu6"
    assert reading.dense is not None and reading.dense.kernel == "head/kernel"
    assert (reading.bias, reading.pooling) == ("head/bias", "avg")
    assert (reading.findings, reading.notes, reading.inputs, reading.outputs) == ((), (), (), ())


def test_graph_without_the_network_has_no_reading() -> None:
    """A graph of other variables says nothing."""
    assert read_network(classifier().nodes, owns=lambda key: key.startswith("other")) is None
    assert read_network([]) is None


@pytest.mark.parametrize("dilations", [(1, 2, 2, 1), (1, 2, 1, 1)])
def test_dilation_is_read(dilations: tuple[int, ...]) -> None:
    """One for each direction is None."""
    assert read(classifier(dilations=dilations)).layers[0].dilation == (2 if dilations[2] == 2 else None)


@pytest.mark.parametrize(
    ("pads", "padding"), [((0, 1), "SAME"), ((1, 1), "1 before and 1 after"), ((0, 0), "VALID")], ids=str
)
def test_padding_by_hand_is_same_if_its_numbers_are(pads: tuple[int, int], padding: str) -> None:
    """A kernel of 3 with stride 2 over 32 pixels takes one more pixel after them."""
    graph = Graph()
    image = graph.image()
    if pads != (0, 0):
        image = graph.add("pad", "Pad", image, graph.constant("pads", np.array([[0, 0], pads, pads, [0, 0]])))
    graph.conv("stem", image, 3, 3, 3, 8, stride=2, padding=b"VALID")
    graph.dense("head", graph.pool("pool", graph.norm("bn", "stem", 8)), 8, 5)

    assert read(graph).layers[0].padding == padding


def test_unknown_operation_is_a_finding_with_its_node() -> None:
    """The first operation that is not accounted for is named, not the layer's last one."""
    graph = Graph()
    graph.norm("bn", graph.conv("stem", graph.image(), 3, 3, 3, 8), 8)
    graph.add("odd", "Mul", "bn", graph.constant("two", np.float32(2)))
    graph.dense("head", graph.pool("pool", graph.add("act", "Relu", "odd")), 8, 5)

    (finding,) = read(graph).findings

    assert (finding.node, finding.op) == ("odd", "Mul")


@pytest.mark.parametrize("axes", [(1,), (2, 3), (0, 1, 2)])
def test_pooling_over_other_axes_is_a_finding(axes: tuple[int, ...]) -> None:
    """Only the mean over height and width is pooling."""
    graph = Graph()
    x = graph.norm("bn", graph.conv("stem", graph.image(), 3, 3, 3, 8), 8)
    graph.dense("head", graph.pool("pool", x, axes=axes), 8, 5)

    assert read(graph).findings[0].node == "pool"


def test_scaled_logits_are_a_finding_and_softmax_is_an_output() -> None:
    """What follows the dense layer decides what a caller gets."""
    scaled, soft = classifier(), classifier()
    scaled.add("scaled", "Mul", "head/BiasAdd", scaled.constant("two", np.float32(2)))
    soft.add("probabilities", "Softmax", "head/BiasAdd")

    assert read(scaled).findings[0].node == "scaled"
    assert read(soft).outputs == ("softmax of the logits (probabilities)",)
    assert read(soft, "probabilities:0").outputs == ("softmax of the logits (probabilities)",)


def train(graph: Graph, logits: str) -> None:
    """Add a loss of some logits, its mean over the batch, and a metric."""
    labels = graph.add("labels", "Placeholder")
    graph.add("loss", "SparseSoftmaxCrossEntropyWithLogits", logits, labels)
    graph.add("total", "Mean", "loss", graph.constant("over all", np.int32([0])))
    graph.add("right", "Equal", graph.add("classes", "ArgMax", "head/BiasAdd", graph.constant("axis", 1)), labels)
    graph.add("accuracy", "Mean", "right", "over all")


def double(graph: Graph, factor: str = "constant") -> str:
    """Add logits times 2, or times a variable."""
    by = graph.constant("two", np.float32(2)) if factor == "constant" else graph.variable("temperature", 1)
    return graph.add("scaled", "Mul", "head/BiasAdd", by)


@pytest.mark.parametrize("factor", ["constant", "variable"])
@pytest.mark.parametrize("trained", ["plain", "scaled", "not"])
@pytest.mark.parametrize("served", ["plain", "softmax", "scaled", "softmax of scaled", "not"])
def test_scaled_logits_are_a_finding_if_they_are_what_the_graph_returns(trained: str, served: str, factor: str) -> None:
    """What a graph returns decides, not what it is trained with; without an output, what it is trained with does."""
    graph = classifier()
    scaled = double(graph, factor)
    if trained != "not":
        train(graph, scaled if trained == "scaled" else "head/BiasAdd")
    if served in ("plain", "softmax"):
        graph.add("output", "Identity" if served == "plain" else "Softmax", "head/BiasAdd")
    elif served != "not":
        graph.add("output", "Identity" if served == "scaled" else "Softmax", scaled)
    if trained != "scaled" and not served.endswith("scaled"):
        graph.add("summary", "HistogramSummary", graph.constant("tag", b"scaled"), scaled)
    if (trained, served) == ("not", "not"):
        graph.add("also", "Identity", "head/BiasAdd")

    findings = [finding.node for finding in read(graph).findings]

    assert findings == (["scaled"] if served.endswith("scaled") or (trained, served) == ("scaled", "not") else [])


def test_loss_that_nothing_reduces_counts_as_an_output_and_the_finding_says_so() -> None:
    """Its mean over the images is a loss; with a signature the graph says itself what it returns."""
    graph = classifier()
    graph.add("each", "Square", "head/BiasAdd")
    reduced = classifier()
    reduced.add("each", "Square", "head/BiasAdd")
    reduced.add("total", "Mean", "each", reduced.constant("axes", np.int32([0, 1])))
    reduced.add("output", "Identity", "head/BiasAdd")

    (finding,) = read(graph).findings
    (returned,) = read(graph, "each:0").findings

    assert "a loss for each image" in finding.expected
    assert "a loss for each image" not in returned.expected
    assert read(reduced).findings == ()


@pytest.mark.parametrize("kind", ["int32", "float32"])
@pytest.mark.parametrize("source", ["placeholder", "iterator"])
def test_loss_for_each_image_is_no_output_if_it_takes_whole_numbers_as_labels_are(kind: str, source: str) -> None:
    """A loss written by hand that nothing reduces; labels that are not whole numbers could be anything."""
    graph = classifier()
    if source == "placeholder":
        labels = graph.add("labels", "Placeholder", dtype=kind)
    else:
        labels = graph.add("next", "IteratorGetNext", output_types=("string", kind)) + ":1"
    graph.add("each", "Square", graph.add("difference", "Sub", "head/BiasAdd", graph.add("cast", "Cast", labels)))

    assert [finding.node for finding in read(graph).findings] == ([] if kind == "int32" else ["difference"])


def test_what_the_first_signature_returns_decides() -> None:
    """Another signature may return the logits all the same."""
    graph = classifier()
    scaled = double(graph)

    def find(*signatures: list[str]) -> tuple[int, tuple[str, ...]]:
        reading = read_network(graph.nodes, signatures=signatures)
        assert reading is not None
        return len(reading.findings), reading.outputs

    assert find([scaled], ["head/BiasAdd"]) == (1, ())
    assert find(["head/BiasAdd"], [scaled]) == (0, ())
    assert find(["head/BiasAdd", scaled]) == (0, ("also Mul of the logits (scaled)",))


def test_losses_and_gradients_are_outside() -> None:
    """A loss takes the logits, and a gradient multiplies by the kernel transposed."""
    graph = classifier()
    graph.add("loss", "SparseSoftmaxCrossEntropyWithLogits", "head/BiasAdd", graph.add("labels", "Placeholder"))
    graph.add("gradient", "MatMul", "loss:1", "head/kernel/read", transpose_b=True)

    assert (read(graph).findings, read(graph).outputs) == ((), ())


def test_flattened_logits_of_a_loss_and_gradients_of_its_labels_are_outside() -> None:
    """Losses of TensorFlow 1 flatten logits first, and nothing reads the gradient of the labels."""
    graph = classifier()
    labels = graph.add("labels", "Placeholder")
    flat = graph.add("flat", "Reshape", "head/BiasAdd", graph.constant("sizes", np.int32([-1, 5])))
    graph.add("xentropy", "SoftmaxCrossEntropyWithLogits", flat, labels)
    graph.add("gradients/xentropy_grad/LogSoftmax", "LogSoftmax", flat)
    graph.add("gradients/xentropy_grad/mul", "Mul", "gradients/xentropy_grad/LogSoftmax", "xentropy:1")
    own = classifier()
    own.add("gradients/other_grad/scaled", "Mul", "head/BiasAdd", own.constant("two", np.float32(2)))

    assert (read(graph).findings, read(graph).outputs) == ((), ())
    assert read(own).findings[0].op == "Mul"  # a scope of that name, but of no operation


def test_scale_and_shift_of_the_image_are_an_input() -> None:
    """Preprocessing in the graph is said, and anything else a finding."""
    graph = Graph()
    graph.add("shifted", "Sub", graph.image(), graph.constant("mean", np.float32([1, 2, 3])))
    graph.add("scaled", "RealDiv", "shifted", graph.constant("deviation", np.float32(2)))
    graph.conv("stem", "scaled", 3, 3, 3, 8)
    graph.dense("head", graph.pool("pool", "stem"), 8, 5)
    other = Graph()
    other.conv("stem", other.add("odd", "Square", other.image()), 3, 3, 3, 8)
    other.dense("head", other.pool("pool", "stem"), 8, 5)

    assert read(graph).inputs == ("x * (0.5) + (-0.5, -1, -1.5) (scaled)",)
    assert read(other).findings[0].node == "odd"


def test_residual_additions_and_gates_are_read() -> None:
    """An addition names the layers before its map, and a gate belongs to the layer it is applied before."""
    graph = Graph()
    x = graph.add("act", "Relu", graph.norm("bn", graph.conv("stem", graph.image(), 3, 3, 3, 8), 8))
    pooled = graph.pool("squeeze", x, keep_dims=True)
    reduce = graph.add("bias", "BiasAdd", graph.conv("reduce", pooled, 1, 1, 8, 2), graph.variable("reduce/bias", 2))
    expand = graph.conv("expand", graph.add("inner", "Relu", reduce), 1, 1, 2, 8)
    factors = graph.add("factors", "Sigmoid", graph.add("bias_1", "BiasAdd", expand, graph.variable("expand/bias", 8)))
    y = graph.norm("bn_1", graph.conv("project", graph.add("gated", "Mul", factors, x), 1, 1, 8, 8), 8)
    graph.dense("head", graph.pool("pool", graph.add("sum", "AddV2", y, x)), 8, 5)

    stem, project = read(graph).layers

    assert (stem.shortcut, project.shortcut, stem.gate) == (None, 1, None)
    assert project.gate is not None and (project.gate.reduce.kernel, project.gate.expand.kernel) == (
        "reduce/kernel",
        "expand/kernel",
    )
    assert read(graph).findings == ()


def test_network_without_a_classifier_ends_in_its_last_map() -> None:
    """The batch norm and activation after the last convolution belong to it."""
    graph = Graph()
    graph.add("act", "Relu", graph.norm("bn", graph.conv("stem", graph.image(), 3, 3, 3, 8), 8))

    (stem,) = read(graph).layers

    assert stem.function is not None and (stem.function.activation, stem.norm is not None) == ("relu", True)


def test_copies_that_differ_are_a_finding() -> None:
    """A graph may compute a network for training and for evaluation; both must be the same."""
    graph = classifier()
    other = Graph()
    other.nodes = list(graph.nodes)
    for copied in (graph, other):
        activation = "Relu" if copied is graph else "Relu6"
        copied.add("stem_1", "Conv2D", "image", "stem/kernel/read", strides=(1, 2, 2, 1), padding=b"SAME")
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        copied.add("bn_1", "FusedBatchNormV3", "stem_1", *(f"bn/{name}/read" for name in names), is_training=False,
                   epsilon=1e-3)  # fmt: skip
        pooled = copied.pool("pool_1", copied.add("act_1", activation, "bn_1"))
        copied.add("logits_1", "BiasAdd", copied.add("head_1", "MatMul", pooled, "head/kernel/read"), "head/bias/read")

    assert read(graph).findings == () and read(graph).notes == ("the graph computes 2 copies of the network",)
    assert len(read(other).findings) == 1


FIXTURES = {
    "training": "digits-train",
    "evaluation": "digits/efficientnetv2-digits",
    "keras 3": "keras/keras3/exported",
    "keras V1": "keras/v1/saved_model",
    "keras V2": "keras/v2/saved_model",
    "objects": "savedmodel",
}


@pytest.mark.parametrize("folder", FIXTURES.values(), ids=FIXTURES.keys())
def test_graphs_of_real_programs_are_accounted_for(folder: str) -> None:
    """Graphs that TensorFlow wrote have no operation that does not belong to a layer."""
    with tfckpt.open(DATA / folder) as checkpoint:
        meta = checkpoint.meta_graph
    assert meta is not None
    served = [one.name for one in meta.signatures.get("serving_default", EMPTY).outputs.values()]

    reading = read_network(meta.graph.nodes, meta.graph.functions, signatures=[served])

    assert reading is not None
    assert (reading.findings, reading.notes) == ((), ())
    assert {layer.function.activation for layer in reading.layers if layer.function} == {"silu", "identity"}
    assert {layer.norm.epsilon for layer in reading.layers if layer.norm} == {1e-3}
    assert {layer.padding for layer in reading.layers} == {"SAME"}


EMPTY = tfckpt.Signature("", {}, {}, "")
