"""Facts about variables are found by following inputs, and their keys are read from the saver."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pytest

from converter.families.graph_facts import read_graph


class Node(NamedTuple):
    """A node with the attributes of `tfckpt.GraphNode`."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, object] = types.MappingProxyType({})


def strings(*values: bytes) -> object:
    """Return the value of a string constant."""
    return np.array(values, object)


def convolution(
    *, reader: str = "ReadVariableOp", strides: tuple[int, ...] = (1, 2, 2, 1), op: str = "Conv2D", **attributes: object
) -> Iterator[Node]:
    """Yield a convolution and its variable; the operation comes first, so that readers cannot rely on the order."""
    yield Node("conv", op, ("image", "kernel/read:0"), {"strides": strides, **attributes})
    yield Node("kernel/read", reader, ("kernel", "^init"))
    yield Node("kernel", "VarHandleOp")


def test_stride_of_a_convolution_is_read() -> None:
    """The stride is recorded for the variable behind the second input."""
    assert read_graph(convolution()).strides == {"kernel": 2}


def test_stride_of_a_depthwise_convolution_is_read() -> None:
    """The depthwise operation has the same attribute."""
    assert read_graph(convolution(op="DepthwiseConv2dNative", strides=(1, 1, 1, 1))).strides == {"kernel": 1}


@pytest.mark.parametrize("reader", ["Identity", "ReadVariableOp", "Cast"])
def test_variable_is_found_through_operations_that_pass_it_on(reader: str) -> None:
    """Reads and casts may be between an operation and its variable."""
    assert read_graph(convolution(reader=reader)).strides == {"kernel": 2}


def test_variable_is_not_found_through_an_operation_that_changes_it() -> None:
    """A computed kernel is not a variable."""
    assert read_graph(convolution(reader="Mul")).strides == {}


def test_reference_variable_is_found_through_its_identity() -> None:
    """Graphs of TensorFlow 1 contain reference variables."""
    nodes = [
        Node("kernel", "VariableV2"),
        Node("kernel/read", "Identity", ("kernel",)),
        Node("conv", "Conv2D", ("image", "kernel/read"), {"strides": (1, 2, 2, 1)}),
    ]

    assert read_graph(nodes).strides == {"kernel": 2}


def test_stride_of_a_channels_first_convolution_is_read() -> None:
    """In NCHW height and width come last."""
    assert read_graph(convolution(strides=(1, 1, 2, 2), data_format=b"NCHW")).strides == {"kernel": 2}


@pytest.mark.parametrize("strides", [(1, 2, 1, 1), (1, 0, 0, 1), (2, 2), None])
def test_stride_that_is_not_one_number_is_left_out(strides: tuple[int, ...]) -> None:
    """Different strides for height and width, and damaged attributes, are skipped."""
    assert read_graph(convolution(strides=strides)).strides == {}


def test_variable_that_is_used_with_two_strides_is_left_out() -> None:
    """Operations that disagree make a stride unknown; two that agree are accepted."""
    again = Node("again", "Conv2D", ("image", "kernel/read"), {"strides": (1, 2, 2, 1)})
    other = Node("other", "Conv2D", ("image", "kernel/read"), {"strides": (1, 1, 1, 1)})

    assert read_graph([*convolution(), again]).strides == {"kernel": 2}
    assert read_graph([*convolution(), again, other]).strides == {}


def test_checkpoint_key_is_read_from_the_saver() -> None:
    """The name of a variable node may differ from its key; the save operation connects them."""
    saver = [
        Node("names", "Const", (), {"value": strings(b"scope/kernel")}),
        Node("save", "SaveV2", ("prefix", "names", "slices", "kernel/read")),
    ]

    assert read_graph([*convolution(), *saver]).strides == {"scope/kernel": 2}


def test_suffix_of_a_moving_average_is_removed_from_the_key() -> None:
    """An evaluation graph restores its variables from the keys of the averages."""
    saver = [
        Node("names", "Const", (), {"value": strings(b"kernel/ExponentialMovingAverage")}),
        Node("save", "SaveV2", ("prefix", "names", "slices", "kernel/read")),
    ]

    assert read_graph([*convolution(), *saver]).strides == {"kernel": 2}


