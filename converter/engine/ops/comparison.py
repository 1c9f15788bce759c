"""Comparisons, boolean logic, and selection between two tensors."""

from __future__ import annotations

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_tensor, to_tensors

from .arithmetic import HostFunction, TensorFunction


def _comparison(name: str, on_tensor: TensorFunction, on_host: HostFunction) -> None:
    def kernel(call: Call, x: Value, y: Value) -> Value:
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
            return np.asarray(on_host(x, y))
        return on_tensor(*to_tensors(call.dtype, x, y))

    op(name, outputs=("z",))(kernel)


_comparison("Greater", torch.gt, np.greater)
_comparison("GreaterEqual", torch.ge, np.greater_equal)
_comparison("Less", torch.lt, np.less)
_comparison("LessEqual", torch.le, np.less_equal)
_comparison("LogicalAnd", torch.logical_and, np.logical_and)
_comparison("LogicalOr", torch.logical_or, np.logical_or)


@op("Equal", "NotEqual", outputs=("z",))
def equal(call: Call, x: Value, y: Value) -> Value:
    """Compare element by element; if the node allows shapes that do not broadcast, the result for them is a scalar."""
    is_equal = call.op == "Equal"
    if not call.flag("incompatible_shape_error", default=True):
        try:
            np.broadcast_shapes(tuple(x.shape), tuple(y.shape))  # type: ignore[union-attr]  # both are tensors
        except ValueError:
            return np.array(not is_equal)
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return np.asarray(x == y if is_equal else x != y)
    x, y = to_tensors(call.dtype, x, y)
    return torch.eq(x, y) if is_equal else torch.ne(x, y)


@op("ApproximateEqual", outputs=("z",))
def approximately_equal(call: Call, x: Value, y: Value) -> Value:
    """Return whether the elements differ by less than `tolerance`."""
    x, y = to_tensors(call.dtype, x, y)
    return (x - y).abs() < float(call.get("tolerance", 1e-5))


@op("LogicalNot", outputs=("y",))
def logical_not(call: Call, x: Value) -> Value:
    """Negate each element."""
    return np.asarray(np.logical_not(x)) if isinstance(x, np.ndarray) else torch.logical_not(to_tensor(x, call.dtype))


@op("IsFinite", "IsInf", "IsNan", outputs=("y",))
def classify_number(call: Call, x: Value) -> Value:
    """Return which elements are finite, infinite or NaN."""
    function = {"IsFinite": torch.isfinite, "IsInf": torch.isinf, "IsNan": torch.isnan}[call.op]
    return function(to_tensor(x, call.dtype))


@op("Select")
def select(call: Call, condition: Value, then: Value, otherwise: Value) -> Value:
    """Select by a condition of the same shape, a scalar condition, or a vector that selects whole rows."""
    condition, then, otherwise = to_tensors(call.dtype, condition, then, otherwise)
    if condition.ndim == 1 and then.ndim > 1:
        condition = condition.reshape([-1] + [1] * (then.ndim - 1))
    return _select(condition, then, otherwise)


def _select(condition: Tensor, then: Tensor, otherwise: Tensor) -> Tensor:
    """Select with logic if the values are booleans: runtimes of ONNX cannot select these."""
    if then.dtype == otherwise.dtype == torch.bool:
        return (condition & then) | (~condition & otherwise)
    return torch.where(condition, then, otherwise)


@op("SelectV2")
def select_v2(call: Call, condition: Value, then: Value, otherwise: Value) -> Value:
    """Select element by element; all three inputs are broadcast."""
    if all(isinstance(value, np.ndarray) for value in (condition, then, otherwise)):
        return np.asarray(np.where(condition, then, otherwise))  # type: ignore[arg-type]  # all are arrays, as checked above
    return _select(*to_tensors(call.dtype, condition, then, otherwise))


@op("Where", outputs=("index",))
def where(call: Call, condition: Value) -> Value:
    """Return the positions of the nonzero elements, one per row."""
    return torch.nonzero(to_tensor(condition, call.dtype))
