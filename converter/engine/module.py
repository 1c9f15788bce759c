"""A TensorFlow graph as a PyTorch module, for networks without PyTorch code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from converter.errors import FeedError, GraphError
from tfckpt import Checkpoint
from tfckpt.graphs.graph import Node
from tfckpt.graphs.meta_graph import Signature, SignatureTensor

from .evaluator import Run, Runnable
from .feeds import Feedable, convert_feed
from .loading import load_graph
from .planner import Plan
from .reference_graph import Evaluator, ReferenceGraph
from .scopes import TensorKey
from .values import Tensor, Value
from .variables import Weights

#: Operations that pass the value of a variable through.
_PASS_THROUGH = {"ReadVariableOp", "Identity", "Cast"}
_BATCH_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_STATISTICS = ("moving_mean", "moving_variance")

Names = str | Sequence[str] | Mapping[str, str]


def graph_module(
    path: str | os.PathLike[str] | ReferenceGraph,
    *,
    inputs: Names | None = None,
    outputs: Names | None = None,
    signature: str | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    weights: Weights = "graph",
    dtype: str | torch.dtype = "float32",
) -> GraphModule:
    """Return the part of a graph between `inputs` and `outputs` as a module.

    `path` is a path as for `load_graph`, or a loaded graph.
    `inputs` and `outputs` are names of tensors: a single one, a sequence, or a mapping from names of your own.
    By default they are those of the signature (`serving_default`, or the only one), in alphabetical order.
    For a graph without signatures `outputs` is required, and the inputs are the placeholders they depend on.
    `dtype` is float32 or float64; the module always computes in it.
    """
    if not isinstance(path, ReferenceGraph):
        with load_graph(path, checkpoint=checkpoint) as graph:
            return graph_module(
                graph, inputs=inputs, outputs=outputs, signature=signature, weights=weights, dtype=dtype
            )
    graph = path
    chosen = _choose_signature(graph, signature, is_needed=inputs is None and outputs is None)
    if outputs is None:
        if chosen is None:
            raise GraphError("the graph has no signature that names its outputs: pass outputs=")
        outputs = _signature_names(chosen.name, "output", chosen.outputs)
    if inputs is None:
        inputs = (
            _signature_names(chosen.name, "input", chosen.inputs)
            if chosen is not None
            else [name for name in graph.placeholders if name in _reachable_names(graph, _tensor_names(outputs))]
        )
    return GraphModule(graph, inputs, outputs, weights=weights, dtype=dtype)


class Scope(nn.Module):
    """A name scope: the variables directly in it, and its inner scopes."""


class GraphModule(nn.Module):
    """A part of a TensorFlow graph; its variables are parameters, and their name scopes are submodules.

    Inputs are passed in order or by name; tensors keep TensorFlow's shapes, for example NHWC for images.
    The result is a tensor for a single output, a tuple for a sequence, and a dict for a mapping.
    Moving statistics of batch norms and variables that are not floating-point are buffers.
    A variable that the program did not train is a parameter without a gradient.
    A graph for inference never updates moving statistics: training continues with fixed ones.
    """

    def __init__(
        self,
        graph: ReferenceGraph,
        inputs: Names,
        outputs: Names,
        *,
        weights: Weights = "graph",
        dtype: str | torch.dtype = "float32",
    ) -> None:
        """Use `graph_module`."""
        super().__init__()
        self.input_names = _tensor_names(inputs)
        self.output_names = _tensor_names(outputs)
        self._keywords = tuple(inputs) if isinstance(inputs, Mapping) else tuple(map(_keyword, self.input_names))
        self._output_form = "one" if isinstance(outputs, str) else "dict" if isinstance(outputs, Mapping) else "tuple"
        self.output_keys = tuple(outputs) if isinstance(outputs, Mapping) else ()
        # Not a shared evaluator: its variables become the parameters of this module.
        evaluator = Evaluator(graph, dtype=dtype, weights=weights)
        self._dtype = evaluator.dtype
        self._feed_targets: list[tuple[TensorKey, Node]] = [graph.locate(name) for name in self.input_names]
        self._runnable: Runnable = evaluator.runnable(self.output_names, dict.fromkeys(self.input_names))
        fixed = _find_statistics(self._runnable.plan)
        self._variables: list[tuple[str, nn.Module, str]] = []
        for name, value in evaluator.variables.items():
            is_parameter = value.is_floating_point() and name not in fixed
            self._register(name, value, is_parameter=is_parameter, is_trained=graph.trainable.get(name, True))
        self._constants: dict[tuple[str, str], Value] = {}
        self._tensors: list[tuple[tuple[str, str], str]] = []
        for number, (key, constant) in enumerate(evaluator.constants.items()):
            if isinstance(constant, Tensor):
                self.register_buffer(f"_constant_{number}", constant, persistent=False)
                self._tensors.append((key, f"_constant_{number}"))
            else:
                self._constants[key] = constant

    def _register(self, name: str, value: Tensor, *, is_parameter: bool, is_trained: bool) -> None:
        """Register a variable under its scopes; append `_` to a name that is already taken."""
        *scopes, last = (part.replace(".", "_") or "_" for part in name.split("/"))
        owner: nn.Module = self
        for scope in scopes:
            while not isinstance(getattr(owner, scope, None), Scope) and hasattr(owner, scope):
                scope += "_"  # noqa: PLW2901 (the next free name)
            if not hasattr(owner, scope):
                owner.add_module(scope, Scope())
            owner = getattr(owner, scope)
        while hasattr(owner, last):
            last += "_"
        if is_parameter:
            owner.register_parameter(last, nn.Parameter(value, requires_grad=is_trained))
        else:
            owner.register_buffer(last, value)
        self._variables.append((name, owner, last))

    def forward(self, *args: Feedable, **kwargs: Feedable) -> Any:
        """Compute the outputs; the inputs are tensors or arrays with TensorFlow's shapes."""
        if len(args) > len(self._keywords):
            raise TypeError(
                f"{len(args)} inputs were passed, and the module has {len(self._keywords)}: {', '.join(self._keywords)}"
            )
        inputs = dict(zip(self._keywords, args, strict=False))
        twice = inputs.keys() & kwargs.keys()
        unknown = kwargs.keys() - set(self._keywords)
        missing = set(self._keywords) - inputs.keys() - kwargs.keys()
        if twice or unknown or missing:
            names = sorted(twice or unknown or missing)
            problem = "passed twice" if twice else "not an input" if unknown else "missing"
            raise TypeError(f"{', '.join(names)}: {problem}; the inputs are {', '.join(self._keywords)}")
        inputs |= kwargs
        feeds = {
            key: convert_feed(keyword, node, inputs[keyword], self._dtype)
            for keyword, (key, node) in zip(self._keywords, self._feed_targets, strict=True)
        }
        variables = {name: getattr(owner, attribute) for name, owner, attribute in self._variables}
        constants = self._constants | {key: getattr(self, attribute) for key, attribute in self._tensors}
        values = [self._to_output(value) for value in self._runnable.run(Run(variables, constants), feeds)]
        if self._output_form == "one":
            return values[0]
        return dict(zip(self.output_keys, values, strict=True)) if self._output_form == "dict" else tuple(values)

    def _to_output(self, value: Value) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, np.ndarray) and value.dtype != object:
            return torch.tensor(value)
        raise FeedError("an output is not a tensor")


