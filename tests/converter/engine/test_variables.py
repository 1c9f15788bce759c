"""Variables: the sources of their values, and the operations that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfckpt
from converter.engine import ReferenceGraph, graph_module, load_graph
from converter.engine.values import Array
from tfckpt.checkpoint import Checkpoint

from .graphs import boolean, call, constant, function, function_attribute, graph, integers, node, placeholder
from .test_fixtures import DATA

KERNEL = "efficientnetv2-digits/head/dense/kernel"
STORED = DATA / "tensorflow"


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """The checkpoint of the trained network."""
    return tfckpt.open(DATA / "digits" / "efficientnetv2-digits")


@pytest.fixture(scope="module")
def kernel(checkpoint: Checkpoint) -> Array:
    """The kernel of the classifier."""
    return checkpoint[KERNEL]


@pytest.mark.parametrize("op", ["VariableV2", "Variable"])
def test_reference_variable_is_its_value(op: str, checkpoint: Checkpoint, kernel: Array) -> None:
    """A variable of TensorFlow 1 is its value; it is used without a read operation."""
    value = graph(node(KERNEL, op), node("y", "RefIdentity", KERNEL), checkpoint=checkpoint).run("y")

    np.testing.assert_array_equal(value, kernel)


def test_reference_variable_passes_a_reference_switch(checkpoint: Checkpoint, kernel: Array) -> None:
    """RefSwitch and RefMerge choose branches as Switch and Merge do."""
    parts = (
        node(KERNEL, "VariableV2"),
        placeholder("p"),
        node("s", "RefSwitch", KERNEL, "q"),
        node("q", "Greater", "p", "zero"),
        constant("zero", 0.0),
        node("minus", "Neg", "s:1"),
        node("m", "RefMerge", "s:0", "minus"),
        node("known", "IsVariableInitialized", KERNEL),
    )
    branches = graph(*parts, checkpoint=checkpoint)

    np.testing.assert_array_equal(branches.run("m", {"p": -1.0}), kernel)
    np.testing.assert_array_equal(branches.run("m", {"p": 1.0}), -kernel)
    assert branches.run("m:1", {"p": 1.0}) == 1
    assert branches.run("known")


def test_every_operation_that_takes_a_handle_reads_it(checkpoint: Checkpoint, kernel: Array) -> None:
    """They return the value, its shape, rows, single entries, and whether it is initialized."""
    outputs = graph(
        node(KERNEL, "VarHandleOp"),
        integers("rows", 3, 0),
        node("value", "ReadVariableOp", KERNEL),
        node("shape", "VariableShape", KERNEL),
        node("is", "VarIsInitializedOp", KERNEL),
        node("gather", "ResourceGather", KERNEL, "rows"),
        node("entry", "ResourceGatherNd", KERNEL, "rows"),
        checkpoint=checkpoint,
    ).run(["value", "shape", "is", "gather", "entry"])

    value, shape, is_initialized, rows, entry = outputs
    np.testing.assert_array_equal(value, kernel)
    assert shape.tolist() == [64, 10]
    assert is_initialized
    np.testing.assert_array_equal(rows, kernel[[3, 0]])
    assert entry == kernel[3, 0]


def test_handle_passes_through_calls_and_branches(checkpoint: Checkpoint, kernel: Array) -> None:
    """A captured variable can be an argument of a function, and of either branch of an If."""
    read = function("read", node("r", "ReadVariableOp", "h"), inputs="h", returns="r:value:0")
    minus = function(
        "minus", node("r", "ReadVariableOp", "h"), node("m", "Neg", "r:value:0"), inputs="h", returns="m:y:0"
    )
    branches = f"{function_attribute('then_branch', 'minus')} {function_attribute('else_branch', 'read')}"
    parts = (
        node(KERNEL, "VarHandleOp"),
        call("called", "read", KERNEL),
        placeholder("x"),
        constant("zero", 0.0),
        node("p", "Greater", "x", "zero"),
        node("chosen", "If", "p", KERNEL, attributes=branches),
        read,
        minus,
    )

    called, chosen = graph(*parts, checkpoint=checkpoint).run(["called", "chosen"], {"x": 1.0})

    np.testing.assert_array_equal(called, kernel)
    np.testing.assert_array_equal(chosen, -kernel)


def test_parts_of_a_partitioned_variable_are_cut_from_the_full_tensor() -> None:
    """The slice saved with each part says which part of the stored tensor it is."""
    partitioned = load_graph(STORED / "partitioned")
    full = partitioned.checkpoint
    assert full is not None

    parts = partitioned.run([f"reference/fixed/part_{number}" for number in range(3)])

    np.testing.assert_array_equal(np.concatenate(parts), full["reference/fixed"])


@pytest.mark.parametrize("folder", ["sharded-saver/v1", "sharded-saver/v2"])
def test_sharded_savers_cover_all_variables_together(folder: str) -> None:
    """Each shard has its own save operation, in both formats."""
    sharded = load_graph(STORED / folder)
    assert sharded.checkpoint is not None

    value = sharded.run("layer_2/kernel/Read/ReadVariableOp")

    assert {source.name for source in sharded.sources.values()} == set(sharded.checkpoint)
    np.testing.assert_array_equal(value, sharded.checkpoint["layer_2/kernel"])


@pytest.mark.parametrize("scaled", [True, False])
def test_first_batch_norm_of_tensorflow(scaled: bool) -> None:
    """Inception's first frozen graphs compute (t - m) / sqrt(v + epsilon) · gamma + beta; gamma is optional."""
    attributes = (
        'attr { key: "variance_epsilon" value { f: 0.5 } } '
        f'attr {{ key: "scale_after_normalization" value {{ b: {str(scaled).lower()} }} }}'
    )
    names = ("t", "m", "v", "beta", "gamma")
    old = graph(
        placeholder("t", 2, 3),
        *(placeholder(name, 3) for name in names[1:]),
        node("y", "BatchNormWithGlobalNormalization", *names, attributes=attributes),
    )
    t, (m, v, beta, gamma) = (
        np.array([[1.0, 2, 4], [3, 5, 7]]),
        np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9], [2, 3, 4]]),
    )

    y = old.run("y", {"t": t, "m": m, "v": v, "beta": beta, "gamma": gamma}, dtype="float64")

    np.testing.assert_allclose(y, (t - m) / np.sqrt(v + 0.5) * (gamma if scaled else 1) + beta, rtol=1e-14)


