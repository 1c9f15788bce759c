"""The engine on whole networks that TensorFlow trained, saved and ran."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from converter.engine import ReferenceGraph, load_graph
from converter.engine.values import Array
from converter.engine.variables import Weights
from converter.errors import GraphError
from tests.arrays import distance
from tfckpt.graphs.graph import Graph

DATA = Path(__file__).parents[2] / "data"
DIGITS_LOGITS = "efficientnetv2-digits/head_1/dense/BiasAdd"
SERVED = "StatefulPartitionedCall/StatefulPartitionedCall/efficientnetv2-b0/"
#: The difference between TensorFlow's own float32 and float64 logits, relative to the largest logit.
NOISE = {"digits": 4e-7, "savedmodel": 1.4e-6}
#: The endpoints that TensorFlow reports, and their tensors in the graph.
ENDPOINTS = {
    "stem": "stem/mul_1",
    "block_0": "blocks_0/Add",
    "reduction_1": "blocks_0/Add",
    "block_1": "blocks_1/tpu_batch_normalization_1/FusedBatchNormV3",
    "block_1/expansion_output": "blocks_1/mul_1",
    "block_2": "blocks_2/Add",
    "block_2/expansion_output": "blocks_2/mul_1",
    "block_3": "blocks_3/tpu_batch_normalization_2/FusedBatchNormV3",
    "block_3/expansion_output": "blocks_3/se/mul_2",
    "block_4": "blocks_4/Add",
    "block_4/expansion_output": "blocks_4/se/mul_2",
    "block_5": "blocks_5/tpu_batch_normalization_2/FusedBatchNormV3",
    "block_5/expansion_output": "blocks_5/se/mul_2",
    "block_6": "blocks_6/Add",
    "block_6/expansion_output": "blocks_6/se/mul_2",
    "features": "blocks_6/Add",
    "head_1x1": "head/mul_1",
    "pooled_features": "head/global_average_pooling2d/Mean",
}


def load_arrays(name: str) -> dict[str, Array]:
    """Return the arrays of a golden file."""
    with np.load(DATA / name) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="module")
def digits() -> ReferenceGraph:
    """The trained network with its inference graph, raw weights and averages."""
    return load_graph(DATA / "digits" / "efficientnetv2-digits")


@pytest.fixture(scope="module")
def saved_model() -> ReferenceGraph:
    """A network of the same kind, saved as a SavedModel."""
    return load_graph(DATA / "savedmodel")


@pytest.fixture(scope="module")
def pixels() -> Array:
    """The test images, preprocessed for the network."""
    images = load_arrays("digits/digits-test.npz")["images"].repeat(4, axis=1).repeat(4, axis=2)
    return np.repeat(((images.astype(np.float32) - 8) / 8)[..., None], 3, axis=3)


@pytest.mark.parametrize(("weights", "key"), [("averages", "logits"), ("raw", "logits_raw"), ("graph", "logits_raw")])
def test_digits_logits_agree_with_tensorflow(digits: ReferenceGraph, pixels: Array, weights: Weights, key: str) -> None:
    """Averages and raw weights reproduce TensorFlow's logits: exactly in float64, in float32 to twice its own noise."""
    golden = load_arrays("digits/digits-test.npz")

    wide = digits.run(DIGITS_LOGITS, {"input": pixels}, dtype="float64", weights=weights)
    narrow = digits.run(DIGITS_LOGITS, {"input": pixels}, dtype="float32", weights=weights)

    assert distance(wide, golden[f"{key}64"]) < 1e-12
    assert distance(narrow, golden[f"{key}64"]) < 2 * NOISE["digits"]


def test_graph_with_an_optimizer_returns_the_same_logits(pixels: Array) -> None:
    """The graph and checkpoint of a training run work without running operations that only training needs."""
    graph = load_graph(DATA / "digits-train")

    logits = graph.run(DIGITS_LOGITS, {"input": pixels}, dtype="float64", weights="averages")
    operations = {operation.op for operation in graph.operations([DIGITS_LOGITS], ["input"])}

    assert distance(logits, load_arrays("digits/digits-test.npz")["logits64"]) < 1e-12
    assert not operations & {"ResourceApplyRMSProp", "AssignVariableOp", "SaveV2", "RestoreV2"}


