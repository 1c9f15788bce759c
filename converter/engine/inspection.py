"""What a graph offers, and whether it can be run: signatures, inputs, outputs, weights, and unsupported operations.

Nothing is run, and the values of variables are not read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from converter.errors import ConversionError, GraphError
from tfckpt.graphs.meta_graph import Signature

from .evaluator import read_constant
from .feeds import Feedable
from .interface import Interface, Names, choose_interface, signature_ports
from .planner import Plan, Step
from .ports import Port, make_identifiers, output_dtype, output_shape
from .reference_graph import ReferenceGraph, Survey
from .registry import is_supported
from .values import Value
from .variables import HANDLES
from .weights import ConstantKey, find_frozen_weights, find_statistics


@dataclasses.dataclass(frozen=True, slots=True)
class UnsupportedOperation:
    """An operation that cannot be run: the expanded name of its node, and the operation."""

    node: str
    op: str


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """A part of a graph that can be run although the whole cannot.

    `inputs` or `outputs` are the tensors to name instead of those of the signature; the other one is None.
    `operations` is the number of operations in this part.
    """

    inputs: tuple[str, ...] | None
    outputs: tuple[str, ...] | None
    operations: int


@dataclasses.dataclass(frozen=True, slots=True)
class PartInspection:
    """What one signature, or the part of a graph between named tensors, needs.

    `name` is the name of the signature, or "" for a part without one.
    `operations` is the number of operations, `parameters` that of trained numbers, `statistics` that of other numbers
    in variables, such as moving means.
    `problem` says why this part cannot be run if the reason is not an operation, or is None.
    `cuts` are parts that can be run, if operations are unsupported.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: int
    parameters: int
    statistics: int
    unsupported: tuple[UnsupportedOperation, ...]
    cuts: tuple[Cut, ...]
    problem: str | None

    @property
    def is_supported(self) -> bool:
        """Whether this part can be run."""
        return not self.unsupported and self.problem is None


@dataclasses.dataclass(frozen=True, slots=True)
class GraphInspection:
    """A graph at a glance.

    `kind` is the kind of file, `tags` are those of the graph and `other_tags` those of the other graphs in its file.
    `placeholders` can be fed, `ends` are the operations on which nothing depends.
    `parts` has one record for each signature, or one for the tensors that were named, or for all ends.
    """

    path: str
    kind: str
    tags: tuple[str, ...]
    other_tags: tuple[tuple[str, ...], ...]
    nodes: int
    functions: int
    placeholders: tuple[Port, ...]
    ends: tuple[str, ...]
    parts: tuple[PartInspection, ...]


def inspect_graph(
    graph: ReferenceGraph,
    *,
    inputs: Names | None = None,
    outputs: Names | None = None,
    signature: str | None = None,
    constants: Mapping[str, Feedable] | None = None,
) -> GraphInspection:
    """Return what a graph offers; the arguments are those of `graph_module`.

    Raises `TensorNameError` if a tensor or the signature does not exist.
    """
    public = [chosen for name, chosen in graph.signatures.items() if not name.startswith("__")]
    if inputs is None and outputs is None and constants is None and signature is None and public:
        parts = [_inspect_signature(graph, chosen) for chosen in public]
    elif outputs is None and signature is None and not public:
        interface = choose_interface(graph, inputs, list(graph.ends), constants=constants)
        parts = [_inspect_part(graph, "", interface)] if graph.ends else []
    else:
        name = graph.signature(signature).name if outputs is None or signature is not None else ""
        interface = choose_interface(graph, inputs, outputs, signature=signature, constants=constants)
        parts = [_inspect_part(graph, name, interface)]
    placeholders = [node for node in graph.graph if node.op in ("Placeholder", "PlaceholderWithDefault")]
    identifiers = make_identifiers([node.name for node in placeholders])
    return GraphInspection(
        graph.path,
        graph.kind,
        graph.tags,
        graph.other_tags,
        len(graph.graph),
        len(graph.graph.functions),
        tuple(
            Port(node.name, identifier, node.name, output_dtype(node), output_shape(node))
            for node, identifier in zip(placeholders, identifiers, strict=True)
        ),
        graph.ends,
        tuple(parts),
    )


def _inspect_signature(graph: ReferenceGraph, signature: Signature) -> PartInspection:
    """Inspect a signature; one with tensors that are not dense, or that do not exist, has a problem."""
    try:
        return _inspect_part(graph, signature.name, choose_interface(graph, signature=signature.name))
    except ConversionError as error:
        inputs, outputs = signature_ports(signature, "input"), signature_ports(signature, "output")
        return PartInspection(signature.name, inputs, outputs, 0, 0, 0, (), (), str(error))


