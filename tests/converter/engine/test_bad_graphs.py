"""Graphs that cannot be run, each tested with the nearest graph that can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfckpt
from converter.engine import ReferenceLimits, load_graph
from converter.errors import FeedError, GraphError, GraphLimitError, TensorNameError, UnsupportedOpError
from tfckpt.errors import CheckpointNotFoundError, CorruptionError

from .graphs import (
    boolean,
    call,
    constant,
    function,
    function_attribute,
    graph,
    integers,
    node,
    placeholder,
    write_frozen,
)
from .test_fixtures import DATA, DIGITS_LOGITS, load_arrays

ONES = np.ones(2, np.float32)


def test_unsupported_operations_are_listed_together_before_anything_runs() -> None:
    """One error lists each node with its operation, including those in functions, before anything runs."""
    bad = graph(
        placeholder("x"),
        node("a", "FirstStrange", "x"),
        call("b", "f", "a"),
        node("division", "FloorDiv", "zero", "zero"),
        integers("zero", 0),
        node("c", "AddN", "b", "division"),
        function("f", node("inner", "SecondStrange", "x"), returns="inner:y:0"),
    )

    with pytest.raises(UnsupportedOpError) as caught:
        bad.run("c", {"x": 1.0})

    assert caught.value.ops == (("a", "FirstStrange"), ("b/inner", "SecondStrange"))


def test_unsupported_operations_that_are_not_needed_are_ignored() -> None:
    """Operations that the fetches do not need may be unsupported."""
    good = graph(placeholder("x"), node("a", "Strange", "x"), node("b", "Neg", "x", "^a"))

    assert good.run("b", {"x": 2.0}) == -2


def test_unsupported_operations_before_a_fed_tensor_are_ignored() -> None:
    """A tensor that is fed is not computed."""
    good = graph(placeholder("x"), node("a", "Strange", "x"), node("b", "Neg", "a"))

    assert good.run("b", {"a": 2.0}) == -2


def test_unsupported_operation_in_a_branch_is_reported_before_anything_runs() -> None:
    """Either branch of an If may be taken, so both must be supported."""
    branches = f"{function_attribute('then_branch', 'f')} {function_attribute('else_branch', 'g')}"
    parts = (
        placeholder("x"),
        node("p", "Greater", "x", "x"),
        node("b", "If", "p", "x", attributes=branches),
        function("f", node("inner", "Strange", "x"), returns="inner:y:0"),
        function("g", node("inner", "Neg", "x"), returns="inner:y:0"),
    )

    with pytest.raises(UnsupportedOpError) as caught:
        graph(*parts).run("b", {"x": 1.0})

    assert caught.value.ops == (("f/inner", "Strange"),)


@pytest.mark.parametrize("feeds", [{}, {"p": False}], ids=["constant", "fed"])
def test_branch_that_is_not_taken_is_ignored(feeds: dict[str, bool]) -> None:
    """If the predicate is known in advance, only the branch that is taken must be supported."""
    branches = f"{function_attribute('then_branch', 'f')} {function_attribute('else_branch', 'g')}"
    good = graph(
        placeholder("x"),
        boolean("p", bool(feeds)),
        node("b", "If", "p", "x", attributes=branches),
        function("f", node("inner", "Strange", "x"), returns="inner:y:0"),
        function("g", node("inner", "Neg", "x"), returns="inner:y:0"),
    )

    assert good.run("b", {"x": 2.0, **feeds}) == -2


@pytest.mark.parametrize("is_training", [True, False])
def test_learning_phase_decides_between_switch_outputs(is_training: bool) -> None:
    """In programs of TensorFlow 1 the branch for training is unsupported, which is an error only if it is taken."""
    phase = graph(
        placeholder("x"),
        boolean("default", False),
        node("phase", "PlaceholderWithDefault", "default", attributes='attr { key: "dtype" value { type: 10 } }'),
        node("switch", "Switch", "x", "phase"),
        node("dropout", "Strange", "switch:1"),
        node("out", "Merge", "switch", "dropout"),
    )

    if is_training:
        with pytest.raises(UnsupportedOpError) as caught:
            phase.run("out", {"x": 2.0, "phase": True})
        assert caught.value.ops == (("dropout", "Strange"),)
    else:
        assert phase.run("out", {"x": 2.0}) == 2


def test_tensor_on_a_branch_that_is_not_taken_cannot_be_fetched() -> None:
    """The other output of the Switch has no value."""
    phase = graph(placeholder("x"), boolean("p", False), node("switch", "Switch", "x", "p"))

    assert phase.run("switch:0", {"x": 2.0}) == 2
    with pytest.raises(GraphError) as caught:
        phase.run("switch:1", {"x": 2.0})
    assert caught.value.node == "switch"


def test_cycle_is_rejected() -> None:
    """The error for a tensor that depends on itself names the nodes of the cycle."""
    bad = graph(placeholder("x"), node("a", "Add", "x", "c"), node("b", "Neg", "a"), node("c", "Neg", "b"))

    with pytest.raises(GraphError, match="a -> b -> c -> a"):
        bad.run("c", {"x": 1.0})


def test_diamond_is_not_a_cycle() -> None:
    """A tensor may be used twice."""
    good = graph(placeholder("x"), node("a", "Neg", "x"), node("b", "Neg", "a"), node("c", "Add", "a", "b"))

    assert good.run("c", {"x": 3.0}) == 0


def test_cycle_of_identities_is_rejected() -> None:
    """References are followed through IdentityN, but not forever."""
    bad = graph(node("a", "IdentityN", "b"), node("b", "IdentityN", "a"), limits=ReferenceLimits(max_operations=100))

    with pytest.raises(GraphLimitError) as caught:
        bad.run("a")
    assert (caught.value.limit, caught.value.maximum) == ("max_operations", 100)


def test_missing_function_is_rejected_with_close_names() -> None:
    """The error has the node that calls the function, and offers a function with a similar name."""
    parts = (placeholder("x"), function("double", node("y", "Add", "x", "x"), returns="y:z:0"))

    assert graph(*parts, call("a", "double", "x")).run("a", {"x": 2.0}) == 4
    with pytest.raises(GraphError, match=r"\bdouble\b") as caught:
        graph(*parts, call("a", "doubl", "x")).run("a", {"x": 2.0})
    assert (caught.value.node, caught.value.op) == ("a", "PartitionedCall")


def test_missing_node_is_rejected_with_close_names() -> None:
    """The error for a reference to a missing node offers a node with a similar name."""
    with pytest.raises(GraphError, match=r"\bplaceholder\b"):
        graph(placeholder("placeholder"), node("a", "Neg", "placeholde")).run("a", {})


def test_missing_output_is_rejected() -> None:
    """The number after the name of a node is the index of an output, from 0, and must exist."""
    parts = (placeholder("x"), node("y", "Neg", "x"))

    assert graph(*parts, node("z", "Neg", "y:0")).run("z", {"x": 1.0}) == 1
    with pytest.raises(GraphError) as caught:
        graph(*parts, node("z", "Neg", "y:3")).run("z", {"x": 1.0})
    assert (caught.value.node, caught.value.op) == ("z", "Neg")
    with pytest.raises(GraphError):
        graph(*parts).run("y:1", {"x": 1.0})
    with pytest.raises(GraphError, match="y:-1"):
        graph(*parts, node("z", "Neg", "y:-1")).run("z", {"x": 1.0})


def test_unknown_fetch_offers_close_names() -> None:
    """The error for an unknown name has the names that the caller may have meant."""
    good = graph(placeholder("image"), node("logits", "Neg", "image"))

    with pytest.raises(TensorNameError) as caught:
        good.run("logit", {"image": 1.0})

    assert (caught.value.name, caught.value.close_names) == ("logit", ("logits",))
    assert isinstance(caught.value, KeyError)


def test_unknown_name_inside_a_function_offers_names_of_that_function() -> None:
    """Close names are searched in the function that the path leads to."""
    scope = "StatefulPartitionedCall/StatefulPartitionedCall/efficientnetv2-b0/stem/"

    with pytest.raises(TensorNameError) as caught:
        load_graph(DATA / "savedmodel").run(scope + "mul_9", {})

    assert scope + "mul_1" in caught.value.close_names


def test_unknown_feed_is_rejected() -> None:
    """A feed that would have no effect is an error."""
    good = graph(placeholder("image"), node("logits", "Neg", "image"))

    with pytest.raises(TensorNameError) as caught:
        good.run("logits", {"imag": 1.0})

    assert (caught.value.name, caught.value.close_names) == ("imag", ("image",))


def test_missing_feed_is_rejected() -> None:
    """The error for a placeholder without a value names it."""
    with pytest.raises(GraphError) as caught:
        graph(placeholder("image"), node("logits", "Neg", "image")).run("logits")

    assert (caught.value.node, caught.value.op) == ("image", "Placeholder")


@pytest.mark.parametrize(
    ("shape", "is_accepted"),
    [((2, 3), True), ((7, 3), True), ((0, 3), True), ((2, 4), False), ((3,), False), ((1, 2, 3), False)],
)
def test_feed_must_have_the_shape_of_its_placeholder(shape: tuple[int, ...], is_accepted: bool) -> None:
    """An unknown dimension accepts any size, the others only their own."""
    good = graph(placeholder("x", -1, 3), node("y", "Neg", "x"))

    if is_accepted:
        assert good.run("y", {"x": np.ones(shape, np.float32)}).shape == shape
    else:
        with pytest.raises(FeedError):
            good.run("y", {"x": np.ones(shape, np.float32)})


@pytest.mark.parametrize(
    ("value", "is_accepted"),
    [
        (np.ones(2, np.float32), True),
        (np.ones(2, np.float64), True),
        (np.ones(2, np.float16), True),
        ([1.0, 2.0], True),
        ([1, 2], True),
        (np.ones(2, np.int32), False),
        (np.ones(2, bool), False),
        (["a", "b"], False),
    ],
)
def test_feed_must_have_the_dtype_of_its_placeholder(value: object, is_accepted: bool) -> None:
    """Floating-point arrays of any width and lists of numbers are accepted; arrays of other dtypes are not."""
    good = graph(placeholder("x", 2), node("y", "Neg", "x"))

    if is_accepted:
        assert good.run("y", {"x": value}).dtype == np.float32
    else:
        with pytest.raises(FeedError):
            good.run("y", {"x": value})


def test_same_tensor_cannot_be_fed_twice() -> None:
    """Two names of the same tensor would be ambiguous."""
    with pytest.raises(FeedError):
        graph(placeholder("x"), node("y", "Neg", "x")).run("y", {"x": 1.0, "x:0": 2.0})


def test_variables_missing_from_the_checkpoint_are_listed() -> None:
    """The error has a line for each missing variable, with its name in the checkpoint."""
    unrelated = tfckpt.open(DATA / "objects")
    digits = load_graph(DATA / "digits" / "efficientnetv2-digits", checkpoint=unrelated)

    with pytest.raises(GraphError) as caught:
        digits.run(DIGITS_LOGITS, {"input": load_arrays("digits/probe.npz")["input"]})

    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 113
    assert any(
        line.startswith("  efficientnetv2-digits/head_1/dense/kernel: efficientnetv2-digits/head/") for line in lines
    )


def test_variable_of_a_different_shape_is_rejected() -> None:
    """The error has both shapes; a variable of the stored shape runs."""
    checkpoint = tfckpt.open(DATA / "digits" / "efficientnetv2-digits")
    name = "efficientnetv2-digits/head/dense/bias"

    def variable(size: int) -> str:
        shape = f'attr {{ key: "shape" value {{ shape {{ dim {{ size: {size} }} }} }} }}'
        return node(name, "VarHandleOp", attributes=shape) + node("read", "ReadVariableOp", name)

    assert graph(variable(10), checkpoint=checkpoint).run("read").shape == (10,)
    with pytest.raises(GraphError, match=r"\[10\].*\[11\]"):
        graph(variable(11), checkpoint=checkpoint).run("read")


def test_variables_require_a_checkpoint(tmp_path: Path) -> None:
    """The operations of a `.meta` file alone can be listed, but those that read variables cannot be run."""
    source = next((DATA / "digits" / "efficientnetv2-digits").glob("*.meta"))
    (tmp_path / "model.ckpt-1.meta").write_bytes(source.read_bytes())

    alone = load_graph(tmp_path / "model.ckpt-1.meta")

    assert len(alone.operations([DIGITS_LOGITS], ["input"])) > 100
    with pytest.raises(GraphError):
        alone.run(DIGITS_LOGITS, {"input": load_arrays("digits/probe.npz")["input"]})


def test_averages_must_exist() -> None:
    """Requesting averages from a checkpoint without averages is an error; raw values are not used instead."""
    with pytest.raises(GraphError):
        load_graph(DATA / "savedmodel").run(
            "StatefulPartitionedCall",
            {"serving_default_image": load_arrays("savedmodel/golden.npz")["input"]},
            weights="averages",
        )


def test_unknown_weights_and_dtypes_are_rejected() -> None:
    """Misuse raises ValueError."""
    good = graph(constant("x", 1.0))

    with pytest.raises(ValueError, match="ema"):
        good.run("x", weights="ema")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="float16"):
        good.run("x", dtype="float16")


def test_error_in_an_operation_has_its_node_and_input_shapes() -> None:
    """The error has the node and its operation, and the message the shapes of the inputs."""
    bad = graph(placeholder("x", 2), placeholder("y", 3), node("z", "Add", "x", "y"))

    with pytest.raises(GraphError, match=r"float32 \[2\], float32 \[3\]") as caught:
        bad.run("z", {"x": ONES, "y": np.ones(3, np.float32)})
    assert (caught.value.node, caught.value.op) == ("z", "Add")


def test_frozen_graph_runs_without_a_checkpoint(tmp_path: Path) -> None:
    """A `.pb` file with constants instead of variables is a whole network."""
    path = write_frozen(tmp_path / "frozen.pb", placeholder("x", -1), constant("w", 3.0, 2), node("y", "Mul", "x", "w"))

    y = load_graph(path).run("y", {"x": ONES})

    np.testing.assert_array_equal(y, [3, 3])


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", GraphError), (b"\xff\xff\xff\xff", CorruptionError), (b"<html>not found</html>", CorruptionError)],
    ids=["empty", "garbage", "web page"],
)
def test_file_without_a_graph_is_rejected(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    """An empty file, random bytes and a web page are not graphs; the error names the file."""
    (tmp_path / "graph.pb").write_bytes(content)

    with pytest.raises(error, match=r"graph\.pb"):
        load_graph(tmp_path / "graph.pb")


def test_missing_file_is_reported_by_the_reader(tmp_path: Path) -> None:
    """If there is no file, the reader of checkpoints raises its own error."""
    with pytest.raises(CheckpointNotFoundError):
        load_graph(tmp_path / "nothing")


def test_unknown_tags_are_rejected_with_the_known_ones() -> None:
    """The error for unknown tags lists the tags of the SavedModel."""
    assert load_graph(DATA / "savedmodel", tags=["serve"]).signatures
    with pytest.raises(GraphError, match="serve"):
        load_graph(DATA / "savedmodel", tags=["train"])
