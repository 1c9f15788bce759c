"""The proof of a PyTorch module that is not an EfficientNet: its outputs and those of the checkpoint's graph agree.

Both get one random probe. What is compared is given, or guessed where only one way is possible: each output of the
module with the tensor of the graph that has its size and is the most similar. The graph runs in float64, too: the
tolerance is a multiple of its own noise in float32.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfckpt.errors import pluralize, printable

from .._typing import Array
from ..errors import GraphError, Shape
from .comparison import ComparisonReport
from .devices import full_float32
from .graph_interface import Candidate, GraphInput, GraphInterface
from .layers_report import MOVING_STATISTICS
from .pairing import check_is_for_evaluation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..engine.reference_graph import ReferenceGraph
    from ..engine.variables import Weights

#: Allowed difference: this many times the graph's own noise, and at least `_LEAST`, a few roundings.
_NOISE = 8
_LEAST = 2e-6
#: Sizes of the probe where the graph leaves them open.
_BATCH, _LENGTH, _PIXELS = 2, 12, 107
#: Words for the inputs of transformers' encoders, by the variables that an input meets first.
_ROLES = {
    "word_embeddings": "input_ids",
    "embedding": "input_ids",
    "wte": "input_ids",
    "token_type_embeddings": "token_type_ids",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """What the caller says about the comparison: names of the module's inputs and outputs -> tensors of the graph."""

    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)


#: Everything is guessed.
GUESSED = Interface()