def _choose_signature(graph: ReferenceGraph, name: str | None, *, is_needed: bool) -> Signature | None:
    if name is not None or (is_needed and graph.signatures):
        return graph.signature(name)
    return None


def _signature_names(signature: str, what: str, tensors: Mapping[str, SignatureTensor]) -> dict[str, str]:
    """Return the names of a signature's tensors; raise `GraphError` if one is not dense."""
    for name, tensor in tensors.items():
        if not tensor.name:
            parts = ", ".join(tensor.components) or "nothing"
            raise GraphError(
                f"the {what} {name} of the signature {signature} is a {tensor.kind} tensor, which is not supported; "
                f"it consists of {parts}: pass the names of dense tensors as {what}s="
            )
    return {name: tensor.name for name, tensor in tensors.items()}


def _tensor_names(names: Names) -> tuple[str, ...]:
    if isinstance(names, str):
        return (names,)
    return tuple(names.values()) if isinstance(names, Mapping) else tuple(names)


def _keyword(name: str) -> str:
    """Return a tensor's name as the name of a keyword argument."""
    return "".join(character if character.isalnum() else "_" for character in name.removesuffix(":0"))


def _reachable_names(graph: ReferenceGraph, outputs: Sequence[str]) -> set[str]:
    return {operation.name for operation in graph.operations(outputs)}


def _find_statistics(plan: Plan) -> set[str]:
    """Return the variables that batch norms use as mean and variance, and those with the names of moving statistics."""
    names = set()
    for step in plan.all_steps():
        if step.node.op == "VarHandleOp" and step.name.endswith(_STATISTICS):
            names.add(step.name)
    steps = {step.slot: step for step in plan.steps}
    for step in plan.steps:
        if step.node.op in _BATCH_NORMS:
            for slot, _ in step.inputs[3:]:
                source = steps.get(slot)
                while source is not None and source.node.op in _PASS_THROUGH and source.inputs:
                    source = steps.get(source.inputs[0][0])
                if source is not None:
                    names.add(source.name)
    return names
