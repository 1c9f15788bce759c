"""Where a network is in a graph, what surrounds it, and what could not be accounted for.

The network is found by the kernels of its layers, never by the names of nodes: its last layer is the one with the most
layers below it.
Which checkpoint key a variable has is read from the save operations, since it may differ from the node's name:
a graph may call a variable `head_1/dense/kernel` while its saver stores it as `head/dense/kernel`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..errors import Unaccounted
from .endings import Consumers, Ending, below, follow
from .functions import BATCH_NORMS, Region
from .layers import Layer, Layers, leaves, read_layers
from .terms import LAYER_OPS, GraphFunction, GraphNode, Term, TermReader

#: Operations that make images: what they do is preprocessing, which a converted network leaves to its caller.
_PREPARING = ("Decode", "Resize", "TensorList", "TensorArray", "Crop", "ExtractGlimpse", "Reshape", "Squeeze", "Pack")
#: Layers with which copies of a network are compared, at most.
_MAX_COPIES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """A network as a graph computes it.

    `layers` and `dense` have the nodes of variables; `keys` has the checkpoint keys of each.
    `bias` is the node of the dense layer's bias.
    `inputs` and `outputs` say what the graph does before the first layer and after the logits, one sentence each.
    `notes` say how far the reading rests on more than the graph's operations.
    `operations` counts the operations that were accounted for.
    """

    layers: tuple[Layer, ...]
    dense: Layer | None
    bias: str | None
    pooling: str | None
    keys: Mapping[str, frozenset[str]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    findings: tuple[Unaccounted, ...]
    notes: tuple[str, ...]
    operations: int


def read_network(
    nodes: Iterable[GraphNode],
    functions: Mapping[str, GraphFunction] | None = None,
    *,
    signatures: Sequence[Sequence[str]] = (),
    owns: Callable[[str], bool] = lambda _: True,
) -> Reading | None:
    """Read the network whose kernels have keys that `owns` returns True for; None if the graph does not compute it.

    `signatures` are the tensors that each of the graph's signatures returns, the most important signature first.
    """
    return _Reader(TermReader(nodes, functions), signatures, owns).read()


class _Reader:
    def __init__(self, reader: TermReader, signatures: Sequence[Sequence[str]], owns: Callable[[str], bool]) -> None:
        self._reader = reader
        self._owns = owns
        self._keys = _keys(reader)
        self._signatures = [[reader.term(name) for name in names if name] for names in signatures]
        self._consumers = Consumers(reader, self._signatures)

    def read(self) -> Reading | None:
        copies = self._copies(self._reader.terms)
        if not copies:
            for node in self._reader.nodes.values():
                if node.op in LAYER_OPS or (node.inputs and self._reader.calls(node) is not None):
                    self._reader.term(node.name)
            copies = self._copies(self._reader.terms)
        if not copies:
            return None
        readings = [self._one(copy) for copy in copies[:_MAX_COPIES]]
        first = readings[0]
        differing = next((one for one in readings[1:] if _facts(one) != _facts(first)), None)
        findings = first.findings
        if differing is not None and not findings:
            place = (differing.dense or differing.layers[-1]).node
            findings = (
                Unaccounted(place, copies[0].op, "a copy of the network that differs from another", "the same"),
            )
        notes = list(first.notes)
        if self._reader.copies or len(readings) > 1:
            notes.append(
                f"the graph computes {len(readings)} copies of the network"
                if len(readings) > 1
                else "the graph is split for several devices; one copy of the network is read"
            )
        return dataclasses.replace(first, findings=findings, notes=tuple(notes))

    def _copies(self, terms: Sequence[Term]) -> list[Term]:
        """Return the last layer of the network, once for each copy of it.

        Of copies for several signatures, only the one that the first returns counts.
        """
        own = [term for term in terms if self._is_own(term)]
        for ends in self._signatures:
            reached = below(ends)
            if any(term in reached for term in own):
                own = [term for term in own if term in reached]
                break
        deepest = max((term.depth for term in own), default=0)
        last = [term for term in own if term.depth == deepest]
        return [term for term in last if term.kernel is not None and term.kernel.node == _kernel(last[0])]

    def _is_own(self, term: Term) -> bool:
        """Return True for a layer of the network; gradients multiply by a kernel transposed."""
        if term.kernel is None or not term.args[0].has_data or term.attributes.get("transpose_b"):
            return False
        return any(map(self._owns, self._keys.get(term.kernel.node, {term.kernel.node})))

    def _one(self, last: Term) -> Reading:
        """Read one copy of the network."""
        has_dense = last.op == "MatMul"
        top = last if has_dense else self._features(last)
        ending = follow(last, self._consumers) if has_dense else Ending((), None, ())
        layers = read_layers(top, _side(top))
        inputs, problem = _before(layers)
        trained = sum(layer.norm is not None and layer.norm.is_trained for layer in layers.layers)
        trained = trained or sum(
            term.op in BATCH_NORMS and term.output == 0 and bool(term.attributes.get("is_training", True))
            for term in below([top])
        )
        notes = []
        if trained:
            notes.append(
                f"the graph is one of training: {trained} batch norms are read with their moving statistics in place "
                "of the batch's"
            )
        return Reading(
            layers=layers.layers,
            dense=layers.dense,
            bias=ending.bias,
            pooling=layers.pooling,
            keys=self._keys,
            inputs=inputs,
            outputs=ending.outputs,
            findings=(*layers.findings, *problem, *ending.findings),
            notes=tuple(notes),
            operations=_count(top),
        )

    def _features(self, last: Term) -> Term:
        """Return the map that the last convolution ends in: what is pooled, returned, or taken by other layers."""
        top, uses = last, self._consumers.uses(last)
        for _ in range(len(self._reader.terms)):
            region = [use for use in uses if use.has_data and _is_function_of(use, last)]
            if not region:
                break
            top = max(region, key=lambda use: len(Region(use, last, channels=1, channels_first=False).terms))
            uses = self._consumers.uses(top)
        sums = [use for use in uses if use.op in {"Add", "AddV2"} and all(arg.has_data for arg in use.args)]
        if len(sums) == 1 and not sums[0].has_variable | False and sums[0].depth == last.depth:
            top, uses = sums[0], self._consumers.uses(sums[0])
        pools = [use for use in uses if use.op in {"Mean", "Max", "AvgPool", "MaxPool"}]
        return pools[0] if len(pools) == 1 else top


def _is_function_of(term: Term, base: Term) -> bool:

    return leaves(term) == [base]


def _kernel(term: Term) -> str:
    return "" if term.kernel is None else term.kernel.node


def _keys(reader: TermReader) -> dict[str, frozenset[str]]:
    """Pair each variable's node with its keys."""
    keys: dict[str, set[str]] = {}
    for key, term in reader.save_terms():
        if term.op == "Variable":
            keys.setdefault(term.node, set()).add(key)
    return {node: frozenset(names) for node, names in keys.items()}


