"""Element-wise operations on one operand, or on two that are broadcast.

Integers on the host stay there, so that arithmetic on shapes never becomes part of an exported module.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import (
    Array,
    Tensor,
    Value,
    host_float,
    is_float,
    is_floating,
    is_known_true,
    numpy_dtype,
    to_dtype,
    to_number,
    to_tensor,
    to_tensors,
)
from converter.errors import GraphError

TensorFunction = Callable[..., Tensor]
HostFunction = Callable[..., Any]


def unary(name: str, on_tensor: TensorFunction, on_host: HostFunction | None = None) -> None:
    """Register an operation on one operand."""

    def kernel(call: Call, x: Value) -> Value:
        if on_host is not None and isinstance(x, np.ndarray):
            with np.errstate(all="ignore"):
                return _like(on_host(x), x)
        return on_tensor(to_tensor(x, call.dtype))

    op(name, outputs=("y",))(kernel)


def binary(
    *names: str, on_tensor: TensorFunction, on_host: HostFunction | None = None, takes_numbers: bool = False
) -> None:
    """Register an operation on two operands that are broadcast.

    With `takes_numbers`, `on_tensor` takes a Python number in place of one of its operands, so that an exported module
    has the number itself.
    """

    def kernel(call: Call, x: Value, y: Value) -> Value:
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
            if on_host is not None:
                with np.errstate(all="ignore"):
                    return _like(on_host(x, y), x if x.dtype != object else y)
        elif takes_numbers:
            x, y = _as_number(x, y), _as_number(y, x)
            if not (isinstance(x, Tensor | float) and isinstance(y, Tensor | float)):
                x, y = to_tensors(call.dtype, x, y)
            return on_tensor(x, y)
        return on_tensor(*to_tensors(call.dtype, x, y))

    op(*names, outputs=("z",))(kernel)


def _as_number(operand: Value, other: Value) -> Any:
    """Return an operand of one floating-point number as a Python number, if broadcasting it adds no axis."""
    is_number = (
        isinstance(operand, np.ndarray)
        and operand.dtype.kind == "f"
        and operand.size == 1
        and isinstance(other, Tensor)
        and operand.ndim <= other.ndim
    )
    return operand.item() if is_number else operand  # type: ignore[union-attr]  # an array, as checked above


def _like(result: Any, operand: Array) -> Array:
    """Return the result in the dtype of the operand, as TensorFlow does."""
    array = np.asarray(result)
    return array if object in (array.dtype, operand.dtype) else array.astype(operand.dtype, copy=False)


def _softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp(x)) without PyTorch's approximation for large x, which is too coarse in float64."""
    return torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device))


def _reciprocal(x: Tensor) -> Tensor:
    return (
        torch.reciprocal(x)
        if x.is_floating_point() or x.is_complex()
        else torch.div(1, x, rounding_mode="trunc").to(x.dtype)
    )


unary("Abs", torch.abs, np.abs)
unary("Acos", torch.acos)
unary("Acosh", torch.acosh)
unary("Asin", torch.asin)
unary("Asinh", torch.asinh)
unary("Atan", torch.atan)
unary("Atanh", torch.atanh)
unary("Ceil", torch.ceil, np.ceil)
unary("Cos", torch.cos)
unary("Cosh", torch.cosh)
unary("Digamma", torch.digamma)
unary("Erf", torch.erf)
unary("Erfc", torch.erfc)
unary("Erfinv", torch.erfinv)
unary("Exp", torch.exp)
unary("Expm1", torch.expm1)
unary("Floor", torch.floor, np.floor)
unary("Inv", _reciprocal)
unary("Invert", torch.bitwise_not, np.invert)
unary("Lgamma", torch.lgamma)
unary("Log", torch.log)
unary("Log1p", torch.log1p)
unary("Neg", torch.neg, np.negative)
unary("Ndtri", torch.special.ndtri)
unary("Reciprocal", _reciprocal)
unary("Relu", torch.relu)
unary("Rint", torch.round, np.rint)
unary("Round", torch.round, np.round)
unary("Rsqrt", torch.rsqrt)
unary("Sigmoid", torch.sigmoid)
unary("Sign", torch.sign, np.sign)
unary("Sin", torch.sin)
unary("Sinh", torch.sinh)
unary("Softplus", _softplus)
unary("Softsign", lambda x: x / (1 + x.abs()))
unary("Sqrt", torch.sqrt, np.sqrt)
unary("Square", torch.square, np.square)
unary("Tan", torch.tan)
unary("Tanh", torch.tanh)


