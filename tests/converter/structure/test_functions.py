"""What is applied to a layer's output is found by evaluating it, however it is written."""

from __future__ import annotations

import numpy as np
import pytest

from converter.structure.functions import Function, Norm, Region
from converter.structure.terms import TermReader

from .graphs import Graph


def function_of(graph: Graph, top: str, *, base: str = "conv", channels_first: bool = False) -> Function | None:
    """Read what stands between a convolution and a tensor."""
    reader = TermReader(graph.nodes)
    return Region(reader.term(top), reader.term(base), channels=8, channels_first=channels_first).function()


def convolution() -> Graph:
    """Make a convolution of 8 channels."""
    graph = Graph()
    graph.conv("conv", graph.image(), 3, 3, 3, 8)
    return graph


@pytest.mark.parametrize(
    ("op", "name"),
    [("Relu", "relu"), ("Relu6", "relu6"), ("Elu", "elu"), ("Selu", "selu"), ("Sigmoid", "sigmoid"), ("Tanh", "tanh")],
)
def test_activation_of_one_operation(op: str, name: str) -> None:
    """Without batch norm and bias."""
    graph = convolution()
    graph.add("out", op, "conv")

    assert function_of(graph, "out") == Function(None, None, name)


def test_swish_and_hard_swish_are_known_by_their_values() -> None:
    """Programs write them in several ways."""
    graph = convolution()
    graph.add("silu", "Mul", "conv", graph.add("sigmoid", "Sigmoid", "conv"))
    graph.add("shifted", "AddV2", graph.constant("three", np.float32(3)), "conv")
    graph.add("product", "Mul", "conv", graph.add("relu6", "Relu6", "shifted"))
    graph.add("hard", "Mul", "product", graph.constant("sixth", np.float32(1 / 6)))

    assert function_of(graph, "silu") == Function(None, None, "silu")
    assert function_of(graph, "hard") == Function(None, None, "hard_swish")


def test_function_that_no_layer_has_is_unknown() -> None:
    """A clipped output is one, and so is an activation with another factor."""
    graph = convolution()
    graph.add("scaled", "Mul", "conv", graph.constant("beta", np.float32(1.5)))
    graph.add("out", "Mul", "conv", graph.add("sigmoid", "Sigmoid", "scaled"))

    assert function_of(graph, "out") is None
    assert function_of(graph, "scaled") is None


def test_fused_batch_norm_with_activation() -> None:
    """The epsilon is the number that was meant: a float32 attribute reads as 0.001."""
    graph = convolution()
    graph.norm("bn", "conv", 8, epsilon=0.0010000000474974513)
    graph.add("out", "Relu", "bn")

    found = function_of(graph, "out")

    assert found == Function(Norm(0.001, "bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance"), None, "relu")


def test_fused_batch_norm_of_training_has_moving_statistics_in_place_of_the_batch() -> None:
    """It reads only scale and offset."""
    graph = convolution()
    graph.norm("bn", "conv", 8, training=True)

    found = function_of(graph, "bn")

    assert found == Function(Norm(0.001, "bn/gamma", "bn/beta", None, None, is_trained=True), None, "identity")


@pytest.mark.parametrize("names", [("gamma", "beta", "moving_mean", "moving_variance"), ("a", "b", "c", "d")])
def test_batch_norm_written_out_is_read_whatever_its_variables_are_called(names: tuple[str, ...]) -> None:
    """As `tf.nn.batch_normalization` writes it."""
    graph = convolution()
    gamma, beta, mean, variance = (graph.variable(name, 8) for name in names)
    graph.add("sum", "AddV2", variance, graph.constant("epsilon", np.float32(1e-5)))
    graph.add("scale", "Mul", graph.add("rsqrt", "Rsqrt", "sum"), gamma)
    graph.add("shift", "Sub", beta, graph.add("moved", "Mul", mean, "scale"))
    graph.add("out", "AddV2", graph.add("product", "Mul", "conv", "scale"), "shift")

    assert function_of(graph, "out") == Function(Norm(1e-05, *names), None, "identity")


def test_batch_norm_of_training_written_out_is_read() -> None:
    """As `tf.nn.moments` computes the statistics of a batch."""
    graph = convolution()
    gamma, beta = graph.variable("gamma", 8), graph.variable("beta", 8)
    mean = graph.pool("mean", "conv", axes=(0, 1, 2), keep_dims=True)
    squares = graph.add("squares", "SquaredDifference", "conv", graph.add("stop", "StopGradient", mean))
    variance = graph.pool("variance", squares, axes=(0, 1, 2), keep_dims=True)
    graph.add("sum", "AddV2", variance, graph.constant("epsilon", np.float32(1e-3)))
    graph.add("scale", "Mul", graph.add("rsqrt", "Rsqrt", "sum"), gamma)
    graph.add("shift", "Sub", beta, graph.add("moved", "Mul", mean, "scale"))
    graph.add("out", "AddV2", graph.add("product", "Mul", "conv", "scale"), "shift")

    found = function_of(graph, "out")

    assert found == Function(Norm(0.001, "gamma", "beta", None, None, is_trained=True), None, "identity")


def test_bias_is_told_from_a_batch_norm() -> None:
    """Its values have one for each channel; with channels first they must be shaped for it."""
    graph = convolution()
    graph.add("out", "BiasAdd", "conv", graph.variable("bias", 8))

    assert function_of(graph, "out") == Function(None, "bias", "identity")
    assert function_of(graph, "out", channels_first=True) is None
