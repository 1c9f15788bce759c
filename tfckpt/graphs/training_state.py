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

Keras's own files have the state of the optimizer in a group of its own::

    optimizer/vars/2                       .weights.h5 and .keras; other optimizers of a program: gen_optimizer/vars/2
    optimizer_weights/Adam/m/dense/kernel  legacy .h5 of a whole model

Later programs keep moving averages in an optimizer, and the object graph shows their variables::

    slot `average`                   TensorFlow Addons (MovingAverage, SWA), Model Garden (ExponentialMovingAverage)
    _model_variables_moving_average  `use_ema=True` of Keras: Keras 3 lists the variables in the same order, and
                                     Keras 2 names an average OPTIMIZER/average/VARIABLE
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from ..limits import DEFAULT_LIMITS, Limits
from .object_graph import SLOT_MARK, VALUE_SUFFIX, ObjectGraph, ObjectNode, find_paths, value_of

AVERAGE_SUFFIX = "/ExponentialMovingAverage"

#: Children of every optimizer of Keras 2.11 and later, and of Keras 3; those have no slot variables.
_KERAS_CHILDREN = {"_iterations", "_variables"}
#: Children of every optimizer of Keras up to 2.10, later called legacy; SGD without momentum has no slot variables.
_LEGACY_CHILDREN = {"iter", "decay"}
#: Where an optimizer of Keras 3 lists the model's variables, which are not its own.
_TRAINED = "_trainable_variables"

#: The slot of an average.
_AVERAGE_SLOT = "average"
#: Where an optimizer of Keras lists averages.
_AVERAGES = "_model_variables_moving_average"
#: Separator of an optimizer and a variable in the full name of an average of Keras 2.
_AVERAGE_MARK = "/average/"

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
#: State of an optimizer in a Keras file: its group, or the name that `tfckpt.keras` gives it.
_KERAS_STATE = re.compile(
    r"(?s)(?:(?P<group>(?:[^/]+_)?optimizer(?:_[^/]+)?)(?:/[^/]*optimizer)*/vars/[0-9]+|optimizer_weights/(?P<name>[^/]+)(?:/.+)?)"
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


def moving_averages(names: Iterable[str], graph: ObjectGraph | None) -> dict[str, str]:
    """Return the name of each moving average, with the name of its variable, which may be missing.

    `names` are all names of a checkpoint, and `graph` is its object graph, or None for a name-based one.
    An average in an optimizer counts only if the object graph shows its variable.
    """
    present = dict.fromkeys(names)
    variables = {
        name: name.removesuffix(AVERAGE_SUFFIX)
        for name in present
        if name.endswith(AVERAGE_SUFFIX) and name != AVERAGE_SUFFIX
    }
    for average, variable in () if graph is None else _averages_in_optimizers(graph):
        if average in present and variable in present:
            variables[average] = variable
    return {name: variables[name] for name in present if name in variables}


def model_paths(graph: ObjectGraph, limits: Limits = DEFAULT_LIMITS) -> dict[str, str]:
    """Return the path of each variable that can be reached without an optimizer, by its key.

    The shortest path, which is the variable's own, leads through the optimizer if that lists the model's variables.
    """
    children = [{} if _is_optimizer(node) else node.children for node in graph.nodes]
    return {
        value.checkpoint_key: path
        for node, path in zip(graph.nodes, find_paths(children, limits=limits), strict=True)
        if path is not None and (value := value_of(node)) is not None
    }


def state_by_name(name: str) -> tuple[str | None, OptimizerState | None]:
    """Return the variable that a name is a slot of, or None, and the optimizer state that it looks like, or None."""
    path, mark, slot = name.removesuffix(VALUE_SUFFIX).rpartition(SLOT_MARK)
    if mark and path:
        optimizer, _, slot = slot.rpartition("/")
        return None, OptimizerState(optimizer, slot)
    if match := _KERAS_STATE.fullmatch(name):
        return None, OptimizerState(match["group"] or match["name"])
    if _POWER.fullmatch(name):
        return None, OptimizerState("Adam")
    for pattern, optimizer in _SLOT_NAMES:
        if match := pattern.fullmatch(name):
            return match["variable"], OptimizerState(optimizer or match["optimizer"], match["slot"])
    return None, None


def _averages_in_optimizers(graph: ObjectGraph) -> Iterator[tuple[str, str]]:
    """Yield the keys of each moving average in an optimizer and of its variable."""
    for _, reference in graph.slots():
        if reference.slot_name == _AVERAGE_SLOT:
            yield from _pair_keys(graph.nodes[reference.slot_variable], graph.nodes[reference.variable])
    for optimizer in graph.nodes:
        if _AVERAGES not in optimizer.children:
            continue
        trained = graph.nodes[optimizer.children[_TRAINED]].children if _TRAINED in optimizer.children else {}
        for number, child in graph.nodes[optimizer.children[_AVERAGES]].children.items():
            average = graph.nodes[child]
            if number in trained:
                yield from _pair_keys(average, graph.nodes[trained[number]])
            elif (value := value_of(average)) is not None:
                matches = graph.with_full_name(value.full_name.partition(_AVERAGE_MARK)[2])
                if len(matches) == 1:  # equal names do not say which of their variables it is
                    yield value.checkpoint_key, matches[0].checkpoint_key


def _pair_keys(average: ObjectNode, variable: ObjectNode) -> Iterator[tuple[str, str]]:
    values = value_of(average), value_of(variable)
    if values[0] is not None and values[1] is not None:
        yield values[0].checkpoint_key, values[1].checkpoint_key


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