def test_digits_endpoints_agree_with_tensorflow(digits: ReferenceGraph) -> None:
    """Every endpoint that TensorFlow reports equals the corresponding tensor of the engine."""
    golden = load_arrays("digits/probe.npz")

    tensors = digits.evaluator(weights="averages").intermediates(DIGITS_LOGITS, {"input": golden["input"]})

    for endpoint, tensor in ENDPOINTS.items():
        assert distance(tensors[f"efficientnetv2-digits/{tensor}"], golden[f"endpoint:{endpoint}"]) < 1e-6, endpoint


def test_saved_model_agrees_with_tensorflow(saved_model: ReferenceGraph) -> None:
    """The signature returns TensorFlow's logits, through two nested function calls."""
    golden = load_arrays("savedmodel/golden.npz")
    signature = saved_model.signature()
    feeds = {signature.inputs["image"].name: golden["input"]}

    wide = saved_model.run(signature.outputs["logits"].name, feeds, dtype="float64")
    narrow = saved_model.run(signature.outputs["logits"].name, feeds)

    assert distance(wide, golden["logits64"]) < 1e-12
    assert distance(narrow, golden["logits64"]) < 2 * NOISE["savedmodel"]


def test_saved_model_endpoints_agree_with_tensorflow(saved_model: ReferenceGraph) -> None:
    """Tensors inside functions are fetched by names that start with the names of the calls."""
    golden = load_arrays("savedmodel/golden.npz")

    names = [SERVED + tensor for tensor in ENDPOINTS.values()]
    values = saved_model.run(names, {"serving_default_image": golden["input"]})

    for endpoint, value in zip(ENDPOINTS, values, strict=True):
        assert distance(value, golden[f"endpoint:{endpoint}"]) < 2 * NOISE["savedmodel"], endpoint


def test_keys_come_from_the_save_operations(digits: ReferenceGraph) -> None:
    """The save operations say under which name a variable is stored, if it is not the variable's own."""
    source = digits.sources["efficientnetv2-digits/head_1/dense/kernel"]

    assert source.name == "efficientnetv2-digits/head/dense/kernel"


def test_keys_of_a_saved_model_come_from_its_functions(saved_model: ReferenceGraph) -> None:
    """Its objects and its function that saves agree on the key of every variable."""
    saved = ReferenceGraph(saved_model.graph, path="without objects", checkpoint=saved_model.checkpoint).sources

    assert saved_model.sources["efficientnetv2-b0/head/dense/bias"].name == "variables/112/.ATTRIBUTES/VARIABLE_VALUE"
    assert dict(saved_model.sources) == dict(saved)


def test_keys_of_a_saved_model_come_from_its_objects(saved_model: ReferenceGraph) -> None:
    """Without a function that saves, the captured arguments still determine the keys."""
    served = [
        node
        for node in saved_model.graph
        if node.name not in ("StatefulPartitionedCall_1", "StatefulPartitionedCall_2")
    ]
    objects = (
        saved_model.checkpoint.meta_graph.objects
        if saved_model.checkpoint and saved_model.checkpoint.meta_graph
        else None
    )
    bare = ReferenceGraph(
        Graph(tuple(served), saved_model.graph.functions),
        path="bare",
        checkpoint=saved_model.checkpoint,
        objects=objects,
    )

    assert dict(bare.sources) == dict(saved_model.sources)
    assert len(bare.sources) == 113


def test_graph_knows_which_variables_were_trained(saved_model: ReferenceGraph, digits: ReferenceGraph) -> None:
    """The objects of a SavedModel and the collections of a training graph both contain this."""
    assert saved_model.trainable["efficientnetv2-b0/head/dense/bias"]
    assert not saved_model.trainable["efficientnetv2-b0/stem/tpu_batch_normalization/moving_mean"]
    assert digits.trainable["efficientnetv2-digits/stem/conv2d/kernel"]
    assert not digits.trainable["efficientnetv2-digits/stem/tpu_batch_normalization/moving_mean"]


