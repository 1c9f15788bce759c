"""Tensors that training adds to the variables of a model: the state of optimizers, and moving averages.

An object graph shows which objects are optimizers, and which variables can only be reached through them.
Without an object graph, names show it: an optimizer of TensorFlow 1 names a slot after its variable::

    net/kernel              the variable
    net/kernel/Adam         first slot of tf.compat.v1.train.AdamOptimizer    (slot_creator.py)
    net/kernel/Adam_1       its second slot
    beta1_power             state that belongs to no single variable
    net/kernel/adam_m       slot m of AdamWeightDecay                         (google-research/bert, optimization.py)
    net/kernel_slot_vr      slot vr of Mesh TensorFlow's Adafactor            (mesh_tensorflow/optimize.py)
    net/kernel/ExponentialMovingAverage                                       (tf.train.ExponentialMovingAverage)
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from .object_graph import SLOT_MARK, VALUE_SUFFIX, ObjectGraph, ObjectNode

AVERAGE_SUFFIX = "/ExponentialMovingAverage"

#: Children of every optimizer of Keras 2.11 and later, and of Keras 3; those have no slot variables.
_KERAS_CHILDREN = {"_iterations", "_variables"}
#: Children of every optimizer of Keras up to 2.10, later called legacy; SGD without momentum has no slot variables.
_LEGACY_CHILDREN = {"iter", "decay"}
#: Where an optimizer of Keras 3 lists the model's variables, which are not its own.
_TRAINED = "_trainable_variables"

#: Optimizers that name a slot VARIABLE/OPTIMIZER, and further slots VARIABLE/OPTIMIZER_1 and so on.
_NUMBERED = (
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "AdagradDA",
    "Adam",
    "AdaMax",
    "AdamW",
    "Ftrl",
    "LAMB",
    "LARSOptimizer",
    "Momentum",
    "ProximalAdagrad",
    "RMSProp",
)
#: All forms of slot names, each with the optimizer if the name does not contain it.
_SLOT_NAMES = (
    (re.compile(rf"(?s)(?P<variable>.+)/(?P<optimizer>{'|'.join(_NUMBERED)})(?:_\d+)?(?P<slot>)"), ""),
    (re.compile(r"(?s)(?P<variable>.+)/adam_(?P<slot>[mv])"), "AdamWeightDecay"),
    (re.compile(r"(?s)(?P<variable>.+)_slot_(?P<slot>v[rc]?|m)"), "Adafactor"),
)
#: Adam's powers of its two decay rates.
_POWER = re.compile(r"(?s)(?:.*/)?beta[12]_power(?:_\d+)?")


@dataclasses.dataclass(frozen=True, slots=True)
class OptimizerState:
    """The role of a tensor in an optimizer.

    `optimizer` is the path of the optimizer in the object graph or, if only names show it, its class, such as `Adam`.
    `slot` is the name of a slot, empty if the slot has no name, and None for other state, such as a step counter.
    """

    optimizer: str
    slot: str | None = None


def optimizer_state(names: Iterable[str], graph: ObjectGraph | None) -> dict[str, OptimizerState]:
    """Return the tensors that only optimizers use, by name.

    `names` are all names of a checkpoint, and `graph` is its object graph, or None for a name-based one.
    A variable that can be reached through the model belongs to the model, even if an optimizer also refers to it or
    its name looks like that of a slot.
    """
    present = dict.fromkeys(names)
    state = {}
    for name in present:
        variable, by_name = state_by_name(name)
        if by_name is not None and (variable is None or variable in present or variable + AVERAGE_SUFFIX in present):
            state[name] = by_name
    if graph is None:
        return state
    optimizers = [node for node in graph.nodes if _is_optimizer(node)]
    model = list(_walk(graph, graph.root, {node.id for node in optimizers}))
    for key in _keys(model):
        state.pop(key, None)
    visited = {node.id for node in model}
    for optimizer, reference in graph.slots():
        if reference.slot_variable not in visited:
            visited.add(reference.slot_variable)
            slot = OptimizerState(optimizer.path or "", reference.slot_name)
            state.update(dict.fromkeys(_keys([graph.nodes[reference.slot_variable]]), slot))
    for optimizer in optimizers:
        own = _keys(_walk(graph, optimizer, visited))
        state.update(dict.fromkeys(own, OptimizerState(optimizer.path or "")))
    return {name: state[name] for name in present if name in state}


def state_by_name(name: str) -> tuple[str | None, OptimizerState | None]:
    """Return the variable that a name is a slot of, or None, and the optimizer state that it looks like, or None."""
    path, mark, slot = name.removesuffix(VALUE_SUFFIX).rpartition(SLOT_MARK)
    if mark and path:
        optimizer, _, slot = slot.rpartition("/")
        return None, OptimizerState(optimizer, slot)
    if _POWER.fullmatch(name):
        return None, OptimizerState("Adam")
    for pattern, optimizer in _SLOT_NAMES:
        if match := pattern.fullmatch(name):
            return match["variable"], OptimizerState(optimizer or match["optimizer"], match["slot"])
    return None, None


def _is_optimizer(node: ObjectNode) -> bool:
    """Return whether a node keeps slot variables or has the children of an optimizer."""
    if node.slot_variables or node.children.keys() >= _KERAS_CHILDREN:
        return True
    # At the root these are more likely counters of the program, and the whole model would count as state.
    return node.id != 0 and node.children.keys() >= _LEGACY_CHILDREN


def _walk(graph: ObjectGraph, start: ObjectNode, visited: set[int]) -> Iterator[ObjectNode]:
    """Yield `start` and its descendants, except through nodes in `visited`, and add them to `visited`."""
    if start.id in visited:
        return
    visited.add(start.id)
    waiting = [start]
    while waiting:
        node = waiting.pop()
        yield node
        for name, child in node.children.items():
            if child not in visited and not (name == _TRAINED and _is_optimizer(node)):
                visited.add(child)
                waiting.append(graph.nodes[child])


def _keys(nodes: Iterable[ObjectNode]) -> list[str]:
    """Return the checkpoint keys of nodes."""
    return [attribute.checkpoint_key for node in nodes for attribute in node.attributes]
