"""Variables: where their values stand, and the operations that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfckpt
from converter.engine import ReferenceGraph, graph_module, load_graph
from converter.engine.values import Array
from tfckpt.checkpoint import Checkpoint

from .graphs import call, constant, function, graph, integers, node, placeholder, refer, truth
from .test_fixtures import DATA

KERNEL = "efficientnetv2-digits/head/dense/kernel"
STORED = DATA / "tensorflow"


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """The trained network's variables."""
    return tfckpt.open(DATA / "digits" / "efficientnetv2-digits")


@pytest.fixture(scope="module")
def kernel(checkpoint: Checkpoint) -> Array:
    """The classifier's kernel."""
    return checkpoint[KERNEL]


@pytest.mark.parametrize("op", ["VariableV2", "Variable"])
def test_reference_variable_is_its_value(op: str, checkpoint: Checkpoint, kernel: Array) -> None:
    """Variables of TensorFlow 1 give their value where it is used, without a read in between."""
    found = graph(node(KERNEL, op), node("y", "RefIdentity", KERNEL), checkpoint=checkpoint).run("y")

    np.testing.assert_array_equal(found, kernel)


def test_reference_variable_passes_a_reference_switch(checkpoint: Checkpoint, kernel: Array) -> None:
    """RefSwitch and RefMerge choose as Switch and Merge do."""
    parts = (
        node(KERNEL, "VariableV2"),
        placeholder("p"),
        node("s", "RefSwitch", KERNEL, "q"),
        node("q", "Greater", "p", "zero"),
        constant("zero", 0.0),
        node("minus", "Neg", "s:1"),
        node("m", "RefMerge", "s:0", "minus"),
    )
    branches = graph(*parts, checkpoint=checkpoint)

    np.testing.assert_array_equal(branches.run("m", {"p": -1.0}), kernel)
    np.testing.assert_array_equal(branches.run("m", {"p": 1.0}), -kernel)
    assert branches.run("m:1", {"p": 1.0}) == 1


def test_handle_is_read_by_every_operation_that_takes_one(checkpoint: Checkpoint, kernel: Array) -> None:
    """The value, its shape, single rows and entries, and that there is one."""
    found = graph(
        node(KERNEL, "VarHandleOp"),
        integers("rows", 3, 0),
        node("value", "ReadVariableOp", KERNEL),
        node("shape", "VariableShape", KERNEL),
        node("is", "VarIsInitializedOp", KERNEL),
        node("gather", "ResourceGather", KERNEL, "rows"),
        node("entry", "ResourceGatherNd", KERNEL, "rows"),
        checkpoint=checkpoint,
    ).run(["value", "shape", "is", "gather", "entry"])

    value, shape, is_initialized, rows, entry = found
    np.testing.assert_array_equal(value, kernel)
    assert shape.tolist() == [64, 10]
    assert is_initialized
    np.testing.assert_array_equal(rows, kernel[[3, 0]])
    assert entry == kernel[3, 0]


def test_handle_goes_through_calls_and_branches(checkpoint: Checkpoint, kernel: Array) -> None:
    """A captured variable is an argument of a function, of either branch of an If, and of a loop."""
    read = function("read", node("r", "ReadVariableOp", "h"), inputs="h", returns="r:value:0")
    minus = function(
        "minus", node("r", "ReadVariableOp", "h"), node("m", "Neg", "r:value:0"), inputs="h", returns="m:y:0"
    )
    branches = f"{refer('then_branch', 'minus')} {refer('else_branch', 'read')}"
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
    """The slices that are saved with each part say where it lies in the tensor of the checkpoint."""
    partitioned = load_graph(STORED / "partitioned")
    full = partitioned.checkpoint
    assert full is not None

    parts = partitioned.run([f"reference/fixed/part_{number}" for number in range(3)])

    np.testing.assert_array_equal(np.concatenate(parts), full["reference/fixed"])


@pytest.mark.parametrize("folder", ["sharded-saver/v1", "sharded-saver/v2"])
def test_sharded_savers_name_their_variables_together(folder: str) -> None:
    """Each shard has a save operation of its own, in both formats."""
    sharded = load_graph(STORED / folder)
    assert sharded.checkpoint is not None

    value = sharded.run("layer_2/kernel/Read/ReadVariableOp")

    assert {source.name for source in sharded.sources.values()} == set(sharded.checkpoint)
    np.testing.assert_array_equal(value, sharded.checkpoint["layer_2/kernel"])


@pytest.mark.parametrize("scaled", [True, False])
def test_first_batch_norm_of_tensorflow(scaled: bool) -> None:
    """What Inception's first frozen graphs have: (t - m) / sqrt(v + epsilon), times gamma if asked for, plus beta."""
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

    found = old.run("y", {"t": t, "m": m, "v": v, "beta": beta, "gamma": gamma}, dtype="float64")

    np.testing.assert_allclose(found, (t - m) / np.sqrt(v + 0.5) * (gamma if scaled else 1) + beta, rtol=1e-14)


def test_variable_and_scope_of_one_name_are_kept_apart(checkpoint: Checkpoint) -> None:
    """A module cannot have a parameter and a submodule of one name; the second of them gets a `_`."""
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
    """A graph runs with a checkpoint of which only the needed part is there."""
    source = DATA / "digits" / "efficientnetv2-digits"
    for path in source.iterdir():
        if ".data-" not in path.name:
            (tmp_path / path.name).write_bytes(path.read_bytes())

    damaged: ReferenceGraph = load_graph(tmp_path)
    start = "efficientnetv2-digits/stem/tpu_batch_normalization/FusedBatchNormV3"

    found = damaged.run("efficientnetv2-digits/stem/mul_1", {start: np.zeros((1, 2, 2, 8), np.float32)})

    assert found.shape == (1, 2, 2, 8)


def test_truth_of_a_constant_is_known_before_variables_are_read() -> None:
    """A branch that a constant excludes needs no variables."""
    branches = f"{refer('then_branch', 'f')} {refer('else_branch', 'g')}"
    parts = graph(
        placeholder("x"),
        node("h", "VarHandleOp"),
        truth("p", False),
        node("y", "If", "p", "h", "x", attributes=branches),
        function("f", node("r", "ReadVariableOp", "h"), inputs="h x", returns="r:value:0"),
        function("g", node("r", "Neg", "x"), inputs="h x", returns="r:y:0"),
    )

    assert parts.run("y", {"x": 2.0}) == -2
