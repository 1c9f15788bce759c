"""What passes values on, chooses between branches, or only watches.

Switch and Merge work on single values here; which branch is needed at all is the planner's matter.
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
def identity(call: Call, value: Value, *watched: Value) -> Value:
    """The first input as it is."""
    del call, watched
    return value


@op("StopGradient")
def stop_gradient(call: Call, value: Value) -> Value:
    """The input without its gradient."""
    return value if isinstance(value, np.ndarray) else to_tensor(value, call.dtype).detach()


@op("Switch", "RefSwitch", outputs=("output_false", "output_true"))
def switch(call: Call, data: Value, predicate: Value) -> tuple[Value, Value]:
    """The input on one of two outputs; the other is dead."""
    del call
    return (DEAD, data) if to_bool(predicate) else (data, DEAD)


@op("Merge", "RefMerge", outputs=("output", "value_index"))
def merge(call: Call, *values: Value) -> tuple[Value, Value]:
    """The one input that is alive."""
    for position, value in enumerate(values):
        if not isinstance(value, Dead):
            return value, np.array(position, np.int32)
    raise GraphError("no input of the merge is alive", node=call.name, op=call.op)
