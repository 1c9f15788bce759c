"""What only organises a computation is gone from its terms, and training is read as evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from converter.structure.terms import DEAD, TermReader

from .graphs import Graph, Node, constant, function, variable


def op_of(*nodes: Node, tensor: str = "out") -> str:
    """Name the operation of a tensor's term."""
    return TermReader(nodes).term(tensor).op


@pytest.mark.parametrize("op", ["Identity", "StopGradient", "CheckNumerics", "ReadVariableOp", "PreventGradient"])
def test_operations_that_pass_their_input_through_have_no_term(op: str) -> None:
    """The term is that of the input."""
    assert op_of(Node("x", "Relu", ("image",)), Node("image", "Placeholder"), Node("out", op, ("x", "^x"))) == "Relu"


def test_cast_between_floating_types_has_no_term_and_others_have() -> None:
    """A cast to float32 from bytes is an operation on the image."""
    halves = {"SrcT": "bfloat16", "DstT": "float32"}
    bytes_ = {"SrcT": "uint8", "DstT": "float32"}

    assert op_of(Node("x", "Placeholder"), Node("out", "Cast", ("x",), halves)) == "Placeholder"
    assert op_of(Node("x", "Placeholder"), Node("out", "Cast", ("x",), bytes_)) == "Cast"


def test_call_of_a_function_is_its_body() -> None:
    """Arguments are followed to the call, outputs by their names, through functions in functions."""
    inner = function(["x"], {"a": "x", "b": "relu:activations:0"}, Node("relu", "Relu", ("x",)))
    outer = function(["x"], {"y": "call:output:1"}, Node("call", "PartitionedCall", ("x",), {"f": "inner"}))
    nodes = [Node("image", "Placeholder"), Node("out", "StatefulPartitionedCall", ("image",), {"f": "outer"})]

    term = TermReader(nodes, {"inner": inner, "outer": outer}).term("out:0")

    assert (term.op, term.args[0].node) == ("Relu", "image")


@pytest.mark.parametrize(("value", "taken"), [(False, "Tanh"), (True, "Relu")])
def test_branch_of_a_known_predicate_is_its_body(value: bool, taken: str) -> None:
    """A predicate with a default has that value."""
    functions = {
        "then": function(["x"], {"y": "a:0"}, Node("a", "Relu", ("x",))),
        "else": function(["x"], {"y": "a:0"}, Node("a", "Tanh", ("x",))),
    }
    nodes = [
        constant("default", value),
        Node("is_training", "PlaceholderWithDefault", ("default",)),
        Node("image", "Placeholder"),
        Node("out", "StatelessIf", ("is_training", "image"), {"then_branch": "then", "else_branch": "else"}),
    ]

    assert TermReader(nodes, functions).term("out").op == taken


def test_fed_predicate_is_false() -> None:
    """A training graph is read as the network that it trains; the reader remembers what it took as False."""
    nodes = [
        Node("is_training", "Placeholder", (), {"dtype": "bool"}),
        Node("image", "Placeholder"),
        Node("switch", "Switch", ("image", "is_training")),
        Node("train", "Relu", ("switch:1",)),
        Node("eval", "Tanh", ("switch",)),
        Node("out", "Merge", ("train", "eval")),
    ]
    reader = TermReader(nodes)

    assert reader.term("out").op == "Tanh"
    assert reader.term("train") is DEAD
    assert reader.assumed == {"is_training"}


def test_constant_in_a_branch_is_alive_by_its_control_input() -> None:
    """Constants have no data inputs; what they depend on says which branch they are in."""
    nodes = [
        constant("false", False),
        Node("switch", "Switch", ("false", "false")),
        Node("switch_t", "Identity", ("switch:1",)),
        Node("switch_f", "Identity", ("switch",)),
        constant("one", 1.0, "^switch_t"),
        constant("two", 2.0, "^switch_f"),
        Node("out", "Merge", ("one", "two")),
    ]

    assert TermReader(nodes).term("out").value == 2.0


def test_branch_of_an_unknown_predicate_stays() -> None:
    """What depends on the image decides nothing here."""
    nodes = [Node("image", "Placeholder"), Node("out", "If", ("image", "image"), {"then_branch": "f"})]

    assert op_of(*nodes) == "If"


