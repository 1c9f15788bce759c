"""A graph with its checkpoint, and its evaluators."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any, overload

import numpy as np
import torch

from converter.errors import FeedError, GraphError, TensorNameError, UnsupportedOpError
from tfckpt import Checkpoint
from tfckpt._threads import cached_property
from tfckpt.graphs.graph import Graph, Node
from tfckpt.graphs.meta_graph import Signature
from tfckpt.graphs.saved_objects import SavedObjects

from .bodies import TABLES, Program, find_ends
from .evaluator import Run, Runnable, to_weight
from .feeds import Feedable, convert_feed, known_bool
from .limits import DEFAULT_LIMITS, ReferenceLimits
from .planner import Plan, Planner
from .scopes import Expansion, TensorKey
from .tables import Filling, Table, find_filling, read_fillings
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

_SEED = 0
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
#: Plans that are remembered: a proof makes a few, and who fetches every tensor of a graph would fill the memory.
_KEPT_SURVEYS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One operation that some fetches depend on.

    `name` is the expanded name: the nodes of a function are named after the node that calls it.
    `inputs` are the names of its input tensors.
    `variable` is the name in the checkpoint if the node is a variable, else None.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    variable: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Survey:
    """A plan that may not be fit to run: its unsupported operations by node, and a change that cannot be followed."""

    plan: Plan
    unsupported: Mapping[str, str]
    changed: GraphError | None


class ReferenceGraph:
    """A TensorFlow graph that runs in PyTorch, on TensorFlow's own layouts.

    Tensors are named as in TensorFlow: `node`, or `node:1` for a second output; inside a function `call/node`.
    Variables are read from the checkpoint on first use; those already read stay available after `close`.
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
        kind: str = "graph",
        tags: Sequence[str] = (),
        other_tags: Sequence[Sequence[str]] = (),
        moving_statistics: bool = False,
    ) -> None:
        """Use `load_graph` instead; `owns_checkpoint` says whether `close` closes the checkpoint too.

        With `moving_statistics`, batch norms of training use their moving statistics instead of the batch's, where the
        graph says which variables those are.
        `kind` is the kind of file, `tags` are those of the graph and `other_tags` those of others in the same file.
        """
        self.path = path
        self.kind = kind
        self.tags = tuple(tags)
        self.other_tags = tuple(map(tuple, other_tags))
        self.graph = graph
        self.checkpoint = checkpoint
        self.signatures = dict(signatures or {})
        self.limits = limits
        self._owns_checkpoint = owns_checkpoint
        self._moving_statistics = moving_statistics
        self._program = Program(graph, moving_statistics=moving_statistics)
        self._objects = objects
        self._trainable = dict(trainable or {})
        self._store = VariableStore(lambda: self.sources, checkpoint)
        self._tables: dict[str, Table] = {}
        self._open_tables: set[str] = set()
        self._evaluators: dict[tuple[torch.dtype, Weights], Evaluator] = {}
        self._surveys: dict[tuple[Any, ...], Survey] = {}

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

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        """The source of each variable's value, from the graph's save and restore operations and its objects.

        If the two differ, as for the variables that Keras 3 exports twice, the operations take precedence, since they
        belong to the graph that runs.
        """
        sources = read_sources(self._program, self.limits)
        if self._objects is not None and self.checkpoint is not None:
            sources = captured_sources(self._program, self._objects, self.checkpoint.object_graph) | sources
        return sources

    @cached_property
    def _with_dropout(self) -> Program:
        return Program(self.graph, dropout=True, moving_statistics=self._moving_statistics)

    def read_tables(self, nodes: Mapping[str, Node]) -> dict[str, Table]:
        """Return the contents of tables; raise `GraphError` if they depend on more than constants."""
        return {name: self._read_table(name, node) for name, node in nodes.items()}

    def _read_table(self, name: str, node: Node) -> Table:
        if name not in self._tables:
            if name in self._open_tables:
                raise GraphError("the content of the table depends on the table", node=name, op=node.op)
            self._open_tables.add(name)
            keys, values = self.run(find_filling(self._fillings, name, node))
            self._open_tables.discard(name)
            if keys.shape[:1] != values.shape[:1]:
                raise GraphError(f"{len(keys)} keys and {len(values)} values", node=name, op=node.op)
            self._tables[name] = Table(keys, values)
        return self._tables[name]

    @cached_property
    def _fillings(self) -> Mapping[str, Filling]:
        return read_fillings(self._program, self.limits)

    @property
    def averages(self) -> Mapping[str, str]:
        """The moving average of each variable in the checkpoint, by name."""
        return self._store.averages

    @cached_property
    def trainable(self) -> Mapping[str, bool]:
        """Whether each variable was trained; variables of which the graph does not say are missing."""
        captured = {} if self._objects is None else captured_trainable(self._program, self._objects)
        return self._trainable | captured

    @property
    def has_moving_statistics(self) -> bool:
        """Whether a batch norm of training was turned into one of evaluation."""
        return self._program.has_moving_statistics

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes of the main graph as they are run, by name: without dropout, and with structured loops."""
        return self._program.main.nodes

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names of the graph's placeholders, in stored order."""
        return tuple(node.name for node in self.graph if node.op == "Placeholder")

    @property
    def default_placeholders(self) -> tuple[str, ...]:
        """The names of the placeholders that have a value unless they are fed, in stored order."""
        return tuple(node.name for node in self.graph if node.op == "PlaceholderWithDefault")

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """The operations on whose values nothing depends, in stored order; candidates for outputs."""
        return find_ends(self.graph)

    def signature(self, name: str | None = None) -> Signature:
        """Return a signature of a SavedModel; by default `serving_default`, or the only one."""
        if name is None:
            public = [other for other in self.signatures if not other.startswith("__")]
            name = "serving_default" if "serving_default" in public or len(public) != 1 else public[0]
        if name not in self.signatures:
            known = ", ".join(self.signatures) or "none"
            raise TensorNameError(f"the graph has no signature {name}; its signatures: {known}", name=name)
        return self.signatures[name]

    def evaluator(self, *, dtype: str | torch.dtype = "float32", weights: Weights = "graph") -> Evaluator:
        """Return the evaluator for a dtype and a choice of weights; it is created once and kept."""
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
        any_size: bool = ...,
    ) -> Array: ...
    @overload
    def run(
        self,
        fetches: Sequence[str],
        feeds: Mapping[str, Feedable] | None = ...,
        *,
        dtype: str | torch.dtype = ...,
        weights: Weights = ...,
        any_size: bool = ...,
    ) -> list[Array]: ...
    def run(
        self,
        fetches: str | Sequence[str],
        feeds: Mapping[str, Feedable] | None = None,
        *,
        dtype: str | torch.dtype = "float32",
        weights: Weights = "graph",
        any_size: bool = False,
    ) -> Array | list[Array]:
        """Return the values of one tensor, or of several; see `Evaluator.run`."""
        return self.evaluator(dtype=dtype, weights=weights).run(fetches, feeds, any_size=any_size)

    def operations(
        self,
        fetches: Sequence[str],
        feeds: Mapping[str, Feedable] | Sequence[str] = (),
        *,
        weights: Weights = "graph",
        dropout: bool = False,
    ) -> tuple[Operation, ...]:
        """Return the operations that some fetches need, in order, including those that cannot be run; run nothing."""
        check_weights(weights)
        values = feeds if isinstance(feeds, Mapping) else dict.fromkeys(feeds)
        plan = self.survey(fetches, {name: known_bool(value) for name, value in values.items()}, dropout=dropout).plan
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

    def survey(
        self,
        fetches: Sequence[str],
        feeds: Mapping[str, bool | None],
        *,
        dropout: bool = False,
        keeps_state: bool = False,
    ) -> Survey:
        """Return the plan for some fetches, with everything that prevents it from being run; the last few are kept.

        With `keeps_state` it changes all variables that TensorFlow changes, else only those that are read afterwards.
        """
        key = tuple(fetches), tuple(feeds.items()), dropout, keeps_state
        survey = self._surveys.get(key)
        if survey is None:
            planner = Planner(self._with_dropout if dropout else self._program, self.limits, keeps_state=keeps_state)
            plan = planner.plan(fetches, feeds)
            survey = Survey(plan, dict(planner.unsupported), planner.changed)
            if len(self._surveys) >= _KEPT_SURVEYS:
                self._surveys.clear()
            self._surveys[key] = survey
        return survey

    def plan(
        self,
        fetches: Sequence[str],
        feeds: Mapping[str, bool | None],
        *,
        dropout: bool = False,
        keeps_state: bool = False,
    ) -> Plan:
        """Return the plan for some fetches; dropout is left out unless `dropout`; see `survey` for `keeps_state`.

        Raises one `UnsupportedOpError` for all operations that cannot be run, and `GraphError` if a variable changes
        in a way that cannot be run or in an order that is left to chance.
        """
        survey = self.survey(fetches, feeds, dropout=dropout, keeps_state=keeps_state)
        if survey.unsupported:
            raise UnsupportedOpError(list(survey.unsupported.items()))
        if survey.changed is not None:
            raise survey.changed
        return survey.plan

    def variable_shape(self, name: str, node: Node) -> tuple[int, ...] | None:
        """Return the shape of a variable, from the checkpoint or as the graph declares it; None if it is unknown."""
        return self._store.shape(name, node)

    def locate(self, name: str) -> tuple[TensorKey, Node]:
        """Return the key under which a tensor is fed, and the node that computes it."""
        return Expansion(self._program, self._program.main, {}, self.limits).locate(name)

    def read_variables(self, nodes: Mapping[str, Node], weights: Weights) -> dict[str, Array]:
        """Return the values of variables; see `VariableStore.read`."""
        return self._store.read(nodes, weights)

    def source(self, name: str, node: Node, weights: Weights) -> Source:
        """Return the source of a variable's value."""
        return self._store.source(name, node, weights)


