"""Which tensor of the graph is which layer of our network.

Layers are found by their variables: the checkpoint key of a kernel leads to the convolution that takes it, and from
there to its batch norm and activation.
The names of nodes play no part, so that any scope, any exporter and any nesting of functions will do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tfckpt.errors import pluralize, printable

from ..errors import GraphError, Shape, TensorNameError
from ..model.config import EfficientNetConfig

if TYPE_CHECKING:
    from ..engine.reference_graph import Operation, ReferenceGraph
    from ..engine.variables import Weights
    from .wiring import Wiring

#: What we call the layers that have no module of their own in the network.
POOLED = "pooled"
OUTPUT = "output"
LOGITS = "logits"

_BIASED = ("se.reduce", "se.expand")


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A layer and its tensor.

    `module` is the path of the module whose output it is; that of the pooled features is the classifier's input.
    `kernel` and `norm` are the nodes that compute it, None where it has none of its own.
    `channels_first` tells NCHW from TensorFlow's usual NHWC.
    """

    layer: str
    module: str
    tensor: str
    kernel: str | None = None
    norm: str | None = None
    channels_first: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Pairing:
    """All pairs in network order, and what is fed: the tensor that the stem's convolution takes, before any padding.

    `input_shape` is what the graph says of it, with -1 for any size, None if it says nothing.
    `switches` are placeholders of a single bool on the way, which say whether this is training.
    """

    pairs: tuple[Pair, ...]
    input: str
    input_shape: Shape | None
    channels_first: bool
    switches: tuple[str, ...]

    def pair(self, layer: str) -> Pair:
        """The pair of a layer by its name."""
        return next(pair for pair in self.pairs if pair.layer == layer)


def pair_layers(
    graph: ReferenceGraph, config: EfficientNetConfig, keys: Mapping[str, str], weights: Weights
) -> Pairing:
    """Pair every layer of the network with a tensor of the graph.

    `keys` has the checkpoint key of every target, such as `stem.conv.weight`.
    Raises `GraphError` that lists every variable and every layer for which the graph has nothing.
    """
    _check_variables(graph, keys, weights)
    last = "classifier.weight" if config.num_classes else "head.conv.weight"
    if last not in keys:
        last = [name for name in keys if name.endswith(".conv.weight")][-1]
    wiring = _wiring(graph, keys[last], weights)
    pairer = _Pairer(graph, wiring, keys)
    pairs = tuple(pairer.pairs(config))
    if pairer.missing:
        count = pluralize(len(pairer.missing), "layer")
        lines = [f"the graph {graph.path} does not compute this network: {count}", *pairer.missing]
        raise GraphError("\n  ".join(lines))
    stem = wiring.kernels(keys["stem.conv.weight"])[0]
    fed = wiring.unpadded(stem.inputs[0])
    switches = [
        operation.name
        for operation in wiring.operations
        if operation.op.startswith("Placeholder") and operation.name != fed and _is_bool(graph, operation.name)
    ]
    return Pairing(pairs, fed, _declared_shape(graph, wiring, fed), _channels_first(graph, stem.name), tuple(switches))


def _check_variables(graph: ReferenceGraph, keys: Mapping[str, str], weights: Weights) -> None:
    """Require that the graph's variables are the checkpoint's, as far as the network goes."""
    known = {source.name for source in graph.sources.values()}
    if graph.checkpoint is not None:
        known |= {source.with_weights(weights, graph.checkpoint).name for source in graph.sources.values()}
    unknown = [(target, key) for target, key in keys.items() if known and key not in known]
    if unknown:
        count = f"{len(unknown)} of the network's {len(keys)} variables are not in it"
        raise GraphError(
            "\n  ".join(
                [
                    f"the graph {graph.path} is not this checkpoint's: {count}",
                    *(f"{printable(key)} ({target})" for target, key in unknown),
                ]
            )
        )


def _wiring(graph: ReferenceGraph, key: str, weights: Weights) -> Wiring:
    """The operations on the way to the network's output: a signature's, or found from the last kernel on."""
    from .wiring import Wiring, main_wiring  # torch comes with it

    usual = {name: signature for name, signature in graph.signatures.items() if not name.startswith("__")}
    for name in sorted(usual, key=lambda name: name != "serving_default"):
        outputs = [tensor.name for tensor in usual[name].outputs.values() if tensor.name]
        try:
            wiring = Wiring(graph.operations(outputs, weights=weights))
        except TensorNameError:
            continue
        if wiring.kernels(key):
            return wiring
    everything = main_wiring(graph, weights)
    kernels = [kernel for kernel in everything.kernels(key) if not _is_transposed(graph, kernel)]
    if not kernels:
        raise GraphError(
            f"the graph {graph.path} computes nothing with {printable(key)}, the network's last kernel: "
            "it is not this network's, or does not hold its evaluation"
        )
    result, _ = everything.affine(kernels[0].name)
    return Wiring(graph.operations([everything.activation(result)], weights=weights))


