"""The final output of a graph, held against the logits or features that the converted network returns.

Layers that agree do not show what the graph does after the last one: it may return probabilities, or scaled logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .._typing import Array
from ..errors import GraphError, UnsupportedOpError
from .comparison import measure
from .layers_report import ALONE_TOLERANCE, OutputRecord
from .pairing import LOGITS, Pairing
from .wiring import build_main_wiring

if TYPE_CHECKING:
    from ..engine.reference_graph import ReferenceGraph
    from ..engine.variables import Weights

#: The longest chain of operations to follow after the logits.
_MAX_LINKS = 64
#: Operations that only look at a tensor, or that belong to training.
_OBSERVERS = ("Shape", "ShapeN", "Size", "Rank", "ScalarSummary", "HistogramSummary")


def find_outputs(graph: ReferenceGraph, pairing: Pairing, weights: Weights) -> tuple[str, ...]:
    """Return the names of the graph's final outputs that can be run from the image alone.

    They are those of the signature for serving, or else the end of the chain of operations after the last layer.
    """
    signatures = {name: signature for name, signature in graph.signatures.items() if not name.startswith("__")}
    names = [tensor.name for signature in signatures.values() for tensor in signature.outputs.values() if tensor.name]
    names = names or [_follow(graph, pairing.pairs[-1].tensor, weights)]
    return tuple(name for name in dict.fromkeys(names) if _can_run(graph, pairing, name))


def _can_run(graph: ReferenceGraph, pairing: Pairing, name: str) -> bool:
    try:
        plan = graph.plan([name], {pairing.input: None, **dict.fromkeys(pairing.switches, False)})
    except (GraphError, UnsupportedOpError):
        return False
    fed = {pairing.input.partition(":")[0], *pairing.switches}
    return not any(step.node.op == "Placeholder" and step.name not in fed for step in plan.steps)


def _follow(graph: ReferenceGraph, tensor: str, weights: Weights) -> str:
    """Return the last tensor that is computed from one tensor and constants, each read by a single operation."""
    wiring = build_main_wiring(graph, weights)
    for _ in range(_MAX_LINKS):
        readers = [step for step in wiring.find_readers(tensor) if step.op not in _OBSERVERS]
        if len(readers) != 1 or any(name != tensor and wiring.is_data(name) for name in readers[0].inputs):
            return tensor
        tensor = readers[0].name
    return tensor


def compare_outputs(pairing: Pairing, layers: Mapping[str, Array], outputs: Mapping[str, Array]) -> list[OutputRecord]:
    """Compare final outputs with functions of the oracle's last layer, all of them in float64.

    Outputs that are not of the size of the logits or features, such as class numbers, are left out.
    """
    last = pairing.pairs[-1].layer
    values = layers[last]
    functions = list(_list_functions(last, values))
    records = []
    first = pairing.pairs[-1].channels_first
    for tensor, computed in outputs.items():
        output = computed.transpose(0, 2, 3, 1) if first and computed.ndim == 4 else computed
        if output.dtype.kind != "f":
            continue
        candidates = [(name, value.reshape(output.shape)) for name, value in functions if value.size == output.size]
        measured = [(measure(output, value)[1], name) for name, value in candidates]
        if measured:
            difference, name = min(measured, key=lambda item: math.inf if math.isnan(item[0]) else item[0])
            cause = None if difference <= ALONE_TOLERANCE else _find_scale(output, candidates[0][1], candidates[0][0])
            records.append(OutputRecord(tensor, name, difference, cause))
    return records


def _list_functions(last: str, values: Array) -> Iterable[tuple[str, Array]]:
    if last == LOGITS:
        yield "the logits", values
        for name, function in _CLASS_FUNCTIONS.items():
            yield f"the {name} of the logits", function(values)
        return
    yield "the features", values
    if values.ndim == 4:
        yield "the mean of the features", values.mean(axis=(1, 2))
        yield "the maximum of the features", values.max(axis=(1, 2))


def _softmax(values: Array) -> Array:
    exponentials: Array = np.exp(values - values.max(axis=-1, keepdims=True))
    sums: Array = exponentials.sum(axis=-1, keepdims=True)
    softmax: Array = exponentials / sums
    return softmax


def _log_softmax(values: Array) -> Array:
    shifted: Array = values - values.max(axis=-1, keepdims=True)
    logarithms: Array = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    result: Array = shifted - logarithms
    return result


def _sigmoid(values: Array) -> Array:
    halves: Array = np.tanh(values / 2)  # does not overflow
    result: Array = (halves + 1) / 2
    return result


_CLASS_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "softmax": _softmax,
    "log-softmax": _log_softmax,
    "sigmoid": _sigmoid,
}


def _find_scale(output: Array, values: Array, name: str) -> str | None:
    """Say by how much the output is a scaled and shifted copy of the last layer, or return None if it is not."""
    ones = np.ones(values.size)
    solution = np.linalg.lstsq(np.stack([values.ravel(), ones], axis=1), output.ravel(), rcond=None)[0]
    scale, shift = (float(value) for value in solution)
    if measure(output, scale * values + shift)[1] > ALONE_TOLERANCE:
        return None
    return f"the graph multiplies {name} by {scale:.6g}" + (f" and adds {shift:.6g}" if abs(shift) > 1e-9 else "")
