"""Convolutions and matrix products together with what follows them, as optimizers of graphs write them.

`fused_ops` names the operations in order: BiasAdd or FusedBatchNorm, and an activation.
Source: TensorFlow `core/ops/nn_ops.cc` for the first two, the documentation of TensorFlow.js for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_tensor, to_tensors
from converter.errors import GraphError

from .convolution import convolution, depthwise_convolution
from .linear import matmul

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Elu": F.elu,
    "GeluApproximate": lambda x: F.gelu(x, approximate="tanh"),
    "GeluExact": F.gelu,
    "Relu": F.relu,
    "Relu6": lambda x: x.clamp(0, 6),
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
}
#: The number of inputs of each fused operation.
_INPUTS = {"BiasAdd": 1, "FusedBatchNorm": 4, "Prelu": 1}


def _names(call: Call) -> list[str]:
    listed = call.get("fused_ops", ())
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in listed]


def _apply(call: Call, value: Value, inputs: Sequence[Value]) -> Tensor:
    """Apply the fused operations, which take their inputs in order."""
    x = to_tensor(value, call.dtype)
    rest = list(to_tensors(call.dtype, *inputs))
    is_first = str(call.get("data_format", "NHWC")) == "NCHW"
    for name in _names(call):
        count = _INPUTS.get(name, 0)
        if count > len(rest):
            raise GraphError(f"{name} needs {count} inputs, and {len(rest)} are left")
        taken, rest = rest[:count], rest[count:]
        if is_first:
            taken = [operand.reshape([-1, 1, 1]) if operand.ndim == 1 else operand for operand in taken]
        x = _apply_one(call, name, x, taken)
    return x


def _apply_one(call: Call, name: str, x: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    if name == "BiasAdd":
        return x + inputs[0]
    if name == "FusedBatchNorm":
        scale, offset, mean, variance = inputs
        return (x - mean) * (torch.rsqrt(variance + float(call.get("epsilon", 1e-4))) * scale) + offset
    if name == "LeakyRelu":
        return F.leaky_relu(x, float(call.get("leakyrelu_alpha", 0.2)))
    if name == "Prelu":
        return _prelu(x, inputs[0])
    if name not in _ACTIVATIONS:
        raise GraphError(f"the fused operation {name} is not supported")
    return _ACTIVATIONS[name](x)


@op("_FusedConv2D")
def fused_convolution(call: Call, value: Value, kernel: Value, *inputs: Value) -> Value:
    """Compute a convolution and what follows it."""
    return _apply(call, convolution(call, value, kernel), inputs)


@op("FusedDepthwiseConv2dNative", "_FusedDepthwiseConv2dNative")
def fused_depthwise_convolution(call: Call, value: Value, kernel: Value, *inputs: Value) -> Value:
    """Compute a depthwise convolution and what follows it."""
    return _apply(call, depthwise_convolution(call, value, kernel), inputs)


@op("_FusedMatMul", outputs=("product",))
def fused_matmul(call: Call, a: Value, b: Value, *inputs: Value) -> Value:
    """Compute a matrix product and what follows it."""
    return _apply(call, matmul(call, a, b), inputs)


def _prelu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x < 0, x * alpha, x)


@op("Prelu")
def prelu(call: Call, x: Value, alpha: Value) -> Value:
    """Multiply negative elements by `alpha`, which is broadcast."""
    return _prelu(*to_tensors(call.dtype, x, alpha))
