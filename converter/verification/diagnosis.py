"""Experiments that find faults in the structure of a layer.

An experiment changes one part of a layer, runs the layer on the oracle's input, and compares its output again.
The first change that makes the difference vanish is the cause.
Wrong values need no experiment, because the comparison of weights names each tensor that differs from the checkpoint.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._typing import Array
from .comparison import measure
from .layers import OracleRun, exact_copy, forward, to_oracle_axes, to_our_axes, watch_layers
from .layers_report import ALONE_TOLERANCE, LayersReport
from .pairing import Pair

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..engine.reference_graph import ReferenceGraph
    from ..model.efficientnet import EfficientNet

#: At most so many faulty layers are examined, since the others usually have the same fault.
MAX_LAYERS = 12
#: Epsilons to try, rounded as in `exact_copy`, if a batch norm has no node with its epsilon.
_FLOAT32_EPSILONS = tuple(float(np.float32(epsilon)) for epsilon in (1e-3, 1e-5, 1e-4, 1e-6, 1e-2))

Change: TypeAlias = "Callable[[nn.Module], None]"


class Experiment(NamedTuple):
    """A possible cause in words, and the change that removes it."""

    cause: str
    change: Change


def diagnose(
    model: EfficientNet, run: OracleRun, report: LayersReport, *, graph: ReferenceGraph
) -> tuple[tuple[str, str], ...]:
    """Return each faulty layer whose structure explains its difference, with the cause; the model does not change."""
    faulty = [record.layer for record in report.records if record.is_faulty][:MAX_LAYERS]
    exact = exact_copy(model, run.pairing)
    pairs = [run.pairing.pair(layer) for layer in faulty]
    inputs = _record_inputs(exact, run, pairs)
    causes = ((pair.layer, _find_cause(exact, run, graph, pair, inputs[pair.layer])) for pair in pairs)
    return tuple((layer, cause) for layer, cause in causes if cause is not None)


def _record_inputs(model: EfficientNet, run: OracleRun, pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """Return the input of each layer when every layer before it has the oracle's values."""
    modules = dict(model.named_modules())
    inputs: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            inputs[layer] = arguments[0].clone()

        return hook

    with contextlib.ExitStack() as stack:
        stack.enter_context(
            watch_layers(model, run.pairing, lambda pair, value: to_our_axes(run.exact[pair.layer], value))
        )
        for pair in pairs:
            stack.callback(modules[pair.module].register_forward_pre_hook(keep(pair.layer)).remove)
        forward(model, run.probe)
    return inputs


def _find_cause(model: EfficientNet, run: OracleRun, graph: ReferenceGraph, pair: Pair, value: Tensor) -> str | None:
    """Return the first cause whose experiment makes the layer agree; None if no experiment does."""
    if pair.kernel is None:
        return "the layer has no weights of its own: the network is connected differently from the graph"
    module = model.get_submodule(pair.module)
    for experiment in _list_experiments(graph, pair, module):
        changed = copy.deepcopy(module)
        experiment.change(changed)
        if _measure_difference(changed, value, run.exact[pair.layer]) <= ALONE_TOLERANCE:
            return experiment.cause
    return None


def _measure_difference(module: nn.Module, value: Tensor, reference: Array) -> float:
    """Return the relative difference of a layer's output from the oracle's; infinity if the layer cannot run."""
    import torch

    with torch.inference_mode():
        try:
            output = module(value.clone())
        except RuntimeError:
            return math.inf
    return measure(to_oracle_axes(output, reference), reference)[1]


def _list_experiments(graph: ReferenceGraph, pair: Pair, module: nn.Module) -> Iterator[Experiment]:
    from torch import nn

    from ..model.activations import make_activation
    from ..model.config import ACTIVATIONS
    from ..model.layers import ConvNorm, SameConv2d

    if not isinstance(module, ConvNorm):
        return
    if isinstance(module.bn, nn.BatchNorm2d):
        attribute = None if pair.norm is None else graph.locate(pair.norm)[1].attributes.get("epsilon")
        own = module.bn.eps
        for epsilon in _FLOAT32_EPSILONS if attribute is None else (float(f"{attribute:.6g}"),):
            if epsilon != own:
                yield Experiment(
                    f"batch norm epsilon: {own:g} here, {epsilon:g} in the graph", _set_attribute("bn.eps", epsilon)
                )
    strides = _read_strides(graph, pair)
    if strides is not None and strides != module.conv.stride:
        yield Experiment(
            f"stride: {module.conv.stride[0]} here, {strides[0]} in the graph", _replace_convolution(strides, same=True)
        )
    is_same = isinstance(module.conv, SameConv2d)
    if max(module.conv.stride) > 1 and max(module.conv.kernel_size) > 1:
        here, there = ("SAME", "symmetric") if is_same else ("symmetric", "SAME")
        yield Experiment(
            f"padding: {here} here, {there} in the graph", _replace_convolution(module.conv.stride, same=not is_same)
        )
    present = next((name for name in ACTIVATIONS if type(make_activation(name)) is type(module.act)), None)
    for activation in (None, *ACTIVATIONS):
        if activation != present:
            function = nn.Identity() if activation is None else make_activation(activation)
            cause = f"activation: {present or 'none'} here, {activation or 'none'} in the graph"
            yield Experiment(cause, _set_attribute("act", function))


def _read_strides(graph: ReferenceGraph, pair: Pair) -> tuple[int, int] | None:
    assert pair.kernel is not None, "only a layer with a kernel has strides"
    strides: Any = graph.locate(pair.kernel)[1].attributes.get("strides")
    if not isinstance(strides, tuple) or len(strides) != 4:
        return None
    rows, columns = strides[2:] if pair.channels_first else strides[1:3]
    return int(rows), int(columns)


def _set_attribute(path: str, value: Any) -> Change:
    def change(module: nn.Module) -> None:
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, value)

    return change


def _replace_convolution(stride: tuple[int, ...], *, same: bool) -> Change:
    """Return a change of a convolution to this stride and to SAME or symmetric padding, with the same kernel."""

    def change(module: nn.Module) -> None:
        from torch import nn

        from ..model.layers import SameConv2d

        old: Any = module.get_submodule("conv")
        size, groups, is_biased = old.kernel_size[0], old.groups, old.bias is not None
        new: nn.Conv2d
        if same:
            new = SameConv2d(old.in_channels, old.out_channels, size, stride=stride[0], groups=groups, bias=is_biased)
        else:
            new = nn.Conv2d(
                old.in_channels,
                old.out_channels,
                size,
                stride=stride[0],
                padding=size // 2,
                groups=groups,
                bias=is_biased,
            )
        new.weight, new.bias = old.weight, old.bias
        setattr(module, "conv", new)  # noqa: B010 (the type checker does not know attributes of modules)

    return change
