"""`tfckpt graph`: summarise the graph saved with a checkpoint, or show some of its nodes."""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..errors import CheckpointError, pluralize, printable
from ..graphs.graph import Graph, Node
from ..graphs.lookup import matches
from ..graphs.meta_graph import MetaGraph, Signature, SignatureTensor
from ..graphs.saved_model import INIT_SIGNATURE
from . import opening, render

HELP = """\
Summarise the graph saved with a checkpoint: ops, variables and signatures.

  tfckpt graph model.ckpt-322
  tfckpt graph model.ckpt-322 stem/conv2d/Conv2D        one node with its inputs and attributes
  tfckpt graph model.ckpt-322 'blocks_0/*'              every node that matches

The graph comes from the .meta file next to the checkpoint, or from the SavedModel the checkpoint belongs to.
"""

_YES_NO = {"None": "-", "True": "yes", "False": "no"}
_VARIABLE_OPS = ("VarHandleOp", "VariableV2", "Variable")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "graph",
        help="summarise the graph saved with a checkpoint",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument(
        "node",
        metavar="NODE",
        nargs="?",
        help="a node's name, a glob with * ? [ ], or part of a name; FUNCTION:NODE inside a function",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run, optional="node")


def run(options: argparse.Namespace) -> int:
    """Summarise; exit code 3 if there is no graph or no such node."""
    with opening.open_checkpoint(options.path, options) as checkpoint:
        meta_graph = checkpoint.meta_graph
        if meta_graph is None:
            render.complain(f"{checkpoint.prefix}: this checkpoint has no graph (.meta file)")
            return 3
        if options.node is not None:
            return _show_nodes(meta_graph.graph, options.node, json=options.json)
        if options.json:
            print(render.to_json(_to_data(meta_graph)))
        else:
            _print_summary(meta_graph)
    return 0


def _print_summary(meta_graph: MetaGraph) -> None:
    graph = meta_graph.graph
    inside = sum(len(function.nodes) for function in graph.functions.values())
    functions = pluralize(len(graph.functions), "function")
    print(f"{pluralize(len(graph), 'node')}, {functions}" + (f" with {pluralize(inside, 'node')}" if inside else ""))
    if meta_graph.tensorflow_version:
        print(f"written by TensorFlow {printable(meta_graph.tensorflow_version)}")
    if meta_graph.tags:
        print(f"tags {', '.join(map(printable, meta_graph.tags))}")
    for signature in meta_graph.signatures.values():
        if signature.name != INIT_SIGNATURE:
            print(render.wrap(f"signature {_format_signature(signature)}", 10))
    ops, inner = _count_ops(graph)
    rows = [
        [printable(op), f"{ops[op]:,}", f"{inner[op]:,}"] for op in sorted({*ops, *inner}, key=_sort_by_use(ops, inner))
    ]
    print()
    print(render.format_table(["op", "nodes", "in functions"], rows, right="lrr"))
    variables = _list_variables(meta_graph)
    if variables:
        rows = [
            [
                printable(str(row["name"])),
                _format_value(row["dtype"]),
                _format_value(row["shape"]),
                _YES_NO[str(row["trainable"])],
            ]
            for row in variables
        ]
        print()
        print(render.format_table(["variable", "dtype", "shape", "trainable"], rows))


def _count_ops(graph: Graph) -> tuple[collections.Counter[str], collections.Counter[str]]:
    """Count the nodes of each op, in the graph and in its functions."""
    inner = collections.Counter(node.op for function in graph.functions.values() for node in function.nodes)
    return collections.Counter(node.op for node in graph), inner


def _sort_by_use(ops: Mapping[str, int], inner: Mapping[str, int]) -> Callable[[str], tuple[int, str]]:
    return lambda op: (-ops.get(op, 0) - inner.get(op, 0), op)


def _list_variables(meta_graph: MetaGraph) -> list[dict[str, object]]:
    """Return name, dtype and shape of each variable, and whether it is trained if a collection says so."""
    trainable = {variable.name: variable.trainable for variable in meta_graph.variables}
    return [
        {
            "name": node.name,
            "dtype": node.attributes.get("dtype"),
            "shape": node.attributes.get("shape"),
            "trainable": trainable.get(node.name),
        }
        for node in meta_graph.graph
        if node.op in _VARIABLE_OPS
    ]


