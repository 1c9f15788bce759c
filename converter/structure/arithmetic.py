"""Element-wise operations of TensorFlow in NumPy, and the few that arrange their parameters.

Each takes the values of its inputs and the node's attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Operation: TypeAlias = Callable[[Sequence[Array], Mapping[str, object]], Any]

#: Floating-point types by their short names; a cast among them changes precision only.
FLOATS = {"float16", "bfloat16", "float32", "float64"}
#: Of SELU, as its paper has them.
_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772
_ERF_TERMS = 60


class NotElementwiseError(Exception):
    """An operation that is not computed here, or not with these attributes."""


def _unary(function: Callable[[Array], Any]) -> Operation:
    return lambda values, _: function(*values)


def _binary(function: Callable[[Array, Array], Any]) -> Operation:
    return lambda values, _: function(*values)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    positive = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + positive), positive / (1 + positive))


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) without overflow."""
    return np.logaddexp(x, 0)


def elu(x: Array) -> Array:
    """Return x, or exp(x) - 1 where x is negative."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x: Array) -> Array:
    """Return the scaled ELU."""
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def erf(x: Array) -> Array:
    """Return the error function, by its series; beyond 4 it is 1 to the last bit that matters here."""
    near = np.clip(x, -4, 4)
    total = term = near
    for n in range(1, _ERF_TERMS):
        term = -term * near * near / n
        total = total + term / (2 * n + 1)
    return np.where(np.abs(x) < 4, 2 / np.sqrt(np.pi) * total, np.sign(x))


def _leaky_relu(values: Sequence[Array], attributes: Mapping[str, object]) -> Array:
    alpha = attributes.get("alpha", 0.2)
    return np.where(values[0] > 0, values[0], values[0] * (alpha if isinstance(alpha, float) else 0.2))


def _bias_add(values: Sequence[Array], attributes: Mapping[str, object]) -> Any:
    value, bias = values
    if attributes.get("data_format") == b"NCHW":
        bias = bias.reshape(-1, *(1,) * (value.ndim - 2))
    return value + bias


def _cast(values: Sequence[Array], attributes: Mapping[str, object]) -> Array:
    kind = attributes.get("DstT")
    if kind in FLOATS:
        return values[0].astype(np.float64)
    if kind == "bool":
        return values[0].astype(bool)
    if isinstance(kind, str) and kind.startswith(("int", "uint")):
        return values[0].astype(np.int64)
    raise NotElementwiseError


def _squeeze(values: Sequence[Array], attributes: Mapping[str, object]) -> Array:
    axes = attributes.get("squeeze_dims") or ()
    if not isinstance(axes, tuple):
        raise NotElementwiseError
    return np.squeeze(values[0], tuple(int(axis) for axis in axes) or None)


def _pack(values: Sequence[Array], attributes: Mapping[str, object]) -> Array:
    axis = attributes.get("axis", 0)
    return np.stack(values, axis if isinstance(axis, int) else 0)


def _strided_slice(values: Sequence[Array], attributes: Mapping[str, object]) -> Array:
    value, begin, end, step = values
    if value.ndim != 1 or begin.size != 1 or attributes.get("ellipsis_mask") or attributes.get("new_axis_mask"):
        raise NotElementwiseError
    first = None if attributes.get("begin_mask") else int(begin[0])
    if attributes.get("shrink_axis_mask"):
        return np.asarray(value[int(begin[0])])
    return value[first : None if attributes.get("end_mask") else int(end[0]) : int(step[0])]


def _power(base: Array, exponent: Array) -> Any:
    with np.errstate(all="ignore"):
        return np.power(base, exponent)


OPERATIONS: Mapping[str, Operation] = {
    "Abs": _unary(np.abs),
    "Ceil": _unary(np.ceil),
    "Elu": _unary(elu),
    "Erf": _unary(erf),
    "Erfc": _unary(lambda x: 1 - erf(x)),
    "Exp": _unary(np.exp),
    "Expm1": _unary(np.expm1),
    "Floor": _unary(np.floor),
    "Inv": _unary(lambda x: 1 / x),
    "Log": _unary(np.log),
    "Log1p": _unary(np.log1p),
    "LogicalNot": _unary(np.logical_not),
    "Neg": _unary(np.negative),
    "Reciprocal": _unary(lambda x: 1 / x),
    "Relu": _unary(lambda x: np.maximum(x, 0)),
    "Relu6": _unary(lambda x: np.clip(x, 0, 6)),
    "Round": _unary(np.round),
    "Rsqrt": _unary(lambda x: 1 / np.sqrt(x)),
    "Selu": _unary(selu),
    "Sigmoid": _unary(sigmoid),
    "Sign": _unary(np.sign),
    "Softplus": _unary(softplus),
    "Softsign": _unary(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _unary(np.sqrt),
    "Square": _unary(np.square),
    "Tanh": _unary(np.tanh),
    "Add": _binary(np.add),
    "AddV2": _binary(np.add),
    "Div": _binary(np.divide),
    "DivNoNan": _binary(np.divide),
    "Equal": _binary(np.equal),
    "FloorDiv": _binary(np.floor_divide),
    "FloorMod": _binary(np.mod),
    "Greater": _binary(np.greater),
    "GreaterEqual": _binary(np.greater_equal),
    "Less": _binary(np.less),
    "LessEqual": _binary(np.less_equal),
    "LogicalAnd": _binary(np.logical_and),
    "LogicalOr": _binary(np.logical_or),
    "Maximum": _binary(np.maximum),
    "Minimum": _binary(np.minimum),
    "Mul": _binary(np.multiply),
    "NotEqual": _binary(np.not_equal),
    "Pow": _binary(_power),
    "RealDiv": _binary(np.divide),
    "SquaredDifference": _binary(lambda x, y: np.square(x - y)),
    "Sub": _binary(np.subtract),
    "AddN": lambda values, _: sum(values[1:], start=values[0]),
    "BiasAdd": _bias_add,
    "Cast": _cast,
    "ClipByValue": lambda values, _: np.minimum(np.maximum(values[0], values[1]), values[2]),
    "ConcatV2": lambda values, _: np.concatenate(values[:-1], int(values[-1])),
    "ExpandDims": lambda values, _: np.expand_dims(values[0], int(values[1])),
    "Fill": lambda values, _: np.full(values[0], values[1]),
    "LeakyRelu": _leaky_relu,
    "OnesLike": lambda values, _: np.ones_like(values[0]),
    "Pack": _pack,
    "Range": lambda values, _: np.arange(*map(int, values)),
    "Reshape": lambda values, _: np.reshape(values[0], values[1]),
    "Select": lambda values, _: np.where(*values),
    "SelectV2": lambda values, _: np.where(*values),
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "ZerosLike": lambda values, _: np.zeros_like(values[0]),
}

#: Those of the operations above that compute every element of their output from the same element of their inputs.
ELEMENTWISE = OPERATIONS.keys() - {
    "ConcatV2",
    "ExpandDims",
    "Fill",
    "Pack",
    "Range",
    "Reshape",
    "Squeeze",
    "StridedSlice",
}
