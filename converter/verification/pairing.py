"""Pairs of the layers of our network and the tensors of a graph.

Layers are found by their variables: the checkpoint key of a kernel leads to the convolution that reads it, and then to
its batch norm and activation.
Names of nodes do not matter, so any scope, exporter and nesting of functions is supported.
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

#: Names of the layers that have no module of their own in the network.
POOLED = "pooled"
OUTPUT = "output"
LOGITS = "logits"

#: Operations that draw random numbers start with one of these.
_RANDOM = ("RandomUniform", "RandomStandardNormal", "TruncatedNormal", "StatelessRandom")
_BIASED = ("se.reduce", "se.expand")


class TrainingGraphError(GraphError):
    """The graph computes what training does, such as batch norms by the statistics of the batch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A layer and its tensor in the graph.

    `module` is the path of the module whose output is the tensor, except that the pooled features are the input of the
    classifier. `kernel` and `norm` are the nodes that compute it, or None.
    `channels_first` is set for NCHW instead of TensorFlow's usual NHWC.
    """

    layer: str
    module: str
    tensor: str
    kernel: str | None = None
    norm: str | None = None
    channels_first: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Pairing:
    """All pairs in network order, and the input of the graph: that of the stem's convolution, before any padding.

    `input_shape` is its declared shape as NHWC, with -1 for any size, or None.
    `switches` are boolean placeholders that distinguish training from inference.
    """

    pairs: tuple[Pair, ...]
    input: str
    input_shape: Shape | None
    channels_first: bool
    switches: tuple[str, ...]

    def pair(self, layer: str) -> Pair:
        """Return the pair of a layer by its name."""
        return next(pair for pair in self.pairs if pair.layer == layer)


def pair_layers(
    graph: ReferenceGraph, config: EfficientNetConfig, keys: Mapping[str, str], weights: Weights
) -> Pairing:
    """Pair every layer of the network with a tensor of the graph.

    `keys` maps targets such as `stem.conv.weight` to their checkpoint keys.
    Raises `TrainingGraphError` for a graph of training, whose values are not those of the network in use, and else a
    `GraphError` that lists every variable and every layer missing in the graph.
    """
    _check_variables(graph, keys, weights)
    last = "classifier.weight" if config.num_classes else "head.conv.weight"
    if last not in keys:
        last = [name for name in keys if name.endswith(".conv.weight")][-1]
    wiring = _find_wiring(graph, keys[last], weights)
    stems = wiring.find_kernels(keys["stem.conv.weight"])
    fed = wiring.skip_paddings(stems[0].inputs[0]) if stems else ""
    switches = [
        operation.name
        for operation in wiring.operations
        if operation.op.startswith("Placeholder") and operation.name != fed and _is_bool(graph, operation.name)
    ]
    if stems:
        feeds = {fed: None, **dict.fromkeys(switches, False)}
        end = wiring.find_kernels(keys[last])[0].name
        check_is_for_evaluation(graph, type(wiring)(graph.operations([end], feeds, weights=weights)))
    pairer = _Pairer(graph, wiring, keys)
    pairs = tuple(pairer.pairs(config))
    if pairer.missing:
        count = pluralize(len(pairer.missing), "layer")
        lines = [f"the graph {graph.path} does not compute this network: {count}", *pairer.missing]
        raise GraphError("\n  ".join(lines))
    first = _is_channels_first(graph, stems[0].name)
    return Pairing(pairs, fed, _find_declared_shape(graph, wiring, fed, first=first), first, tuple(switches))


def _check_variables(graph: ReferenceGraph, keys: Mapping[str, str], weights: Weights) -> None:
    """Raise `GraphError` unless the graph has the variables of the network."""
    known = {source.name for source in graph.sources.values()}
    if graph.checkpoint is not None:
        known |= {source.with_weights(weights, graph.averages).name for source in graph.sources.values()}
    unknown = [(target, key) for target, key in keys.items() if known and key not in known]
    if unknown:
        count = f"it does not have {len(unknown)} of the network's {len(keys)} variables"
        raise GraphError(
            "\n  ".join(
                [
                    f"the graph {graph.path} does not belong to this checkpoint: {count}",
                    *(f"{printable(key)} ({target})" for target, key in unknown),
                ]
            )
        )


def _find_wiring(graph: ReferenceGraph, key: str, weights: Weights) -> Wiring:
    """Return the operations that compute the output of a signature, or else the result of the last kernel."""
    from .wiring import Wiring, build_main_wiring  # imports torch

    signatures = {name: signature for name, signature in graph.signatures.items() if not name.startswith("__")}
    for name in sorted(signatures, key=lambda name: name != "serving_default"):
        outputs = [tensor.name for tensor in signatures[name].outputs.values() if tensor.name]
        try:
            wiring = Wiring(graph.operations(outputs, weights=weights))
        except TensorNameError:
            continue
        if wiring.find_kernels(key):
            return wiring
    everything = build_main_wiring(graph, weights)
    kernels = [kernel for kernel in everything.find_kernels(key) if not _is_transposed(graph, kernel)]
    if not kernels:
        raise GraphError(
            f"the graph {graph.path} does not use {printable(key)}, the last kernel of the network: "
            "it computes another network, or is not an inference graph"
        )
    result = everything.follow_affine(kernels[0].name).result
    return Wiring(graph.operations([everything.follow_activation(result)], weights=weights))


class _Pairer:
    """A walk over the network in order, which collects problems in `missing`."""

    def __init__(self, graph: ReferenceGraph, wiring: Wiring, keys: Mapping[str, str]) -> None:
        self._graph = graph
        self._wiring = wiring
        self._keys = keys
        self.missing: list[str] = []

    def pairs(self, config: EfficientNetConfig) -> Iterator[Pair]:
        """Yield every pair of the network."""
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
        result, norm, transposed = self._wiring.follow_affine(kernel.name)
        if norm is not None:
            self._check_norm(norm, layer)
        yield Pair(
            layer,
            layer,
            self._wiring.follow_activation(result),
            kernel.name,
            None if norm is None else norm.name,
            _is_channels_first(self._graph, kernel.name) != transposed,
        )

    def _squeeze_excite(self, block: str) -> Iterator[Pair]:
        for part in _BIASED:
            layer = f"{block}.{part}"
            kernel = self._kernel(f"{layer}.weight", layer)
            if kernel is None:
                continue
            result, _, transposed = self._wiring.follow_affine(kernel.name)
            first = _is_channels_first(self._graph, kernel.name) != transposed
            yield Pair(layer, layer, result, kernel.name, channels_first=first)
            if part == _BIASED[-1]:
                scaled = self._wiring.follow_gate(result)
                if scaled is None:
                    self.missing.append(f"{block}.se: its gate does not scale a tensor")
                else:
                    yield Pair(f"{block}.se", f"{block}.se", scaled, channels_first=first)

    def _output(self, block: str, projected: Pair) -> Iterator[Pair]:
        total = self._wiring.follow_residual(projected.tensor)
        if total is None:
            self.missing.append(f"{block}: its projection is not added to a tensor")
        else:
            yield Pair(f"{block}.{OUTPUT}", block, total, channels_first=projected.channels_first)

    def _classifier(self) -> Iterator[Pair]:
        product = self._kernel("classifier.weight", LOGITS)
        if product is not None:
            yield Pair(POOLED, "classifier", self._wiring.skip_passing(product.inputs[0]))
            yield Pair(LOGITS, "classifier", self._wiring.follow_affine(product.name).result, product.name)

    def _kernel(self, target: str, layer: str) -> Operation | None:
        """Return the operation that reads a kernel, or None if the network or the graph does not have the layer."""
        if target not in self._keys:
            return None
        key = self._keys[target]
        kernels = [kernel for kernel in self._wiring.find_kernels(key) if not _is_transposed(self._graph, kernel)]
        if not kernels:
            self.missing.append(f"{layer}: no convolution or product reads {printable(key)}")
            return None
        return kernels[0]

    def _check_norm(self, norm: Operation, layer: str) -> None:
        """Record a problem if a fused batch norm belongs to another layer."""
        scale = self._wiring.find_variable(norm.inputs[1])
        if scale not in (self._keys.get(f"{layer}.bn.weight"), None):
            self.missing.append(f"{layer}: its batch norm reads {printable(str(scale))}")


def check_is_for_evaluation(graph: ReferenceGraph, wiring: Wiring) -> None:
    """Raise `TrainingGraphError` if what the graph computes depends on the other images of a batch, or on chance.

    Batch norms whose moving statistics the graph shows are those of evaluation already, and dropout is left out.
    """
    from .wiring import NORMS  # imports torch

    for operation in wiring.operations:
        attributes = graph.locate(operation.name)[1].attributes
        is_norm = operation.op in NORMS and attributes.get("is_training", True) is True
        is_mean = operation.op == "Mean" and 0 in _find_axes(graph, operation)
        if is_norm or (is_mean and wiring.is_data(operation.inputs[0])):
            what = "a batch norm uses the statistics of the batch"
        elif operation.op.startswith(_RANDOM):
            what = "it draws random numbers, as for dropout"
        else:
            continue
        text = f"the graph {graph.path} is one of training, which cannot be compared: {what}"
        raise TrainingGraphError(f"{text} at {printable(operation.name)}")


def _find_axes(graph: ReferenceGraph, operation: Operation) -> tuple[int, ...]:
    """Return the axes that a mean is over, empty if they are not constant."""
    node = graph.locate(operation.inputs[1])[1] if len(operation.inputs) == 2 else None
    value: Any = None if node is None else node.attributes.get("value")
    return () if value is None else tuple(int(axis) for axis in value.ravel())


def _is_transposed(graph: ReferenceGraph, kernel: Operation) -> bool:
    """Return whether a product transposes its kernel, which only gradients do."""
    attributes: Mapping[str, Any] = graph.locate(kernel.name)[1].attributes
    return attributes.get("transpose_b") is True or attributes.get("adj_y") is True


def _is_channels_first(graph: ReferenceGraph, name: str) -> bool:
    return graph.locate(name)[1].attributes.get("data_format") in (b"NCHW", "NCHW")


def _find_declared_shape(graph: ReferenceGraph, wiring: Wiring, fed: str, *, first: bool) -> Shape | None:
    """Return the shape of the image in the graph: of the tensor itself, or of the placeholder that it is computed from.

    The shape is NHWC; `first` says that the tensor is NCHW, which a transposition before it may have made.
    Keras fixes paddings when a network is built, so the network is only correct at its own size.
    """
    for name in wiring.iterate_ancestors(fed):
        node = graph.locate(name)[1]
        output, declared = node.attributes.get("_output_shapes"), node.attributes.get("shape")
        for shape in (output[0] if isinstance(output, tuple) and output else None, declared):
            if isinstance(shape, tuple) and len(shape) == 4 and all(type(size) is int for size in shape):
                return (shape[0], *shape[2:], shape[1]) if first else shape
        first = first != (node.op == "Transpose")
        if node.op.startswith(("Resize", "Crop")):
            return None
    return None


def _is_bool(graph: ReferenceGraph, name: str) -> bool:
    return str(graph.locate(name)[1].attributes.get("dtype")) == "bool"
