"""What the configuration in a Keras file says about the layers of a network, by their names.

A `.keras` file and an `.h5` file of a whole model have one, which lists the layers with their arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tfckpt.errors import printable

from ..errors import UnknownModelError
from ..model.config import ACTIVATIONS, Activation
from .graph_facts import CONFIGURATION, GraphFacts

_KERNELS = ("kernel", "depthwise_kernel")
#: Layers whose activation the code sets in one place, and those that always have a sigmoid.
_ACTIVATED = re.compile(r"(?:stem|top|block[0-9]+[^_/]*(?:_expand)?)_activation|block[0-9]+[^_/]*_se_reduce")
_GATES = re.compile(r"block[0-9]+[^_/]*_se_expand")
_SYNONYMS = {"swish": "silu"}
#: Layers that change the size of maps by hand. Keras applications name the one before a layer after that layer.
_PADS = ("ZeroPadding2D", "Cropping2D")
_PAD_ENDING = "_pad"
#: Larger numbers than of any layer.
_MOST = 1 << 16


class KerasLayer(NamedTuple):
    """A layer of a model: its class, its name, and its arguments."""

    kind: str
    name: str
    arguments: Mapping[str, Any]


class KerasLayers(NamedTuple):
    """The arguments of each layer by its name; a name that several layers have is left out.

    `models` has the layers of each model in their order, without those of models inside it.
    """

    layers: Mapping[str, Mapping[str, Any]]
    models: Sequence[Sequence[KerasLayer]] = ()

    def read_padding(self, names: Iterable[str]) -> str | None:
        """Return the padding of the convolutions in words; None if the configuration has none of them.

        `names` are the family's names of variables. A layer that pads by hand before a convolution with padding VALID
        counts as SAME if its numbers are those of SAME at the size of the model's images, or at even sizes if the
        model takes any size. Raises `UnknownModelError` for other padding, for dilation, and for
        strides that differ.
        """
        own = {name.rpartition("/")[0].rpartition("/")[2] for name in names if name.rpartition("/")[2] in _KERNELS}
        found = [_check_padding(model, own) for model in self.models if any(layer.name in own for layer in model)]
        return next(filter(None, found), "SAME") if found else None

    def to_facts(self, names: Iterable[str]) -> GraphFacts:
        """Return strides and epsilons by the family's names of variables.

        Raises `UnknownModelError` if the layers do not have SAME padding.
        """
        names = list(names)
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
        return GraphFacts(
            strides,
            epsilons,
            origin=CONFIGURATION,
            configured=self.find_activation(),
            padding=self.read_padding(names),
        )

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
    models: list[list[KerasLayer]] = []
    work = [config]
    while work:
        model: list[KerasLayer] = []
        for item in _list_layers(work.pop()):
            inner = item.get("config") if isinstance(item, dict) else None
            if not isinstance(inner, dict):
                continue
            name = inner.get("name")
            if isinstance(inner.get("layers"), list):
                work.append(item)
            elif isinstance(name, str):
                repeated |= {name} & layers.keys()
                layers[name] = inner
                model.append(KerasLayer(str(item.get("class_name")), name, inner))
        models.append(model)
    return KerasLayers({name: inner for name, inner in layers.items() if name not in repeated}, models)


def _list_layers(model: Any) -> list[Any]:
    """Return the layers in the configuration of a model."""
    inner = model.get("config") if isinstance(model, dict) else None
    found = inner.get("layers") if isinstance(inner, dict) else None
    return found if isinstance(found, list) else []


def _check_padding(model: Sequence[KerasLayer], own: set[str]) -> str | None:
    """Raise `UnknownModelError` unless a model's own convolutions pad as SAME does, and nothing else pads.

    Returns the padding in words if the model pads by hand.
    """
    said = None
    image: tuple[int | None, int | None] = (None, None)
    pads = {layer.name: layer for layer in model if layer.kind in _PADS}
    sizes: tuple[int | None, int | None] = (None, None)
    for layer in model:
        if layer.kind == "InputLayer":
            sizes = image = _read_image_size(layer.arguments)
        if layer.name not in own or "padding" not in layer.arguments:
            continue
        kernel, strides, dilation = (_read_pair(layer, key) for key in ("kernel_size", "strides", "dilation_rate"))
        if strides[0] != strides[1]:
            raise _refuse(layer, f"has strides {_show(strides)}, expected equal ones")
        if dilation != (1, 1):
            raise _refuse(layer, f"has dilation {_show(dilation)}, expected 1")
        pad = pads.pop(layer.name + _PAD_ENDING, None)
        padding = layer.arguments["padding"]
        if padding == "same" and pad is not None:
            raise _refuse(pad, f"pads before {printable(layer.name)}, which has padding SAME itself")
        if padding != "same":
            padded = _read_pads(pad)
            said = said if pad is None else f"SAME by hand, for images of {_describe_size(image)}"
            for size, k, stride, numbers in zip(sizes, kernel, strides, padded, strict=True):
                if padding != "valid" or numbers != _compute_same(size, k, stride):
                    by_hand = f" after {printable(pad.name)} with {_show(padded)}" if pad is not None else ""
                    raise _refuse(layer, f"has padding {printable(str(padding))}{by_hand}, expected SAME")
        sizes = _shrink(sizes[0], strides[0]), _shrink(sizes[1], strides[1])
    for pad in pads.values():
        raise _refuse(pad, f"is a {pad.kind}, which the network does not have")
    return said


def _refuse(layer: KerasLayer, reason: str) -> UnknownModelError:
    return UnknownModelError(f"in the configuration of the model, the layer {printable(layer.name)} {reason}")


def _read_image_size(arguments: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the height and width of an input layer, None if it takes any."""
    shape = arguments.get("batch_shape", arguments.get("batch_input_shape"))
    if not isinstance(shape, list) or len(shape) != 4:
        return None, None
    height, width = (size if type(size) is int and size > 0 else None for size in shape[1:3])
    return height, width