class _Pairer:
    """Walks the network in order; what the graph has nothing for is collected in `missing`."""

    def __init__(self, graph: ReferenceGraph, wiring: Wiring, keys: Mapping[str, str]) -> None:
        self._graph = graph
        self._wiring = wiring
        self._keys = keys
        self.missing: list[str] = []

    def pairs(self, config: EfficientNetConfig) -> Iterator[Pair]:
        """Every pair of the network."""
        yield from self._convolution("stem")
        for placed in config.blocks():
            block = f"stages.{placed.stage}.{placed.position}"
            yield from self._convolution(f"{block}.expand")
            yield from self._convolution(f"{block}.depthwise")
            yield from self._squeeze_excite(block)
            for projected in self._convolution(f"{block}.project"):
                yield projected
                if placed.config.has_residual:
                    yield from self._output(block, projected)
        yield from self._convolution("head")
        if config.num_classes:
            yield from self._classifier()

    def _convolution(self, layer: str) -> Iterator[Pair]:
        kernel = self._kernel(f"{layer}.conv.weight", layer)
        if kernel is None:
            return
        result, norm = self._wiring.affine(kernel.name)
        if norm is not None:
            self._check_norm(norm, layer)
        yield Pair(
            layer,
            layer,
            self._wiring.activation(result),
            kernel.name,
            None if norm is None else norm.name,
            _channels_first(self._graph, kernel.name),
        )

    def _squeeze_excite(self, block: str) -> Iterator[Pair]:
        for part in _BIASED:
            layer = f"{block}.{part}"
            kernel = self._kernel(f"{layer}.weight", layer)
            if kernel is None:
                continue
            first = _channels_first(self._graph, kernel.name)
            result, _ = self._wiring.affine(kernel.name)
            yield Pair(layer, layer, result, kernel.name, channels_first=first)
            if part == _BIASED[-1]:
                scaled = self._wiring.gated(result)
                if scaled is None:
                    self.missing.append(f"{block}.se: no gate scales anything")
                else:
                    yield Pair(f"{block}.se", f"{block}.se", scaled, channels_first=first)

    def _output(self, block: str, projected: Pair) -> Iterator[Pair]:
        total = self._wiring.sum_with(projected.tensor)
        if total is None:
            self.missing.append(f"{block}: nothing is added to its projection")
        else:
            yield Pair(f"{block}.{OUTPUT}", block, total, channels_first=projected.channels_first)

    def _classifier(self) -> Iterator[Pair]:
        product = self._kernel("classifier.weight", LOGITS)
        if product is not None:
            yield Pair(POOLED, "classifier", self._wiring.unshaped(product.inputs[0]))
            yield Pair(LOGITS, "classifier", self._wiring.affine(product.name)[0], product.name)

    def _kernel(self, target: str, layer: str) -> Operation | None:
        """The operation that takes a kernel; None for a layer that the network has not, or the graph."""
        if target not in self._keys:
            return None
        key = self._keys[target]
        found = [kernel for kernel in self._wiring.kernels(key) if not _is_transposed(self._graph, kernel)]
        if not found:
            self.missing.append(f"{layer}: no convolution or product takes {printable(key)}")
            return None
        return found[0]

    def _check_norm(self, norm: Operation, layer: str) -> None:
        """A fused batch norm has to be this layer's own, and of the kind that does not look at the batch."""
        taken = self._wiring.variable(norm.inputs[1])
        if taken not in (self._keys.get(f"{layer}.bn.weight"), None):
            self.missing.append(f"{layer}: its batch norm takes {printable(str(taken))}")
        if self._graph.locate(norm.name)[1].attributes.get("is_training", True) is True:
            self.missing.append(f"{layer}: its batch norm takes the statistics of the batch, as in training")


def _is_transposed(graph: ReferenceGraph, kernel: Operation) -> bool:
    """Products with the transposed kernel are those of gradients."""
    attributes: Mapping[str, Any] = graph.locate(kernel.name)[1].attributes
    return attributes.get("transpose_b") is True or attributes.get("adj_y") is True


def _channels_first(graph: ReferenceGraph, name: str) -> bool:
    found = graph.locate(name)[1].attributes.get("data_format")
    return found in (b"NCHW", "NCHW")


def _declared_shape(graph: ReferenceGraph, wiring: Wiring, fed: str) -> Shape | None:
    """What the graph says of the image's axes: at the tensor itself, or at the placeholder that it is computed from.

    Keras fixes paddings when a network is built, so that a network of one size is right at that size only.
    """
    for name in wiring.history(fed):
        node = graph.locate(name)[1]
        output, declared = node.attributes.get("_output_shapes"), node.attributes.get("shape")
        for shape in (output[0] if isinstance(output, tuple) and output else None, declared):
            if isinstance(shape, tuple) and len(shape) == 4 and all(type(size) is int for size in shape):
                return shape
        if node.op.startswith(("Resize", "Crop")):
            return None
    return None


def _is_bool(graph: ReferenceGraph, name: str) -> bool:
    return str(graph.locate(name)[1].attributes.get("dtype")) == "bool"