class Evaluator:
    """A graph that runs in one dtype, with raw or averaged weights; plans and variables are kept between runs."""

    def __init__(
        self,
        graph: ReferenceGraph,
        *,
        dtype: str | torch.dtype = "float32",
        weights: Weights = "graph",
        dropout: bool = False,
        keeps_state: bool = False,
    ) -> None:
        check_weights(weights)
        self.graph = graph
        self.dropout = dropout
        self.keeps_state = keeps_state
        self.dtype = _check_dtype(dtype)
        self.weights = weights
        self.variables: dict[str, Tensor] = {}
        self.constants: dict[tuple[str, str], Value] = {}
        self.tables: dict[str, Table] = {}
        self._branches: MutableMapping[int, Runnable] = {}
        self._runnables: dict[tuple[Any, ...], Runnable] = {}

    @overload
    def run(  # type: ignore[overload-overlap]  # a str is one name, though it is a sequence too
        self, fetches: str, feeds: Mapping[str, Feedable] | None = ..., *, any_size: bool = ...
    ) -> Array: ...
    @overload
    def run(
        self, fetches: Sequence[str], feeds: Mapping[str, Feedable] | None = ..., *, any_size: bool = ...
    ) -> list[Array]: ...
    def run(
        self, fetches: str | Sequence[str], feeds: Mapping[str, Feedable] | None = None, *, any_size: bool = False
    ) -> Array | list[Array]:
        """Return the values of one tensor, or of several, as new arrays.

        `feeds` sets the values of tensors by name: of placeholders, or of any other tensor, which is then not computed.
        Only operations that the fetches need are run. If some of them are not supported, nothing is run.
        With `any_size`, placeholders take other sizes than they declare, with the same number of axes.
        """
        names = [fetches] if isinstance(fetches, str) else list(fetches)
        values = self._run(names, feeds or {}, None, any_size=any_size)
        arrays = [_to_result(name, value) for name, value in zip(names, values, strict=True)]
        return arrays[0] if isinstance(fetches, str) else arrays

    def intermediates(
        self, fetches: str | Sequence[str], feeds: Mapping[str, Feedable] | None = None
    ) -> dict[str, Array]:
        """Return every tensor that is computed for the fetches, by name and in order; of a loop the last iteration."""
        tensors: dict[str, Array] = {}

        def watch(name: str, node: Node, outputs: Sequence[Value]) -> None:
            for index, value in enumerate(outputs):
                if isinstance(value, Tensor | np.ndarray):
                    tensors[_tensor_name(name, index)] = to_array(value).copy()

        self._run([fetches] if isinstance(fetches, str) else list(fetches), feeds or {}, watch)
        return tensors

    def runnable(self, fetches: Sequence[str], feeds: Mapping[str, bool | None]) -> Runnable:
        """Return the runnable plan for some fetches, and read its variables; it is created once for the same names."""
        key = tuple(fetches), tuple(sorted(feeds.items(), key=lambda item: item[0]))
        if key not in self._runnables:
            plan = self.graph.plan(fetches, feeds, dropout=self.dropout, keeps_state=self.keeps_state)
            runnable = Runnable(plan, self.dtype, self.graph.limits, self.constants, self._branches)
            handles = {step.name: step.node for step in plan.all_steps() if step.node.op in HANDLES}
            missing = {name: node for name, node in handles.items() if name not in self.variables}
            for name, array in self.graph.read_variables(missing, self.weights).items():
                self.variables[name] = _to_variable(array, self.dtype)
            tables = {step.name: step.node for step in plan.all_steps() if step.node.op in TABLES}
            self.tables |= self.graph.read_tables(tables)
            self._runnables[key] = runnable
        return self._runnables[key]

    def _run(
        self, fetches: Sequence[str], feeds: Mapping[str, Feedable], watcher: Any, *, any_size: bool = False
    ) -> list[Value]:
        fed: dict[TensorKey, Value] = {}
        for name, value in feeds.items():
            key, node = self.graph.locate(name)
            if key in fed:
                raise FeedError(f"the tensor {name} is fed twice")
            fed[key] = convert_feed(name, node, value, self.dtype, any_size=any_size)
        runnable = self.runnable(fetches, {name: known_bool(value) for name, value in feeds.items()})
        # Random numbers start from the same state in every run, and the caller's generator stays as it is.
        with torch.inference_mode(), torch.random.fork_rng(devices=[], enabled=runnable.is_random):
            if runnable.is_random:
                torch.manual_seed(_SEED)
            run = Run(self.variables, self.constants, watcher, tables=self.tables, written=runnable.written)
            return runnable.run(run, fed)


def _to_variable(array: Array, dtype: torch.dtype) -> Tensor:
    return to_weight(array, dtype) if is_floating(array) else to_tensor(np.array(array), dtype)


def _to_result(name: str, value: Value) -> Array:
    if isinstance(value, Tensor | np.ndarray):
        return np.array(to_array(value), order="C")  # a copy: it may be a variable or the caller's feed
    raise GraphError(f"{name} is not a tensor but a {type(value).__name__}")


def _tensor_name(node: str, index: int) -> str:
    return f"{node}:{index}" if index else node


def _check_dtype(dtype: str | torch.dtype) -> torch.dtype:
    kind = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if kind is None or kind not in _DTYPES.values():
        raise ValueError(f"dtype must be float32 or float64, not {dtype}")
    return kind
