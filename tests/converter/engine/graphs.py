"""Small hand-made graphs, written in protobuf's text format."""

from __future__ import annotations

from pathlib import Path

from converter.engine import ReferenceGraph, ReferenceLimits
from tfckpt import protos
from tfckpt.checkpoint import Checkpoint
from tfckpt.graphs.graph import decode_graph
from tfckpt.limits import DEFAULT_LIMITS, Limits

FLOAT = "type: 1"
PLACEHOLDER = 'attr { key: "dtype" value { type: 1 } }'


def node(name: str, op: str, *inputs: str, attributes: str = "") -> str:
    """Return one node of a graph."""
    listed = " ".join(f'input: "{item}"' for item in inputs)
    return f'node {{ name: "{name}" op: "{op}" {listed} {attributes} }}'


def placeholder(name: str, *sizes: int) -> str:
    """Return a float32 placeholder; -1 is an unknown dimension."""
    dims = " ".join(f"dim {{ size: {size} }}" for size in sizes)
    return node(name, "Placeholder", attributes=f'{PLACEHOLDER} attr {{ key: "shape" value {{ shape {{ {dims} }} }} }}')


def constant(name: str, value: float, *sizes: int) -> str:
    """Return a float32 constant that stores a single value for all of its elements."""
    dims = " ".join(f"dim {{ size: {size} }}" for size in sizes)
    tensor = f"tensor {{ dtype: 1 tensor_shape {{ {dims} }} float_val: {value} }}"
    return node(name, "Const", attributes=f'attr {{ key: "value" value {{ {tensor} }} }}')


def integers(name: str, *values: int) -> str:
    """Return a constant int32 vector."""
    numbers = " ".join(f"int_val: {value}" for value in values)
    tensor = f"tensor {{ dtype: 3 tensor_shape {{ dim {{ size: {len(values)} }} }} {numbers} }}"
    return node(name, "Const", attributes=f'attr {{ key: "value" value {{ {tensor} }} }}')


def boolean(name: str, value: bool) -> str:
    """Return a constant bool scalar."""
    tensor = f"tensor {{ dtype: 10 tensor_shape {{ }} bool_val: {str(value).lower()} }}"
    return node(name, "Const", attributes=f'attr {{ key: "value" value {{ {tensor} }} }}')


def call(name: str, function: str, *inputs: str) -> str:
    """Return a node that calls a function."""
    return node(name, "PartitionedCall", *inputs, attributes=function_attribute("f", function))


def function_attribute(attribute: str, function: str) -> str:
    """Return an attribute whose value is a function."""
    return f'attr {{ key: "{attribute}" value {{ func {{ name: "{function}" }} }} }}'


def function(name: str, *body: str, inputs: str = "x", returns: str = "y") -> str:
    """Return a function of float32 arguments; `returns` has one reference for each output."""
    arguments = " ".join(f'input_arg {{ name: "{item}" type: 1 }}' for item in inputs.split())
    outputs = " ".join(f'output_arg {{ name: "out_{number}" type: 1 }}' for number, _ in enumerate(returns.split()))
    pairs = enumerate(returns.split())
    results = " ".join(f'ret {{ key: "out_{number}" value: "{reference}" }}' for number, reference in pairs)
    nodes = " ".join(text.replace("node {", "node_def {", 1) for text in body)
    return f'library {{ function {{ signature {{ name: "{name}" {arguments} {outputs} }} {nodes} {results} }} }}'


def graph(
    *parts: str,
    checkpoint: Checkpoint | None = None,
    limits: ReferenceLimits | None = None,
    file_limits: Limits = DEFAULT_LIMITS,
) -> ReferenceGraph:
    """Return the graph with these nodes and functions."""
    message = protos.parse_text("GraphDef", " ".join(parts))
    return ReferenceGraph(
        decode_graph(message, file_limits), path="handmade", checkpoint=checkpoint, limits=limits or ReferenceLimits()
    )


def write_frozen(path: Path, *parts: str) -> Path:
    """Write a frozen graph with these nodes and functions to a file, and return its path."""
    path.write_bytes(protos.parse_text("GraphDef", " ".join(parts)).SerializeToString())
    return path