def _divide(x: Tensor | float, y: Tensor | float) -> Tensor:
    """Divide as TensorFlow's Div does: integers are rounded toward zero."""
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        return x / y  # type: ignore[return-value]  # one of them is a tensor
    is_exact = x.is_floating_point() or x.is_complex()
    return torch.div(x, y) if is_exact else torch.div(x, y, rounding_mode="trunc")


def _floor_divide(x: Tensor, y: Tensor) -> Tensor:
    """Return the floor of the rounded quotient, as TensorFlow does; PyTorch takes that of the exact quotient."""
    return torch.floor(x / y) if x.is_floating_point() else torch.div(x, y, rounding_mode="floor")


def _no_nan(function: TensorFunction, zero: int) -> TensorFunction:
    """Make a binary function return 0 wherever operand number `zero` is 0, and keep its gradients finite."""

    def safe(*operands: Tensor) -> Tensor:
        is_zero = operands[zero] == 0
        guarded = [*operands]
        guarded[zero] = torch.where(is_zero, torch.ones_like(operands[zero]), operands[zero])
        result = function(*guarded)
        return torch.where(is_zero, torch.zeros_like(result), result)

    return safe


def _host_divisor(function: HostFunction) -> HostFunction:
    def checked(x: Array, y: Array) -> Any:
        if y.dtype != object and not is_floating(y) and not y.all():
            raise GraphError("integer division by zero")
        return function(x, y)

    return checked


def _host_truncate(x: Array, y: Array) -> Any:
    """Divide, rounding toward zero; integers are not converted to floating point."""
    if object in (x.dtype, y.dtype):
        return _truncate_symbols(x, y)
    if is_floating(x):
        return np.trunc(x / y)
    quotient = np.abs(x) // np.abs(y)
    return np.where((x < 0) != (y < 0), -quotient, quotient)


def _host_floor(x: Array, y: Array) -> Any:
    """Divide, rounding down; of floating-point numbers the rounded quotient, as TensorFlow does."""
    if is_floating(x):
        return np.floor(x / y)
    return _floor_symbols(x, y) if object in (x.dtype, y.dtype) else np.floor_divide(x, y)


def _floor_symbol(x: Any, y: Any) -> Any:
    """Divide a symbol of an export; a multiple of the divisor if the dividend may be negative.

    ONNX divides toward zero, so that only an exact division is right for negative dividends.
    """
    return x // y if is_known_true(x >= 0) else (x - x % y) // y


