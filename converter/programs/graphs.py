"""TensorFlow graphs as subjects: the part between inputs and outputs, with the names of its signature."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tfckpt import Checkpoint
from tfckpt.errors import join_some, pluralize, printable
from tfckpt.files.atomic import strip_separators
from tfckpt.limits import DEFAULT_LIMITS, Limits

from .._typing import PathLike
from ..engine import GraphModule, ReferenceGraph, graph_module, inspect_graph, load_graph
from ..engine.ports import Port
from ..engine.variables import Weights
from ..errors import GraphError, Shape, UnsupportedOpError
from ..families.averages import WeightsChoice
from .metadata import TENSORS_KEY, describe_source, hash_files, hash_tensors_of
from .subject import Argument, Subject, wrap_forward

_DTYPES = {
    "float16": torch.float32,
    "bfloat16": torch.float32,
    "float32": torch.float32,
    "float64": torch.float32,
}
_WEIGHTS: Mapping[WeightsChoice | None, Weights] = {None: "graph", "raw": "raw", "ema": "averages"}
_IMAGE_CHANNELS = (1, 3, 4)
#: The most names that a sentence lists.
_MOST_NAMES = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GraphOptions:
    """Which part of which graph: the arguments of `graph_module`, and whether images come as NCHW.

    `shapes` are those of example inputs, by name; they say how many axes an input has if the graph does not.
    """

    signature: str | None = None
    tags: Sequence[str] | None = None
    checkpoint: PathLike | None = None
    inputs: Sequence[str] | str | Mapping[str, str] | None = None
    outputs: Sequence[str] | str | Mapping[str, str] | None = None
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dropout: bool = False
    nchw: bool = False
    shapes: Mapping[str, Shape] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def is_given(self) -> bool:
        """Whether anything is said about the graph."""
        return self != GraphOptions()


def open_graph(
    source: PathLike | Checkpoint, options: GraphOptions, weights: WeightsChoice | None, limits: Limits = DEFAULT_LIMITS
) -> Subject:
    """Return a part of the graph at a path, or of the graph saved with a checkpoint.

    Raises the errors of `load_graph` and `graph_module`.
    """
    path = source.prefix if isinstance(source, Checkpoint) else os.fspath(source)
    checkpoint = source if isinstance(source, Checkpoint) else options.checkpoint
    with load_graph(path, checkpoint=checkpoint, tags=options.tags, file_limits=limits) as graph:
        try:
            module = graph_module(
                graph,
                inputs=options.inputs,
                outputs=options.outputs,
                signature=options.signature,
                weights=_WEIGHTS[weights],
                constants=options.constants,
                dropout=options.dropout,
            ).eval()
        except UnsupportedOpError as error:
            error.message += _describe_parts(graph, options)
            raise
        files = hash_files([graph.path, *(() if graph.checkpoint is None else graph.checkpoint.files)])
        signature = _name_signature(graph, options)
    name = os.path.basename(strip_separators(path))
    title = f"{name}, graph{'' if signature is None else f' (signature {signature})'}"
    subject = _make_subject(module, title, describe_source(name, files, signature=signature), options.shapes)
    return use_channels_first(subject) if options.nchw else subject


def _describe_parts(graph: ReferenceGraph, options: GraphOptions) -> str:
    """Return lines on the parts of a graph that can be run, with the options that name them."""
    found = inspect_graph(
        graph,
        inputs=options.inputs,
        outputs=options.outputs,
        signature=options.signature,
        constants=options.constants or None,
    )
    lines = []
    for cut in dict.fromkeys(cut for part in found.parts for cut in part.cuts):
        option, names = ("--inputs", cut.inputs) if cut.inputs is not None else ("--outputs", cut.outputs or ())
        count = pluralize(cut.operations, "operation")
        lines.append(f"\na part of {count} can be run: {option} {','.join(map(printable, names))}")
    return "".join(lines)


def open_graph_module(module: GraphModule, shapes: Mapping[str, Shape]) -> Subject:
    """Return a graph that was loaded already, and perhaps trained; `shapes` are those of `GraphOptions`."""
    metadata = describe_source("GraphModule", {"tensors": hash_tensors_of(module)})
    return _make_subject(module.eval(), "a graph module", metadata, shapes)


def _name_signature(graph: ReferenceGraph, options: GraphOptions) -> str | None:
    if options.signature is None and (options.inputs is not None or options.outputs is not None):
        return None
    return graph.signature(options.signature).name if graph.signatures else None


def use_channels_first(subject: Subject) -> Subject:
    """Return a graph whose images, and outputs of four axes, are NCHW instead of NHWC."""

    def wrap(module: nn.Module) -> nn.Module:
        return wrap_forward(module, [argument.name for argument in subject.arguments], to_nhwc, to_nchw)

    def to_nhwc(values: Sequence[Any]) -> list[Any]:
        return [
            value.permute(0, 2, 3, 1) if argument.sides else value
            for argument, value in zip(subject.arguments, values, strict=True)
        ]

    def to_nchw(result: Any) -> Any:
        if isinstance(result, Mapping):
            return {name: to_nchw(value) for name, value in result.items()}
        if isinstance(result, tuple):
            return tuple(to_nchw(value) for value in result)
        return result.permute(0, 3, 1, 2) if result.ndim == 4 else result

    arguments = [
        dataclasses.replace(argument, shape=tuple(argument.shape[axis] for axis in (0, 3, 1, 2)), sides=(2, 3))
        if argument.sides
        else argument
        for argument in subject.arguments
    ]
    return dataclasses.replace(
        subject,
        module=wrap(subject.module),
        make_exact=lambda: wrap(subject.make_exact()),
        arguments=tuple(arguments),
    )


def _make_subject(module: GraphModule, title: str, metadata: Mapping[str, str], shapes: Mapping[str, Shape]) -> Subject:
    if not module.inputs:
        raise GraphError("the outputs depend on no input: name the tensors to feed as inputs (--inputs)")
    tensors = {
        "inputs": {port.argument: port.tensor for port in module.inputs},
        "outputs": {port.key: port.tensor for port in module.outputs},
        "parameters": module.variable_names,
    }
    return Subject(
        kind="graph",
        title=title,
        module=module,
        make_exact=module.make_float64,
        arguments=tuple(_make_argument(port, shapes) for port in module.inputs),
        outputs=tuple(port.key for port in module.outputs),
        by_name=True,
        metadata={**metadata, TENSORS_KEY: json.dumps(tensors)},
        notes=tuple(_describe_changes(module)),
        state=module.state_names,
        reset=module.reset_state,
    )


def _describe_changes(module: GraphModule) -> Iterator[str]:
    """Yield sentences about variables that the graph changes."""
    if module.state_names:
        listed = join_some(tuple(map(printable, module.state_names)), most=_MOST_NAMES)
        yield f"each run changes {pluralize(len(module.state_names), 'buffer')}: {listed}"
    if module.left_out:
        listed = join_some(tuple(map(printable, module.left_out)), most=_MOST_NAMES)
        yield f"left out, since no result depends on them: {listed}"


def _make_argument(port: Port, shapes: Mapping[str, Shape]) -> Argument:
    kind = port.dtype or "float32"
    if kind == "string":
        raise GraphError(
            f"the input {printable(port.key)} consists of strings, which programs do not take: name the tensors after "
            "their decoding as inputs (--inputs)"
        )
    dtype = _DTYPES.get(kind) or getattr(torch, kind, None)
    if not isinstance(dtype, torch.dtype):
        raise GraphError(f"the input {printable(port.key)} has the dtype {kind}, which programs do not take")
    if port.shape is not None:
        shape = tuple(None if size < 0 else size for size in port.shape)
    elif (example := shapes.get(port.key, shapes.get(port.argument))) is not None:
        shape = (None, *example[1:]) if example else ()
    else:
        raise GraphError(
            f"the graph does not say how many axes the input {printable(port.key)} has: give recorded values, whose "
            "shapes are taken (--expect, expect= or example=), or name a tensor after it as input (--inputs)"
        )
    is_image = len(shape) == 4 and shape[3] in _IMAGE_CHANNELS
    return Argument(name=port.argument, dtype=dtype, shape=shape, sides=(1, 2) if is_image else ())