def _inspect_part(graph: ReferenceGraph, name: str, interface: Interface) -> PartInspection:
    feeds = {port.tensor: None for port in interface.inputs} | interface.known_constants()
    survey = graph.survey([port.tensor for port in interface.outputs], feeds)
    unsupported = tuple(UnsupportedOperation(node, op) for node, op in survey.unsupported.items())
    parameters, statistics = _count_numbers(graph, survey.plan)
    return PartInspection(
        name,
        interface.inputs,
        interface.outputs,
        len(survey.plan.all_steps()),
        parameters,
        statistics,
        unsupported,
        tuple(_find_cuts(survey)) if unsupported else (),
        None if survey.changed is None else str(survey.changed),
    )


def _count_numbers(graph: ReferenceGraph, plan: Plan) -> tuple[int, int]:
    """Return the number of trained numbers, and of those in other variables."""
    fixed = find_statistics(plan)
    counts = {}
    for step in plan.all_steps():
        if step.node.op in HANDLES:
            shape = graph.variable_shape(step.name, step.node)
            is_trained = step.name not in fixed and graph.trainable.get(step.name, True)
            counts[step.name] = (0 if shape is None else math.prod(shape), is_trained)
    constants = _read_constants(plan) if not counts else {}
    for key, name in find_frozen_weights(plan, constants).items():
        counts[name] = (math.prod(constants[key].shape), name not in fixed)  # type: ignore[union-attr]  # a tensor
    trained = sum(count for count, is_trained in counts.values() if is_trained)
    return trained, sum(count for count, _ in counts.values()) - trained


def _read_constants(plan: Plan) -> dict[ConstantKey, Value]:
    import torch

    constants: dict[ConstantKey, Value] = {}
    for step in plan.all_steps():
        if step.node.op == "Const" and output_dtype(step.node) in (None, "float16", "bfloat16", "float32", "float64"):
            try:
                constants[step.constant] = read_constant(step, torch.float32)
            except GraphError:
                continue
    return constants


def _find_cuts(survey: Survey) -> list[Cut]:
    """Return the parts before and after the unsupported operations, if they have any operation besides constants."""
    plan = survey.plan
    steps = {step.slot: step for step in plan.steps}
    bad = {step.slot for step in plan.steps if not _can_run(step)}
    before = _collect(plan.steps, {step.slot: {slot for slot, _ in step.inputs} for step in plan.steps}, bad)
    users: dict[int, set[int]] = {slot: set() for slot in steps}
    for step in plan.steps:
        for slot, _ in step.inputs:
            if slot in users:
                users[slot].add(step.slot)
    after = _collect(plan.steps[::-1], users, bad)
    cuts = []
    if not any(slot in steps and slot not in after for slot, _ in plan.fetches):
        entries = _cross(plan.steps, steps, after, entering=True)
        if entries and _count(steps, after):
            cuts.append(Cut(entries, None, _count(steps, after)))
    exits = _cross(plan.steps, steps, before, entering=False)
    if exits and _count(steps, before):
        cuts.append(Cut(None, exits, _count(steps, before)))
    return cuts


def _can_run(step: Step) -> bool:
    inner = [branch for plan in step.branches for branch in plan.all_steps()]
    return all(is_supported(each.node.op) for each in (step, *inner))


def _collect(steps: Sequence[Step], neighbours: Mapping[int, set[int]], bad: set[int]) -> set[int]:
    """Return the steps that are not bad, and whose neighbours all the way are not; `steps` have neighbours first."""
    good: set[int] = set()
    all_slots = {step.slot for step in steps}
    for step in steps:
        if step.slot not in bad and all(slot in good or slot not in all_slots for slot in neighbours[step.slot]):
            good.add(step.slot)
    return good


def _cross(steps: Sequence[Step], by_slot: Mapping[int, Step], good: set[int], *, entering: bool) -> tuple[str, ...]:
    """Return the computed tensors on the border of a part, by name: those it reads, or those that others read of it."""
    names: dict[str, None] = {}
    for step in steps:
        if (step.slot in good) == entering:
            for slot, index in step.inputs:
                source = by_slot.get(slot)
                if source is None or source.node.op in ("Const", *HANDLES):
                    continue
                if (slot in good) != entering:
                    names[f"{source.name}:{index}" if index else source.name] = None
    return tuple(names)


def _count(steps: Mapping[int, Step], good: set[int]) -> int:
    """Return the number of operations of a part that compute something."""
    idle = {"Const", "Identity", "Placeholder", "PlaceholderWithDefault", "ReadVariableOp", *HANDLES}
    return sum(steps[slot].node.op not in idle for slot in good)