def _show_nodes(graph: Graph, pattern: str, *, json: bool) -> int:
    """Show the nodes that match a name or pattern: one node in full, several in one line each."""
    nodes = dict(_find_nodes(graph, pattern))
    if not nodes:
        render.complain(f"none of {len(graph):,} nodes matches {pattern!r}")
        return 3
    if json:
        print(render.to_json({"nodes": [_node_to_data(name, node) for name, node in nodes.items()]}))
    elif len(nodes) == 1:
        ((name, node),) = nodes.items()
        print(f"{printable(name)}  {printable(node.op)}")
        for reference in node.inputs:
            print(f"  input {printable(reference)}")
        for attribute in node.attributes:
            print(f"  {printable(attribute)} = {printable(_format_attribute(node, attribute))}")
    else:
        rows = [
            [printable(name), printable(node.op), ", ".join(map(printable, node.inputs))]
            for name, node in nodes.items()
        ]
        print(render.format_table(["node", "op", "inputs"], rows))
    return 0


def _find_nodes(graph: Graph, pattern: str) -> Iterable[tuple[str, Node]]:
    if pattern in graph:
        return [(pattern, graph[pattern])]
    function, colon, inner = pattern.partition(":")
    if colon and function in graph.functions:
        nodes = {node.name: node for node in graph.functions[function].nodes}
        names = [inner] if inner in nodes else [name for name in nodes if matches(name, inner or None)]
        return [(f"{function}:{name}", nodes[name]) for name in names]
    return [(node.name, node) for node in graph if matches(node.name, pattern)]


def _format_attribute(node: Node, name: str) -> str:
    """Format an attribute; one that cannot be read becomes its error, so that the listing goes on."""
    try:
        return _format_value(node.attributes[name])
    except CheckpointError as error:
        return f"({error.message})"


def _format_value(value: object) -> str:
    if isinstance(value, np.ndarray):
        shown = np.array2string(value, threshold=8, edgeitems=2, separator=", ").replace("\n", "")
        return f"{value.dtype} {render.format_shape(value.shape)} {shown}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_format_value, value)) + "]"
    return "unknown" if value is None else str(value)


def _format_signature(signature: Signature) -> str:
    inputs, outputs = _format_tensors(signature.inputs), _format_tensors(signature.outputs)
    return f"{printable(signature.name)}({inputs}) -> {outputs or 'nothing'}"


def _format_tensors(tensors: Mapping[str, SignatureTensor]) -> str:
    return ", ".join(f"{printable(name)}: {_format_tensor(tensor)}" for name, tensor in tensors.items())


def _format_tensor(tensor: SignatureTensor) -> str:
    kind = "" if tensor.kind == "dense" else f"{tensor.kind} "
    return f"{kind}{tensor.dtype} {_format_value(tensor.shape)}"


def _to_data(meta_graph: MetaGraph) -> dict[str, object]:
    graph = meta_graph.graph
    ops, inner = _count_ops(graph)
    return {
        "nodes": len(graph),
        "functions": {name: len(function.nodes) for name, function in graph.functions.items()},
        "tensorflow_version": meta_graph.tensorflow_version,
        "tags": list(meta_graph.tags),
        "signatures": {
            name: {
                "method_name": signature.method_name,
                "inputs": _tensors_to_data(signature.inputs),
                "outputs": _tensors_to_data(signature.outputs),
            }
            for name, signature in meta_graph.signatures.items()
        },
        "ops": {
            op: {"nodes": ops[op], "in_functions": inner[op]}
            for op in sorted({*ops, *inner}, key=_sort_by_use(ops, inner))
        },
        "variables": _list_variables(meta_graph),
    }


def _tensors_to_data(tensors: Mapping[str, SignatureTensor]) -> object:
    return {
        name: {
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": None if tensor.shape is None else list(tensor.shape),
            "kind": tensor.kind,
            "components": list(tensor.components),
        }
        for name, tensor in tensors.items()
    }


def _node_to_data(name: str, node: Node) -> object:
    return {
        "name": name,
        "op": node.op,
        "inputs": list(node.inputs),
        "attributes": {attribute: _format_attribute(node, attribute) for attribute in node.attributes},
    }