@dataclasses.dataclass(frozen=True, slots=True)
class OutputRecord:
    """The comparison of an output with a tensor: the largest difference relative to the tensor's largest value."""

    output: str
    tensor: str
    difference: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether the difference is allowed."""
        return self.difference <= self.allowed

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"{printable(self.output)} = {printable(self.tensor)}: "
            f"differs by {self.difference:.1e} of the largest value, allowed {self.allowed:.1e}"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModuleReport(ComparisonReport):
    """The comparison of a module's outputs; `not_compared` are outputs that no tensor of the graph can be.

    `moving_statistics` says that the graph is one of training, whose batch norms ran with their moving statistics.
    """

    records: tuple[OutputRecord, ...]
    not_compared: tuple[str, ...]
    probe: str
    size: int | None
    moving_statistics: bool = False

    def findings(self) -> list[str]:
        """Return the outputs that differ."""
        return [str(record) for record in self.records if not record.ok]

    def headline(self) -> str:
        """Return how many outputs differ."""
        return f"the module does not compute what the graph computes: {pluralize(len(self.findings()), 'output')}"

    def summary(self) -> str:
        """Return a line for each output."""
        lines = [f"outputs   {sum(record.ok for record in self.records)} of {len(self.records)} agree with the graph"]
        if self.moving_statistics:
            lines.append(f"          {MOVING_STATISTICS}")
        lines += [f"          {record}" for record in self.records]
        lines += [f"          not compared: {printable(name)}" for name in self.not_compared]
        return "\n".join(lines)

    def table(self) -> str:
        """Return the probe; there is no table of layers."""
        return f"probe     {self.probe}"

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        records = [{**dataclasses.asdict(record), "ok": record.ok} for record in self.records]
        finite = [
            {**record, "difference": record["difference"] if math.isfinite(record["difference"]) else None}
            for record in records
        ]
        return {
            "ok": self.ok,
            "probe": self.probe,
            "moving_statistics": self.moving_statistics,
            "outputs": finite,
            "not_compared": list(self.not_compared),
        }


def prove_module(
    graph: ReferenceGraph,
    module: nn.Module,
    variables: Mapping[str, Shape],
    interface: Interface,
    *,
    weights: Weights,
    seed: int = 0,
    device: str = "cpu",
) -> ModuleReport:
    """Compare a module in eval mode with the graph of its checkpoint on a random probe.

    The module runs on `device`, and stays there; the graph runs on the CPU.
    `variables` are the names of the converted variables, and their shapes.
    Raises `GraphError` if what to compare cannot be guessed, or if the graph cannot run, and `TrainingGraphError` if
    its values depend on the batch or on chance.
    """
    from .wiring import Wiring  # imports torch

    for tensor in interface.outputs.values():
        graph.locate(tensor)  # an error with close names if there is no such tensor
    nodes = GraphInterface(graph.graph, variables, variables)
    candidates = [Candidate(tensor, True) for tensor in interface.outputs.values()] or nodes.list_candidates()
    if not candidates:
        raise GraphError("the graph computes nothing from the variables that were converted")
    inputs = nodes.list_inputs([candidate.tensor for candidate in candidates])
    if any(one.shape is not None and len(one.shape) == 4 for one in inputs):
        candidates = [candidate for candidate in candidates if candidate.is_last]  # maps need memory
        inputs = nodes.list_inputs([candidate.tensor for candidate in candidates])
    generator = np.random.default_rng(seed)
    feeds = {one.tensor: _make_feed(one, generator) for one in inputs}
    arguments = _assign(module, inputs, feeds, interface)
    outputs = _run_module(module, arguments, device)
    names = [candidate.tensor for candidate in candidates]
    check_is_for_evaluation(graph, Wiring(graph.operations(names, list(feeds), weights=weights)))
    values = {kind: graph.run(names, feeds, dtype=kind, weights=weights) for kind in ("float32", "float64")}
    has_positions = any(_is_position(one) for one in inputs)
    tensors = list(zip(candidates, values["float32"], values["float64"], strict=True))
    records, not_compared = [], []
    for name, output in outputs.items():
        wanted = interface.outputs.get(name)
        if interface.outputs and wanted is None:
            continue
        fitting = [one for one in tensors if wanted in (None, one[0].tensor)]
        record = _compare(name, output, fitting, is_given=wanted is not None, has_positions=has_positions)
        if record is None:
            not_compared.append(name)
        else:
            records.append(record)
    unknown = [name for name in interface.outputs if name not in outputs]
    if unknown:
        raise GraphError(f"the module has no output {', '.join(unknown)}; it has {', '.join(outputs)}")
    if not records:
        sizes = ", ".join(f"{name} {list(output.shape)}" for name, output in outputs.items())
        raise GraphError(f"no tensor of the graph can be an output of the module ({sizes}): name one with --compare")
    shapes = ", ".join(f"{name} {'×'.join(map(str, np.shape(feed)))}" for name, feed in feeds.items())
    size = next((np.shape(feed)[1] for feed in feeds.values() if np.ndim(feed) == 4), None)
    probe = f"random probe, seed {seed}, {shapes}"
    return ModuleReport(
        records=tuple(records),
        not_compared=tuple(not_compared),
        probe=probe,
        size=size,
        moving_statistics=graph.has_moving_statistics,
    )


def fill_module(into: object, tensors: Mapping[str, Array]) -> nn.Module:
    """Return a copy of the user's module with these weights, in eval mode.

    Raises `GraphError` if the module cannot be copied or does not take the weights.
    """
    try:
        module: nn.Module = copy.deepcopy(into)  # type: ignore[assignment]  # a module, since it loads state dicts
        state = {name: _from_array(np.array(array, order="C")) for name, array in tensors.items()}
        module.load_state_dict(state, strict=True)
        return module.eval()
    except Exception as error:  # the user's code may raise anything
        raise GraphError(f"the module does not take the weights: {type(error).__name__}: {error}") from error


def _from_array(array: Array) -> Tensor:
    import torch

    return torch.from_numpy(array.astype(np.float32) if array.dtype.name == "bfloat16" else array)


def _make_feed(one: GraphInput, generator: np.random.Generator) -> Array:
    """Return a value for an input: random numbers, random words, or False; positions count from 0."""
    if one.shape is None:
        raise GraphError(f"the shape of {printable(one.tensor)} is unknown")
    open_sizes = {4: (1, _PIXELS, _PIXELS, 3), 1: (_BATCH,)}.get(len(one.shape), (_BATCH, *[_LENGTH] * 8))
    sizes = [open_size if size < 0 else size for size, open_size in zip(one.shape, open_sizes, strict=False)]
    if one.dtype == "bool":
        return np.zeros(sizes, bool)
    if one.dtype.startswith(("int", "uint")):
        if _is_position(one):
            positions: Array = np.broadcast_to(np.arange(sizes[-1] if sizes else 1, dtype=one.dtype), sizes).copy()
            return positions
        if one.rows is None:
            mask = np.ones(sizes, one.dtype)
            mask[-1, -max(sizes[-1] // 4, 1) :] = 0
            return mask
        return generator.integers(0, max(one.rows, 1), sizes).astype(one.dtype)
    if not one.dtype.startswith(("float", "bfloat")):
        raise GraphError(f"{printable(one.tensor)} takes {one.dtype}, for which there is no probe")
    return generator.standard_normal(sizes).astype(np.float32)


def _is_position(one: GraphInput) -> bool:
    """Return whether an input chooses positions of a text: whole numbers that are neither words nor a mask."""
    return one.dtype.startswith(("int", "uint")) and one.rows is None and not _is_mask(one)


def _is_mask(one: GraphInput) -> bool:
    """Return whether an input is the mask of an encoder: it meets the attention, or its name says so."""
    return "mask" in one.tensor or any("attention" in name for name in one.first)


def _find_role(one: GraphInput) -> str:
    """Return the name that transformers gives an input of an encoder."""
    for name in one.tables:
        role = _ROLES.get(name.rpartition("/")[2])
        if role is not None:
            return role
    return "attention_mask" if _is_mask(one) else ""


def _assign(
    module: nn.Module, inputs: Sequence[GraphInput], feeds: Mapping[str, Array], interface: Interface
) -> dict[str, Tensor]:
    """Return the module's arguments by name, or the only one under an empty name."""
    parameters = inspect.signature(module.forward).parameters
    unknown = [tensor for tensor in interface.inputs.values() if tensor.removesuffix(":0") not in feeds]
    if unknown:
        found = ", ".join(feeds) or "none"
        raise GraphError(
            f"{', '.join(map(printable, unknown))} is not an input of what is compared; inputs are {found}"
        )
    if interface.inputs:
        return {name: _to_tensor(feeds[tensor.removesuffix(":0")]) for name, tensor in interface.inputs.items()}
    named = {role: one for one in inputs if (role := _find_role(one)) in parameters}
    if named:
        return {role: _to_tensor(feeds[one.tensor]) for role, one in named.items()}
    numbers = [one for one in inputs if one.dtype != "bool"]
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD,)
    ]
    if len(numbers) == 1 and len(needed) <= 1:
        return {"": _to_tensor(feeds[numbers[0].tensor])}
    names = {one.tensor.rpartition("/")[2]: one for one in numbers}
    if set(needed) <= set(names):
        return {name: _to_tensor(feeds[names[name].tensor]) for name in needed}
    found = ", ".join(one.tensor for one in numbers)
    raise GraphError(
        f"inputs of the graph are {found}, those of the module {', '.join(needed)}: name them with --probe"
    )