def test_variable_and_scope_of_the_same_name_are_separate(checkpoint: Checkpoint) -> None:
    """A module cannot have a parameter and a submodule of the same name, so the second one gets a `_`."""
    average = f"{KERNEL}/ExponentialMovingAverage"
    parts = graph(
        node(KERNEL, "VarHandleOp"),
        node(average, "VarHandleOp"),
        node("a", "ReadVariableOp", KERNEL),
        node("b", "ReadVariableOp", average),
        node("y", "Sub", "a", "b"),
        checkpoint=checkpoint,
    )

    module = graph_module(parts, inputs=[], outputs="y")

    assert {name for name, _ in module.named_parameters()} == {
        "efficientnetv2-digits.head.dense.kernel",
        "efficientnetv2-digits.head.dense.kernel_.ExponentialMovingAverage",
    }
    assert module().abs().max() > 0


def test_variables_that_are_not_needed_are_not_read(tmp_path: Path) -> None:
    """A graph runs without the data shard if it needs no variable."""
    source = DATA / "digits" / "efficientnetv2-digits"
    for path in source.iterdir():
        if ".data-" not in path.name:
            (tmp_path / path.name).write_bytes(path.read_bytes())

    damaged: ReferenceGraph = load_graph(tmp_path)
    start = "efficientnetv2-digits/stem/tpu_batch_normalization/FusedBatchNormV3"

    output = damaged.run("efficientnetv2-digits/stem/mul_1", {start: np.zeros((1, 2, 2, 8), np.float32)})

    assert output.shape == (1, 2, 2, 8)


def test_constant_predicate_is_evaluated_before_variables_are_read() -> None:
    """The variables of a branch that a constant excludes are not needed."""
    branches = f"{function_attribute('then_branch', 'f')} {function_attribute('else_branch', 'g')}"
    parts = graph(
        placeholder("x"),
        node("h", "VarHandleOp"),
        boolean("p", False),
        node("y", "If", "p", "h", "x", attributes=branches),
        function("f", node("r", "ReadVariableOp", "h"), inputs="h x", returns="r:value:0"),
        function("g", node("r", "Neg", "x"), inputs="h x", returns="r:y:0"),
    )

    assert parts.run("y", {"x": 2.0}) == -2
