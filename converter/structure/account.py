"""Whether the network that a graph computes is the one that a configuration describes, operation by operation.

Every layer of the configuration must be in the graph, in its place and with its own variables, and every layer of the
graph must be one of the configuration's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from ..errors import Unaccounted
from ..model.config import EfficientNetConfig
from .layers import Gate, Layer
from .reading import Reading

#: Target names by the node of a variable.
_Targets = Callable[[str | None], Collection[str]]


class _Expected(NamedTuple):
    """A layer of the configuration; `activation` is "identity" for none, and `blocks_before` counts layers."""

    name: str
    op: str
    stride: int
    activation: str
    gate: str | None = None
    gate_activations: tuple[str, str] = ("", "")
    shortcut: int | None = None


def account_for(reading: Reading, config: EfficientNetConfig, targets: _Targets) -> tuple[Unaccounted, ...]:
    """Return what the graph computes and the configuration does not, or the other way round.

    `targets` returns the names that a variable of the graph has in the converted network.
    """
    if reading.findings:
        return reading.findings
    return tuple(_Account(reading, config, targets).findings())


class _Account:
    def __init__(self, reading: Reading, config: EfficientNetConfig, targets: _Targets) -> None:
        self._reading = reading
        self._config = config
        self._targets = targets

    def findings(self) -> Iterator[Unaccounted]:
        """Compare the layers in order; a layer out of its place ends the comparison."""
        expected = list(_expected(self._config))
        layers = self._reading.layers
        for own, layer in zip(expected, layers, strict=False):
            if f"{own.name}.conv.weight" not in self._targets(layer.kernel):
                named = ", ".join(sorted(self._targets(layer.kernel))) or f"the variable {layer.kernel}"
                yield _finding(layer, f"a convolution by {named}", f"{own.name}.conv.weight")
                return
            yield from self._layer(own, layer)
        for layer in layers[len(expected) :]:
            yield _finding(layer, f"a convolution by {layer.kernel}", f"{len(expected)} convolutions")
        missing = expected[len(layers) :]
        if missing and layers:
            what = f"{missing[0].name} after it, and {len(missing)} layers in all"
            yield _finding(layers[-1], "the last layer of the graph", what)
        yield from self._end()

    def _layer(self, own: _Expected, layer: Layer) -> Iterator[Unaccounted]:
        function = layer.function
        values = (
            ("operation", layer.op, own.op),
            ("stride", layer.stride, own.stride),
            ("dilation", layer.dilation, 1),
            ("padding", layer.padding, "SAME"),
            ("activation", None if function is None else function.activation, own.activation),
            ("batch norm", layer.norm is not None, True),
        )
        for what, found, expected in values:
            if found != expected:
                yield _finding(layer, f"{what} {_say(found)}", _say(expected))
        if layer.norm is not None:
            if layer.norm.epsilon != self._config.bn_epsilon:
                yield _finding(layer, f"epsilon {layer.norm.epsilon:g}", f"{self._config.bn_epsilon:g}")
            yield from self._norm(own, layer)
        if (layer.shortcut is None) != (own.shortcut is None):
            added = "no addition" if layer.shortcut is None else "an addition"
            yield _finding(
                layer, f"{added} after it", "the block's input added" if own.shortcut is not None else "none"
            )
        elif layer.shortcut != own.shortcut:
            yield _finding(layer, f"the result of {layer.shortcut} layers added", f"that of {own.shortcut} layers")
        if (layer.gate is None) != (own.gate is None):
            there = "no squeeze-and-excitation" if layer.gate is None else "squeeze-and-excitation"
            yield _finding(layer, f"{there} before it", "none" if own.gate is None else own.gate)
        elif layer.gate is not None and own.gate is not None:
            yield from self._gate(own, layer.gate)

    def _norm(self, own: _Expected, layer: Layer) -> Iterator[Unaccounted]:
        norm = layer.norm
        if norm is None:
            return
        parts = {"weight": norm.gamma, "bias": norm.beta}
        if not norm.is_trained:
            parts |= {"running_mean": norm.mean, "running_var": norm.variance}
        for part, node in parts.items():
            if f"{own.name}.bn.{part}" not in self._targets(node):
                found = "no variable" if node is None else f"the variable {node}"
                yield _finding(layer, f"a batch norm with {found} as {part}", f"{own.name}.bn.{part}")

    def _gate(self, own: _Expected, gate: Gate) -> Iterator[Unaccounted]:
        pairs = (("reduce", gate.reduce), ("expand", gate.expand))
        for (part, layer), activation in zip(pairs, own.gate_activations, strict=True):
            function = layer.function
            kernel, bias = f"{own.gate}.{part}.weight", f"{own.gate}.{part}.bias"
            values = (
                ("kernel", kernel in self._targets(layer.kernel), kernel),
                ("bias", function is not None and bias in self._targets(function.bias), bias),
                ("activation", function is not None and function.activation == activation, activation),
                ("stride", (layer.stride, layer.dilation, layer.padding) == (1, 1, "SAME"), "1, without dilation"),
            )
            for what, fits, expected in values:
                if not fits:
                    found = "unknown" if function is None else function.activation
                    yield _finding(layer, f"{what} {found if what == 'activation' else 'of another layer'}", expected)

    def _end(self) -> Iterator[Unaccounted]:
        reading, config = self._reading, self._config
        if reading.dense is None:
            return
        last = reading.dense
        if reading.pooling != config.pooling:
            yield _finding(last, f"pooling {reading.pooling}", config.pooling)
        for part, node in (("weight", last.kernel), ("bias", reading.bias)):
            if f"classifier.{part}" not in self._targets(node):
                found = "no variable" if node is None else f"the variable {node}"
                yield _finding(last, f"a dense layer with {found} as {part}", f"classifier.{part}")


def _expected(config: EfficientNetConfig) -> Iterator[_Expected]:
    """List the convolutions of a configuration in the network's order, without those of squeeze-and-excitation."""
    yield _Expected("stem", "Conv2D", config.stem_stride, config.activation)
    done = 1
    for placed in config.blocks():
        block = placed.config
        name = f"stages.{placed.stage}.{placed.position}"
        start, stride = done, block.stride
        if block.expansion > 1:
            fused = block.block == "fused"
            yield _Expected(f"{name}.expand", "Conv2D", stride if fused else 1, block.activation)
            stride = 1 if fused else stride
            done += 1
        if block.block == "mbconv":
            yield _Expected(f"{name}.depthwise", "DepthwiseConv2dNative", stride, block.activation)
            stride = 1
            done += 1
        alone = block.block == "fused" and block.expansion == 1
        yield _Expected(
            f"{name}.project",
            "Conv2D",
            stride,
            block.activation if alone else "identity",
            f"{name}.se" if block.se_channels else None,
            (block.gate_activation, block.gate),
            start if block.has_residual else None,
        )
        done += 1
    if config.head_channels:
        yield _Expected("head", "Conv2D", 1, config.activation)


def _finding(layer: Layer, found: str, expected: str) -> Unaccounted:
    return Unaccounted(layer.node, layer.op, found, expected)


def _say(value: object) -> str:
    return (
        {None: "unknown", True: "present", False: "missing"}.get(value, str(value))
        if isinstance(value, (bool, type(None)))
        else str(value)
    )
