"""Functions written as several operations, recognized by their values: batch and layer norms, and activations.

Programs write one function in many ways. A region of operations with one input is computed in float64 for random
inputs and parameters, and compared with every function in the tables. The largest region that agrees is replaced.
Tensors have TensorFlow's axes here.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from .evaluating import compute
from .folding import Leaves
from .layouts import ELEMENTWISE
from .network import Leaf, Network, Node, Rewriter, new
from .simplifying import as_number

#: The number of operations of the largest region.
_MAX_REGION = 20
#: Functions of one element agree if they differ by no more than the rounding of constants stored in float32.
_RELATIVE, _ABSOLUTE = 2e-6, 1e-11
#: Activations that have a name, by the operation that is written.
_ACTIVATIONS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, Any]]] = {
    "relu": (F.relu, {}),
    "relu6": (F.relu6, {}),
    "silu": (F.silu, {}),
    "hardswish": (F.hardswish, {}),
    "hardsigmoid": (F.hardsigmoid, {}),
    "gelu": (F.gelu, {}),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}),
    "softplus": (lambda x: torch.logaddexp(x, torch.zeros_like(x)), {}),
    "mish": (F.mish, {}),
    "selu": (F.selu, {}),
    "elu": (F.elu, {}),
}
#: Operations that only an activation of one operation consists of.
_SINGLE = {"clamp": ("relu", "relu6")}
_INSIDE = ELEMENTWISE | {"mean", "regrid", "permute", "var"}
_ENDS = {
    "add",
    "sub",
    "mul",
    "div",
    "clamp",
    "where",
    "logaddexp",
    "minimum",
    "maximum",
    "rsub",
    "log",
    "log1p",
    "reciprocal",
}
_NORMALIZES = {"rsqrt", "sqrt", "pow"}
#: Operations by which programs treat negative numbers differently.
_CHOOSES = {"where", "relu", "clamp", "maximum", "minimum", "abs", "leaky_relu"}


@dataclasses.dataclass(slots=True)
class _Region:
    """Operations in order, the only value they compute from, and the leaves they use."""

    nodes: list[Node]
    source: Node
    leaves: list[Node]


def recognize_functions(network: Network, leaves: Leaves) -> None:
    """Replace the regions that compute a function in the tables."""
    positions = {node: position for position, node in enumerate(network.nodes)}
    users = network.users()
    generator = torch.Generator().manual_seed(0)
    replaced: dict[Node, list[Node]] = {}
    swallowed: set[Node] = set()
    for node in reversed(network.nodes):
        if node.op not in _ENDS or node in swallowed or node.dtype is None or not node.dtype.is_floating_point:
            continue
        best: tuple[_Region, list[Node]] | None = None
        for region in _grow(node, positions, users):
            made = _match(node, region, leaves, generator)
            if made is not None:
                best = region, made
        if best is not None:
            replaced[node] = best[1]
            swallowed.update(best[0].nodes)

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node not in replaced:
            return None
        for made in replaced[node]:
            made.args = _map_current(made.args, rewriter)
            rewriter.add(made)
        return replaced[node][-1]

    Rewriter(network).run(rule)


def _map_current(args: dict[str, Any], rewriter: Rewriter) -> dict[str, Any]:
    from .network import map_nodes

    return {name: map_nodes(value, rewriter.current) for name, value in args.items()}


def _grow(end: Node, positions: dict[Node, int], users: dict[Node, list[Node]]) -> Iterator[_Region]:
    """Yield ever larger regions with this last operation that compute from one value and leaves."""
    inside = {end}
    while len(inside) <= _MAX_REGION:
        boundary = {used for node in inside for used in node.inputs() if used not in inside}
        data = [node for node in boundary if node.leaf is None and as_number(node) is None]
        if len(data) == 1 and data[0].shape is not None:
            nodes = sorted(inside, key=positions.__getitem__)
            yield _Region(nodes, data[0], sorted(boundary - {*data}, key=positions.__getitem__))
        inner = [
            node
            for node in data
            if node.op in _INSIDE and node.shape is not None and all(user in inside for user in users[node])
        ]
        if not inner:
            return
        latest = max(inner, key=positions.__getitem__)
        if any(positions[node] > positions[latest] for node in data if node not in inner and _reaches(latest, node)):
            return
        inside.add(latest)


def _reaches(source: Node, node: Node) -> bool:
    return source in node.inputs()


def _match(end: Node, region: _Region, leaves: Leaves, generator: torch.Generator) -> list[Node] | None:
    ops = {node.op for node in region.nodes}
    parameters = [leaf for leaf in region.leaves if as_number(leaf) is None]
    try:
        if not parameters and not ops & {"mean", "var", "regrid", "permute"}:
            return _match_activation(end, region)
        if len(parameters) == 1 and ops & _CHOOSES and not ops & {"mean", "var"}:
            return _match_prelu(end, region, parameters[0], leaves, generator)
        if parameters and ops & _NORMALIZES and len(parameters) <= 4:
            if "mean" in ops or "var" in ops:
                return _match_layer_norm(end, region, parameters, leaves, generator)
            return _match_batch_norm(end, region, parameters, leaves, generator)
    except (RuntimeError, IndexError, TypeError, KeyError):
        return None  # shapes that do not fit the guess
    return None


def _numbers(region: _Region) -> dict[Node, torch.Tensor]:
    found = {leaf: as_number(leaf) for leaf in region.leaves}
    return {
        leaf: torch.full(leaf.shape or (), number, dtype=torch.float64)
        for leaf, number in found.items()
        if number is not None
    }


def _match_activation(end: Node, region: _Region) -> list[Node] | None:
    if region.source.shape != end.shape or region.source.dtype != end.dtype:
        return None
    single = _SINGLE.get(end.op, ()) if len(region.nodes) == 1 else None
    single = None if end.op == "logaddexp" else single
    if len(region.nodes) == 1 and not single and end.op != "logaddexp":
        return None
    x = torch.linspace(-9.0, 9.0, 145, dtype=torch.float64)
    values = compute(region.nodes, {region.source: x, **_numbers(region)})[end]
    if values.shape != x.shape:
        return None
    for name, (function, args) in _ACTIVATIONS.items():
        if single and name not in single:
            continue
        expected = function(x)
        allowed = torch.zeros_like(x) if single else _RELATIVE * expected.abs() + _ABSOLUTE
        if torch.all((values - expected).abs() <= allowed):
            return [new(name.partition("_")[0], {"self": region.source, **args}, end)]
    return _match_leaky_relu(end, region, x, values)


def _match_leaky_relu(end: Node, region: _Region, x: torch.Tensor, values: torch.Tensor) -> list[Node] | None:
    """Recognize a leaky ReLU whose slope is a number of the region."""
    numbers = {number for node in region.nodes for number in node.args.values() if isinstance(number, float)}
    numbers |= {float(number) for leaf in region.leaves if (number := as_number(leaf)) is not None}
    for slope in sorted(numbers - {0.0, 1.0}):
        if torch.allclose(values, torch.where(x > 0, x, slope * x), rtol=1e-12, atol=0.0):
            return [new("leaky_relu", {"self": region.source, "negative_slope": slope}, end)]
    return None


def _match_batch_norm(
    end: Node, region: _Region, parameters: list[Node], leaves: Leaves, generator: torch.Generator
) -> list[Node] | None:
    """Recognize `(x - mean) / sqrt(variance + epsilon) · gamma + beta`, however it is written."""
    source = region.source
    shape = source.shape
    assert shape is not None
    if end.shape != shape or len(shape) < 2 or end.op not in ("add", "sub", "mul", "div"):
        return None
    variance = _find_variance(region, parameters)
    if variance is None:
        return None
    node, epsilon = variance
    channels = node.args["leaf"].tensor.numel()
    axis = next((axis for axis in (len(shape) - 1, 1) if shape[axis] == channels), None)
    if axis is None or any(leaf.args["leaf"].tensor.numel() != channels for leaf in parameters):
        return None
    sizes = [channels if position == axis else 2 + position for position in range(len(shape))]
    x = torch.randn(sizes, dtype=torch.float64, generator=generator)
    drawn = {
        leaf: torch.rand(tuple(leaf.args["leaf"].tensor.shape), dtype=torch.float64, generator=generator) + 0.5
        for leaf in parameters
    }
    values = compute(region.nodes, {source: x, **drawn, **_numbers(region)})[end]
    if values.shape != x.shape:
        return None
    lined = [1] * len(shape)
    lined[axis] = channels
    flat = {leaf: value.reshape(lined) for leaf, value in drawn.items()}
    scaled = torch.rsqrt(flat[node] + epsilon)
    others = [leaf for leaf in parameters if leaf is not node]
    for roles in itertools.permutations(("mean", "gamma", "beta"), len(others)):
        chosen = dict(zip(roles, others, strict=True))
        if "mean" not in chosen:
            continue
        expected = (x - flat[chosen["mean"]]) * scaled
        if "gamma" in chosen:
            expected = expected * flat[chosen["gamma"]]
        if "beta" in chosen:
            expected = expected + flat[chosen["beta"]]
        if torch.allclose(values, expected, rtol=1e-9, atol=1e-9):
            return _make_batch_norm(end, source, axis, {**chosen, "variance": node}, epsilon, leaves)
    return None


def _make_batch_norm(  # noqa: PLR0917 (called once)
    end: Node, source: Node, axis: int, roles: dict[str, Node], epsilon: float, leaves: Leaves
) -> list[Node]:
    assert source.shape is not None
    made: list[Node] = []
    channels = source.shape[axis]
    state = {}
    for name, leaf in roles.items():
        state[name] = leaf if leaf.shape == (channels,) else leaves.change(leaf, ("reshape", channels))
        made.append(state[name])
    variance = state["variance"]
    for name, value in (("gamma", 1.0), ("beta", 0.0)):
        if name not in state:
            tensor = torch.full((channels,), value, dtype=variance.dtype)
            constant = Leaf(tensor, f"{variance.args['leaf'].source}.{name}", False, False)
            state[name] = Node("leaf", {"leaf": constant}, (channels,), variance.dtype, variance.label)
            made.append(state[name])
    args = {
        "weight": state["gamma"],
        "bias": state["beta"],
        "running_mean": state["mean"],
        "running_var": state["variance"],
        "training": False,
        "momentum": 0.1,
        "eps": epsilon,
    }
    made += _along_channels("batch_norm", "input", args, end, source, axis)
    return made


def _find_variance(region: _Region, parameters: Sequence[Node]) -> tuple[Node, float] | None:
    """Return the leaf that an epsilon is added to under a root, and the epsilon."""
    for root in region.nodes:
        if root.op not in _NORMALIZES:
            continue
        inner = root.args["self"]
        if isinstance(inner, Node) and inner.op == "add" and inner in region.nodes:
            for leaf, epsilon in ((inner.args["self"], inner.args["other"]), (inner.args["other"], inner.args["self"])):
                if leaf in parameters and isinstance(epsilon, int | float):
                    return leaf, float(epsilon)
    return None


def _match_prelu(
    end: Node, region: _Region, parameter: Node, leaves: Leaves, generator: torch.Generator
) -> list[Node] | None:
    """Recognize a leaky ReLU whose slope is a parameter: one for all channels, or one for each."""
    source = region.source
    shape = source.shape
    assert shape is not None
    if end.shape != shape or source.dtype != end.dtype or len(shape) < 2 or not parameter.args["leaf"].is_parameter:
        return None
    channels = parameter.args["leaf"].tensor.numel()
    sizes = tuple(parameter.args["leaf"].tensor.shape)
    if len(sizes) > len(shape):
        return None
    lined = (*(1,) * (len(shape) - len(sizes)), *sizes)
    axis = 1 if channels == 1 else next((axis for axis in (len(shape) - 1, 1) if lined[axis] == channels), None)
    if axis is None or shape[axis] != channels != 1:
        return None
    x = torch.randn(
        [channels if position == axis else 2 + position for position in range(len(shape))],
        dtype=torch.float64,
        generator=generator,
    )
    slope = torch.randn(sizes, dtype=torch.float64, generator=generator)
    values = compute(region.nodes, {source: x, parameter: slope, **_numbers(region)})[end]
    if values.shape != x.shape or not torch.allclose(values, torch.where(x > 0, x, slope * x), rtol=1e-9, atol=1e-9):
        return None
    flat = parameter if parameter.shape == (channels,) else leaves.change(parameter, ("reshape", channels))
    return [flat, *_along_channels("prelu", "self", {"weight": flat}, end, source, axis)]


def _along_channels(  # noqa: PLR0917 (called twice)
    op: str, name: str, args: dict[str, Any], end: Node, source: Node, axis: int
) -> list[Node]:
    """Return an operation whose channels are axis 1, between the permutations that it needs for another axis."""
    assert source.shape is not None
    rank = source.rank
    if axis == 1:
        return [new(op, {name: source, **args}, end)]
    first = (0, axis, *(other for other in range(1, rank) if other != axis))
    x = new("permute", {"self": source, "dims": list(first)}, source, tuple(source.shape[one] for one in first))
    called = new(op, {name: x, **args}, end, x.shape)
    return [x, called, new("permute", {"self": called, "dims": [0, *range(2, rank), 1]}, end)]


def _match_layer_norm(
    end: Node, region: _Region, parameters: list[Node], leaves: Leaves, generator: torch.Generator
) -> list[Node] | None:
    """Recognize a layer norm over the last axis."""
    source = region.source
    shape = source.shape
    assert shape is not None
    if end.shape != shape or not shape or type(shape[-1]) is not int or len(parameters) > 2:
        return None
    channels = shape[-1]
    epsilon = _find_epsilon(region)
    if epsilon is None or any(leaf.args["leaf"].tensor.numel() != channels for leaf in parameters):
        return None
    sizes = [2 + position for position in range(len(shape) - 1)] + [channels]
    x = torch.randn(sizes, dtype=torch.float64, generator=generator)
    drawn = {
        leaf: torch.rand(tuple(leaf.args["leaf"].tensor.shape), dtype=torch.float64, generator=generator) + 0.5
        for leaf in parameters
    }
    values = compute(region.nodes, {source: x, **drawn, **_numbers(region)})[end]
    for roles in itertools.permutations(("weight", "bias"), len(parameters)):
        chosen = dict(zip(roles, parameters, strict=True))
        if "weight" not in chosen:
            continue
        flat = {role: drawn[leaf].reshape(channels) for role, leaf in chosen.items()}
        expected = F.layer_norm(x, (channels,), flat["weight"], flat.get("bias"), epsilon)
        if torch.allclose(values, expected, rtol=1e-9, atol=1e-9):
            args: dict[str, Any] = {"input": source, "normalized_shape": [channels]}
            made = []
            for role, leaf in chosen.items():
                args[role] = leaf if leaf.shape == (channels,) else leaves.change(leaf, ("reshape", channels))
                made.append(args[role])
            return [*made, new("layer_norm", {**args, "eps": epsilon}, end)]
    return None


def _find_epsilon(region: _Region) -> float | None:
    for root in region.nodes:
        if root.op in _NORMALIZES and isinstance(root.args["self"], Node) and root.args["self"].op == "add":
            for value in root.args["self"].args.values():
                if isinstance(value, int | float) and 0 < value < 0.1:
                    return float(value)
    return None
