"""Operations that pass values through or choose between branches.

Switch and Merge work on single values here; the planner finds out which branches are needed at all.
"""

from __future__ import annotations

import numpy as np

from converter.engine.registry import Call, op
from converter.engine.values import DEAD, Dead, Value, to_bool, to_tensor
from converter.errors import GraphError

_PASS_THROUGH = (
    "CheckNumerics",
    "DebugIdentityV2",
    "GuaranteeConst",
    "Identity",
    "PreventGradient",
    "Print",
    "RefIdentity",
    "Snapshot",
)


@op(*_PASS_THROUGH)
def identity(call: Call, value: Value, *printed: Value) -> Value:
    """Return the first input unchanged; Print has more inputs."""
    del call, printed
    return value


@op("StopGradient")
def stop_gradient(call: Call, value: Value) -> Value:
    """Return the input, detached from the computation of gradients."""
    return value if isinstance(value, np.ndarray) else to_tensor(value, call.dtype).detach()


@op("Switch", "RefSwitch", outputs=("output_false", "output_true"))
def switch(call: Call, data: Value, predicate: Value) -> tuple[Value, Value]:
    """Return the input as one of two outputs; the other is dead."""
    del call
    return (DEAD, data) if to_bool(predicate) else (data, DEAD)


@op("Merge", "RefMerge", outputs=("output", "value_index"))
def merge(call: Call, *values: Value) -> tuple[Value, Value]:
    """Return the input that is alive, and its index."""
    for position, value in enumerate(values):
        if not isinstance(value, Dead):
            return value, np.array(position, np.int32)
    raise GraphError("all inputs of the merge are dead", node=call.name, op=call.op)