def _truncate_symbol(x: Any, y: Any) -> Any:
    """Divide a symbol of an export, rounding toward zero; its sign must be known."""
    if is_known_true(x >= 0):
        return x // y
    if is_known_true(x <= 0):
        return -(-x // y)
    raise GraphError(f"cannot export the division of {x}, a size that may be negative")


_floor_symbols = np.frompyfunc(_floor_symbol, 2, 1)
_truncate_symbols = np.frompyfunc(_truncate_symbol, 2, 1)


def _host_divide(x: Array, y: Array) -> Any:
    return np.divide(x, y) if is_floating(x) else _host_truncate(x, y)


binary("Add", "AddV2", on_tensor=operator.add, on_host=np.add, takes_numbers=True)
binary("Atan2", on_tensor=torch.atan2)
binary("BitwiseAnd", on_tensor=torch.bitwise_and, on_host=np.bitwise_and)
binary("BitwiseOr", on_tensor=torch.bitwise_or, on_host=np.bitwise_or)
binary("BitwiseXor", on_tensor=torch.bitwise_xor, on_host=np.bitwise_xor)
binary("Div", on_tensor=_divide, on_host=_host_divisor(_host_divide))
binary("DivNoNan", on_tensor=_no_nan(torch.div, 1))
binary("FloorDiv", on_tensor=_floor_divide, on_host=_host_divisor(_host_floor))
binary("FloorMod", on_tensor=torch.remainder, on_host=_host_divisor(np.mod))
binary("LeftShift", on_tensor=torch.bitwise_left_shift, on_host=np.left_shift)
binary("Maximum", on_tensor=torch.maximum, on_host=np.maximum)
binary("Minimum", on_tensor=torch.minimum, on_host=np.minimum)
binary("Mod", "TruncateMod", on_tensor=torch.fmod, on_host=_host_divisor(np.fmod))
binary("Mul", on_tensor=operator.mul, on_host=np.multiply, takes_numbers=True)
binary("MulNoNan", on_tensor=_no_nan(torch.mul, 1))
binary("Pow", on_tensor=torch.pow, on_host=np.power, takes_numbers=True)
binary("RealDiv", on_tensor=_divide, on_host=_host_divisor(_host_divide), takes_numbers=True)
binary("RightShift", on_tensor=torch.bitwise_right_shift, on_host=np.right_shift)
binary("SquaredDifference", on_tensor=lambda x, y: torch.square(x - y), on_host=lambda x, y: np.square(x - y))
binary("Sub", on_tensor=operator.sub, on_host=np.subtract, takes_numbers=True)
binary(
    "TruncateDiv", on_tensor=lambda x, y: torch.div(x, y, rounding_mode="trunc"), on_host=_host_divisor(_host_truncate)
)
binary("Xdivy", on_tensor=_no_nan(torch.div, 0))
binary("Xlog1py", on_tensor=torch.special.xlog1py)
binary("Xlogy", on_tensor=torch.special.xlogy)


@op("AddN", "AccumulateNV2", outputs=("sum",))
def add_n(call: Call, *inputs: Value) -> Value:
    """Return the sum of all inputs, which have the same shape."""
    arrays = [x for x in inputs if isinstance(x, np.ndarray)]
    if len(arrays) == len(inputs):
        return np.asarray(reduce(np.add, arrays))
    return reduce(torch.add, to_tensors(call.dtype, *inputs))


@op("BiasAdd", "BiasAddV1")
def bias_add(call: Call, value: Value, bias: Value) -> Value:
    """Add a vector along the channels: the last axis, or the second one in NCHW."""
    value, bias = to_tensors(call.dtype, value, bias)
    if str(call.get("data_format", "NHWC")).startswith("NC"):
        bias = bias.reshape([1, -1] + [1] * (value.ndim - 2))
    return value + bias


@op("ClipByValue")
def clip_by_value(call: Call, value: Value, low: Value, high: Value) -> Value:
    """Clip every element to the range from `low` to `high`."""
    value, low, high = to_tensors(call.dtype, value, low, high)
    return torch.minimum(torch.maximum(value, low), high)


@op("Elu", outputs=("activations",))
def elu(call: Call, x: Value) -> Value:
    """Return exp(x) - 1 for negative x, and x otherwise."""
    return F.elu(to_tensor(x, call.dtype))


@op("Selu", outputs=("activations",))
def selu(call: Call, x: Value) -> Value:
    """Apply the self-normalizing unit, with the constants of its paper."""
    return F.selu(to_tensor(x, call.dtype))


@op("Relu6", outputs=("activations",))
def relu6(call: Call, x: Value) -> Value:
    """Clip every element to the range from 0 to 6."""
    return to_tensor(x, call.dtype).clamp(0, 6)


#: The default slope as graphs store it, in float32; SavedModels leave defaults out.
_LEAKY_SLOPE = 0.20000000298023224


@op("LeakyRelu", outputs=("activations",))
def leaky_relu(call: Call, x: Value) -> Value:
    """Multiply negative elements by `alpha`."""
    return F.leaky_relu(to_tensor(x, call.dtype), call.get("alpha", _LEAKY_SLOPE))


@op("Cast", outputs=("y",))
def cast(call: Call, x: Value) -> Value:
    """Convert to another dtype; integers are rounded toward zero, and floating-point types are all the same here."""
    source, target = call.type_name("SrcT"), call.type_name("DstT")
    if isinstance(x, np.ndarray):
        if x.dtype == object:  # symbols of an export
            return np.asarray((_to_symbolic_float if is_float(target) else _to_symbolic_int)(x), object)
        return x.astype(numpy_dtype(target, call.dtype))
    if is_float(source) and is_float(target):
        return x
    if source.startswith("complex") and not target.startswith("complex"):
        x = torch.real(to_tensor(x, call.dtype))
    return to_dtype(to_tensor(x, call.dtype), call.torch_dtype("DstT"))


_to_symbolic_float = np.frompyfunc(torch.sym_float, 1, 1)
_to_symbolic_int = np.frompyfunc(torch.sym_int, 1, 1)


@op("L2Loss")
def l2_loss(call: Call, t: Value) -> Value:
    """Return half the sum of squares."""
    return torch.sum(torch.square(to_tensor(t, call.dtype))) / 2


@op("FakeQuantWithMinMaxArgs", outputs=("outputs",))
def fake_quantize_fixed(call: Call, inputs: Value) -> Value:
    """Round to the steps of a quantization whose range is set by attributes."""
    low, high = float(call.get("min", -6.0)), float(call.get("max", 6.0))
    return _fake_quantize(call, to_tensor(inputs, call.dtype), low, high)


@op("FakeQuantWithMinMaxVars", outputs=("outputs",))
def fake_quantize(call: Call, inputs: Value, low: Value, high: Value) -> Value:
    """Round to the steps of a quantization whose range is set by inputs."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):  # an export does not know their values
        quantized: Value = fake_quantize_channels(call, inputs, low, high)
        return quantized
    return _fake_quantize(call, to_tensor(inputs, call.dtype), to_number(low), to_number(high))


@op("FakeQuantWithMinMaxVarsPerChannel", outputs=("outputs",))
def fake_quantize_channels(call: Call, inputs: Value, low: Value, high: Value) -> Value:
    """Round to the steps of a quantization whose range is set for each channel, along the last axis."""
    x, lows, highs = to_tensors(call.dtype, inputs, low, high)
    floor = 1 if call.flag("narrow_range") else 0
    ceiling = 2 ** int(call.get("num_bits", 8)) - 1
    low32, high32 = lows.float(), highs.float()  # TensorFlow computes the steps in float32 for any input
    scale = (high32 - low32) / (ceiling - floor)
    zero = torch.floor((floor - low32 / scale).clamp(floor, ceiling) + 0.5)
    nudged_low, nudged_high = (floor - zero) * scale, (ceiling - zero) * scale
    shifted = torch.minimum(torch.maximum(x.float(), nudged_low), nudged_high) - nudged_low
    rounded = torch.floor(shifted * (1 / scale) + 0.5) * scale + nudged_low
    return to_dtype(torch.where((low32 == 0) & (high32 == 0), torch.zeros_like(rounded), rounded), x.dtype)


@op("Bucketize")
def bucketize(call: Call, value: Value) -> Value:
    """Return the number of boundaries that are not greater than each element."""
    x = to_tensor(value, call.dtype)
    boundaries = torch.tensor([float(bound) for bound in call.get("boundaries", ())], dtype=torch.float64)
    return torch.bucketize(x.to(torch.float64), boundaries, out_int32=True, right=True)


def _fake_quantize(call: Call, x: Tensor, low: float, high: float) -> Tensor:
    """Round to quantization steps; the range is shifted so that zero is one of them."""
    floor = 1 if call.flag("narrow_range") else 0
    ceiling = 2 ** int(call.get("num_bits", 8)) - 1
    if low == high == 0:
        return torch.zeros_like(x)
    kind = host_float(torch.float32).type  # TensorFlow computes the steps in float32 for any input
    low32, high32 = kind(low), kind(high)
    scale = (high32 - low32) / kind(ceiling - floor)
    zero = min(max(kind(floor) - low32 / scale, kind(floor)), kind(ceiling))
    zero = kind(math.floor(zero + kind(0.5)))
    nudged_low, nudged_high = (kind(floor) - zero) * scale, (kind(ceiling) - zero) * scale
    shifted = x.float().clamp(float(nudged_low), float(nudged_high)) - float(nudged_low)
    step = torch.floor(shifted * float(kind(1) / scale) + 0.5)
    return step.to(x.dtype) * float(scale) + float(nudged_low)
