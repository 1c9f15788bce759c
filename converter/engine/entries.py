"""Tensors that take the place of inputs: what a parser of examples, or an iterator over a data set, returns.

PyTorch has neither records nor TensorFlow's data sets, so the part of a graph that computes begins after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .planner import Plan, Step
from .ports import Port, make_identifiers

_ITERATORS = {"IteratorGetNext", "IteratorGetNextSync", "QueueDequeueV2", "QueueDequeueManyV2", "QueueDequeueUpToV2"}
_PARSERS = {"ParseExample", "ParseExampleV2"}
#: The attributes of an iterator or queue with the dtypes and shapes of its outputs.
_TYPES, _SHAPES = ("output_types", "component_types"), ("output_shapes",)
_PARTS = ("indices", "values", "shape")


def find_entries(plan: Plan) -> tuple[Port, ...]:
    """Return the outputs of parsers and iterators that a plan uses, in the order of their operations.

    The key of a parsed feature is its name; one of a sparse feature has three tensors. The key of another tensor is its
    name in the graph.
    """
    used: dict[int, set[int]] = {}
    for step in plan.steps:
        for slot, index in step.inputs:
            used.setdefault(slot, set()).add(index)
    for slot, index in plan.fetches:
        used.setdefault(slot, set()).add(index)
    sources = {step.slot: step for step in plan.steps}
    found: list[tuple[str, str, str | None, tuple[int, ...] | None]] = []
    for step in plan.steps:
        indices = sorted(used.get(step.slot, ()))
        if step.node.op in _ITERATORS:
            found += [_describe_item(step, index) for index in indices]
        elif step.node.op in _PARSERS:
            features = _describe_features(step, sources)
            found += [(features[index][0], f"{step.name}:{index}", *features[index][1:]) for index in indices]
    identifiers = make_identifiers([key for key, *_ in found])
    return tuple(
        Port(key, identifier, tensor, dtype, shape)
        for (key, tensor, dtype, shape), identifier in zip(found, identifiers, strict=True)
    )


def _describe_item(step: Step, index: int) -> tuple[str, str, str | None, tuple[int, ...] | None]:
    name = f"{step.name}:{index}"
    types, shapes = (_first(step, names) for names in (_TYPES, _SHAPES))
    dtype = str(types[index]) if index < len(types) else None
    shape = shapes[index] if index < len(shapes) else None
    return name, name, dtype, shape if isinstance(shape, tuple) else None


def _first(step: Step, names: Sequence[str]) -> tuple[object, ...]:
    values = (step.node.attributes.get(name) for name in names)
    return next((value for value in values if isinstance(value, tuple)), ())


def _describe_features(
    step: Step, sources: Mapping[int, Step]
) -> dict[int, tuple[str, str | None, tuple[int, ...] | None]]:
    """Return the name, dtype and shape of each output of a parser."""
    sparse, dense = _read_keys(step, sources)
    sparse_types = _first(step, ("sparse_types",))
    dense_types, dense_shapes = _first(step, ("Tdense",)), _first(step, ("dense_shapes",))
    outputs: list[tuple[str, str | None, tuple[int, ...] | None]] = []
    for part in _PARTS:
        for number, key in enumerate(sparse):
            dtype = "int64" if part != "values" else str(sparse_types[number]) if number < len(sparse_types) else None
            shape = {"indices": (-1, 2), "values": (-1,), "shape": (2,)}[part]
            outputs.append((f"{key}/{part}", dtype, shape))
    for number, key in enumerate(dense):
        dims = dense_shapes[number] if number < len(dense_shapes) else None
        dtype = str(dense_types[number]) if number < len(dense_types) else None
        outputs.append((key, dtype, (-1, *dims) if isinstance(dims, tuple) else None))
    return dict(enumerate(outputs))


def _read_keys(step: Step, sources: Mapping[int, Step]) -> tuple[list[str], list[str]]:
    """Return the names of the sparse and of the dense features."""
    if step.node.op == "ParseExampleV2":
        keys = [_read_strings(sources.get(slot)) for slot, _ in step.inputs[2:4]]
        return keys[0], keys[1]
    counts = [step.node.attributes.get(name) for name in ("Nsparse", "Ndense")]
    count, dense = (number if isinstance(number, int) else 0 for number in counts)
    names = [(_read_strings(sources.get(slot)) or [""])[0] for slot, _ in step.inputs[2 : 2 + count + dense]]
    return names[:count], names[count:]


def _read_strings(step: Step | None) -> list[str]:
    value = step.node.attributes.get("value") if step is not None else None
    if not isinstance(value, np.ndarray) or value.dtype != object:
        return []
    return [item.decode("utf-8", "replace") for item in value.ravel().tolist()]
