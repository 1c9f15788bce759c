"""The values of a few nodes, computed while source is written."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from .network import Node, Size, map_nodes

_OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "max": max,
    "min": min,
}


def compute(nodes: Iterable[Node], values: dict[Node, torch.Tensor]) -> dict[Node, torch.Tensor]:
    """Compute nodes, in order, from the values of those before them; return all values."""
    values = dict(values)
    for node in nodes:
        values[node] = compute_node(node, values)
    return values


def compute_node(node: Node, values: Mapping[Node, Any]) -> Any:
    """Return the value of one node, from those of its inputs."""
    args = {name: map_nodes(value, values.__getitem__) for name, value in node.args.items()}
    if node.op == "regrid":
        x: torch.Tensor = args["self"]
        kept = [axis for axis in args["axes"] if axis is not None]
        removed = [axis for axis in range(x.ndim) if axis not in kept]
        x = x.permute(*kept, *removed).reshape([x.shape[axis] for axis in kept])
        return x[tuple(None if axis is None else slice(None) for axis in args["axes"])]
    if node.op == "item":
        return args["self"][args["index"]]
    # Numbers may have taken the place of tensors, for which the operation has another overload.
    is_changed = node.target is None or isinstance(args.get("other"), int | float)
    function = getattr(torch.ops.aten, node.op) if is_changed else node.target
    assert function is not None
    return function(**args)


def evaluate(value: Any, symbols: Mapping[Any, int]) -> int:
    """Return the value of arithmetic on sizes for numbers in the place of symbols; raise `KeyError` for any other."""
    if isinstance(value, int):
        return value
    if value.op == "size":
        return evaluate_size(value.args["self"].shape[value.args["dim"]], symbols)
    return int(_OPERATORS[value.args["symbol"]](*(evaluate(part, symbols) for part in value.args["values"])))


def evaluate_size(size: Size, symbols: Mapping[Any, int]) -> int:
    """Return the size of an axis for numbers in the place of symbols."""
    return size if type(size) is int else int(size.subs(symbols))
