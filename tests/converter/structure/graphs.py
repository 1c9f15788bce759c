"""Graphs made by hand: nodes and functions with the surface of `tfckpt`'s, and a small network of them."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

EMPTY: Mapping[str, object] = types.MappingProxyType({})


class Node(NamedTuple):
    """A node of a graph."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, object] = EMPTY


class Argument(NamedTuple):
    """A function's argument or output."""

    name: str


class Function(NamedTuple):
    """A function of a graph's library."""

    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    returns: Mapping[str, str]
    nodes: tuple[Node, ...]


def function(inputs: Sequence[str], returns: Mapping[str, str], *nodes: Node) -> Function:
    """Make a function from the names of its arguments and what each output returns."""
    return Function(tuple(map(Argument, inputs)), tuple(map(Argument, returns)), returns, nodes)


def constant(name: str, value: object, *inputs: str) -> Node:
    """Make a constant."""
    return Node(name, "Const", inputs, {"value": np.asarray(value)})


def variable(name: str, *shape: int) -> tuple[Node, Node]:
    """Make a variable, and `NAME/read`."""
    return Node(name, "VarHandleOp", (), {"shape": shape}), Node(f"{name}/read", "ReadVariableOp", (name,))


class Graph:
    """A graph under construction; each method adds operations and returns the name of the last."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, name: str, op: str, *inputs: str, **attributes: object) -> str:
        """Add an operation."""
        self.nodes.append(Node(name, op, inputs, attributes))
        return name

    def constant(self, name: str, value: object) -> str:
        """Add a constant."""
        self.nodes.append(constant(name, value))
        return name

    def variable(self, name: str, *shape: int) -> str:
        """Add a variable, and return what reads it."""
        self.nodes += variable(name, *shape)
        return f"{name}/read"

    def image(self, name: str = "image") -> str:
        """Add the image that is fed."""
        return self.add(name, "Placeholder", dtype="float32", shape=(-1, 32, 32, 3))

    def conv(self, name: str, x: str, *shape: int, stride: int = 1, op: str = "Conv2D", **attributes: object) -> str:
        """Add a convolution without bias; its kernel is `NAME/kernel`."""
        kernel = self.variable(f"{name}/kernel", *shape)
        own = {"strides": (1, stride, stride, 1), "padding": b"SAME", "data_format": b"NHWC", **attributes}
        return self.add(name, op, x, kernel, **own)

    def norm(self, name: str, x: str, channels: int, *, epsilon: float = 1e-3, training: bool = False) -> str:
        """Add a fused batch norm."""
        parts = [self.variable(f"{name}/{part}", channels) for part in ("gamma", "beta")]
        if training:
            parts += [self.constant(f"{name}/{part}", np.zeros(0, np.float32)) for part in ("empty", "empty_1")]
        else:
            parts += [self.variable(f"{name}/{part}", channels) for part in ("moving_mean", "moving_variance")]
        attributes = {"epsilon": epsilon, "is_training": training, "data_format": b"NHWC"}
        return self.add(name, "FusedBatchNormV3", x, *parts, **attributes)

    def dense(self, name: str, x: str, width: int, classes: int) -> str:
        """Add a dense layer with bias."""
        product = self.add(name, "MatMul", x, self.variable(f"{name}/kernel", width, classes))
        return self.add(f"{name}/BiasAdd", "BiasAdd", product, self.variable(f"{name}/bias", classes))

    def pool(self, name: str, x: str, op: str = "Mean", axes: tuple[int, ...] = (1, 2), **attributes: object) -> str:
        """Add a mean over the whole map."""
        return self.add(name, op, x, self.constant(f"{name}/axes", np.array(axes)), **attributes)


def classifier(activation: str = "Relu", **conv: object) -> Graph:
    """Make a network of a convolution, a batch norm, an activation, pooling and a dense layer."""
    graph = Graph()
    x = graph.conv("stem", graph.image(), 3, 3, 3, 8, stride=2, **conv)
    x = graph.add("act", activation, graph.norm("bn", x, 8))
    graph.dense("head", graph.pool("pool", x), 8, 5)
    return graph
