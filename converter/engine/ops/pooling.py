"""Max pooling and average pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_ints, to_tensor
from converter.errors import GraphError

from .windows import Window, count_places, has_no_place, pad_if_needed, read_window, take_spatial

_LARGEST: dict[int, Callable[..., Tensor]] = {2: F.max_pool2d, 3: F.max_pool3d}
_MEAN: dict[int, Callable[..., Tensor]] = {2: F.avg_pool2d, 3: F.avg_pool3d}


def _read_geometry(call: Call, sizes: Sequence[int], strides: Sequence[int]) -> tuple[Window, tuple[int, ...]]:
    window = read_window(call, strides)
    kernel = take_spatial(sizes, is_last=window.is_channels_last)
    if math.prod(sizes) != math.prod(kernel):
        raise GraphError(f"pooling over the batch or the channels is not supported: windows of {list(sizes)}")
    return window, kernel


@op("MaxPool", "MaxPool3D")
def max_pool(call: Call, value: Value) -> Value:
    """Return the largest value of each window; padding is ignored."""
    return _max_pool(call, value, call.integers("ksize"), call.integers("strides"))


@op("MaxPoolV2")
def max_pool_v2(call: Call, value: Value, sizes: Value, strides: Value) -> Value:
    """Return the same as `max_pool`, with the size and strides of the window as inputs."""
    return _max_pool(call, value, to_ints(sizes), to_ints(strides))


def _max_pool(call: Call, value: Value, sizes: Sequence[int], strides: Sequence[int]) -> Value:
    window, kernel = _read_geometry(call, sizes, strides)
    x = window.to_channels_first(to_tensor(value, call.dtype))
    pairs = window.paddings(x.shape[2:], kernel)
    if has_no_place(x.shape[2:], kernel, window.dilations) and window.padding == "VALID":
        return window.from_channels_first(_make_empty(x, kernel, window))
    fits = all(type(before) is int and 2 * before <= size for (before, _), size in zip(pairs, kernel, strict=True))
    lowest = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    x, padding = pad_if_needed(x, pairs, lowest, symmetric=fits)
    return window.from_channels_first(_LARGEST[len(kernel)](x, kernel, window.strides, padding))


def _make_empty(x: Tensor, kernel: Sequence[int], window: Window) -> Tensor:
    return x.new_zeros([*x.shape[:2], *map(count_places, x.shape[2:], kernel, window.strides)])


@op("AvgPool", "AvgPool3D")
def mean_pool(call: Call, value: Value) -> Value:
    """Return the mean of each window; padding is not counted."""
    window, kernel = _read_geometry(call, call.integers("ksize"), call.integers("strides"))
    x = window.to_channels_first(to_tensor(value, call.dtype))
    pool = _MEAN[len(kernel)]
    pairs = window.paddings(x.shape[2:], kernel)
    if has_no_place(x.shape[2:], kernel, window.dilations) and window.padding == "VALID":
        return window.from_channels_first(_make_empty(x, kernel, window))
    if all(type(before) is int and before == after == 0 for before, after in pairs):
        return window.from_channels_first(pool(x, kernel, window.strides))
    padded, _ = pad_if_needed(x, pairs, symmetric=False)
    inside, _ = pad_if_needed(x.new_ones([1, 1, *x.shape[2:]]), pairs, symmetric=False)
    return window.from_channels_first(pool(padded, kernel, window.strides) / pool(inside, kernel, window.strides))