def _to_tensor(feed: Array) -> Tensor:
    """Return a probe as the module takes it: channels first for images, and int64 for words."""
    import torch

    array = feed.astype(np.int64) if feed.dtype.kind in "iu" else feed
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array))


def _run_module(module: nn.Module, arguments: Mapping[str, Tensor], device: str) -> dict[str, Array]:
    """Return the outputs that are floating-point tensors of at least two axes, by name."""
    import torch

    try:
        module = module.to(device)
        inputs = {name: tensor.to(device) for name, tensor in arguments.items()}
        with full_float32(device), torch.inference_mode():
            result = module(inputs[""]) if "" in inputs else module(**inputs)
    except Exception as error:  # the user's code may raise anything
        raise GraphError(f"the module cannot run on the probe: {type(error).__name__}: {error}") from error
    found: dict[str, Array] = {}
    _collect("", result, found)
    return found


def _collect(name: str, value: Any, found: dict[str, Array]) -> None:
    if hasattr(value, "detach"):
        if value.is_floating_point() and value.ndim > 1:
            found[name or "output"] = value.detach().float().cpu().numpy()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in ("past_key_values", "hidden_states", "attentions"):
                _collect(f"{name}.{key}".lstrip("."), item, found)
    elif isinstance(value, tuple | list):
        for number, item in enumerate(value):
            _collect(f"{name}.{number}".lstrip("."), item, found)


def _compare(
    name: str,
    output: Array,
    tensors: Sequence[tuple[Candidate, Array, Array]],
    *,
    is_given: bool,
    has_positions: bool,
) -> OutputRecord | None:
    """Return the comparison with the most similar tensor; None if no tensor that comes last has the output's size."""
    best: OutputRecord | None = None
    last: OutputRecord | None = None
    for candidate, narrow, wide in tensors:
        if narrow.dtype.kind != "f":
            continue
        scale = float(np.abs(wide).max()) if wide.size else 0.0
        noise = float(np.abs(narrow - wide).max()) / scale if scale else 0.0
        for arranged in _arrange(output, wide.shape, has_positions=has_positions):
            with np.errstate(invalid="ignore"):
                difference = float(np.abs(arranged - wide).max()) / scale if scale else math.inf
            difference = math.inf if math.isnan(difference) else difference
            record = OutputRecord(name, candidate.tensor, difference, max(_NOISE * noise, _LEAST))
            if best is None or difference < best.difference:
                best = record
            if candidate.is_last and (last is None or difference < last.difference):
                last = record
    if is_given and best is None:
        shapes = ", ".join(str(list(wide.shape)) for _, _, wide in tensors)
        raise GraphError(f"the output {name} has shape {list(output.shape)}, and the tensor of the graph {shapes}")
    return best if best is not None and (best.ok or is_given) else last


def _arrange(output: Array, shape: Shape, *, has_positions: bool) -> list[Array]:
    """Return the ways in which an output may be a tensor of this shape, in which axes may be merged."""
    ways = [output.reshape(shape)] if output.size == math.prod(shape) else []
    if output.ndim == 4:
        moved = output.transpose(0, 2, 3, 1)
        ways = [moved.reshape(shape), *ways] if moved.size == math.prod(shape) else []
    # The words at some positions only, which the probe counts from 0.
    if (
        has_positions
        and output.ndim == 3
        and len(shape) == 2
        and shape[1] == output.shape[2]
        and shape[0] % output.shape[0] == 0
    ):
        count = shape[0] // output.shape[0]
        if count < output.shape[1]:
            ways.append(output[:, :count].reshape(shape))
    return ways