def _facts(reading: Reading) -> object:
    """Return what copies of a network have in common."""
    return [dataclasses.replace(layer, node="", gate=None) for layer in reading.layers], reading.pooling


def _count(top: Term) -> int:
    return sum(term.has_data for term in below([top]))


def _side(top: Term) -> int | None:
    """Return the height and width of the image, None if the graph does not fix them."""
    for term in below([top]):
        shape = term.attributes.get("shape") if not term.args and term.has_data else None
        if isinstance(shape, tuple) and len(shape) == 4:
            sides = {shape[1:3], shape[2:4]}
            for side in sides:
                if side[0] == side[1] and isinstance(side[0], int) and side[0] > 4:
                    return side[0]
    return None


def _before(layers: Layers) -> tuple[tuple[str, ...], list[Unaccounted]]:
    """Say what is done to an image before the first layer."""
    says: list[str] = []
    term = layers.image
    if layers.findings:
        return (), []
    while term.args:
        bases = leaves(term)
        if len(bases) == 1 and bases[0] is not term:
            sentence = _scale(term, bases[0])
            if sentence is None:
                what = f"{term.op} applied to the image"
                return (), [Unaccounted(term.node, term.op, what, "a scale and shift, or nothing")]
            says += [sentence] if sentence else []
            term = bases[0]
        elif term.op == "Split" and term.args[0].value is not None and not term.args[0].value.any():
            term = term.args[1]  # of a batch between devices
        elif term.op == "Transpose" or term.op.startswith(_PREPARING):
            says.append(f"{term.op} ({term.node})")
            data = [arg for arg in term.args if arg.has_data]
            if term.op != "Transpose" and len(data) != 1:
                break
            term = data[0]
        else:
            what = f"{term.op} applied to the image"
            return (), [Unaccounted(term.node, term.op, what, "a scale and shift, or nothing")]
    return tuple(says), []


def _scale(term: Term, base: Term) -> str | None:
    """Say what scale and shift a term applies, None if it is neither; empty if it changes nothing."""
    region = Region(term, base, channels=3, channels_first=False)
    variables = {one.node: np.full(3, 0.5) for one in region.terms if one.op == "Variable"}
    points = [region.value(np.full((1, 1, 1, 3), value), variables) for value in (0.0, 1.0, 2.0)]
    if any(point is None for point in points):
        points = [region.value(np.full((1, 3, 1, 1), value), variables) for value in (0.0, 1.0, 2.0)]
    values = [point for point in points if point is not None]
    if len(values) != 3 or not np.allclose(values[2] - values[1], values[1] - values[0], rtol=1e-5):
        return None
    if variables:
        return f"scale and shift by the variables {', '.join(sorted(variables))}"
    scale, shift = (values[1] - values[0]).ravel(), values[0].ravel()
    if np.allclose(scale, 1) and np.allclose(shift, 0):
        return ""
    said = [", ".join(dict.fromkeys(f"{number:.6g}" for number in row.tolist())) for row in (scale, shift)]
    return f"x * ({said[0]}) + ({said[1]}) ({term.node})"
