"""The weights of a part of a graph: which values are trained, which are statistics, and their names in a module.

A graph has variables, or it is frozen: then constants have their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from .planner import Plan, Step
from .values import Tensor, Value
from .variables import HANDLES

#: Operations that pass the value of a variable or constant through.
_PASS_THROUGH = {"Cast", "Enter", "Identity", "ReadVariableOp", "Snapshot"}
_BATCH_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_STATISTICS = ("moving_mean", "moving_variance", "moving_var", "running_mean", "running_var")
#: The inputs of operations that are weights in every network.
_WEIGHTED = {
    "BiasAdd": (1,),
    "BiasAddV1": (1,),
    "Conv2D": (1,),
    "Conv3D": (1,),
    "DepthwiseConv2dNative": (1,),
    "FusedDepthwiseConv2dNative": (1, 2),
    "MatMul": (1,),
    "Prelu": (1,),
    "_FusedConv2D": (1, 2),
    "_FusedMatMul": (1, 2),
    **dict.fromkeys(_BATCH_NORMS, (1, 2)),
}
#: What reading adds to the name of a weight.
_READ = re.compile(r"(/(Read/)?ReadVariableOp(_\d+)?|/resource|/read)+$")

#: The key of a constant: the names of its body and its node.
ConstantKey = tuple[str, str]


def find_statistics(plan: Plan) -> set[str]:
    """Return the variables and constants that batch norms use as mean and variance, by their expanded names.

    So are those with the usual names of moving statistics.
    """
    names = set()
    for inner in plan.all_plans():
        sources = {step.slot: step for step in inner.steps}
        for step in inner.steps:
            if step.node.op in HANDLES or step.node.op == "Const":
                if plain_name(step.name).endswith(_STATISTICS):
                    names.add(step.name)
            elif step.node.op in _BATCH_NORMS:
                found = (_trace_back(sources, slot) for slot, _ in step.inputs[3:])
                names |= {source.name for source in found if source is not None}
    return names


def find_frozen_weights(plan: Plan, constants: Mapping[ConstantKey, Value]) -> dict[ConstantKey, str]:
    """Return the constants that were variables before the graph was frozen, each with the name of its node.

    In a graph with variables there are none. Otherwise they are all floating-point constants of more than one element,
    and those of one element that are read as a variable is, or have the place of a weight.
    """
    steps = plan.all_steps()
    if any(step.node.op in HANDLES for step in steps):
        return {}
    single = {step.constant for step in _find_single_weights(plan)}
    names: dict[ConstantKey, str] = {}
    for step in steps:
        if step.node.op == "Const":
            value = constants.get(step.constant)
            is_many = isinstance(value, Tensor) and value.numel() > 1
            if is_many or (step.constant in single and _is_float(value)):
                names.setdefault(step.constant, step.name)
    return names


def plain_name(name: str) -> str:
    """Return the name of a weight's node without what reading it adds."""
    return _READ.sub("", name) or name


def _is_float(value: Value | None) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() and value.numel() > 0
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _find_single_weights(plan: Plan) -> Iterator[Step]:
    for inner in plan.all_plans():
        sources = {step.slot: step for step in inner.steps}
        for step in inner.steps:
            if step.node.op == "Identity" and step.inputs:
                source = sources.get(step.inputs[0][0])
                if source is not None and source.node.op == "Const" and plain_name(step.name) == source.name:
                    yield source
            for position in _WEIGHTED.get(step.node.op, ()):
                if position < len(step.inputs):
                    source = _trace_back(sources, step.inputs[position][0])
                    if source is not None and source.node.op == "Const":
                        yield source


def _trace_back(sources: Mapping[int, Step], slot: int) -> Step | None:
    """Return the variable or constant whose value a slot holds; None if it is computed otherwise."""
    source = sources.get(slot)
    while source is not None and source.node.op in _PASS_THROUGH and source.inputs:
        source = sources.get(source.inputs[0][0])
    return source if source is not None and source.node.op in {*HANDLES, "Const"} else None
