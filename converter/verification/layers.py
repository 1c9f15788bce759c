"""The converted network beside the oracle, layer by layer, without TensorFlow.

Each layer is measured twice.
In the whole run it takes what our own layers before it gave, as in use: differences add up from layer to layer.
Alone, it takes what the oracle's layers before it gave, in float64 on both sides: what is left is its own, and shows
every faulty layer and not only the first.

Differences are of a layer's largest value, max|Δ| / max|reference|.
The reference is always the oracle in float64; its distance from the oracle in float32 is the noise of the case.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._typing import Array
from ..errors import GraphError, Shape
from .comparison import measure
from .layers_report import ILL_CONDITIONED, LayerRecord, LayersReport
from .pairing import POOLED, Pair, Pairing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..engine.reference_graph import ReferenceGraph
    from ..engine.variables import Weights
    from ..model.efficientnet import EfficientNet

#: How often its own noise a right float32 result may lie from the exact one: two frameworks round differently.
NOISE_FACTOR = 8.0
#: Noise is that of all layers so far, and at least a few roundings, though a layer of few values may have less.
LEAST_NOISE = {"float32": 2.0**-22, "float64": 2.0**-46}
#: How much finer float64 is.
_FINER = 2.0**-29


@dataclasses.dataclass(frozen=True, slots=True)
class OracleRun:
    """What the oracle gave for one probe: a value for each layer, NHWC or NC, in both precisions."""

    pairing: Pairing
    probe: Array
    exact: Mapping[str, Array]
    narrow: Mapping[str, Array]
    graph: str

    def noise(self, layer: str) -> float:
        """How far the oracle's float32 lies from its float64, of the layer's largest value."""
        return measure(self.narrow[layer], self.exact[layer])[1]


def run_oracle(graph: ReferenceGraph, pairing: Pairing, probe: Array, weights: Weights) -> OracleRun:
    """Run the graph on a probe (NHWC) in both precisions, only as far as the paired layers need it."""
    names = list(dict.fromkeys(pair.tensor for pair in pairing.pairs))
    probe = probe.astype(np.float32)  # the same numbers for everybody, in any precision
    fed = probe.transpose(0, 3, 1, 2) if pairing.channels_first else probe
    feeds: dict[str, Any] = {pairing.input: fed, **dict.fromkeys(pairing.switches, False)}
    values = []
    for dtype in ("float64", "float32"):
        found = dict(zip(names, graph.run(names, feeds, dtype=dtype, weights=weights), strict=True))
        values.append({pair.layer: _nhwc(found[pair.tensor], pair) for pair in pairing.pairs})
    return OracleRun(pairing, probe, values[0], values[1], graph.path)


def compare_layers(
    model: EfficientNet,
    run: OracleRun,
    *,
    double: bool = False,
    tolerance: float | None = None,
    probe_name: str = "a probe",
) -> LayersReport:
    """Compare the model with an oracle's run; with `double`, or where float32 shows little, a copy runs in float64.

    `tolerance` replaces the default, a small multiple of the noise of each layer and those before it.
    The model itself is left as it is.
    """
    noises = [run.noise(pair.layer) for pair in run.pairing.pairs]
    double = double or not max(noises) <= ILL_CONDITIONED
    exact_model = exact_copy(model, run.pairing)
    whole_model = exact_model if double else copy.deepcopy(model).eval().float()
    whole = _measured(whole_model, run)
    alone = _measured(exact_model, run, replace=True)
    dtype = "float64" if double else "float32"
    records = []
    so_far = LEAST_NOISE["float32"]
    for pair, noise in zip(run.pairing.pairs, noises, strict=True):
        so_far = max(so_far, noise) if math.isfinite(noise) else so_far
        allowed = tolerance
        if allowed is None:
            allowed = NOISE_FACTOR * (max(so_far * _FINER, LEAST_NOISE["float64"]) if double else so_far)
        shape, max_abs, max_rel, cosine = whole[pair.layer]
        records.append(
            LayerRecord(
                pair.layer,
                pair.tensor,
                shape,
                run.exact[pair.layer].shape,
                max_abs,
                max_rel,
                cosine,
                alone[pair.layer].max_rel,
                noise,
                allowed,
            )
        )
    return LayersReport(dtype=dtype, graph=run.graph, probe=probe_name, records=tuple(records))


def exact_copy(model: EfficientNet, pairing: Pairing) -> EfficientNet:
    """A copy of the model that computes in float64 what the graph does.

    A batch norm without a node of its own, as in Keras 3, adds its epsilon to the variance as a float32 constant, and
    where variances are small it shows that this is not quite the number that was written down.
    """
    from torch import nn

    exact = copy.deepcopy(model).eval().double()
    modules = dict(exact.named_modules())
    for pair in pairing.pairs:
        norm = getattr(modules.get(pair.module), "bn", None)
        if pair.norm is None and isinstance(norm, nn.BatchNorm2d):
            norm.eps = float(np.float32(norm.eps))
    return exact


class _Measured(NamedTuple):
    shape: Shape
    max_abs: float
    max_rel: float
    cosine: float


def _measured(model: EfficientNet, run: OracleRun, *, replace: bool = False) -> dict[str, _Measured]:
    """Run the model on the probe and measure every paired layer's output as it is computed.

    With `replace` each output is then put aside for the oracle's, which the next layers take.
    """
    found: dict[str, _Measured] = {}

    def keep(pair: Pair, value: Tensor) -> Tensor | None:
        reference = run.exact[pair.layer]
        values = as_output(value, reference)
        found[pair.layer] = _Measured(values.shape, *measure(values, reference))
        return as_input(reference, value) if replace else None

    with watching(model, run.pairing, keep):
        forward(model, run.probe)
    return found


def forward(model: EfficientNet, probe: Array) -> Tensor:
    """Run a model on a probe (NHWC)."""
    import torch

    like = next(model.parameters())
    images = torch.from_numpy(np.ascontiguousarray(probe)).to(like.device, like.dtype).permute(0, 3, 1, 2)
    with torch.inference_mode():
        logits: Tensor = model(images)
    return logits


@contextlib.contextmanager
def watching(model: EfficientNet, pairing: Pairing, keep: Callable[[Pair, Tensor], Tensor | None]) -> Iterator[None]:
    """Show `keep` the output of every paired layer as it is computed; what it gives goes on in its place."""
    modules = dict(model.named_modules())
    handles = []
    for pair in pairing.pairs:
        module = modules.get(pair.module)
        if module is None:
            raise GraphError(f"the network has no layer {pair.module}, which the graph computes")
        if pair.layer == POOLED:
            handles.append(module.register_forward_pre_hook(_before(pair, keep)))
        else:
            handles.append(module.register_forward_hook(_after(pair, keep)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(pair: Pair, keep: Callable[[Pair, Tensor], Tensor | None]) -> Callable[[nn.Module, Any], Any]:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor] | None:
        value = keep(pair, arguments[0])
        return None if value is None else (value,)

    return hook


def _after(pair: Pair, keep: Callable[[Pair, Tensor], Tensor | None]) -> Callable[[nn.Module, Any, Tensor], Any]:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return keep(pair, output)

    return hook


def as_input(reference: Array, like: Tensor) -> Tensor:
    """The oracle's value in place of ours; ours where it has another shape, so that the run can go on."""
    import torch

    # A copy: activations may work in place.
    value = torch.tensor(reference, dtype=like.dtype, device=like.device)
    value = value.permute(0, 3, 1, 2) if value.dim() == 4 else value
    return value.reshape(like.shape) if value.numel() == like.numel() else like


def as_output(value: Tensor, reference: Array) -> Array:
    """Return our value in the oracle's axes (NHWC or NC), with the reference's axes of one element added or dropped."""
    array: Array = value.detach().double().cpu().numpy()
    array = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
    same = [size for size in array.shape if size != 1] == [size for size in reference.shape if size != 1]
    return array.reshape(reference.shape) if same else array


def _nhwc(value: Array, pair: Pair) -> Array:
    return value.transpose(0, 2, 3, 1) if pair.channels_first and value.ndim == 4 else value
