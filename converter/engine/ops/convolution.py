"""Convolutions in one to three dimensions, depthwise convolution, and transposed convolution.

Kernels are not copied: PyTorch accepts a permuted view of TensorFlow's HWIO layout.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_ints, to_tensors
from converter.errors import GraphError

from .windows import Window, count_places, has_no_place, pad_if_needed, read_window, take_spatial

_FORWARD: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@op("Conv2D", "Conv3D")
def convolution(call: Call, value: Value, kernel: Value) -> Value:
    """Compute the cross-correlation of the input and the kernel; in groups if the kernel has fewer input channels."""
    x, weight = to_tensors(call.dtype, value, kernel)
    window = _read_window(call)
    if _is_pointwise(window, weight) and x.shape[-1] == weight.shape[-2]:
        return x @ weight.reshape(weight.shape[-2:])
    x = window.to_channels_first(x)
    per_group = weight.shape[-2]
    if per_group == 0 or x.shape[1] % per_group:
        raise GraphError(f"a kernel with {per_group} input channels does not fit a tensor with {x.shape[1]}")
    groups = x.shape[1] // per_group
    weight = weight.movedim((-1, -2), (0, 1))  # out, in, height, width
    return window.from_channels_first(_convolve(window, x, weight, groups))


@op("DepthwiseConv2dNative")
def depthwise_convolution(call: Call, value: Value, kernel: Value) -> Value:
    """Apply M kernels to each channel; output channel c·M + m is the result of kernel m on channel c."""
    x, weight = to_tensors(call.dtype, value, kernel)
    window = _read_window(call)
    x = window.to_channels_first(x)
    height, width, channels, multiplier = weight.shape
    if x.shape[1] != channels:
        raise GraphError(f"a depthwise kernel with {channels} channels does not fit a tensor with {x.shape[1]}")
    if x.dtype == torch.float64:
        return window.from_channels_first(_convolve_by_shifts(window, x, weight))
    weight = weight.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return window.from_channels_first(_convolve(window, x, weight, channels))


def _convolve_by_shifts(window: Window, x: Tensor, weight: Tensor) -> Tensor:
    """Compute a depthwise convolution as a sum of shifted images; PyTorch's own is slow in float64 on a CPU."""
    height, width, channels, multiplier = weight.shape
    x, _ = pad_if_needed(x, window.paddings(x.shape[2:], (height, width)), symmetric=False)
    x = x.movedim(1, -1).unsqueeze(-1)  # batch, rows, columns, channels, 1
    extents = [
        (dilation, stride, count_places(size, taps, stride, dilation))
        for size, taps, stride, dilation in zip(
            x.shape[1:3], (height, width), window.strides, window.dilations, strict=True
        )
    ]
    total = x.new_zeros([x.shape[0], extents[0][2], extents[1][2], channels, multiplier])
    if total.numel() == 0:
        return total.flatten(-2).movedim(-1, 1)
    for taps in itertools.product(range(height), range(width)):
        index = [
            slice(tap * dilation, tap * dilation + (count - 1) * stride + 1, stride)
            for tap, (dilation, stride, count) in zip(taps, extents, strict=True)
        ]
        total = torch.addcmul(total, x[:, index[0], index[1]], weight[taps])
    return total.flatten(-2).movedim(-1, 1)


def _is_pointwise(window: Window, weight: Tensor) -> bool:
    """Return whether the convolution multiplies each pixel by a matrix; a matrix product is then faster."""
    is_dense = window.is_channels_last and set(window.strides) == {1} and window.padding != "EXPLICIT"
    return is_dense and all(size == 1 for size in weight.shape[:-2])


def _convolve(window: Window, x: Tensor, weight: Tensor, groups: int) -> Tensor:
    pairs = window.paddings(x.shape[2:], weight.shape[2:])
    kernel = weight.shape[2:]
    padded = [size + before + after for size, (before, after) in zip(x.shape[2:], pairs, strict=True)]
    if has_no_place(padded, kernel, window.dilations):
        places = map(count_places, padded, kernel, window.strides, window.dilations)
        return x.new_zeros([x.shape[0], weight.shape[0], *places])
    x, padding = pad_if_needed(x, pairs)
    return _FORWARD[weight.ndim - 2](x, weight, None, window.strides, padding, window.dilations, groups)


@op("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def transposed_convolution(call: Call, sizes: Value, kernel: Value, value: Value) -> Value:
    """Add a multiple of the kernel to the output for every input element: the gradient of a convolution's input.

    `sizes` is the output's shape, or only its spatial part.
    """
    x, weight = to_tensors(call.dtype, value, kernel)
    window = _read_window(call)
    x = window.to_channels_first(x)
    whole = to_ints(sizes)
    is_last = window.is_channels_last
    target = take_spatial(whole, is_last=is_last) if len(whole) == x.ndim else tuple(whole)
    call.check_size(whole)
    weight = weight.movedim((-1, -2), (0, 1))  # in (of this operation), out, height, width
    pairs = window.paddings(target, weight.shape[2:])
    y = _TRANSPOSED[weight.ndim - 2](x, weight, None, window.strides, 0, 0, 1, window.dilations)
    missing: list[int] = []
    for axis, (size, (before, after)) in enumerate(zip(target, pairs, strict=True)):
        missing[:0] = [-before, size + before - y.shape[2 + axis]]
        del after
    return window.from_channels_first(F.pad(y, missing))


def _read_window(call: Call) -> Window:
    """Return the geometry of a node, which is computed on its first run and kept."""
    window: Window | None = call.get("_window")
    if window is None:
        window = read_window(call, call.integers("strides"), call.integers("dilations"))
        call.remember("_window", window)
    return window
