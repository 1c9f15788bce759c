"""A TensorFlow graph as a PyTorch module, for networks without PyTorch code."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from converter.errors import FeedError
from tfckpt import Checkpoint
from tfckpt.graphs.graph import Node

from .evaluator import Run, Runnable
from .feeds import Feedable, convert_feed
from .interface import Interface, Names, choose_interface
from .loading import load_graph
from .ports import Port
from .reference_graph import Evaluator, ReferenceGraph
from .scopes import TensorKey
from .values import Tensor, Value, to_tensor, torch_dtype
from .variables import Weights
from .weights import find_frozen_weights, find_statistics, plain_name


def graph_module(
    path: str | os.PathLike[str] | ReferenceGraph,
    *,
    inputs: Names | None = None,
    outputs: Names | None = None,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    weights: Weights = "graph",
    constants: Mapping[str, Feedable] | None = None,
    dropout: bool = False,
    dtype: str | torch.dtype = "float32",
) -> GraphModule:
    """Return the part of a graph between `inputs` and `outputs` as a module.

    `path`, `tags` and `checkpoint` are those of `load_graph`; `path` may also be a loaded graph.
    `inputs` and `outputs` are names of tensors: a single one, a sequence, or a mapping from names of your own.
    By default they are those of the signature (`serving_default`, or the only one), in alphabetical order.
    For a graph without signatures `outputs` is required, and the inputs are the placeholders they depend on.
    `constants` sets tensors to fixed values by name, such as `{"is_training": False}`; they are not inputs then.
    With `dropout`, dropout is active while the module is in training mode; otherwise it is left out.
    `dtype` is float32 or float64; the module always computes in it.
    """
    if not isinstance(path, ReferenceGraph):
        with load_graph(path, checkpoint=checkpoint, tags=tags) as graph:
            return graph_module(
                graph,
                inputs=inputs,
                outputs=outputs,
                signature=signature,
                weights=weights,
                constants=constants,
                dropout=dropout,
                dtype=dtype,
            )
    interface = choose_interface(path, inputs, outputs, signature=signature, constants=constants, dropout=dropout)
    return GraphModule(path, interface, weights=weights, dtype=dtype)


class Scope(nn.Module):
    """A name scope: the variables directly in it, and its inner scopes."""


class GraphModule(nn.Module):
    """A part of a TensorFlow graph; its variables are parameters, and their name scopes are submodules.

    `inputs` and `outputs` describe its interface: the arguments of `forward` are the keys of the inputs as valid Python
    names. Inputs are passed in order or by name; tensors keep TensorFlow's shapes, for example NHWC for images.
    The result is a tensor for a single output, a tuple for a sequence, and a dict for a mapping or a signature.
    In a frozen graph the constants that were variables are parameters, with the names of their nodes.
    Moving statistics of batch norms and variables that are not floating-point are buffers.
    A variable that the program did not train is a parameter without a gradient.
    A graph for inference never updates moving statistics: training continues with fixed ones.
    Variables that the graph changes, such as counters and the state of a stateful layer, are buffers, which every call
    changes; `reset_state` sets them to the values of the checkpoint.
    """

    def __init__(
        self,
        graph: ReferenceGraph,
        interface: Interface,
        *,
        weights: Weights = "graph",
        dtype: str | torch.dtype = "float32",
        variables: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Use `graph_module`; `variables` are values by TensorFlow's names that are not read from the checkpoint."""
        super().__init__()
        self._origin = graph, interface, weights
        self.inputs: tuple[Port, ...] = interface.inputs
        self.outputs: tuple[Port, ...] = interface.outputs
        self.output_form = interface.output_form
        #: TensorFlow's name of each parameter and buffer, by its name in the module.
        self.variable_names: dict[str, str] = {}
        self._arguments = tuple(port.argument for port in self.inputs)
        # Each module has a class of its own, so that its `forward` has the inputs as arguments.
        self.__class__ = type(type(self).__name__, (type(self),), {"forward": _make_forward(self._arguments)})
        # Not a shared evaluator: its variables become the parameters of this module.
        evaluator = Evaluator(graph, dtype=dtype, weights=weights, dropout=interface.dropout, keeps_state=True)
        evaluator.variables.update(variables or {})
        self._dtype = evaluator.dtype
        self._feed_targets: list[tuple[TensorKey, Node]] = [graph.locate(port.tensor) for port in self.inputs]
        self._fixed: dict[TensorKey, Value] = {}
        for name, value in interface.constants.items():
            target, node = graph.locate(name)
            self._fixed[target] = convert_feed(name, node, value, self._dtype, on_host=True)
        feeds = {port.tensor: None for port in self.inputs} | interface.known_constants()
        self._runnable: Runnable = evaluator.runnable([port.tensor for port in self.outputs], feeds)
        self._tables = evaluator.tables
        fixed = find_statistics(self._runnable.plan)
        written = self._runnable.written
        #: Changes of variables that TensorFlow would make after all reads, and that cannot be run.
        self.left_out: tuple[str, ...] = self._runnable.plan.left_out
        #: The names of the buffers that a call changes.
        self.state_names: tuple[str, ...] = ()
        self._initial: dict[str, Tensor] = {}
        self._variables: list[tuple[str, nn.Module, str]] = []
        for name, value in evaluator.variables.items():
            is_parameter = value.is_floating_point() and name not in fixed | written
            owner, attribute = self._register(
                name, name, value, is_parameter=is_parameter, is_trained=graph.trainable.get(name, True)
            )
            self._variables.append((name, owner, attribute))
            if name in written:
                self._initial[name] = value.clone()
        names = {id(tensor): key for key, tensor in self.named_buffers()}
        self.state_names = tuple(names[id(tensor)] for _, tensor in self._list_state())
        self._constants: dict[tuple[str, str], Value] = {}
        self._tensors: list[tuple[tuple[str, str], nn.Module, str]] = []
        frozen = find_frozen_weights(self._runnable.plan, evaluator.constants)
        for number, (key, constant) in enumerate(evaluator.constants.items()):
            if key in frozen:
                tensor, name = to_tensor(constant, self._dtype), frozen[key]
                place = self._register(plain_name(name), name, tensor, is_parameter=name not in fixed, is_trained=True)
                self._tensors.append((key, *place))
            elif isinstance(constant, Tensor):
                self.register_buffer(f"_constant_{number}", constant, persistent=False)
                self._tensors.append((key, self, f"_constant_{number}"))
            else:
                self._constants[key] = constant

    def _register(
        self, path: str, name: str, value: Tensor, *, is_parameter: bool, is_trained: bool
    ) -> tuple[nn.Module, str]:
        """Register a variable under its scopes, and return its module and attribute there.

        A name that is already taken gets a `_`.
        """
        *scopes, last = (part.replace(".", "_") or "_" for part in path.split("/"))
        owner: nn.Module = self
        names = []
        for scope in scopes:
            while not isinstance(getattr(owner, scope, None), Scope) and hasattr(owner, scope):
                scope += "_"  # noqa: PLW2901 (the next free name)
            if not hasattr(owner, scope):
                owner.add_module(scope, Scope())
            owner = getattr(owner, scope)
            names.append(scope)
        while hasattr(owner, last):
            last += "_"
        if is_parameter:
            owner.register_parameter(last, nn.Parameter(value, requires_grad=is_trained))
        else:
            owner.register_buffer(last, value)
        self.variable_names[".".join([*names, last])] = name
        return owner, last

    def _list_state(self) -> list[tuple[str, Tensor]]:
        """Return the buffers that a call changes, by TensorFlow's names."""
        return [(name, getattr(owner, at)) for name, owner, at in self._variables if name in self._runnable.written]

    def reset_state(self) -> None:
        """Set the variables that calls change to the values with which the module was made."""
        for name, tensor in self._list_state():
            tensor.copy_(self._initial[name])

    def make_float64(self) -> GraphModule:
        """Return a new module of the same graph that computes in float64 on the CPU, with this module's weights."""
        graph, interface, weights = self._origin
        values = {name: getattr(owner, attribute).detach().cpu() for name, owner, attribute in self._variables}
        doubled = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
        twin = GraphModule(graph, interface, weights=weights, dtype="float64", variables=doubled).train(self.training)
        twin.load_state_dict(self.state_dict())
        return twin

    @property
    def input_names(self) -> tuple[str, ...]:
        """TensorFlow's names of the inputs."""
        return tuple(port.tensor for port in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """TensorFlow's names of the outputs."""
        return tuple(port.tensor for port in self.outputs)

    @property
    def output_keys(self) -> tuple[str, ...]:
        """The keys of the result if it is a dict; else empty."""
        return tuple(port.key for port in self.outputs) if self.output_form == "dict" else ()

    def forward(self, *args: Feedable, **kwargs: Feedable) -> Any:
        """Compute the outputs; the inputs are tensors or arrays with TensorFlow's shapes."""
        inputs = self._bind(args, kwargs)
        feeds = {
            key: convert_feed(port.key, node, inputs[port.argument], self._dtype)
            for port, (key, node) in zip(self.inputs, self._feed_targets, strict=True)
        }
        variables = {name: getattr(owner, attribute) for name, owner, attribute in self._variables}
        constants = self._constants | {key: getattr(owner, attribute) for key, owner, attribute in self._tensors}
        written = self._runnable.written
        # Gradients need the values that the buffers have before they change.
        variables |= {name: tensor.clone() for name, tensor in self._list_state()}
        run = Run(variables, constants, is_training=self.training, tables=self._tables, written=written)
        values = self._runnable.run(run, feeds | self._fixed)
        results = [self._to_output(port, value) for port, value in zip(self.outputs, values, strict=True)]
        if written:
            # An output may be the buffer itself.
            results = [result.clone() for result in results]
            for name, tensor in self._list_state():
                tensor.copy_(run.variables[name].detach())
        if self.output_form == "one":
            return results[0]
        return dict(zip(self.output_keys, results, strict=True)) if self.output_form == "dict" else tuple(results)

    def _bind(self, args: Sequence[Feedable], kwargs: Mapping[str, Feedable]) -> dict[str, Feedable]:
        """Return the inputs by argument; a key that is not a valid name may be passed as a keyword, too."""
        names = ", ".join(self._arguments)
        if len(args) > len(self._arguments):
            raise TypeError(f"{len(args)} inputs were passed, and the module has {len(self._arguments)}: {names}")
        inputs = dict(zip(self._arguments, args, strict=False))
        by_key = {port.key: port.argument for port in self.inputs}
        named = {name if name in self._arguments else by_key.get(name, name): value for name, value in kwargs.items()}
        for problem, wrong in (
            ("passed twice", inputs.keys() & named.keys()),
            ("not an input", named.keys() - set(self._arguments)),
            ("missing", set(self._arguments) - inputs.keys() - named.keys()),
        ):
            if wrong:
                raise TypeError(f"{', '.join(sorted(wrong))}: {problem}; the inputs are {names}")
        return inputs | named

    def _to_output(self, port: Port, value: Value) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, np.ndarray):
            if value.dtype == object:
                if any(isinstance(item, bytes | str) for item in value.ravel().tolist()):
                    raise FeedError(f"the output {port.key} consists of strings, which PyTorch does not have")
                # Sizes of an export, which have lost their dtype.
                return to_tensor(value, self._dtype).to(torch_dtype(port.dtype or "int32", self._dtype))
            return torch.tensor(value)
        raise FeedError(f"the output {port.key} is not a tensor")


def _make_forward(arguments: Sequence[str]) -> Callable[..., Any]:
    """Return a `forward` whose signature shows these arguments, as `torch.export` and people read it."""

    def forward(self: GraphModule, *args: Feedable, **kwargs: Feedable) -> Any:
        return GraphModule.forward(self, *args, **kwargs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("self", *arguments)]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by `inspect.signature`
    forward.__doc__ = GraphModule.forward.__doc__
    return forward
