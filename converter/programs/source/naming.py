"""Names of layers and parameters: TensorFlow's scopes, without what only says which tensor of a layer it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from .network import Layer, Leaf, Network, Node
from .quoting import Names

#: Last parts of a variable's or node's name that belong to its layer, in lower case.
_WORDS = {
    "kernel", "weights", "weight", "w", "bias", "biases", "b", "gamma", "beta", "moving_mean", "moving_variance",
    "depthwise_kernel", "depthwise_weights", "pointwise_kernel", "pointwise_weights", "embeddings", "read",
    "readvariableop", "conv2d", "conv1d", "conv3d", "matmul", "biasadd", "convolution", "depthwise",
    "separable_conv2d", "fusedbatchnorm", "fusedbatchnormv3", "batchnorm", "resource", "cast", "add", "mul", "rsqrt",
    "sub", "tensordot", "expanddims", "conv2d_transpose", "einsum", "variable",
    "embedding_lookup", "alpha",
}  # fmt: skip
#: Names that say nothing; the layer is called by its kind.
_READS = {"read", "readvariableop"}
#: What a layer without a name is called.
_KINDS = {
    "Conv": "conv",
    "BatchNorm": "bn",
    "LayerNorm": "norm",
    "Linear": "linear",
    "Embedding": "embedding",
    "PReLU": "prelu",
}
_SEPARABLE = ("depthwise", "pointwise")
#: Parts of the names of nodes inside of functions.
_CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_NUMBERED = re.compile(r"_\d+$")
#: What our classes inherit from `nn.Module`.
_INHERITED = frozenset([*dir(nn.Module), "training"])


def name_layers(network: Network) -> dict[Node, str]:
    """Give every layer of a network its name, and return the attribute of every other leaf."""
    layers: dict[Layer, None] = {}
    owned: set[Node] = set()
    loose: dict[Node, None] = {}
    for node in network.nodes:
        if node.op == "layer":
            layers[node.args["layer"]] = None
            owned.update(node.args["layer"].state.values())
    for node in [*network.nodes, *network.outputs()]:
        if node.leaf is not None and node not in owned:
            loose[node] = None
    wanted = {layer: _layer_name(layer) for layer in layers}
    wanted_leaves = {node: _split(node.leaf) for node in loose if node.leaf is not None}
    shared = _common([*wanted.values(), *(parts for parts in wanted_leaves.values() if len(parts) > 1)])
    names = Names(_INHERITED)
    for layer, parts in wanted.items():
        layer.name = names.take("_".join(parts[shared:]), default=_name_kind(layer.kind))
    attributes = {}
    for node, parts in wanted_leaves.items():
        kept = parts[shared:] if len(parts) > shared else parts
        attributes[node] = names.take("_".join(kept), default="constant" if not _is_parameter(node) else "weight")
    return attributes


def _is_parameter(node: Node) -> bool:
    return node.leaf is not None and node.leaf.is_parameter


def _layer_name(layer: Layer) -> tuple[str, ...]:
    """Return the scope of a layer: that of its first tensor with a name, or of the node that computes it."""
    if not layer.state:
        return ()
    for node in layer.state.values():
        leaf = node.leaf
        if leaf is not None and not leaf.source.startswith(("_constant_", "c_", "lifted_tensor", "_tensor_constant")):
            return strip_words(_split(leaf))
    if layer.label:
        parts = [part for part in layer.label.split("/") if part and not _CALL.fullmatch(part)]
        return strip_words(tuple(parts))
    return ()


def _name_kind(kind: str) -> str:
    return next((name for start, name in _KINDS.items() if kind.startswith(start)), kind.lower())


def _split(leaf: Leaf | None) -> tuple[str, ...]:
    assert leaf is not None
    return tuple(part for part in re.split(r"[./]", leaf.source) if part)


def strip_words(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name without the last parts that every layer of its kind has, but at least one part."""
    kept = list(parts)
    while len(kept) > 1 and kept[-1].isdecimal():
        kept.pop()
    separable = ""
    while len(kept) > 1 and _NUMBERED.sub("", kept[-1].lower().rstrip("_")) in _WORDS:
        last = kept.pop().lower()
        separable = next((word for word in _SEPARABLE if last.startswith(word)), separable)
    if kept and _NUMBERED.sub("", kept[-1].lower().rstrip("_")) in _READS:
        kept.pop()
    if separable and kept and separable not in kept[-1].lower():
        kept.append(separable)
    return tuple(kept)


def _common(names: Iterable[tuple[str, ...]]) -> int:
    """Return how many first parts all names share, without their last."""
    listed = [name for name in names if name]
    if len(listed) < 2:
        return 0
    count = 0
    while all(len(name) > count + 1 for name in listed) and len({name[count] for name in listed}) == 1:
        count += 1
    return count
