"""The choice of a module's inputs and outputs, from what a caller names, a signature, or the placeholders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from converter.errors import GraphError, TensorNameError
from tfckpt.errors import find_close_names, printable
from tfckpt.graphs.meta_graph import Signature, SignatureTensor

from .entries import find_entries
from .feeds import Feedable, known_bool
from .ports import Port, make_identifiers, output_dtype, output_shape
from .reference_graph import ReferenceGraph

Names = str | Sequence[str] | Mapping[str, str]
#: The form of a module's result: one tensor, a tuple, or a dict by key.
OutputForm = Literal["one", "tuple", "dict"]
#: The most names that an error lists.
_MOST_NAMES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """The inputs and outputs of a part of a graph, and the tensors that have fixed values, by TensorFlow's names."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    output_form: OutputForm
    constants: Mapping[str, Feedable] = dataclasses.field(default_factory=dict)
    #: Whether dropout is active in training mode.
    dropout: bool = False

    def known_constants(self) -> dict[str, bool | None]:
        """Return the value of each constant that can decide branches before anything runs; None for the others."""
        return {name: known_bool(value) for name, value in self.constants.items()}


def choose_interface(
    graph: ReferenceGraph,
    inputs: Names | None = None,
    outputs: Names | None = None,
    *,
    signature: str | None = None,
    constants: Mapping[str, Feedable] | None = None,
    dropout: bool = False,
) -> Interface:
    """Return the interface of a module; the arguments are those of `graph_module`.

    Raises `TensorNameError` for a signature or tensor that does not exist, and `GraphError` if the outputs are unknown.
    """
    chosen = None
    if signature is not None or (inputs is None and outputs is None and graph.signatures):
        chosen = graph.signature(signature)
    if outputs is None:
        if chosen is None:
            raise GraphError(f"the graph has no signature that names its outputs: pass outputs={_list_ends(graph)}")
        outputs = _signature_names(chosen, "output")
    fixed = _locate_constants(graph, constants or {}, chosen)
    entries: tuple[Port, ...] = ()
    if inputs is None:
        inputs, entries = _default_inputs(graph, chosen, _tensor_names(outputs), fixed, dropout=dropout)
    described = {} if chosen is None else {tensor.name: tensor for tensor in chosen.inputs.values()}
    described_outputs = {} if chosen is None else {tensor.name: tensor for tensor in chosen.outputs.values()}
    form: OutputForm = "one" if isinstance(outputs, str) else "dict" if isinstance(outputs, Mapping) else "tuple"
    return Interface(
        (*_make_ports(graph, inputs, described), *entries),
        _make_ports(graph, outputs, described_outputs),
        form,
        fixed,
        dropout,
    )


def _default_inputs(
    graph: ReferenceGraph,
    signature: Signature | None,
    outputs: Sequence[str],
    fixed: Mapping[str, Feedable],
    *,
    dropout: bool,
) -> tuple[Names, tuple[Port, ...]]:
    """Return the inputs of a signature, or the placeholders that the outputs need, and the entries that replace some.

    What a parser of examples or an iterator returns takes the place of the inputs that only it needs.
    """
    known = {name: known_bool(value) for name, value in fixed.items()}
    plan = graph.survey(outputs, known, dropout=dropout).plan
    entries = find_entries(plan)
    if entries:
        plan = graph.survey(outputs, known | dict.fromkeys([port.tensor for port in entries]), dropout=dropout).plan
    needed = {step.name for step in plan.steps}
    if signature is None:
        return [name for name in graph.placeholders if name in needed], entries
    names = {key: name for key, name in _signature_names(signature, "input").items() if name not in fixed}
    if entries:
        names = {key: name for key, name in names.items() if name.partition(":")[0] in needed}
    taken = {port.argument for port in entries} & set(make_identifiers(list(names)))
    if taken:
        identifiers = make_identifiers([f"{port.key}:parsed" for port in entries])
        entries = tuple(
            dataclasses.replace(port, argument=identifier)
            for port, identifier in zip(entries, identifiers, strict=True)
        )
    return names, entries


def signature_ports(signature: Signature, kind: Literal["input", "output"]) -> tuple[Port, ...]:
    """Return the inputs or outputs of a signature; a tensor that is not dense has the name ""."""
    tensors = signature.inputs if kind == "input" else signature.outputs
    return tuple(
        Port(key, identifier, tensor.name, tensor.dtype, tensor.shape)
        for (key, tensor), identifier in zip(tensors.items(), make_identifiers(list(tensors)), strict=True)
    )


def _make_ports(graph: ReferenceGraph, names: Names, described: Mapping[str, SignatureTensor]) -> tuple[Port, ...]:
    tensors = _tensor_names(names)
    keys = list(names) if isinstance(names, Mapping) else [name.removesuffix(":0") for name in tensors]
    ports = []
    for key, identifier, name in zip(keys, make_identifiers(keys), tensors, strict=True):
        (_, index), node = graph.locate(name)
        known = described.get(name)
        dtype = output_dtype(node, index) if known is None else known.dtype
        shape = output_shape(node, index) if known is None else known.shape
        ports.append(Port(key, identifier, name, dtype, shape))
    return tuple(ports)


def _locate_constants(
    graph: ReferenceGraph, constants: Mapping[str, Feedable], signature: Signature | None
) -> dict[str, Feedable]:
    """Return the constants by the names of their tensors; they may be named by the keys of the signature."""
    keys = {} if signature is None else {key: tensor.name for key, tensor in signature.inputs.items() if tensor.name}
    located = {}
    for name, value in constants.items():
        tensor = keys.get(name, name)
        try:
            graph.locate(tensor)
        except TensorNameError as error:
            close = find_close_names(name, [*keys, *graph.placeholders, *graph.default_placeholders])
            if not close:
                raise
            raise TensorNameError(f"the graph has no tensor {name}", name=name, close_names=close) from error
        located[tensor] = value
    return located


def _signature_names(signature: Signature, what: Literal["input", "output"]) -> dict[str, str]:
    """Return the names of a signature's tensors; raise `GraphError` if one is not dense."""
    tensors = signature.inputs if what == "input" else signature.outputs
    for name, tensor in tensors.items():
        if not tensor.name:
            parts = ", ".join(tensor.components) or "nothing"
            raise GraphError(
                f"the {what} {name} of the signature {signature.name} is a {tensor.kind} tensor, which is not "
                f"supported; it consists of {parts}: pass the names of dense tensors as {what}s="
            )
    return {name: tensor.name for name, tensor in tensors.items()}


def _list_ends(graph: ReferenceGraph) -> str:
    ends = [printable(name) for name in graph.ends]
    more = f" or {len(ends) - _MOST_NAMES} more" if len(ends) > _MOST_NAMES else ""
    return f"NAME; nothing depends on {', '.join(ends[:_MOST_NAMES])}{more}" if ends else "NAME"


def _tensor_names(names: Names) -> tuple[str, ...]:
    if isinstance(names, str):
        return (names,)
    return tuple(names.values()) if isinstance(names, Mapping) else tuple(names)
