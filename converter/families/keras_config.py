"""What the configuration in a Keras file says about the layers of a network, by their names.

A `.keras` file and an `.h5` file of a whole model have one, which lists the layers with their arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tfckpt.errors import printable

from ..errors import UnknownModelError
from ..model.config import ACTIVATIONS, Activation
from .graph_facts import GraphFacts

_KERNELS = ("kernel", "depthwise_kernel")
#: Layers whose activation the code sets in one place, and those that always have a sigmoid.
_ACTIVATED = re.compile(r"(?:stem|top|block[0-9]+[^_/]*(?:_expand)?)_activation|block[0-9]+[^_/]*_se_reduce")
_GATES = re.compile(r"block[0-9]+[^_/]*_se_expand")
_SYNONYMS = {"swish": "silu"}


class KerasLayers(NamedTuple):
    """The arguments of each layer by its name; a name that several layers have is left out."""

    layers: Mapping[str, Mapping[str, Any]]

    def to_facts(self, names: Iterable[str]) -> GraphFacts:
        """Return strides and epsilons by the family's names of variables."""
        strides: dict[str, int] = {}
        epsilons: dict[str, float] = {}
        for name in names:
            layer, _, last = name.rpartition("/")
            arguments = self.layers.get(layer.rpartition("/")[2], {})
            stride, epsilon = arguments.get("strides"), arguments.get("epsilon")
            if last in _KERNELS and isinstance(stride, list) and stride and stride == stride[:1] * len(stride):
                if isinstance(stride[0], int) and not isinstance(stride[0], bool):
                    strides[name] = stride[0]
            elif last == "gamma" and isinstance(epsilon, float):
                epsilons[name] = epsilon
        return GraphFacts(strides, epsilons, origin="the configuration", configured=self.find_activation())

    def find_activation(self) -> Activation | None:
        """Return the activation of all layers of a network of Keras applications; None if there are no such layers.

        Raises `UnknownModelError` if they differ, or a gate is not a sigmoid.
        """
        found = {self._activation(name) for name in self.layers if _ACTIVATED.fullmatch(name)}
        gates = {self._activation(name) for name in self.layers if _GATES.fullmatch(name)}
        if gates - {"sigmoid"} or len(found) > 1 or found - {*ACTIVATIONS}:
            shown = ", ".join(sorted(map(printable, (found | gates))))
            raise UnknownModelError(f"the configuration of the model has activations that are not supported: {shown}")
        return next((known for known in ACTIVATIONS if known in found), None)

    def _activation(self, layer: str) -> str:
        activation = self.layers[layer].get("activation")
        name = activation if isinstance(activation, str) else f"not a name ({type(activation).__name__})"
        return _SYNONYMS.get(name, name)


def read_layers(config: Any) -> KerasLayers | None:
    """Return the layers in the configuration of a model and its nested models; None if there is no configuration."""
    if config is None:
        return None
    layers: dict[str, Mapping[str, Any]] = {}
    repeated: set[str] = set()
    work = [config]
    while work:
        item = work.pop()
        inner = item.get("config") if isinstance(item, dict) else None
        if not isinstance(inner, dict):
            continue
        nested, name = inner.get("layers"), inner.get("name")
        if isinstance(nested, list):
            work += nested
        elif isinstance(name, str):
            repeated |= {name} & layers.keys()
            layers[name] = inner
    return KerasLayers({name: inner for name, inner in layers.items() if name not in repeated})
