"""The values of a few nodes, computed while source is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from .network import Node, map_nodes


def compute(nodes: Iterable[Node], values: dict[Node, torch.Tensor]) -> dict[Node, torch.Tensor]:
    """Compute nodes, in order, from the values of those before them; return all values."""
    values = dict(values)
    for node in nodes:
        args = {name: map_nodes(value, values.__getitem__) for name, value in node.args.items()}
        values[node] = _compute(node, args)
    return values


def _compute(node: Node, args: dict[str, Any]) -> Any:
    if node.op == "regrid":
        x: torch.Tensor = args["self"]
        kept = [axis for axis in args["axes"] if axis is not None]
        removed = [axis for axis in range(x.ndim) if axis not in kept]
        x = x.permute(*kept, *removed).reshape([x.shape[axis] for axis in kept])
        return x[tuple(None if axis is None else slice(None) for axis in args["axes"])]
    if node.op == "item":
        return args["self"][args["index"]]
    function = node.target if node.target is not None else getattr(torch.ops.aten, node.op)
    return function(**args)
