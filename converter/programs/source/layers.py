"""Recognition of layers that have parameters, on channels-first tensors.

A parameter belongs to one layer: an operation becomes a layer only if all its parameters are used by layers with the
same arguments. Everything else stays an operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .folding import Leaves, inverse, untie
from .network import Layer, Network, Node, Rewriter, new
from .signals import recognize_signals

#: The arguments of a constructor as text, the state by attribute, and the inputs; None if the operation is no layer.
Candidate = tuple[str, tuple[str, ...], dict[str, Node], list[Node]]


def recognize_layers(network: Network, leaves: Leaves) -> None:
    """Replace operations on leaves with layers, then add the biases that follow them."""
    _absorb_padding(network)
    _absorb_biases(network, leaves)
    recognize_signals(network)
    untie(network)
    candidates = {node: found for node in network.nodes if (found := _find(node)) is not None}
    keys = {node: _key(found) for node, found in candidates.items()}
    owners: dict[Node, set[Any]] = {}
    for node in network.nodes:
        for used in node.inputs():
            if used.leaf is not None:
                owners.setdefault(used, set()).add(keys.get(node))
    for node in network.outputs():
        owners.setdefault(node, set()).add(None)
    layers: dict[Any, Layer] = {}

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node not in candidates:
            return None
        kind, arguments, state, _ = candidates[node]
        if any(owners.get(leaf) != {keys[node]} for leaf in state.values()):
            return None
        inputs = _find_inputs(node, state)
        layer = layers.setdefault(keys[node], Layer(kind, arguments, dict(state), label=node.label))
        return rewriter.add(new("layer", {"layer": layer, "inputs": inputs}, node))

    Rewriter(network).run(rule)


def _key(found: Candidate) -> tuple[Any, ...]:
    kind, arguments, state, _ = found
    return kind, arguments, tuple(state.items())


def _find_inputs(node: Node, state: dict[str, Node]) -> list[Node]:
    own = set(state.values())
    return [used for used in node.inputs() if used not in own]


def _find(node: Node) -> Candidate | None:
    finder = _FINDERS.get(node.op)
    found = finder(node) if finder is not None else None
    if found is None or not all(leaf.leaf is not None for leaf in found[2].values()):
        return None
    return found


def _convolution(node: Node) -> Candidate | None:
    weight, bias = node.args["weight"], node.get("bias")
    x = node.args["input"]
    if weight.leaf is None or (bias is not None and bias.leaf is None) or isinstance(node.get("padding"), str):
        return None
    groups = node.get("groups", 1)
    outputs, per_group, *kernel = weight.shape
    arguments = [str(per_group * groups), str(outputs), _short(kernel)]
    for name, default in (("stride", 1), ("padding", 0), ("dilation", 1)):
        value = _short(_spatial(node.get(name, default), len(kernel)))
        if value != str(default):
            arguments.append(f"{name}={value}")
    if groups != 1:
        arguments.append(f"groups={groups}")
    if bias is None:
        arguments.append("bias=False")
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return f"Conv{len(kernel)}d", tuple(arguments), state, [x]


def _transposed_convolution(node: Node) -> Candidate | None:
    weight, bias = node.args["weight"], node.get("bias")
    if weight.leaf is None or (bias is not None and bias.leaf is None):
        return None
    groups = node.get("groups", 1)
    inputs, per_group, *kernel = weight.shape
    arguments = [str(inputs), str(per_group * groups), _short(kernel)]
    for name, default in (("stride", 1), ("padding", 0), ("output_padding", 0)):
        value = _short(_spatial(node.get(name, default), len(kernel)))
        if value != str(default):
            arguments.append(f"{name}={value}")
    if groups != 1:
        arguments.append(f"groups={groups}")
    if bias is None:
        arguments.append("bias=False")
    dilation = _short(_spatial(node.get("dilation", 1), len(kernel)))
    if dilation != "1":
        arguments.append(f"dilation={dilation}")
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return f"ConvTranspose{len(kernel)}d", tuple(arguments), state, [node.args["input"]]


def _linear(node: Node) -> Candidate | None:
    weight, bias = node.args["weight"], node.get("bias")
    if weight.leaf is None or (bias is not None and bias.leaf is None):
        return None
    outputs, inputs = weight.shape
    arguments = (str(inputs), str(outputs), *(() if bias is not None else ("bias=False",)))
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return "Linear", arguments, state, [node.args["input"]]


def _batch_norm(node: Node) -> Candidate | None:
    x = node.args["input"]
    names = ("weight", "bias", "running_mean", "running_var")
    if node.get("training") or x.shape is None or any(node.get(name) is None for name in names):
        return None
    kind = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}.get(x.rank)
    if kind is None:
        return None
    state = {name: node.args[name] for name in names}
    if len(set(state.values())) < 4:
        return None
    return kind, (str(x.shape[1]), f"eps={node.args['eps']!r}"), state, [x]


def _layer_norm(node: Node) -> Candidate | None:
    state = {name: node.args[name] for name in ("weight", "bias") if node.get(name) is not None}
    if "weight" not in state or len(set(state.values())) < len(state):
        return None
    arguments = [_short(node.args["normalized_shape"]), f"eps={node.args['eps']!r}"]
    if "bias" not in state:
        arguments.append("bias=False")
    return "LayerNorm", tuple(arguments), state, [node.args["input"]]


def _embedding(node: Node) -> Candidate | None:
    weight = node.args["weight"]
    if set(node.args) != {"weight", "indices"} or weight.leaf is None or not weight.leaf.is_parameter:
        return None
    return "Embedding", tuple(map(str, weight.shape)), {"weight": weight}, [node.args["indices"]]


def _prelu(node: Node) -> Candidate | None:
    weight = node.args["weight"]
    arguments = () if weight.shape == (1,) else (str(weight.shape[0]),)
    return "PReLU", arguments, {"weight": weight}, [node.args["self"]]


def _dropout(node: Node) -> Candidate:
    return "Dropout", (f"p={node.args['p']!r}",), {}, [node.args["input"]]


_FINDERS: dict[str, Callable[[Node], Candidate | None]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_convolution),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "prelu": _prelu,
    "dropout": _dropout,
}

_WITH_BIAS = {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}


def _spatial(value: Any, count: int) -> tuple[int, ...]:
    """Return one number for each spatial axis."""
    if isinstance(value, int):
        return (value,) * count
    return tuple(value) * count if len(value) == 1 else tuple(value)


def _short(values: Sequence[Any]) -> str:
    """Return equal numbers as one."""
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


def _absorb_padding(network: Network) -> None:
    """Move symmetric zero padding into the convolution that follows it."""

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node.op not in ("conv1d", "conv2d", "conv3d"):
            return None
        pad = node.args["input"]
        if pad.op != "pad" or not rewriter.has_one_user(pad) or pad.get("mode", "constant") != "constant":
            return None
        flat = pad.args["pad"]
        spatial = node.rank - 2
        is_plain = len(flat) <= 2 * spatial and all(type(size) is int and size >= 0 for size in flat)
        if pad.get("value") not in (None, 0) or not is_plain or flat[::2] != flat[1::2]:
            return None
        if set(_spatial(node.get("padding", 0), spatial)) != {0}:
            return None
        padding = [0] * (spatial - len(flat) // 2) + list(flat[::2])[::-1]
        return rewriter.add(new(node.op, {**node.args, "input": pad.args["self"], "padding": padding}, node))

    Rewriter(network).run(rule)


def _absorb_biases(network: Network, leaves: Leaves) -> None:
    """Turn matrix products with a leaf into `linear`, and a vector added to a layer's result into its bias."""

    def linear(node: Node, rewriter: Rewriter) -> Node | None:
        if node.op != "matmul":
            return None
        x, weight = node.args["self"], node.args["other"]
        if weight.leaf is None or weight.rank != 2 or x.leaf is not None or x.rank < 1:
            return None
        turned = rewriter.add(leaves.change(weight, ("permute", 1, 0)))
        return rewriter.add(new("linear", {"input": x, "weight": turned}, node))

    def bias(node: Node, rewriter: Rewriter) -> Node | None:
        if node.op != "add" or node.get("alpha", 1) != 1:
            return None
        for layer, vector in ((node.args["self"], node.args["other"]), (node.args["other"], node.args["self"])):
            if not isinstance(layer, Node) or not isinstance(vector, Node) or vector.leaf is None:
                continue
            is_layer = layer.op in _WITH_BIAS and layer.get("bias") is None
            if not is_layer or not rewriter.has_one_user(layer) or layer.args["weight"].leaf is None:
                continue
            channels = layer.shape[1 if layer.op != "linear" else -1] if layer.shape is not None else None
            trailing = 0 if layer.op == "linear" else layer.rank - 2
            shapes = [(channels, *(1,) * trailing)]
            if channels == 1:
                shapes += [(1,) * rank for rank in range(1, layer.rank)]
            if type(channels) is not int or vector.shape not in shapes or layer.shape != node.shape:
                continue
            flat = rewriter.add(leaves.change(vector, ("reshape", channels))) if trailing else vector
            return rewriter.add(new(layer.op, {**layer.args, "bias": flat}, node))
        return None

    def flattened(node: Node, rewriter: Rewriter) -> Node | None:
        """Give the columns of a matrix the order in which the tensor before it is flattened."""
        if node.op != "linear" or node.args["input"].op != "reshape" or not rewriter.has_one_user(node.args["input"]):
            return None
        flat: Node = node.args["input"]
        permuted: Node = flat.args["self"]
        if permuted.op != "permute" or flat.rank != 2 or permuted.shape is None or node.args["weight"].leaf is None:
            return None
        dims, sizes = permuted.args["dims"], permuted.shape[1:]
        if (
            dims[0] != 0
            or any(type(size) is not int for size in sizes)
            or flat.shape
            != (
                permuted.shape[0],
                math.prod(sizes),
            )
        ):
            return None
        source: Node = permuted.args["self"]
        weight: Node = node.args["weight"]
        assert weight.shape is not None
        whole = weight.shape
        back = inverse(dims)
        for change in (
            ("reshape", whole[0], *sizes),
            ("permute", *back),
            ("reshape", *whole),
        ):
            weight = leaves.change(weight, change)
        rewriter.add(weight)
        plain = rewriter.add(new("reshape", {**flat.args, "self": source}, flat))
        return rewriter.add(new("linear", {**node.args, "input": plain, "weight": weight}, node))

    Rewriter(network).run(linear)
    Rewriter(network).run(flattened)
    Rewriter(network).run(bias)
