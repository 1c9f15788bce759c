"""The Optional operations: tensors that a branch of a loop keeps for the gradient, or nothing on the other branch.

An Optional is a list of its tensors, so that lists can hold it; one without a value is an empty list.
"""

from __future__ import annotations

import numpy as np

from converter.engine.registry import Call, op
from converter.engine.values import TensorList, Value
from converter.errors import GraphError


def _check_optional(value: Value) -> TensorList:
    if not isinstance(value, TensorList):
        raise TypeError(f"expected an Optional, not a {type(value).__name__}")
    return value


@op("OptionalFromValue", outputs=("optional",))
def from_value(call: Call, *components: Value) -> Value:
    """Return an Optional with these tensors."""
    del call
    return TensorList(components, None, "variant")  # type: ignore[arg-type]  # tensors, or lists of them


@op("OptionalNone", outputs=("optional",))
def none(call: Call) -> Value:
    """Return an Optional without a value."""
    del call
    return TensorList((), None, "variant")


@op("OptionalHasValue", outputs=("has_value",))
def has_value(call: Call, optional: Value) -> Value:
    """Return whether there is a value."""
    del call
    return np.array(bool(_check_optional(optional).items))


@op("OptionalGetValue", outputs=("components",))
def get_value(call: Call, optional: Value) -> tuple[Value, ...]:
    """Return the tensors of an Optional."""
    del call
    components = _check_optional(optional).items
    if not components:
        raise GraphError("the Optional has no value")
    return components  # type: ignore[return-value]  # as given to `from_value`