def test_names_are_the_last_resort(digits: ReferenceGraph, pixels: Array) -> None:
    """Without save and restore operations, variables are looked up by their own names."""
    inference = [node for node in digits.graph if node.op not in ("SaveV2", "RestoreV2") and "Assign" not in node.op]
    bare = ReferenceGraph(Graph(tuple(inference)), path="bare", checkpoint=digits.checkpoint)
    tensor = "efficientnetv2-digits/blocks_6/Add"

    value = bare.run(tensor, {"input": pixels[:2]})

    assert bare.sources == {}
    np.testing.assert_array_equal(value, digits.run(tensor, {"input": pixels[:2]}))


def test_keys_come_from_restore_operations_when_nothing_is_saved(digits: ReferenceGraph) -> None:
    """In a graph that only restores, the assigns of RestoreV2's outputs determine the keys."""
    graph = Graph(tuple(node for node in digits.graph if node.op != "SaveV2"))

    sources = ReferenceGraph(graph, path="restoring", checkpoint=digits.checkpoint).sources

    assert sources == dict(digits.sources)


def test_any_tensor_can_be_fed_instead_of_computed(digits: ReferenceGraph, pixels: Array) -> None:
    """If the output of the stem is fed, the result is the same, and nothing before it runs."""
    stem, end = "efficientnetv2-digits/stem/mul_1", "efficientnetv2-digits/blocks_1/mul_1"
    value = digits.run(stem, {"input": pixels[:2]})

    output = digits.run(end, {stem: value})

    np.testing.assert_array_equal(output, digits.run(end, {"input": pixels[:2]}))
    assert "efficientnetv2-digits/stem/conv2d/Conv2D" not in {step.name for step in digits.operations([end], [stem])}


def test_batches_and_sizes_are_those_of_the_feed(saved_model: ReferenceGraph) -> None:
    """A dimension that is unknown in the graph accepts any size."""
    image = load_arrays("savedmodel/golden.npz")["input"]

    single = saved_model.run("StatefulPartitionedCall", {"serving_default_image": image[:1]})
    empty = saved_model.run("StatefulPartitionedCall", {"serving_default_image": image[:0]})

    assert (single.shape, empty.shape) == ((1, 7), (0, 7))


@pytest.mark.parametrize("name", [".index", ".meta"])
def test_graph_of_a_prefix_without_a_name_keeps_its_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix of `dir/.index` is the folder's path, and another checkpoint in the folder does not replace it."""
    for path in (DATA / "digits-train").glob("model.ckpt-322.*"):
        shutil.copy(path, tmp_path / path.name.removeprefix("model.ckpt-322"))
    for path in (DATA / "tensorflow" / "v1" / "saver").glob("model.ckpt-0*"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)

    for path in (tmp_path / name, name):
        with load_graph(path) as graph:
            assert graph.checkpoint is not None
            assert len(graph.checkpoint) == 377


def test_checkpoint_of_objects_has_no_graph() -> None:
    """If there are only weights, the error names the file that was expected."""
    with pytest.raises(GraphError, match=r"ckpt\.meta"):
        load_graph(DATA / "objects")


def test_graph_closes_the_checkpoint_it_opened(digits: ReferenceGraph) -> None:
    """A checkpoint that the caller passes stays open."""
    with load_graph(DATA / "digits" / "efficientnetv2-digits") as own:
        checkpoint = own.checkpoint
        assert checkpoint is not None
    with load_graph(DATA / "digits" / "efficientnetv2-digits", checkpoint=digits.checkpoint):
        pass

    with pytest.raises(ValueError, match="closed"):
        len(checkpoint)
    assert digits.checkpoint is not None
    assert len(digits.checkpoint) > 0
