"""Batch normalization, local response normalization, and softmax."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_tensor, to_tensors
from converter.errors import GraphError

_OUTPUTS = ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2")
#: Attributes of LRN with their defaults.
_RESPONSE = {"bias": 1.0, "alpha": 1.0, "beta": 0.5}


@op("FusedBatchNorm", "FusedBatchNormV2", outputs=_OUTPUTS)
def batch_norm(call: Call, *inputs: Value) -> tuple[Value, ...]:
    """Return (x - mean) / sqrt(variance + epsilon) · scale + offset; in training, with the statistics of the batch."""
    x, scale, offset, mean, variance = to_tensors(call.dtype, *inputs)
    epsilon = _read_epsilon(call)
    layout = str(call.get("data_format", "NHWC"))
    is_last = layout[-1] == "C"
    channels_first = x.movedim(-1, 1) if is_last else x
    if call.flag("is_training", default=True):
        y = torch.batch_norm(channels_first, scale, offset, None, None, True, 0.0, epsilon, False)
        outputs = _compute_statistics(call, channels_first, mean, variance)
    elif mean.requires_grad or variance.requires_grad:
        y = _normalize(channels_first, scale, offset, mean, variance, epsilon=epsilon)
        outputs = mean, variance, mean, variance
    else:
        y = F.batch_norm(channels_first, mean, variance, scale, offset, training=False, eps=epsilon)
        outputs = mean, variance, mean, variance
    return (y.movedim(1, -1) if is_last else y), *outputs


def _normalize(x: Tensor, *parameters: Tensor, epsilon: float) -> Tensor:
    """Compute the formula itself, since PyTorch's batch norm does not propagate gradients to the statistics."""
    shape = [1, -1, *([1] * (x.ndim - 2))]
    scale, offset, mean, variance = (vector.reshape(shape) for vector in parameters)
    return (x - mean) * (torch.rsqrt(variance + epsilon) * scale) + offset


@op("FusedBatchNormV3", outputs=(*_OUTPUTS, "reserve_space_3"))
def batch_norm_v3(call: Call, *inputs: Value) -> tuple[Value, ...]:
    """Return the same as `batch_norm`, and an empty third reserve space, which only GPUs use."""
    outputs = batch_norm(call, *inputs)
    return (*outputs, torch.zeros(0, dtype=call.dtype))


def _read_epsilon(call: Call) -> float:
    """Return the decimal number with the fewest digits that is stored as this float32.

    An epsilon of 0.001 is stored as 0.0010000000475. In float32 both are the same. In float64 we use 0.001, which the
    author meant; TensorFlow has no fused batch norm in float64 to compare with.
    """
    return float(str(np.float32(call.get("epsilon", 1e-4))))


def _compute_statistics(call: Call, x: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean and unbiased variance, averaged with the old ones, and then those of the batch itself."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    batch_mean = x.mean(axes)
    batch_variance = x.var(axes, correction=0)
    count = x.numel() // max(x.shape[1], 1)
    unbiased = batch_variance * (count / max(count - 1, 1))
    factor = float(call.get("exponential_avg_factor", 1.0))
    if factor == 1.0:
        return batch_mean, unbiased, batch_mean, batch_variance
    averaged = (1 - factor) * mean + factor * batch_mean, (1 - factor) * variance + factor * unbiased
    return *averaged, batch_mean, batch_variance


@op("BatchNormWithGlobalNormalization", outputs=("result",))
def old_batch_norm(call: Call, *inputs: Value) -> Value:
    """Apply the batch norm of TensorFlow's first versions."""
    t, m, v, beta, gamma = to_tensors(call.dtype, *inputs)
    factor = torch.rsqrt(v + float(call.get("variance_epsilon", 1e-4)))
    factor = factor * gamma if call.flag("scale_after_normalization") else factor
    return (t - m) * factor + beta


@op("LRN")
def local_response(call: Call, value: Value) -> Value:
    """Divide each element by a power of the sum of squares of the neighbouring channels."""
    x = to_tensor(value, call.dtype)
    radius = int(call.get("depth_radius", 5))
    bias, alpha, beta = (float(call.get(name, default)) for name, default in _RESPONSE.items())
    squares = F.pad(torch.square(x), (radius, radius)).unfold(-1, 2 * radius + 1, 1).sum(-1)
    return x / (bias + alpha * squares) ** beta


@op("Softmax", outputs=("softmax",))
def softmax(call: Call, logits: Value) -> Value:
    """Apply softmax along the last axis."""
    return _apply_along_last(torch.softmax, to_tensor(logits, call.dtype))


@op("LogSoftmax", outputs=("logsoftmax",))
def log_softmax(call: Call, logits: Value) -> Value:
    """Return the logarithm of softmax along the last axis."""
    return _apply_along_last(torch.log_softmax, to_tensor(logits, call.dtype))


def _apply_along_last(function: object, x: Tensor) -> Tensor:
    if x.ndim == 0:
        raise GraphError("softmax needs at least one axis, not a scalar")
    return function(x, -1)  # type: ignore[operator,no-any-return]  # torch.softmax or torch.log_softmax
