"""Comparison of the converted network with the oracle, layer by layer, without TensorFlow.

Each layer is measured twice.
In the whole run its input is the output of our own layers before it, so differences accumulate.
Alone, its input is the oracle's, in float64 on both sides; the difference is the layer's own, so every faulty layer is
found and not only the first.

Differences are relative to a layer's largest value, max|Δ| / max|reference|.
The reference is always the oracle in float64; its difference from the oracle in float32 is called noise.
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
from .outputs import compare_outputs, find_outputs
from .pairing import POOLED, Pair, Pairing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..engine.reference_graph import ReferenceGraph
    from ..engine.variables import Weights
    from ..model.efficientnet import EfficientNet

#: A correct float32 result may differ from the exact one by this multiple of the noise, since frameworks round
#: differently; 1.3 was measured.
NOISE_FACTOR = 8.0
#: The noise of a layer includes all layers before it, and is at least a few rounding errors.
LEAST_NOISE = {"float32": 2.0**-22, "float64": 2.0**-46}
#: The ratio of the rounding errors of float64 and float32.
_FINER = 2.0**-29


@dataclasses.dataclass(frozen=True, slots=True)
class OracleRun:
    """The oracle's output of each layer for one probe, NHWC or NC, in float64 (`exact`) and float32 (`narrow`).

    `outputs` are the final outputs of the graph by name, in float64.
    `moving_statistics` says that the graph is one of training that ran with its moving statistics.
    """

    pairing: Pairing
    probe: Array
    exact: Mapping[str, Array]
    narrow: Mapping[str, Array]
    graph: str
    outputs: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    moving_statistics: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether every value of the oracle is finite; nothing can be compared with others."""
        layers = (*self.exact.values(), *self.narrow.values())
        return all(bool(np.isfinite(values).all()) for values in layers)

    def noise(self, layer: str) -> float:
        """Return the difference of the oracle's float32 from its float64, relative to the layer's largest value."""
        return measure(self.narrow[layer], self.exact[layer])[1]


def run_oracle(
    graph: ReferenceGraph, pairing: Pairing, probe: Array, weights: Weights, *, any_size: bool = False
) -> OracleRun:
    """Run the graph on a probe (NHWC) in both precisions, up to its final outputs.

    With `any_size`, the probe may have another size than the graph declares.
    """
    names = list(dict.fromkeys(pair.tensor for pair in pairing.pairs))
    probe = probe.astype(np.float32)  # the same values in both precisions
    fed = probe.transpose(0, 3, 1, 2) if pairing.channels_first else probe
    feeds: dict[str, Any] = {pairing.input: fed, **dict.fromkeys(pairing.switches, False)}
    final = find_outputs(graph, pairing, weights)
    fetches = list(dict.fromkeys([*names, *final]))
    exact, narrow = (
        dict(zip(fetches, graph.run(fetches, feeds, dtype=dtype, weights=weights, any_size=any_size), strict=True))
        for dtype in ("float64", "float32")
    )
    values = [
        {pair.layer: _to_channels_last(outputs[pair.tensor], pair) for pair in pairing.pairs}
        for outputs in (exact, narrow)
    ]
    outputs = {name: exact[name] for name in final}
    return OracleRun(pairing, probe, values[0], values[1], graph.path, outputs, graph.has_moving_statistics)


def compare_layers(
    model: EfficientNet,
    run: OracleRun,
    *,
    double: bool = False,
    tolerance: float | None = None,
    probe_name: str = "a probe",
) -> LayersReport:
    """Compare the model with a run of the oracle.

    With `double`, or if the network is ill-conditioned, a copy of the model runs in float64.
    So it does if a layer differs in float32 and none is at fault alone: a layer of few values may have less noise in
    the oracle than in the model.
    `tolerance` replaces the default, a small multiple of the noise of each layer and those before it.
    The model itself does not change.
    """
    import torch

    noises = [run.noise(pair.layer) for pair in run.pairing.pairs]
    double = double or not max(noises) <= ILL_CONDITIONED
    exact_model = exact_copy(model, run.pairing)
    is_ready = not model.training and {one.dtype for one in model.parameters()} == {torch.float32}
    whole_model = exact_model if double else model if is_ready else copy.deepcopy(model).eval().float()
    whole = _measure_layers(whole_model, run)
    alone = _measure_layers(exact_model, run, replace=True)
    dtype = "float64" if double else "float32"
    records = []
    noise_so_far = LEAST_NOISE["float32"]
    for pair, noise in zip(run.pairing.pairs, noises, strict=True):
        noise_so_far = max(noise_so_far, noise) if math.isfinite(noise) else noise_so_far
        allowed = tolerance
        if allowed is None:
            allowed = NOISE_FACTOR * (max(noise_so_far * _FINER, LEAST_NOISE["float64"]) if double else noise_so_far)
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
    agrees, is_faulty = all(one.agrees for one in records), any(one.is_faulty for one in records)
    if tolerance is None and not double and not agrees and not is_faulty:
        return compare_layers(model, run, double=True, probe_name=probe_name)
    final = tuple(compare_outputs(run.pairing, run.exact, run.outputs))
    return LayersReport(
        dtype=dtype,
        graph=run.graph,
        probe=probe_name,
        records=tuple(records),
        outputs=final,
        size=run.probe.shape[1],
        moving_statistics=run.moving_statistics,
    )


def exact_copy(model: EfficientNet, pairing: Pairing) -> EfficientNet:
    """Return a copy of the model that computes in float64, on the CPU, what the graph computes.

    A batch norm without a node of its own, as in Keras 3, adds its epsilon to the variance as a float32 constant. If
    variances are small, the rounding of the epsilon is visible in float64, so the copy rounds it too.
    """
    from torch import nn

    exact = copy.deepcopy(model).cpu().eval().double()
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