def test_epsilon_is_the_shortest_decimal() -> None:
    """A float32 attribute of 0.001 is read as 0.001, not as the nearest float64 of the float32."""
    nodes = [
        Node("gamma", "VarHandleOp"),
        Node("gamma/read", "ReadVariableOp", ("gamma",)),
        Node("bn", "FusedBatchNormV3", ("x", "gamma/read", "b", "m", "v"), {"epsilon": 0.0010000000474974513}),
    ]

    assert read_graph(nodes).epsilons == {"gamma": 0.001}


def test_cycles_and_missing_inputs_are_skipped() -> None:
    """A damaged graph is read without error."""
    nodes = [
        Node("a", "Identity", ("b",)),
        Node("b", "Identity", ("a",)),
        Node("conv", "Conv2D", ("image", "a"), {"strides": (1, 2, 2, 1)}),
        Node("lost", "Conv2D", ("image", "nowhere"), {"strides": (1, 2, 2, 1)}),
        Node("bare", "Conv2D"),
        Node("save", "SaveV2", ("prefix",)),
    ]

    assert read_graph(nodes).strides == {}


class Argument(NamedTuple):
    """An argument with the attributes of `tfckpt`'s."""

    name: str


class Function(NamedTuple):
    """A function with the attributes of `tfckpt.GraphFunction`."""

    inputs: tuple[Argument, ...]
    nodes: tuple[Node, ...]


LAYER = Function(
    (Argument("image"), Argument("resource")),
    (
        Node("Conv2D/ReadVariableOp", "ReadVariableOp", ("resource",)),
        Node("Conv2D", "Conv2D", ("image", "Conv2D/ReadVariableOp:value:0"), {"strides": (1, 2, 2, 1)}),
    ),
)


@pytest.mark.parametrize("call", [("StatefulPartitionedCall", {"f": "layer"}), ("layer", {})], ids=["by name", "by op"])
def test_variable_is_followed_into_a_function(call: tuple[str, dict[str, object]]) -> None:
    """The layers of a SavedModel are functions with the variables of the graph as arguments."""
    op, attributes = call
    nodes = [Node("kernel", "VarHandleOp"), Node("call", op, ("image", "kernel", "^init"), attributes)]

    assert read_graph(nodes, {"layer": LAYER}).strides == {"kernel": 2}


def test_variable_is_followed_through_nested_functions_to_its_key() -> None:
    """A function passes its arguments to the functions it calls; the save function contains the keys."""
    outer = Function(
        (Argument("image"), Argument("variable")),
        (Node("inner", "PartitionedCall", ("image", "variable"), {"f": "layer"}),),
    )
    save = Function(
        (Argument("prefix"), Argument("variable")),
        (
            Node("names", "Const", (), {"value": strings(b"variables/0/.ATTRIBUTES/VARIABLE_VALUE")}),
            Node("read", "ReadVariableOp", ("variable",)),
            Node("SaveV2", "SaveV2", ("prefix", "names:output:0", "slices:output:0", "read:value:0")),
        ),
    )
    nodes = [
        Node("kernel", "VarHandleOp"),
        Node("serve", "StatefulPartitionedCall", ("image", "kernel"), {"f": "outer"}),
        Node("save", "StatefulPartitionedCall", ("prefix", "kernel"), {"f": "save"}),
    ]

    facts = read_graph(nodes, {"layer": LAYER, "outer": outer, "save": save})

    assert facts.strides == {"variables/0/.ATTRIBUTES/VARIABLE_VALUE": 2}


def test_recursive_functions_terminate() -> None:
    """A function is visited once for each set of variables."""
    loop = Function((Argument("x"),), (Node("again", "PartitionedCall", ("x",), {"f": "loop"}),))
    nodes = [Node("kernel", "VarHandleOp"), Node("call", "PartitionedCall", ("kernel",), {"f": "loop"})]

    assert read_graph(nodes, {"loop": loop}).strides == {}


def test_facts_are_renamed_to_the_names_of_a_network() -> None:
    """Keys outside the mapping are left out."""
    facts = read_graph(convolution()).rename({"kernel": "stem/kernel", "other": "x"})

    assert facts.strides == {"stem/kernel": 2}