def _describe_size(size: tuple[int | None, int | None]) -> str:
    return "even sizes" if None in size else f"{size[0]}×{size[1]} pixels"


def _read_pair(layer: KerasLayer, key: str) -> tuple[int, int]:
    """Return an argument of a layer that has a positive number for each axis; raise `UnknownModelError` for others."""
    value = layer.arguments.get(key, 1)
    pair = [value] * 2 if type(value) is int else value
    if isinstance(pair, list) and len(pair) == 2 and all(type(one) is int and 0 < one < _MOST for one in pair):
        return pair[0], pair[1]
    raise _refuse(layer, f"has {key} {printable(str(value))}, expected a number for each of two axes")


def _read_pads(pad: KerasLayer | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows before and after the map, and the columns, that a layer adds; none without a layer."""
    if pad is None:
        return (0, 0), (0, 0)
    if pad.kind == "ZeroPadding2D":
        rows = pad.arguments.get("padding")
        rows = [rows] * 2 if type(rows) is int else rows
        if isinstance(rows, list) and len(rows) == 2:
            top, left = ([row] * 2 if type(row) is int else row for row in rows)
            if all(isinstance(row, list) and len(row) == 2 for row in (top, left)):
                return (top[0], top[1]), (left[0], left[1])
    raise _refuse(pad, f"is not a ZeroPadding2D with numbers: {pad.kind}")


def _compute_same(size: int | None, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding before and after an axis; a size that is unknown counts as even."""
    rest = 0 if size is None else size % stride
    total = max(kernel - (rest or stride), 0)
    return total // 2, total - total // 2


def _shrink(size: int | None, stride: int) -> int | None:
    """Return the size of an axis after a convolution with SAME padding."""
    return None if size is None else -(-size // stride)


def _show(value: object) -> str:
    return printable(str(value))
