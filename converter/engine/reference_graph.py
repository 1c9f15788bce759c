"""A graph with its checkpoint, ready to be asked for tensors."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any, overload

import numpy as np
import torch

from converter.errors import FeedError, GraphError, TensorNameError, UnsupportedOpError
from tfckpt import Checkpoint
from tfckpt.graphs.graph import Graph, Node
from tfckpt.graphs.meta_graph import Signature
from tfckpt.graphs.saved_objects import SavedObjects

from .bodies import Program
from .evaluator import Run, Runnable, to_weight
from .feeds import Feedable, convert_feed, known_bool
from .limits import DEFAULT_LIMITS, ReferenceLimits
from .planner import Plan, Planner
from .scopes import Expansion, TensorKey
from .values import Array, Tensor, Value, is_floating, to_array, to_tensor
from .variables import (
    HANDLES,
    Source,
    VariableStore,
    Weights,
    captured_sources,
    captured_trainable,
    check_weights,
    read_sources,
)

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One operation on the way to some fetches.

    `name` is the expanded name: a function's nodes are called after the node that calls it.
    `inputs` are the names of the tensors it takes, without those that are given to a branch or a loop.
    `variable` is the checkpoint's name for a variable's node, else None.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    variable: str | None


class ReferenceGraph:
    """A TensorFlow graph that runs in PyTorch, on TensorFlow's own layouts.

    Tensors are named as in TensorFlow: `node`, or `node:1` for a second output; inside a function `call/node`.
    Variables are read from the checkpoint when they are first needed; what was read stays after `close`.
    Safe to use from one thread at a time.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        path: str,
        checkpoint: Checkpoint | None = None,
        owns_checkpoint: bool = False,
        signatures: Mapping[str, Signature] | None = None,
        objects: SavedObjects | None = None,
        trainable: Mapping[str, bool] | None = None,
        limits: ReferenceLimits = DEFAULT_LIMITS,
    ) -> None:
        """Use `load_graph`. A checkpoint that the graph owns is closed with it."""
        self.path = path
        self.graph = graph
        self.checkpoint = checkpoint
        self.signatures = dict(signatures or {})
        self.limits = limits
        self._owns_checkpoint = owns_checkpoint
        self._program = Program(graph)
        self._objects = objects
        self._trainable = dict(trainable or {})
        self._store = VariableStore(lambda: self.sources, checkpoint)
        self._evaluators: dict[tuple[torch.dtype, Weights], Evaluator] = {}

    def __repr__(self) -> str:
        return f"<ReferenceGraph {self.path!r}, {len(self.graph)} nodes>"

    def close(self) -> None:
        """Close the checkpoint, if the graph opened it. Closing twice is harmless."""
        if self._owns_checkpoint and self.checkpoint is not None:
            self.checkpoint.close()

    def __enter__(self) -> ReferenceGraph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @functools.cached_property
    def sources(self) -> Mapping[str, Source]:
        """Where the value of each variable stands, as the graph's save and restore operations and its objects say.

        Where they differ, as with the variables that Keras 3 exports twice, the operations of the graph that runs are
        heard; its objects are asked about what they do not know.
        """
        found = read_sources(self._program, self.limits)
        if self._objects is not None and self.checkpoint is not None:
            found = captured_sources(self._program, self._objects, self.checkpoint.object_graph) | found
        return found

    @functools.cached_property
    def trainable(self) -> Mapping[str, bool]:
        """Whether each variable was trained, for those of which the graph says so."""
        captured = {} if self._objects is None else captured_trainable(self._program, self._objects)
        return self._trainable | captured

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The graph's placeholders, in stored order."""
        return tuple(node.name for node in self.graph if node.op == "Placeholder")

    def signature(self, name: str | None = None) -> Signature:
        """A signature of a SavedModel; without a name `serving_default`, or the only one."""
        if name is None:
            usual = [other for other in self.signatures if not other.startswith("__")]
            name = "serving_default" if "serving_default" in usual or len(usual) != 1 else usual[0]
        if name not in self.signatures:
            known = ", ".join(self.signatures) or "none"
            raise TensorNameError(f"the graph has no signature {name}; its signatures: {known}", name=name)
        return self.signatures[name]

    def evaluator(self, *, dtype: str | torch.dtype = "float32", weights: Weights = "graph") -> Evaluator:
        """The evaluator of a dtype and of raw or averaged weights; made once each, and kept."""
        check_weights(weights)
        kind = _check_dtype(dtype)
        if (kind, weights) not in self._evaluators:
            self._evaluators[kind, weights] = Evaluator(self, dtype=kind, weights=weights)
        return self._evaluators[kind, weights]

    @overload
    def run(  # type: ignore[overload-overlap]  # a str is one name, though it is a sequence too
        self,
        fetches: str,
        feeds: Mapping[str, Feedable] | None = ...,
        *,
        dtype: str | torch.dtype = ...,
        weights: Weights = ...,
    ) -> Array: ...
    @overload
    def run(
        self,
        fetches: Sequence[str],
        feeds: Mapping[str, Feedable] | None = ...,
        *,
        dtype: str | torch.dtype = ...,
        weights: Weights = ...,
    ) -> list[Array]: ...
    def run(
        self,
        fetches: str | Sequence[str],
        feeds: Mapping[str, Feedable] | None = None,
        *,
        dtype: str | torch.dtype = "float32",
        weights: Weights = "graph",
    ) -> Array | list[Array]:
        """The values of one tensor, or of several, with others given; see `Evaluator.run`."""
        return self.evaluator(dtype=dtype, weights=weights).run(fetches, feeds)

    def operations(
        self, fetches: Sequence[str], feeds: Mapping[str, Feedable] | Sequence[str] = (), *, weights: Weights = "graph"
    ) -> tuple[Operation, ...]:
        """What would run for some fetches, in order, without running it; operations that cannot run are listed too."""
        check_weights(weights)
        values = feeds if isinstance(feeds, Mapping) else dict.fromkeys(feeds)
        planner = Planner(self._program, self.limits)
        plan = planner.plan(fetches, {name: known_bool(value) for name, value in values.items()})
        names = {step.slot: step.name for step in plan.steps}
        names |= {slot: name for (name, _), slot in plan.feeds.items()}
        outputs = {slot: output for (_, output), slot in plan.feeds.items()}
        return tuple(
            Operation(
                step.name,
                step.node.op,
                tuple(_tensor_name(names[slot], outputs.get(slot, index)) for slot, index in step.inputs),
                self._store.source(step.name, step.node, weights).name if step.node.op in HANDLES else None,
            )
            for step in plan.steps
        )

    def plan(self, fetches: Sequence[str], feeds: Mapping[str, bool | None]) -> Plan:
        """The plan for some fetches; `UnsupportedOpError` with every operation on the way that cannot be run."""
        planner = Planner(self._program, self.limits)
        plan = planner.plan(fetches, feeds)
        if planner.unsupported:
            raise UnsupportedOpError(list(planner.unsupported.items()))
        return plan

    def locate(self, name: str) -> tuple[TensorKey, Node]:
        """The key under which a tensor is fed, and the node it comes from."""
        return Expansion(self._program, self._program.main, {}, self.limits).locate(name)

    def read_variables(self, nodes: Mapping[str, Node], weights: Weights) -> dict[str, Array]:
        """The values of variables; one error lists every one that the checkpoint lacks or has in another shape."""
        return self._store.read(nodes, weights)

    def source(self, name: str, node: Node, weights: Weights) -> Source:
        """Where a variable's value stands."""
        return self._store.source(name, node, weights)


