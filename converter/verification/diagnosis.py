"""Experiments that find faults in the structure of a layer.

An experiment changes one part of a layer, runs the layer on the oracle's input, and compares its output again.
The first change that makes the difference vanish is the cause.
Wrong values need no experiment, because the comparison of weights names each tensor that differs from the checkpoint.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._typing import Array
from .comparison import measure
from .layers import OracleRun, exact_copy, forward, step_in, to_oracle_axes, to_our_axes, watch_layers
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

#: SAME and VALID are TensorFlow's; symmetric is PyTorch's, half of the kernel on each side.
PADDINGS = ("SAME", "symmetric", "VALID")

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
    pairs = {layer: _choose_pair(run, layer) for layer in faulty}
    inputs = _record_inputs(exact, run, list(pairs.values()))
    causes = []
    for layer, pair in pairs.items():
        cause = _find_cause(exact, run, graph, pair, inputs[pair.layer])
        if cause is None and run.pairing.pair(layer).kernel is None:
            cause = "the layer has no weights of its own: the network is connected differently from the graph"
        causes.append((layer, cause))
    return tuple((layer, cause) for layer, cause in causes if cause is not None)


def _choose_pair(run: OracleRun, layer: str) -> Pair:
    """Return the pair to examine: the activation before the second convolution of a squeeze-excite is not its own."""
    whole = layer.removesuffix(".expand")
    return run.pairing.pair(whole if whole.endswith(".se") else layer)


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
        stack.enter_context(step_in(model, run, lambda pair: None))
        forward(model, run.probe)
    return inputs


def _find_cause(model: EfficientNet, run: OracleRun, graph: ReferenceGraph, pair: Pair, value: Tensor) -> str | None:
    """Return the first cause whose experiment makes the layer agree; None if no experiment does."""
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

    from ..model.activations import make_activation, make_gate
    from ..model.config import ACTIVATIONS, GATES
    from ..model.layers import ConvNorm, SqueezeExcite

    if isinstance(module, SqueezeExcite):
        inner = "activation of squeeze-and-excitation"
        yield from _replace_function("gate function", "gate", module.gate, {name: make_gate(name) for name in GATES})
        yield from _replace_function(inner, "act", module.act, {name: make_activation(name) for name in ACTIVATIONS})
        return
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
    conv: Any = module.conv
    here, stride, dilation = _name_padding(conv), conv.stride[0], conv.dilation[0]
    strides = _read_axes(graph, pair, "strides")
    if strides is not None and strides != conv.stride:
        yield Experiment(
            f"stride: {stride} here, {strides[0]} in the graph", _replace_convolution("SAME", strides[0], dilation)
        )
    dilations = _read_axes(graph, pair, "dilations")
    if dilations is not None and dilations != conv.dilation:
        yield Experiment(
            f"dilation: {dilation} here, {dilations[0]} in the graph", _replace_convolution(here, stride, dilations[0])
        )
    for padding in PADDINGS if max(conv.kernel_size) > 1 else ():
        if padding != here and not (padding == "symmetric" and stride == 1):
            yield Experiment(
                f"padding: {here} here, {padding} in the graph", _replace_convolution(padding, stride, dilation)
            )
    functions: dict[str, nn.Module] = {"none": nn.Identity()}
    functions |= {name: make_activation(name) for name in ACTIVATIONS}
    yield from _replace_function("activation", "act", module.act, functions)


def _replace_function(
    title: str, attribute: str, present: nn.Module, functions: Mapping[str, nn.Module]
) -> Iterator[Experiment]:
    """Yield an experiment for each function but the present one."""
    here = next((name for name, function in functions.items() if type(function) is type(present)), "another")
    for name, function in functions.items():
        if name != here:
            yield Experiment(f"{title}: {here} here, {name} in the graph", _set_attribute(attribute, function))


def _name_padding(conv: Any) -> str:
    from ..model.layers import SameConv2d

    if isinstance(conv, SameConv2d):
        return "SAME"
    if not any(conv.padding):
        return "VALID" if max(conv.kernel_size) > 1 else "SAME"
    return "symmetric" if max(conv.stride) > 1 else "SAME"


def _read_axes(graph: ReferenceGraph, pair: Pair, name: str) -> tuple[int, int] | None:
    """Return the rows and columns of an attribute of a convolution, such as strides."""
    assert pair.kernel is not None, "only a layer with a kernel has them"
    numbers: Any = graph.locate(pair.kernel)[1].attributes.get(name)
    if not isinstance(numbers, tuple) or len(numbers) != 4:
        return None
    rows, columns = numbers[2:] if pair.channels_first else numbers[1:3]
    return int(rows), int(columns)


def _set_attribute(path: str, value: Any) -> Change:
    def change(module: nn.Module) -> None:
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, value)

    return change


def _replace_convolution(padding: str, stride: int, dilation: int) -> Change:
    """Return a change of a convolution to this padding, stride and dilation, with the same kernel."""

    def change(module: nn.Module) -> None:
        from torch import nn

        from ..model.layers import SameConv2d

        old: Any = module.get_submodule("conv")
        size, groups, is_biased = old.kernel_size[0], old.groups, old.bias is not None
        new: nn.Conv2d
        if padding == "SAME" and dilation == 1:
            new = SameConv2d(old.in_channels, old.out_channels, size, stride=stride, groups=groups, bias=is_biased)
        else:
            new = nn.Conv2d(
                old.in_channels,
                old.out_channels,
                size,
                stride=stride,
                padding=0 if padding == "VALID" else size // 2 * dilation,
                dilation=dilation,
                groups=groups,
                bias=is_biased,
            )
        new.weight, new.bias = old.weight, old.bias
        setattr(module, "conv", new)  # noqa: B010 (the type checker does not know attributes of modules)

    return change
