"""Max pooling and average pooling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_dtype, to_ints, to_tensor, to_tensors
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


@op("MaxPoolWithArgmax", outputs=("output", "argmax"))
def max_pool_with_positions(call: Call, value: Value) -> tuple[Value, Value]:
    """Return the largest value of each window and its position: row, column and channel as one number."""
    window, kernel = _read_geometry(call, call.integers("ksize"), call.integers("strides"))
    x = window.to_channels_first(to_tensor(value, call.dtype))
    batch, channels, height, width = x.shape
    (top, bottom), (left, right) = window.paddings((height, width), kernel)
    padded = F.pad(x, [left, right, top, bottom], value=-math.inf)
    largest, place = F.max_pool2d(padded, kernel, window.strides, return_indices=True)
    row, column = place // padded.shape[3] - top, place % padded.shape[3] - left
    place = (row * width + column) * channels + torch.arange(channels)[:, None, None]
    if call.flag("include_batch_in_index"):
        place = place + torch.arange(batch)[:, None, None, None] * (height * width * channels)
    kind = call.torch_dtype("Targmax", "int64")
    return window.from_channels_first(largest), to_dtype(window.from_channels_first(place), kind)


@op("Dilation2D")
def dilation(call: Call, value: Value, kernel: Value) -> Value:
    """Return the largest sum of image and kernel in each window."""
    x, weight = to_tensors(call.dtype, value, kernel)
    window = read_window(call, call.integers("strides"), call.integers("rates"))
    size = weight.shape[:2]
    (top, bottom), (left, right) = window.paddings(x.shape[1:3], size)
    x = F.pad(x, [0, 0, left, right, top, bottom], value=-math.inf)
    places = list(map(count_places, x.shape[1:3], size, window.strides, window.dilations))
    total = x.new_full([x.shape[0], *places, x.shape[3]], -math.inf)
    for taps in itertools.product(range(size[0]), range(size[1])):
        rows, columns = (
            slice(tap * rate, tap * rate + (count - 1) * stride + 1, stride)
            for tap, rate, stride, count in zip(taps, window.dilations, window.strides, places, strict=True)
        )
        total = torch.maximum(total, x[:, rows, columns] + weight[taps])
    return total


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
