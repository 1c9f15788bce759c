"""Running a plan: one operation after the other, releasing each value after its last use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from converter.errors import ConversionError, GraphError, GraphLimitError
from tfckpt.errors import CheckpointError
from tfckpt.graphs.graph import Node

from .bodies import IFS, MERGES, PLACEHOLDERS, TABLES
from .dropout import DROPOUT
from .limits import ReferenceLimits
from .lookup import find, size_of
from .ops.indexing import gather_nd, gather_rows
from .planner import Plan, Step
from .registry import Call, find_op, is_random
from .scopes import TensorKey
from .tables import Table
from .values import (
    DEAD,
    Array,
    Dead,
    Reference,
    Resource,
    Tensor,
    Value,
    host_float,
    is_floating,
    make_shape_array,
    to_bool,
    to_int,
    to_number,
    to_tensor,
)
from .variables import HANDLES
from .writes import ASSIGNS, REFERENCES

#: Computes the outputs of one step from its inputs.
Action: TypeAlias = Callable[["Run", Sequence[Any]], "Value | tuple[Value, ...]"]
#: Called with the name, node and outputs of every step.
Watcher: TypeAlias = Callable[[str, Node, Sequence[Value]], None]

#: The key of TensorFlow's name in the custom metadata of the nodes of an exported program.
NODE_KEY = "tensorflow"

#: Operations that take variables themselves and not their values.
_TAKE_REFERENCES = REFERENCES | ASSIGNS.keys()
_NO_OUTPUT = "the requested output does not exist"


class Run:
    """The state shared by the steps of one run: variables, constants, an optional watcher, and the mode.

    `written` are the names of the variables that the run changes: their values in `variables` are replaced.
    """

    __slots__ = ("constants", "is_training", "tables", "variables", "watcher", "written")

    def __init__(
        self,
        variables: Mapping[str, Tensor],
        constants: Mapping[tuple[str, str], Value],
        watcher: Watcher | None = None,
        *,
        is_training: bool = False,
        tables: Mapping[str, Table] | None = None,
        written: Collection[str] = (),
    ) -> None:
        self.tables = tables or {}
        self.is_training = is_training
        self.written = written
        self.variables = dict(variables) if written else variables
        self.constants = constants
        self.watcher = watcher

    def variable(self, handle: Value) -> Tensor:
        """Return the value behind a handle."""
        if not isinstance(handle, Resource):
            raise TypeError(f"expected the handle of a variable, not a {type(handle).__name__}")
        return self.variables[handle.name]

    def write(self, handle: Value, value: Value, sign: str) -> None:
        """Assign to the variable behind a handle, or add or subtract."""
        before = self.variable(handle)
        assert isinstance(handle, Resource), "it has a variable"
        assert isinstance(self.variables, dict), "the run says which variables it changes"
        given = to_tensor(value, before.dtype).to(before.dtype)
        if given.shape != before.shape:
            raise ValueError(f"the variable has shape {list(before.shape)}, and its new value {list(given.shape)}")
        self.variables[handle.name] = {"=": given, "+": before + given, "-": before - given}[sign]

    def dereference(self, value: Value) -> Value:
        """Return the present value of a variable of TensorFlow 1, and anything else as it is."""
        return self.variable(value) if isinstance(value, Reference) else value

    def table(self, handle: Value) -> Table:
        """Return the table behind a handle."""
        if not isinstance(handle, Resource) or handle.name not in self.tables:
            raise TypeError(f"expected the handle of a table, not a {type(handle).__name__}")
        return self.tables[handle.name]


class Runnable:
    """A plan with a function to run for each step, in one dtype."""

    def __init__(
        self,
        plan: Plan,
        dtype: torch.dtype,
        limits: ReferenceLimits,
        constants: MutableMapping[tuple[str, str], Value],
        branches: MutableMapping[int, Runnable],
    ) -> None:
        """Add the constants and branches that the steps need to `constants` and `branches`.

        All runnables of one dtype can share these two.
        """
        self.plan = plan
        #: Whether some step draws random numbers.
        self.is_random = any(is_random(step.node.op) for step in plan.all_steps())
        #: The variables that change.
        self.written = plan.written_variables
        self._actions: list[tuple[Step, Action]] = []
        for step in plan.steps:
            inner = []
            for branch in step.branches:
                if id(branch) not in branches:
                    branches[id(branch)] = Runnable(branch, dtype, limits, constants, branches)
                inner.append(branches[id(branch)])
            if step.node.op == "Const" and step.constant not in constants:
                constants[step.constant] = read_constant(step, dtype)
            self._actions.append((step, _make_action(step, dtype, limits, inner)))

    def run(self, run: Run, feeds: Mapping[TensorKey, Value], arguments: Sequence[Value] = ()) -> list[Value]:
        """Run every step and return the values of the fetches."""
        plan = self.plan
        slots: list[Any] = [None] * plan.slots
        for position, slot in plan.arguments.items():
            if position >= len(arguments):
                raise GraphError(f"a function needs more than the {len(arguments)} arguments it is called with")
            slots[slot] = (arguments[position],)
        for key, slot in plan.feeds.items():
            slots[slot] = (feeds[key],)
        run_step = _run_step_with_name if _is_exporting() else _run_step
        for step, action in self._actions:
            try:
                inputs = [slots[slot][output] for slot, output in step.inputs]
            except IndexError:
                raise GraphError(_NO_OUTPUT, node=step.name, op=step.node.op) from None
            if plan.may_be_dead and _is_dead(step, inputs, slots):
                slots[step.slot] = _ALL_DEAD
            else:
                outputs = run_step(step, action, run, inputs)
                slots[step.slot] = outputs if isinstance(outputs, tuple | list) else (outputs,)
                if run.watcher is not None:
                    run.watcher(step.name, step.node, slots[step.slot])
            for slot in step.release:
                slots[slot] = None
        try:
            return [run.dereference(slots[slot][output]) for slot, output in plan.fetches]
        except IndexError:
            raise GraphError(_NO_OUTPUT) from None


class _AllDead(Sequence[Value]):
    """The outputs of a step on a branch that is not taken: `DEAD` at every index."""

    def __getitem__(self, index: Any) -> Any:
        return DEAD

    def __len__(self) -> int:
        return 0


_ALL_DEAD = _AllDead()


def _is_dead(step: Step, inputs: Sequence[Value], slots: Sequence[Any]) -> bool:
    if any(isinstance(slots[slot][output], Dead) for slot, output in step.pivots):
        return True
    dead = [isinstance(value, Dead) for value in inputs]
    return all(dead) if step.node.op in MERGES and dead else any(dead)


def _is_exporting() -> bool:
    """Return whether a program is being exported, by a PyTorch whose programs keep annotations of nodes."""
    return hasattr(torch.fx.traceback, "annotate") and torch.compiler.is_exporting()


def _run_step_with_name(step: Step, action: Action, run: Run, inputs: Sequence[Value]) -> Value | tuple[Value, ...]:
    """Run a step whose name is recorded with the nodes of the program that is exported."""
    with torch.fx.traceback.preserve_node_meta(), torch.fx.traceback.annotate({NODE_KEY: step.name}):
        return _run_step(step, action, run, inputs)


def _run_step(step: Step, action: Action, run: Run, inputs: Sequence[Value]) -> Value | tuple[Value, ...]:
    """Run a step; add the node and the shapes of the inputs to an error."""
    if run.written and not step.branches and step.node.op not in _TAKE_REFERENCES:
        inputs = [run.dereference(value) for value in inputs]
    try:
        return action(run, inputs)
    except GraphError as error:
        if error.node is not None:
            raise
        raise GraphError(error.message, node=step.name, op=step.node.op) from error
    except (ConversionError, CheckpointError):
        raise
    except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        shapes = ", ".join(_describe(value) for value in inputs)
        first_line = str(error).partition("\n")[0]
        raise GraphError(f"{first_line}; inputs: {shapes or 'none'}", node=step.name, op=step.node.op) from error


def _describe(value: Value) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


def read_constant(step: Step, dtype: torch.dtype) -> Value:
    """Return the value of a constant: a host array if it consists of integers or of one number, otherwise a tensor.

    Single numbers decide sizes, such as the step of a range, which must be known while a module is exported.
    """
    value = step.node.attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise GraphError("the constant has no value", node=step.name, op=step.node.op)
    if is_floating(value):
        return value.astype(host_float(dtype)) if value.size == 1 else to_weight(value, dtype)
    if value.dtype.kind == "c":
        return to_tensor(value, dtype)
    if value.dtype.kind in "iubO":
        return value
    raise GraphError(f"constants of type {value.dtype} are not supported", node=step.name, op=step.node.op)


def to_weight(value: Array, dtype: torch.dtype) -> Tensor:
    """Return a copy of a floating-point array as a tensor of the same shape.

    A tensor with four axes may be the kernel of a convolution, so it is stored in the order PyTorch reads fastest:
    viewed as (out, in, height, width) it is channels-last.
    """
    tensor = to_tensor(np.asarray(value), dtype)
    if tensor.ndim == 4:
        tensor = tensor.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last).permute(2, 3, 1, 0)
    return tensor


def _make_action(step: Step, dtype: torch.dtype, limits: ReferenceLimits, inner: Sequence[Runnable]) -> Action:
    node = step.node
    op = node.op
    if len(inner) == 1:
        (called,) = inner
        return lambda run, inputs: tuple(called.run(run, {}, inputs))
    if op == "Const":
        key = step.constant
        return lambda run, inputs: run.constants[key]
    if op in TABLES:
        table = Resource(step.name)
        return lambda run, inputs: table
    if op in HANDLES:
        handle = Resource(step.name)
        if op == "VarHandleOp":
            return lambda run, inputs: handle
        reference = Reference(step.name)
        return lambda run, inputs: reference if reference.name in run.written else run.variable(handle)
    if op in PLACEHOLDERS:
        return _read_feed
    if op in ASSIGNS:
        sign = ASSIGNS[op]
        return lambda run, inputs: _assign(run, *inputs, sign=sign)
    call = Call(step.name, op, node.attributes, dtype, limits)
    if op in _READS:
        read = _READS[op]
        return lambda run, inputs: read(call, run, *inputs)
    if op == DROPOUT:
        is_keep = bool(node.attributes.get("is_keep"))
        return lambda run, inputs: _drop(call, run, *inputs, is_keep=is_keep)
    if op in IFS:
        then, otherwise = inner
        return lambda run, inputs: tuple((then if to_bool(inputs[0]) else otherwise).run(run, {}, inputs[1:]))
    if op in ("Case", "StatelessCase"):
        return lambda run, inputs: tuple(_choose_branch(inner, to_int(inputs[0])).run(run, {}, inputs[1:]))
    if op in ("While", "StatelessWhile"):
        condition, body = inner
        most = limits.max_loop_iterations
        return lambda run, inputs: _run_loop(run, step, condition, body, inputs, most=most)
    supported = find_op(op)
    assert supported is not None, "a plan with unsupported operations is never run"
    kernel = supported.kernel
    return lambda run, inputs: kernel(call, *inputs)


def _assign(run: Run, handle: Value, value: Value, *, sign: str) -> tuple[Value, ...]:
    """Change a variable, and return it."""
    run.write(handle, run.dereference(value), sign)
    return (handle,)


def _read_feed(run: Run, inputs: Sequence[Value]) -> Value:
    if inputs:
        return inputs[0]
    raise GraphError("has no value: feed it")


def _drop(call: Call, run: Run, value: Value, probability: Value, *, is_keep: bool) -> Value:
    """Return the value with dropout; the value itself unless the run is one of training.

    PyTorch's own dropout is called in both modes, so that an exported program says where it is.
    """
    if isinstance(probability, np.ndarray) and isinstance(value, Tensor):
        number = to_number(probability)
        return torch.nn.functional.dropout(value, 1 - number if is_keep else number, training=run.is_training)
    if not run.is_training:
        return value
    x = to_tensor(value, call.dtype)
    kept = to_tensor(probability, call.dtype) if is_keep else 1 - to_tensor(probability, call.dtype)
    return torch.where(torch.rand_like(x) < kept, x / kept, torch.zeros_like(x))


def _choose_branch(branches: Sequence[Runnable], index: int) -> Runnable:
    """Return the branch of a Case; an index out of range means the last branch, as in TensorFlow."""
    return branches[index if 0 <= index < len(branches) else -1]


def _run_loop(
    run: Run, step: Step, condition: Runnable, body: Runnable, inputs: Sequence[Value], *, most: int
) -> tuple[Value, ...]:
    values = list(inputs)
    iterations = 0
    while to_bool(condition.run(run, {}, values)[0]):
        iterations += 1
        if iterations > most:
            raise GraphLimitError(
                "the loop has not ended", limit="max_loop_iterations", maximum=most, claimed=iterations, node=step.name
            )
        values = body.run(run, {}, values)
    return tuple(values)


def _variable_shape(call: Call, run: Run, handle: Value) -> Value:
    kind = np.dtype(np.int64 if call.type_name("out_type", "int32") == "int64" else np.int32)
    return make_shape_array(tuple(run.variable(handle).shape), kind)


_READS: dict[str, Callable[..., Value]] = {
    "LookupTableFindV2": lambda call, run, handle, keys, default: find(call, run.table(handle), keys, default),
    "LookupTableSizeV2": lambda call, run, handle: size_of(run.table(handle)),
    "ReadVariableOp": lambda call, run, handle: run.variable(handle),
    "ResourceGather": lambda call, run, handle, indices: gather_rows(
        call, run.variable(handle), indices, int(call.get("batch_dims", 0)), int(call.get("batch_dims", 0))
    ),
    "ResourceGatherNd": lambda call, run, handle, indices: gather_nd(call, run.variable(handle), indices),
    "IsVariableInitialized": lambda call, run, value: np.array(True),
    "VarIsInitializedOp": lambda call, run, handle: np.array(True),
    "VariableShape": _variable_shape,
}
