"""Why a layer differs, found by experiment: change one thing, run the layer again on the oracle's input, and compare.

The first change that makes the difference vanish explains it.
Experiments are tried from the most telling to the least: what a layer computes, then whose values its tensors hold,
then how they were changed, and at last that they are not the checkpoint's.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from tfckpt.errors import printable

from ..mapping.averages import AVERAGE_SUFFIX, is_average, variable_of
from ..mapping.layout import LAYOUTS
from ..mapping.rules import Move
from .layers import Array, OracleRun, as_input, exact_copy, forward, measure, watching
from .layers_report import ALONE_TOLERANCE, LayersReport
from .pairing import LOGITS, Pair

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..model.efficientnet import EfficientNet
    from ..reference.graph import ReferenceGraph

#: Layers that are looked into, the first ones: more say the same again.
MAX_LAYERS = 12
#: What an explanation may leave of the difference: the rounding of scaled values.
_LEFT = 1e-4
#: As `exact_copy` leaves them where a batch norm has no node that says its own.
_FLOAT32_EPSILONS = tuple(float(np.float32(epsilon)) for epsilon in (1e-3, 1e-5, 1e-4, 1e-6, 1e-2))
_STATISTICS = ("bn.running_mean", "bn.running_var")
_FEWER_BITS = ("float16", "bfloat16")

Change: TypeAlias = "Callable[[nn.Module], None]"


class Experiment(NamedTuple):
    """What might be wrong, in words, and the change that would put it right."""

    cause: str
    change: Change


class Truth:
    """What every tensor should hold, read from the checkpoint; and what it would with the other choice of weights."""

    def __init__(self, tensors: Mapping[str, Array], moves: Sequence[Move]) -> None:
        self._tensors = tensors
        self._moves = {move.target: move for move in moves}

    def value(self, target: str) -> Array | None:
        """The tensor as it should be; None if no source fills it."""
        move = self._moves.get(target)
        return None if move is None else LAYOUTS[move.layout].apply(self._tensors[move.source])

    def other(self, target: str) -> tuple[str, Array] | None:
        """What the tensor would be of the other choice, and the name of that; None without such a tensor."""
        move = self._moves.get(target)
        if move is None:
            return None
        raw = variable_of(move.source)
        name = raw if is_average(move.source) else raw + AVERAGE_SUFFIX
        if name not in self._tensors:
            return None
        kind = "the raw values instead of the averages" if name == raw else "the averages instead of the raw values"
        return kind, LAYOUTS[move.layout].apply(self._tensors[name])


def diagnose(
    model: EfficientNet, run: OracleRun, report: LayersReport, *, graph: ReferenceGraph, truth: Truth
) -> tuple[tuple[str, str], ...]:
    """For each faulty layer of a comparison its cause; the model is left as it is."""
    faulty = [record.layer for record in report.records if record.is_faulty][:MAX_LAYERS]
    exact = exact_copy(model, run.pairing)
    pairs = [run.pairing.pair(layer) for layer in faulty]
    inputs = _inputs(exact, run, pairs)
    return tuple((pair.layer, _Laboratory(exact, run, graph, truth).cause(pair, inputs[pair.layer])) for pair in pairs)


def _inputs(model: EfficientNet, run: OracleRun, pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """What layers take where every layer before gave the oracle's values."""
    modules = dict(model.named_modules())
    found: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            found[layer] = arguments[0].clone()

        return hook

    with contextlib.ExitStack() as stack:
        stack.enter_context(watching(model, run.pairing, lambda pair, value: as_input(run.exact[pair.layer], value)))
        for pair in pairs:
            stack.callback(modules[pair.module].register_forward_pre_hook(keep(pair.layer)).remove)
        forward(model, run.probe)
    return found


