"""The layers of a convolutional network, read from its last one back to its image.

::

    dense      pool of the map before it
    conv       a map; between its layer and the next one stand a batch norm or a bias, and an activation
    gate       squeeze-and-excitation: the map times a function of its own mean
    shortcut   the map plus the one before some layers

Whatever does not belong to one of these is a finding, with its node.
"""

from __future__ import annotations

import dataclasses

from ..errors import Unaccounted
from .functions import Function, Norm, Region, axes_of, passes_elements
from .terms import Term

_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
#: Operations that only arrange the one value that pooling leaves of each channel.
_ARRANGING = {"Reshape", "Squeeze", "ExpandDims"}
_POOLS = {"Mean": "avg", "Max": "max", "AvgPool": "avg", "MaxPool": "max"}
_TO_CHANNELS_FIRST = (0, 3, 1, 2)
_TO_CHANNELS_LAST = (0, 2, 3, 1)
_PADS = {"Pad", "PadV2"}
_SUMS = {"Add", "AddV2", "AddN"}
#: Findings after which reading stops: more say nothing new.
_MAX_FINDINGS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or matrix product with what is applied to its output.

    `kernel` is the node of its variable. `padding` is SAME, or what else the graph has.
    `function` is None if it is not known. `gate` is applied to the input.
    `shortcut` is the number of layers before those whose result is added to: 0 is the image, None is no addition.
    """

    kernel: str
    node: str
    op: str
    stride: int | None = 1
    dilation: int | None = 1
    padding: str = "SAME"
    data_format: str = "NHWC"
    function: Function | None = None
    gate: Gate | None = None
    shortcut: int | None = None

    @property
    def norm(self) -> Norm | None:
        """The batch norm after it."""
        return None if self.function is None else self.function.norm


@dataclasses.dataclass(frozen=True, slots=True)
class Gate:
    """Squeeze-and-excitation: pooling, a convolution with an activation, and one whose activation makes factors."""

    reduce: Layer
    expand: Layer


@dataclasses.dataclass(frozen=True, slots=True)
class Layers:
    """The layers from the image on, and what is below the first one.

    `dense` and `pooling` are None for a network that ends in a map.
    `image` is the term that the first layer is applied to.
    """

    layers: tuple[Layer, ...]
    dense: Layer | None
    pooling: str | None
    image: Term
    findings: tuple[Unaccounted, ...]


def read_layers(top: Term, side: int | None = None) -> Layers:
    """Read the layers below a term: a matrix product, a pooled map or a map.

    `side` is the height and width of the image, None if it is not known.
    """
    return _Walk(side).read(top)


class _Walk:
    """One way down; `_shortcuts` holds the terms that are still to be met, with the layer that they are added after."""

    def __init__(self, side: int | None) -> None:
        self._side = side
        self._first = False
        self._layers: list[Layer] = []
        self._shortcuts: dict[Term, list[int]] = {}
        self._findings: list[Unaccounted] = []

    def read(self, top: Term) -> Layers:
        dense = pooling = None
        term = top
        if term.op == "MatMul" and term.kernel is not None:
            dense = Layer(term.kernel.node, term.node, term.op)
            term = _arranged(term.args[0])
        pooled = self._pool(_arranged(term))
        if pooled is not None:
            pooling, term = pooled
        elif dense is not None:
            self._find(term, f"{term.op} before the dense layer", "the mean over the whole map")
        image = self._down(term)
        count = len(self._layers)
        layers = [
            dataclasses.replace(layer, shortcut=None if layer.shortcut is None else count - layer.shortcut)
            for layer in reversed(self._layers)
        ]
        if image.depth:
            stop = next((leaf for leaf in leaves(image) if leaf.op not in _CONVOLUTIONS), image)
            self._find(stop, f"{stop.op} between the layers", "a layer of the network")
        elif self._shortcuts:
            term = next(iter(self._shortcuts))
            self._find(term, "an addition of what is not an input of the layers before it", "the input of its block")
        return Layers(tuple(layers), dense, pooling, image, tuple(self._findings))

    def _down(self, term: Term) -> Term:
        """Follow the map down to the image, and note every layer on the way."""
        while len(self._findings) < _MAX_FINDINGS:
            self._meet(term)
            if term.op == "Transpose":
                turned = self._turned(term)
                if turned is None:
                    return term
                term = turned
                continue
            result = self._layer(term)
            if result is None:
                return term
            term = result
        return term

    def _layer(self, term: Term) -> Term | None:
        """Note the layer that gives a map, and return what it is applied to; None if no layer gives it."""
        term, gate = self._without_gate(term)
        if gate is not None:
            self._meet(term)
            self._gate(gate)
        main, added = self._without_shortcut(term)
        if added is not None:
            self._shortcuts.setdefault(added, []).append(len(self._layers))
        conv = _convolution_under(main)
        if conv is None:
            return None
        if conv.kernel is None:
            self._find(conv, "a kernel that is computed", "a variable")
            return None
        function = self._function(main, conv)
        self._layers.append(self._convolution(conv, function))
        below = conv.args[0]
        return below.args[0] if below.op in _PADS else below

    def _gate(self, gate: Gate) -> None:
        """Give a gate to the layer above it."""
        if self._layers:
            self._layers[-1] = dataclasses.replace(self._layers[-1], gate=gate)
        else:
            what = "squeeze-and-excitation after the last layer"
            self._findings.append(Unaccounted(gate.expand.node, gate.expand.op, what, "no layer but pooling"))

    def _meet(self, term: Term) -> None:
        """Close the additions of a term: it is the map before the layers read since."""
        for place in self._shortcuts.pop(term, ()):
            self._layers[place] = dataclasses.replace(self._layers[place], shortcut=len(self._layers))

    def _without_shortcut(self, term: Term) -> tuple[Term, Term | None]:
        """Split a sum of two maps into the later one and the earlier one, which is added to it."""
        data = [arg for arg in term.args if arg.has_data]
        if term.op not in _SUMS or len(data) != 2 or len(leaves(term)) < 2:
            return term, None
        later, earlier = sorted(data, key=_reach, reverse=True)
        return later, earlier

    def _without_gate(self, term: Term) -> tuple[Term, Gate | None]:
        """Split a map times its factors into the map and squeeze-and-excitation."""
        if term.op != "Mul" or len(term.args) != 2 or len(leaves(term)) < 2:
            return term, None
        factors, value = sorted(term.args, key=_reach, reverse=True)
        expand, below = self._small(factors)
        reduce, pooled = self._small(below) if below is not None else (None, None)
        pool = self._pool(_arranged(pooled)) if pooled is not None else None
        if expand is None or reduce is None or pool is None:
            return term, None
        if pool[1] is not value:
            self._find(term, "factors computed from another map than they are applied to", "squeeze-and-excitation")
        elif pool[0] != "avg":
            self._find(term, f"squeeze-and-excitation with {pool[0]} pooling", "the mean")
        return value, Gate(reduce, expand)

    def _small(self, term: Term) -> tuple[Layer | None, Term | None]:
        """Return a convolution of squeeze-and-excitation and what it is applied to."""
        term = _arranged(term)
        conv = _convolution_under(term)
        if conv is None or conv.op != "Conv2D" or conv.kernel is None:
            return None, None
        return self._convolution(conv, self._function(term, conv)), conv.args[0]

    def _function(self, term: Term, conv: Term) -> Function | None:
        """Return what is applied to a convolution's output, and note the first operation that is not accounted for."""
        self._first = _is_channels_first(conv)
        channels = _channels(conv)
        base = leaves(term)[0]  # the convolution, or its transposition
        first = _is_channels_first(base)
        function = Region(term, base, channels=channels, channels_first=first).function()
        if function is not None:
            return function
        blamed, lower = term, term
        while lower is not base:
            data = [arg for arg in lower.args if arg.has_data and arg is not lower]
            lower = min(data, key=lambda arg: len(Region(arg, base, channels=1, channels_first=False).terms))
            function = Region(lower, base, channels=channels, channels_first=first).function()
            if function is not None:
                break
            blamed = lower
        what = f"{blamed.op} applied to the output of {conv.node}"
        self._find(blamed, what, "a batch norm, a bias or an activation that the network can have")
        return None

    def _convolution(self, base: Term, function: Function | None) -> Layer:
        kernel = base.kernel
        return Layer(
            "" if kernel is None else kernel.node,
            base.node,
            base.op,
            _spatial(base, "strides"),
            _spatial(base, "dilations"),
            self._padding(base),
            "NCHW" if _is_channels_first(base) else "NHWC",
            function,
        )

    def _padding(self, base: Term) -> str:
        """Say how a convolution pads: SAME, also where it is written otherwise."""
        padding = base.attributes.get("padding", b"SAME")
        said = padding.decode("utf-8", "replace") if isinstance(padding, bytes) else str(padding)
        size, stride = _kernel_size(base), _spatial(base, "strides")
        explicit = _explicit(base)
        if said == "SAME":
            return said if base.args[0].op not in _PADS else f"SAME after {base.args[0].op}"
        if explicit is None or size is None or stride is None:
            return said
        if size == 1 and explicit == (0, 0):
            return "SAME"  # one pixel needs no padding
        side = self._side_of(base.args[0])
        # Programs pad by hand where the size is not known, and then as for even sizes.
        total = max((-(-side // stride) - 1) * stride + size - side, 0) if side is not None else max(size - stride, 0)
        if explicit == (total // 2, total - total // 2):
            return "SAME"
        return said if explicit == (0, 0) else f"{explicit[0]} before and {explicit[1]} after"

    def _side_of(self, term: Term) -> int | None:
        """Return a map's height and width, None if the image's is not known."""
        strides = []
        while True:
            if term.op in _PADS or term.op == "Transpose":
                term = term.args[0]
                continue
            base = _lowest(term)
            if base.op == "Transpose":
                term = base
                continue
            if base.op not in _CONVOLUTIONS:
                break
            strides.append(_spatial(base, "strides") or 1)
            term = base.args[0]
        side = self._side
        for stride in reversed(strides):
            side = None if side is None else -(-side // stride)
        return side

    def _pool(self, term: Term) -> tuple[str, Term] | None:
        """Return how a term pools a whole map, and the map; None if it does not."""
        kind = _POOLS.get(term.op)
        if kind is None or not term.args:
            return None
        value = term.args[0]
        if term.op in {"Mean", "Max"}:
            first = _is_channels_first(_lowest(value))
            return (kind, value) if axes_of(term) == ((2, 3) if first else (1, 2)) else None
        side = self._side_of(value)
        window = _spatial(term, "ksize")
        return (kind, value) if side is not None and window == side and term.attributes["padding"] == b"VALID" else None

    def _turned(self, term: Term) -> Term | None:
        """Return what a transposition between the two orders of axes is applied to."""
        if _order(term) != (_TO_CHANNELS_FIRST if self._first else _TO_CHANNELS_LAST):
            return None
        self._first = not self._first
        return term.args[0]

    def _find(self, term: Term, found: str, expected: str) -> None:
        self._findings.append(Unaccounted(term.node, term.op, found, expected))


def _base(term: Term) -> Term | None:
    """Return the one term that a map is computed from element by element, None if there are several."""
    bases = leaves(term)
    return bases[0] if len(bases) == 1 else None


def _convolution_under(term: Term) -> Term | None:
    """Return the convolution that a map is computed from, which programs transpose where they cannot run it."""
    base = _base(term)
    if base is not None and base.op == "Transpose" and _order(base) in (_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST):
        below = base.args[0]
        base = below if _is_channels_first(below) != _is_channels_first(base) else None
    return base if base is not None and base.op in _CONVOLUTIONS else None


def _is_channels_first(term: Term) -> bool:
    """Return True if a convolution's output, or a transposed map, has its channels before height and width."""
    if term.op == "Transpose":
        return _order(term) == _TO_CHANNELS_FIRST
    return term.attributes.get("data_format") == b"NCHW"


def _order(term: Term) -> tuple[int, ...]:
    """Return the axes of a transposition, empty if they are not constant."""
    order = term.args[1].value if term.op == "Transpose" and len(term.args) == 2 else None
    return () if order is None else tuple(int(axis) for axis in order.ravel())


def _lowest(term: Term) -> Term:
    """Return the leaf of a map that has the fewest layers below it: the factors of a gate have more."""
    return min(leaves(term), key=lambda leaf: leaf.depth)


def _reach(term: Term) -> int:
    return max(leaf.depth for leaf in leaves(term))


def leaves(term: Term) -> list[Term]:
    """Return the terms that a map is computed from element by element."""
    found: dict[Term, None] = {}
    seen = {term}
    waiting = [term]
    while waiting:
        one = waiting.pop()
        if not passes_elements(one):
            found[one] = None
            continue
        for arg in one.args:
            if arg.has_data and arg not in seen:
                seen.add(arg)
                waiting.append(arg)
    return list(found)


def _arranged(term: Term) -> Term:
    """Return what is arranged anew: one value for each channel is the same in every arrangement."""
    while term.args and (term.op in _ARRANGING or _order(term)[:1] == (0,)):
        term = term.args[0]
    return term


def _spatial(term: Term, attribute: str) -> int | None:
    """Return an attribute that has the same value for height and width, None if it has not."""
    values = term.attributes.get(attribute, (1, 1, 1, 1))
    if not isinstance(values, tuple) or len(values) != 4:
        return 1 if values == () else None
    height, width = values[2:] if term.attributes.get("data_format") == b"NCHW" else values[1:3]
    return height if height == width and isinstance(height, int) and height > 0 else None


def _kernel_size(base: Term) -> int | None:
    shape = None if base.kernel is None else base.kernel.attributes.get("shape")
    return shape[0] if isinstance(shape, tuple) and len(shape) == 4 and shape[0] == shape[1] else None


def _channels(base: Term) -> int | None:
    """Return the number of output channels, None if the graph does not show it."""
    shape = None if base.kernel is None else base.kernel.attributes.get("shape")
    if not isinstance(shape, tuple) or len(shape) != 4 or not all(isinstance(size, int) for size in shape):
        return None
    channels = int(shape[2] * shape[3] if base.op == "DepthwiseConv2dNative" else shape[3])
    return channels if channels > 0 else None


def _explicit(base: Term) -> tuple[int, int] | None:
    """Return the pixels that are added before and after a map, the same for height and width; None if they differ."""
    first = base.attributes.get("data_format") == b"NCHW"
    pads = base.attributes.get("explicit_paddings")
    before = base.args[0]
    pairs: list[tuple[int, int]] = [(0, 0)] * 4
    if base.attributes.get("padding") == b"EXPLICIT" and isinstance(pads, tuple) and len(pads) == 8:
        pairs = [(int(pads[2 * axis]), int(pads[2 * axis + 1])) for axis in range(4)]
    elif before.op in _PADS:
        value = before.args[1].value if len(before.args) > 1 else None
        fill = before.args[2].value if len(before.args) > 2 else None
        if value is None or value.shape != (4, 2) or (fill is not None and fill.any()):
            return None
        pairs = [(int(pair[0]), int(pair[1])) for pair in value]
    height, width = pairs[2:] if first else pairs[1:3]
    others = [pairs[0], pairs[1] if first else pairs[3]]
    return height if height == width and others == [(0, 0), (0, 0)] else None
