"""What the graph saved with a checkpoint says about the layers of a network, by the names of its family.

`structure` reads the graph; here its variables get the names under which the family knows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..errors import UnknownModelError
from ..model.config import ACTIVATIONS, GATES, POOLINGS, Activation, BlockConfig, Gate, Pooling
from ..structure.layers import Layer
from ..structure.reading import Reading
from .averages import strip_average

#: Where facts come from.
_GRAPH = "the graph"
CONFIGURATION = "the configuration"


class BlockFunctions(NamedTuple):
    """What a block computes between its convolutions, None where the graph has nothing that a configuration has.

    `residual` is None for a block that cannot add its input to its output.
    """

    activation: Activation | None
    gate: Gate | None
    gate_activation: Activation | None
    adds_input: bool


_Blocks: TypeAlias = tuple[BlockFunctions, ...]


class GraphFacts(NamedTuple):
    """Facts by variable name as the family has it, without the suffix of moving averages.

    `layers` are those of the network in its order, by the names of their kernels.
    `origin` says in messages where the facts come from.
    `configured` is the one activation of the network, and `padding` that of its convolutions in words, if they come
    from the configuration in a Keras file.
    """

    strides: Mapping[str, int]
    epsilons: Mapping[str, float]
    layers: Mapping[str, Layer] = {}
    pooling: Pooling | None = None
    origin: str = _GRAPH
    configured: Activation | None = None
    padding: str | None = None

    def list_configured(self) -> tuple[str, ...]:
        """Return the names of the settings that come from the configuration in a Keras file."""
        known = {
            "activation": self.configured is not None,
            "epsilon": self.configured is not None and bool(self.epsilons),
            "padding": self.padding is not None,
        }
        return tuple(name for name, is_known in known.items() if is_known)

    def contradict(self, said: str, own: str, *, them: str = "it") -> UnknownModelError:
        """Return the error for a setting that a caller says and these facts contradict."""
        if self.origin == CONFIGURATION:
            return UnknownModelError(f"{said}, but the configuration in the file has {own}; omit {them}")
        return UnknownModelError(
            f"{said}, but the graph saved with the checkpoint has {own}; "
            f"omit {them}, or move the graph away if it belongs to a different network"
        )

    def activation(self, kernel: str) -> Activation | None:
        """Return the activation after a layer."""
        layer = self.layers.get(kernel)
        return _activation(layer) if layer is not None else None

    def blocks(self, kernels: Sequence[str], blocks: Sequence[BlockConfig | None]) -> _Blocks | None:
        """Return what each block computes, None unless the graph has the layers of all blocks in their order.

        `kernels` has the name of one kernel of each block.
        """
        names, layers = list(self.layers), list(self.layers.values())
        end, functions = 1, []  # after the stem
        for kernel, block in zip(kernels, blocks, strict=False):
            if block is None:
                return None
            start, end = end, end + 1 + (block.expansion > 1) + (block.block == "mbconv")
            if kernel not in names[start:end]:
                return None
            functions.append(_functions(layers[start:end]))
        return tuple(functions) if functions else None


def facts_of(reading: Reading | None, names: Mapping[str, str]) -> GraphFacts:
    """Return the facts of a reading, with `names` from checkpoint keys to the family's names."""
    if reading is None:
        return GraphFacts({}, {})
    strides: dict[str, int] = {}
    epsilons: dict[str, float] = {}
    layers: dict[str, Layer] = {}
    for layer in reading.layers:
        for name in named(reading, layer.kernel, names):
            layers[name] = layer
            if layer.stride is not None:
                strides[name] = layer.stride
        if layer.norm is not None and layer.norm.gamma is not None:
            for name in named(reading, layer.norm.gamma, names):
                epsilons[name] = layer.norm.epsilon
    pooling = next((known for known in POOLINGS if known == reading.pooling), None)
    return GraphFacts(strides, epsilons, layers, pooling)


def named(reading: Reading, node: str | None, names: Mapping[str, str]) -> Iterator[str]:
    """Return the names of a variable of the graph."""
    if node is not None:
        keys = map(strip_average, reading.keys.get(node, {node}))
        yield from dict.fromkeys(names[key] for key in keys if key in names)


def _functions(layers: list[Layer]) -> BlockFunctions:
    """Read a block's layers: the last one projects, and has an activation only if it is the block's one layer."""
    before = layers[:-1] or layers
    activations = {_activation(layer) for layer in before}
    gates = [layer.gate for layer in layers if layer.gate is not None]
    gate = next((known for known in GATES for one in gates if _name(one.expand) == known), None)
    return BlockFunctions(
        activations.pop() if len(activations) == 1 else None,
        gate,
        _activation(gates[0].reduce) if gates else None,
        layers[-1].shortcut is not None,
    )


def _activation(layer: Layer) -> Activation | None:
    return next((known for known in ACTIVATIONS if known == _name(layer)), None)


def _name(layer: Layer) -> str | None:
    return None if layer.function is None else layer.function.activation