class Evaluator:
    """Runs a graph in one dtype, with raw or averaged weights; keeps plans and variables between runs."""

    def __init__(
        self, graph: ReferenceGraph, *, dtype: str | torch.dtype = "float32", weights: Weights = "graph"
    ) -> None:
        check_weights(weights)
        self.graph = graph
        self.dtype = _check_dtype(dtype)
        self.weights = weights
        self.variables: dict[str, Tensor] = {}
        self.constants: dict[tuple[str, str], Value] = {}
        self._branches: MutableMapping[int, Runnable] = {}
        self._runnables: dict[tuple[Any, ...], Runnable] = {}

    @overload
    def run(  # type: ignore[overload-overlap]  # a str is one name, though it is a sequence too
        self, fetches: str, feeds: Mapping[str, Feedable] | None = ...
    ) -> Array: ...
    @overload
    def run(self, fetches: Sequence[str], feeds: Mapping[str, Feedable] | None = ...) -> list[Array]: ...
    def run(self, fetches: str | Sequence[str], feeds: Mapping[str, Feedable] | None = None) -> Array | list[Array]:
        """The values of one tensor, or of several, as arrays.

        `feeds` gives values to tensors by name: placeholders, or any other, which then is not computed.
        Only what the fetches need is run. Every operation on the way that cannot be run is found before the first runs.
        """
        names = [fetches] if isinstance(fetches, str) else list(fetches)
        values = self._run(names, feeds or {}, None)
        arrays = [_to_result(name, value) for name, value in zip(names, values, strict=True)]
        return arrays[0] if isinstance(fetches, str) else arrays

    def intermediates(
        self, fetches: str | Sequence[str], feeds: Mapping[str, Feedable] | None = None
    ) -> dict[str, Array]:
        """Every tensor on the way to the fetches, by name and in order; inside a loop those of the last turn."""
        found: dict[str, Array] = {}

        def watch(name: str, node: Node, outputs: Sequence[Value]) -> None:
            for index, value in enumerate(outputs):
                if isinstance(value, Tensor | np.ndarray):
                    found[_tensor_name(name, index)] = to_array(value).copy()

        self._run([fetches] if isinstance(fetches, str) else list(fetches), feeds or {}, watch)
        return found

    def runnable(self, fetches: Sequence[str], feeds: Mapping[str, bool | None]) -> Runnable:
        """What runs for some fetches, with its variables read; made once for the same names."""
        key = tuple(fetches), tuple(sorted(feeds.items(), key=lambda item: item[0]))
        if key not in self._runnables:
            plan = self.graph.plan(fetches, feeds)
            made = Runnable(plan, self.dtype, self.graph.limits, self.constants, self._branches)
            handles = {step.name: step.node for step in plan.all_steps() if step.node.op in HANDLES}
            missing = {name: node for name, node in handles.items() if name not in self.variables}
            for name, array in self.graph.read_variables(missing, self.weights).items():
                self.variables[name] = _to_variable(array, self.dtype)
            self._runnables[key] = made
        return self._runnables[key]

    def _run(self, fetches: Sequence[str], feeds: Mapping[str, Feedable], watcher: Any) -> list[Value]:
        given: dict[TensorKey, Value] = {}
        for name, value in feeds.items():
            key, node = self.graph.locate(name)
            if key in given:
                raise FeedError(f"the tensor {name} is fed twice")
            given[key] = convert_feed(name, node, value, self.dtype)
        runnable = self.runnable(fetches, {name: known_bool(value) for name, value in feeds.items()})
        with torch.inference_mode():
            return runnable.run(Run(self.variables, self.constants, watcher), given)


def _to_variable(array: Array, dtype: torch.dtype) -> Tensor:
    return to_weight(array, dtype) if is_floating(array) else to_tensor(np.array(array), dtype)


def _to_result(name: str, value: Value) -> Array:
    if isinstance(value, Tensor | np.ndarray):
        return np.array(to_array(value), order="C")  # a copy: it may be a variable, or what the caller fed
    raise GraphError(f"{name} is not a tensor but a {type(value).__name__}")


def _tensor_name(node: str, index: int) -> str:
    return f"{node}:{index}" if index else node


def _check_dtype(dtype: str | torch.dtype) -> torch.dtype:
    kind = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if kind not in _DTYPES.values():
        raise ValueError(f"a graph runs in float32 or float64, not in {dtype}")
    assert kind is not None, "None is none of the two"
    return kind