@pytest.mark.parametrize("scale_first", [True, False])
def test_dropout_has_no_term(scale_first: bool) -> None:
    """Values that are kept are scaled so that the expected value stays the same."""
    graph = Graph()
    image = graph.image()
    graph.add("random", "RandomUniform", graph.add("shape", "Shape", image))
    graph.add("mask", "GreaterEqual", "random", graph.constant("rate", np.float32(0.2)))
    scaled = graph.add("scaled", "Mul", image, graph.constant("scale", np.float32(1.25)))
    if scale_first:
        graph.add("out", "SelectV2", "mask", scaled, graph.constant("zero", np.float32(0)))
    else:
        graph.add("out", "Mul", scaled, graph.add("cast", "Cast", "mask", SrcT="bool", DstT="float32"))

    assert TermReader(graph.nodes).term("out").node == "image"


def test_stochastic_depth_has_no_term() -> None:
    """The released code divides by the survival probability and rounds its sum with a random number down."""
    graph = Graph()
    image = graph.image()
    graph.constant("survival", np.float32(0.9))
    graph.add("random", "RandomUniform", graph.add("shape", "Shape", image))
    graph.add("binary", "Floor", graph.add("sum", "AddV2", "survival", "random"))
    graph.add("out", "Mul", graph.add("div", "RealDiv", image, "survival"), "binary")

    assert TermReader(graph.nodes).term("out").node == "image"


def test_mask_that_changes_the_expected_value_stays() -> None:
    """Dropout without the scale is another function."""
    graph = Graph()
    graph.add("random", "RandomUniform", graph.constant("shape", np.array([1])))
    graph.add("mask", "Floor", graph.add("sum", "AddV2", "random", graph.constant("keep", np.float32(0.5))))
    graph.add("out", "Mul", graph.image(), "mask")

    assert TermReader(graph.nodes).term("out").op == "Mul"


def test_parts_of_a_partitioned_variable_are_one() -> None:
    """The saver stores them under one key."""
    graph = Graph()
    parts = [graph.variable(f"kernel/part_{number}", 4, 2) for number in range(2)]
    graph.add("out", "ConcatV2", *parts, graph.constant("axis", np.array(1)))

    assert TermReader(graph.nodes).term("out").op == "Variable"


def test_keys_come_from_save_operations_in_functions_too() -> None:
    """SaveV2 takes the prefix, the keys, the tensor slices, and then one tensor for each key."""
    saver = function(
        ["prefix", "v"],
        {"p": "prefix"},
        constant("names", np.array([b"layer/kernel"], object)),
        Node("read", "ReadVariableOp", ("v",)),
        Node("save", "SaveV2", ("prefix", "names:output:0", "slices:output:0", "read:value:0")),
    )
    nodes = [*variable("kernel", 3), Node("call", "PartitionedCall", ("prefix", "kernel"), {"f": "saver"})]

    assert [(key, term.node) for key, term in TermReader(nodes, {"saver": saver}).save_terms()] == [
        ("layer/kernel", "kernel")
    ]


def test_loops_and_missing_inputs_end() -> None:
    """A damaged graph is read to its end without harm."""
    reader = TermReader(
        [Node("a", "Relu", ("b",)), Node("b", "Relu", ("a",)), Node("lost", "Relu", ("nowhere",)), Node("bare", "Relu")]
    )

    assert reader.term("a").op == "(loop)"
    assert reader.term("lost").args[0].op == "(missing)"
    assert reader.term("bare").op == "Relu"


def test_function_that_calls_itself_ends() -> None:
    """A recursion that no graph should have."""
    loop = function(["x"], {"y": "again:0"}, Node("again", "PartitionedCall", ("x",), {"f": "loop"}))
    reader = TermReader(
        [Node("x", "Placeholder"), Node("out", "PartitionedCall", ("x",), {"f": "loop"})], {"loop": loop}
    )

    assert reader.term("out").op == "(loop)"


def test_deep_graphs_are_read_without_recursion() -> None:
    """Published networks have thousands of operations on the way."""
    chain = [Node("0", "Placeholder"), *(Node(str(n), "Relu", (str(n - 1),)) for n in range(1, 20_000))]

    assert TermReader(chain).term("19999").op == "Relu"