class _Laboratory:
    """Runs one layer alone, changed in one way or another."""

    def __init__(self, model: EfficientNet, run: OracleRun, graph: ReferenceGraph, truth: Truth) -> None:
        self._model = model
        self._run = run
        self._graph = graph
        self._truth = truth
        self._state: dict[str, Tensor] = {
            name: value for name, value in model.state_dict().items() if value.is_floating_point()
        }

    def cause(self, pair: Pair, given: Tensor) -> str:
        """The first experiment that explains the layer's difference, in words."""
        module = self._model.get_submodule(pair.module)
        if pair.kernel is None:
            return "the layer has no weights of its own: the network is put together otherwise than the graph"
        before = self._distance(module, pair, given)
        count = 0
        for experiment in self._experiments(pair, module):
            count += 1
            changed = copy.deepcopy(module)
            experiment.change(changed)
            after = self._distance(changed, pair, given)
            if after <= ALONE_TOLERANCE or after <= _LEFT * before < float("inf"):
                return experiment.cause
        return f"not found; none of {count} experiments explains it"

    def _distance(self, module: nn.Module, pair: Pair, given: Tensor) -> float:
        import torch

        with torch.inference_mode():
            try:
                value = module(given.clone())
            except RuntimeError:
                return float("inf")
        array: Array = value.numpy()
        array = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
        reference = self._run.exact[pair.layer]
        if array.size == reference.size and array.ndim != reference.ndim:
            array = array.reshape(reference.shape)
        return measure(array, reference)[1]

    def _experiments(self, pair: Pair, module: nn.Module) -> Iterator[Experiment]:
        prefix = "classifier" if pair.layer == LOGITS else pair.layer
        own = {name: f"{prefix}.{name}" for name in module.state_dict() if f"{prefix}.{name}" in self._state}
        yield from self._structure(pair, module)
        yield from self._other_choice(own)
        yield from self._exchanges(own)
        yield from self._turned(module, own)
        yield from self._values(own)

    def _structure(self, pair: Pair, module: nn.Module) -> Iterator[Experiment]:
        from torch import nn

        from ..model.layers import ConvNorm, SameConv2d

        if not isinstance(module, ConvNorm):
            return
        if isinstance(module.bn, nn.BatchNorm2d):
            attribute = None if pair.norm is None else self._graph.locate(pair.norm)[1].attributes.get("epsilon")
            own = module.bn.eps
            for epsilon in _FLOAT32_EPSILONS if attribute is None else (float(f"{attribute:.6g}"),):
                if epsilon != own:
                    yield Experiment(
                        f"batch norm epsilon: {own:g} here, {epsilon:g} in the graph", _setting("bn.eps", epsilon)
                    )
        strides = self._strides(pair)
        if strides is not None and strides != module.conv.stride:
            yield Experiment(
                f"stride: {module.conv.stride[0]} here, {strides[0]} in the graph", _convolving(strides, same=True)
            )
        is_same = isinstance(module.conv, SameConv2d)
        if max(module.conv.stride) > 1 and max(module.conv.kernel_size) > 1:
            here, there = ("SAME", "symmetric") if is_same else ("symmetric", "SAME")
            yield Experiment(
                f"padding: {here} here, {there} in the graph", _convolving(module.conv.stride, same=not is_same)
            )
        words = ("no activation here, one in the graph", "an activation here, none in the graph")
        yield Experiment(words[0] if module.linear else words[1], _setting("linear", not module.linear))

    def _strides(self, pair: Pair) -> tuple[int, int] | None:
        assert pair.kernel is not None, "asked only of layers with a kernel"
        found: Any = self._graph.locate(pair.kernel)[1].attributes.get("strides")
        if not isinstance(found, tuple) or len(found) != 4:
            return None
        rows, columns = found[2:] if pair.channels_first else found[1:3]
        return int(rows), int(columns)

    def _other_choice(self, own: Mapping[str, str]) -> Iterator[Experiment]:
        others = {name: other for name, target in own.items() if (other := self._truth.other(target)) is not None}
        right = {name: value for name, target in own.items() if (value := self._truth.value(target)) is not None}
        for names in _subsets(own):
            # The experiment is worth it only where the tensors now hold what the other choice would give.
            if all(name in others and name in right and self._holds(own[name], others[name][1]) for name in names):
                kind = others[names[0]][0]
                what = "all its tensors have" if len(names) == len(own) > 1 else f"{', '.join(names)}:"
                yield Experiment(f"{what} {kind}", _holding({name: right[name] for name in names}))

    def _exchanges(self, own: Mapping[str, str]) -> Iterator[Experiment]:
        for one, other in itertools.combinations(own, 2):
            first, second = self._state[own[one]], self._state[own[other]]
            if first.shape == second.shape:
                yield Experiment(f"{one} and {other} are exchanged", _holding({one: second, other: first}))
        for name, target in own.items():
            for other, value in self._state.items():
                if other not in own.values() and value.shape == self._state[target].shape and self._is_wrong(other):
                    yield Experiment(f"{name} is exchanged with {printable(other)}", _holding({name: value}))
        for layer in self._layers_like(own):
            values = {name: self._state[f"{layer}.{name}"] for name in own}
            yield Experiment(f"all its tensors are exchanged with those of {layer}", _holding(values))

    def _layers_like(self, own: Mapping[str, str]) -> Iterator[str]:
        name, target = next(iter(own.items()))
        for other in self._state:
            layer = other.removesuffix(f".{name}")
            if other.endswith(f".{name}") and other != target:
                values = {part: self._state.get(f"{layer}.{part}") for part in own}
                same = all(
                    value is not None and value.shape == self._state[own[part]].shape for part, value in values.items()
                )
                if same and self._is_wrong(other):
                    yield layer

    def _turned(self, module: nn.Module, own: Mapping[str, str]) -> Iterator[Experiment]:
        for name, target in own.items():
            value = self._state[target]
            if value.dim() < 2:
                continue
            for axes in itertools.permutations(range(value.dim())):
                turned = value.permute(axes)
                if axes != tuple(range(value.dim())) and turned.shape == value.shape:
                    yield Experiment(f"{name} is transposed, axes {list(axes)}", _holding({name: turned}))
            # The same numbers in the order of other axes: a reshape where a transposition belonged.
            for axes in itertools.permutations(range(value.dim())):
                if axes != tuple(range(value.dim())):
                    shape = [value.shape[axis] for axis in axes]
                    back = sorted(range(value.dim()), key=lambda axis: axes[axis])
                    turned = value.reshape(shape).permute(back)
                    yield Experiment(
                        f"{name} is transposed: its numbers lie in the order of the axes {list(axes)}",
                        _holding({name: turned}),
                    )
            for dims in ((2,), (3,), (2, 3)):
                if value.dim() == 4 and all(value.shape[dim] > 1 for dim in dims):
                    yield Experiment(f"{name} is mirrored, axes {list(dims)}", _holding({name: value.flip(dims)}))

    def _values(self, own: Mapping[str, str]) -> Iterator[Experiment]:
        right = {name: value for name, target in own.items() if (value := self._truth.value(target)) is not None}
        for name, value in right.items():
            held = self._state[own[name]].numpy()
            wanted = value.astype(np.float64)
            if held.shape == wanted.shape and (length := float((held * held).sum())) > 0:
                factor = float((held * wanted).sum()) / length
                if factor not in (0.0, 1.0):
                    yield Experiment(f"{name} is scaled by {1 / factor:.6g}", _holding({name: held * factor}))
        for kind in _FEWER_BITS:
            if right and all(self._holds(own[name], value, rounded=kind) for name, value in right.items()):
                yield Experiment(f"the values were rounded to {kind}", _holding(right))
        for name, value in right.items():
            yield Experiment(f"{name} does not hold the checkpoint's values", _holding({name: value}))
        yield Experiment("several tensors do not hold the checkpoint's values", _holding(right))

    def _holds(self, target: str, value: Array, *, rounded: str | None = None) -> bool:
        import torch

        wanted = torch.tensor(value)
        if rounded is not None:
            wanted = wanted.to(getattr(torch, rounded))
        return bool(torch.equal(self._state[target], wanted.double()))

    def _is_wrong(self, target: str) -> bool:
        value = self._truth.value(target)
        return value is None or not self._holds(target, value)


def _subsets(own: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """All tensors of a layer, its moving statistics, and each alone."""
    yield tuple(own)
    if all(name in own for name in _STATISTICS):
        yield _STATISTICS
    if len(own) > 1:
        yield from ((name,) for name in own)


def _holding(values: Mapping[str, Any]) -> Change:
    def change(module: nn.Module) -> None:
        import torch

        state = module.state_dict(keep_vars=False)
        for name, value in values.items():
            state[name].copy_(value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value)))

    return change


def _setting(path: str, value: Any) -> Change:
    def change(module: nn.Module) -> None:
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, value)

    return change


def _convolving(stride: tuple[int, ...], *, same: bool) -> Change:
    """The same kernel with another stride or padding."""

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
        setattr(module, "conv", new)  # noqa: B010 (a module's attribute is not known to the type checker)

    return change