#: Of a layer that was not computed, because sizes in it or before it do not fit together.
_NOT_COMPUTED = _Measured((), math.inf, math.inf, math.inf)


def _measure_layers(model: EfficientNet, run: OracleRun, *, replace: bool = False) -> dict[str, _Measured]:
    """Run the model on the probe, and measure the output of every paired layer.

    With `replace`, the oracle's output then replaces each output as the input of the next layers, also that of a layer
    that cannot run. Otherwise such a layer, or an addition of maps of different sizes, ends the run.
    """
    measured: dict[str, _Measured] = {}

    def keep(pair: Pair, value: Tensor) -> Tensor | None:
        reference = run.exact[pair.layer]
        values = to_oracle_axes(value, reference)
        if pair.layer not in measured:
            measured[pair.layer] = _Measured(values.shape, *measure(values, reference))
        return to_our_axes(reference, value) if replace else None

    with watch_layers(model, run.pairing, keep):
        if replace:
            with step_in(model, run, lambda pair: measured.setdefault(pair.layer, _NOT_COMPUTED)):
                forward(model, run.probe)
        else:
            with contextlib.suppress(SizeError):
                forward(model, run.probe)
    return {pair.layer: measured.get(pair.layer, _NOT_COMPUTED) for pair in run.pairing.pairs}


@contextlib.contextmanager
def step_in(model: EfficientNet, run: OracleRun, note: Callable[[Pair], object]) -> Iterator[None]:
    """Let the oracle's output replace that of every paired module that cannot run, after a call of `note`."""
    import torch

    modules = dict(model.named_modules())

    def guard(pair: Pair, compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def compute_or_step_in(value: Tensor) -> Tensor:
            try:
                with _convert_size_errors():
                    return compute(value)
            except SizeError:
                note(pair)
                output = torch.tensor(run.exact[pair.layer], dtype=value.dtype, device=value.device)
                return output.permute(0, 3, 1, 2) if output.dim() == 4 else output

        return compute_or_step_in

    guarded = [(modules[pair.module], pair) for pair in run.pairing.pairs if pair.layer != POOLED]
    try:
        for module, pair in guarded:
            setattr(module, "forward", guard(pair, module.forward))  # noqa: B010 (a method, to the type checker)
        yield
    finally:
        for module, _ in guarded:
            module.__dict__.pop("forward", None)


class SizeError(Exception):
    """Tensors of a network have sizes that do not fit together."""


@contextlib.contextmanager
def _convert_size_errors() -> Iterator[None]:
    """Raise `SizeError` for PyTorch's errors of sizes; a lack of memory, which has the same class, stays as it is."""
    try:
        yield
    except RuntimeError as error:
        if "memory" in str(error):
            raise
        raise SizeError(str(error)) from error


def forward(model: EfficientNet, probe: Array) -> Tensor:
    """Run a model on a probe (NHWC); raise `SizeError` if sizes in the model do not fit together."""
    import torch

    like = next(model.parameters())
    images = torch.from_numpy(np.ascontiguousarray(probe)).to(like.device, like.dtype).permute(0, 3, 1, 2)
    with torch.inference_mode(), _convert_size_errors():
        logits: Tensor = model(images)
    return logits


@contextlib.contextmanager
def watch_layers(
    model: EfficientNet, pairing: Pairing, keep: Callable[[Pair, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call `keep` with the output of every paired layer; a tensor that it returns replaces the output."""
    modules = dict(model.named_modules())
    handles = []
    for pair in pairing.pairs:
        module = modules.get(pair.module)
        if module is None:
            raise GraphError(f"the network does not have the layer {pair.module} of the graph")
        if pair.layer == POOLED:
            handles.append(module.register_forward_pre_hook(_make_pre_hook(pair, keep)))
        else:
            handles.append(module.register_forward_hook(_make_hook(pair, keep)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _make_pre_hook(pair: Pair, keep: Callable[[Pair, Tensor], Tensor | None]) -> Callable[[nn.Module, Any], Any]:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor] | None:
        value = keep(pair, arguments[0])
        return None if value is None else (value,)

    return hook


def _make_hook(pair: Pair, keep: Callable[[Pair, Tensor], Tensor | None]) -> Callable[[nn.Module, Any, Tensor], Any]:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return keep(pair, output)

    return hook


def to_our_axes(reference: Array, like: Tensor) -> Tensor:
    """Return the oracle's value in our axes, also if its size differs, so that the next layers have the right input.

    If even the number of axes differs, return our value.
    """
    import torch

    # Activations may work in place, so this is a copy.
    value = torch.tensor(reference, dtype=like.dtype, device=like.device)
    value = value.permute(0, 3, 1, 2) if value.dim() == 4 else value
    if value.numel() == like.numel():
        return value.reshape(like.shape)
    return value if value.dim() == like.dim() else like


def to_oracle_axes(value: Tensor, reference: Array) -> Array:
    """Return our value in the oracle's axes (NHWC or NC), reshaped if only axes of size 1 differ."""
    array: Array = value.detach().cpu().double().numpy()
    array = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
    has_same_sizes = [size for size in array.shape if size != 1] == [size for size in reference.shape if size != 1]
    return array.reshape(reference.shape) if has_same_sizes else array


def _to_channels_last(value: Array, pair: Pair) -> Array:
    return value.transpose(0, 2, 3, 1) if pair.channels_first and value.ndim == 4 else value
