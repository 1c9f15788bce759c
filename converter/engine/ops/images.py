"""Resizing and cropping of images, on every sampling grid that TensorFlow has used.

Sampling positions are computed in float32 even if the pixels are float64, as in TensorFlow: a position that is rounded
differently would select a different pixel.
Sources: the documentation of `tf.image.resize`, of `tf.compat.v1.image.resize_bicubic` and of the raw operations, and
comparison with TensorFlow's results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import (
    Array,
    Tensor,
    Value,
    is_known_true,
    to_array,
    to_dtype,
    to_ints,
    to_tensor,
    to_tensors,
)
from converter.errors import GraphError

_F32 = np.float32
#: The bicubic kernel is tabulated at this many positions between two pixels.
_TABLE_SIZE = 1024


def _scale(call: Call, source: int, target: int) -> Any:
    if call.flag("align_corners") and target > 1:
        return _F32(source - 1) / _F32(target - 1)
    return _F32(source) / _F32(target)


def _sample_positions(call: Call, source: int, target: int) -> Array:
    """Return the position of each target pixel, in source pixels."""
    numbers = np.arange(target, dtype=_F32)
    scale = _scale(call, source, target)
    if call.flag("half_pixel_centers"):
        return np.asarray((numbers + _F32(0.5)) * scale - _F32(0.5))
    return np.asarray(numbers * scale)


def _is_symbolic(*sizes: Any) -> bool:
    """Return whether some sizes are symbols of an export."""
    return any(type(size) is not int for size in sizes)


def _symbolic_positions(call: Call, source: Any, target: Any, shift: float) -> Tensor:
    """Return the same positions, plus `shift`, as a float32 tensor that is computed from symbols of an export."""
    numbers = torch.arange(target, dtype=torch.float32)
    rows, places = (torch.scalar_tensor(size, dtype=torch.float32) for size in (source, target))
    align = call.flag("align_corners")
    scale = (rows - 1) / torch.clamp(places - 1, min=1) if align else rows / places
    return (numbers + 0.5) * scale + (shift - 0.5) if call.flag("half_pixel_centers") else numbers * scale + shift


def _check_target(call: Call, images: Tensor, size: Value) -> tuple[int, int]:
    height, width = to_ints(size)
    sizes = [size for size in (height, width, *images.shape[1:3]) if not _is_symbolic(size)]
    if images.ndim != 4 or min(sizes, default=1) < 1:
        raise GraphError(f"images of shape {list(images.shape)} cannot be resized to {height} by {width}")
    call.check_size([images.shape[0], height, width, images.shape[3]])
    return height, width


def _take_rows(x: Tensor, axis: int, index: Array | Tensor) -> Tensor:
    if isinstance(index, Tensor):
        return x.index_select(axis, index.to(torch.int64))
    return x.index_select(axis, torch.from_numpy(index.astype(np.int64)).to(x.device))


def _broadcast_weights(x: Tensor, axis: int, weights: Array | Tensor) -> Tensor:
    shape = [-1 if at == axis else 1 for at in range(x.ndim)]
    if isinstance(weights, Tensor):
        return to_dtype(weights, x.dtype).reshape(shape)
    return torch.from_numpy(weights.astype(np.float64)).to(x.device, x.dtype).reshape(shape)


def _interpolate(x: Tensor, target: tuple[int, int], mode: str, *, align_corners: bool | None = None) -> Tensor:
    return F.interpolate(x.movedim(-1, 1), target, mode=mode, align_corners=align_corners).movedim(1, -1)


@op("ResizeBilinear", outputs=("resized_images",))
def resize_bilinear(call: Call, images: Value, size: Value) -> Value:
    """Resize by interpolating between the four nearest pixels."""
    x = to_tensor(images, call.dtype)
    target = _check_target(call, x, size)
    x = to_dtype(x, call.dtype)
    align = call.flag("align_corners")
    if x.dtype == torch.float32 and (align or call.flag("half_pixel_centers")):
        # PyTorch's grids are the same, but in float64 it does not round positions as TensorFlow does.
        return _interpolate(x, target, "bilinear", align_corners=align)
    for axis in (2, 1):
        length = x.shape[axis]
        lower, upper, fraction = _linear_taps(call, length, target[axis - 1])
        before, after = _take_rows(x, axis, lower), _take_rows(x, axis, upper)
        x = before + (after - before) * _broadcast_weights(x, axis, fraction)
    return x


def _linear_taps(call: Call, source: int, target: int) -> tuple[Any, Any, Any]:
    """Return the indices of two pixels for each target pixel, and the weight of the second one."""
    if _is_symbolic(source, target):
        places = _symbolic_positions(call, source, target, 0.0)
        below = places.floor()
        return below.clamp(min=0), torch.minimum(places.ceil(), torch.scalar_tensor(source - 1)), places - below
    positions = _sample_positions(call, source, target)
    floor = np.floor(positions)
    return np.maximum(floor, 0), np.minimum(np.ceil(positions), source - 1), positions - floor


@op("ResizeNearestNeighbor", outputs=("resized_images",))
def resize_nearest(call: Call, images: Value, size: Value) -> Value:
    """Resize by taking the nearest pixel."""
    x = to_tensor(images, call.dtype)
    target = _check_target(call, x, size)
    is_half_pixel, align = call.flag("half_pixel_centers"), call.flag("align_corners")
    is_multiple = all(
        is_known_true(size % length == 0) for size, length in zip(target, x.shape[1:3], strict=True)
    )  # then both grids take the same pixels
    if x.dtype == torch.float32 and not align and (not is_half_pixel or is_multiple):
        return _interpolate(x, target, "nearest")
    for axis in (1, 2):
        x = _take_rows(x, axis, _nearest_taps(call, x.shape[axis], target[axis - 1]))
    return x


def _nearest_taps(call: Call, source: int, target: int) -> Array | Tensor:
    """Return the index of a pixel for each target pixel."""
    is_half_pixel, align = call.flag("half_pixel_centers"), call.flag("align_corners")
    if _is_symbolic(source, target):
        places = _symbolic_positions(call, source, target, 0.5 if is_half_pixel or align else 0.0)
        return torch.minimum(places.floor().clamp(min=0), torch.scalar_tensor(source - 1))
    numbers = np.arange(target, dtype=_F32)
    positions = (numbers + (_F32(0.5) if is_half_pixel else _F32(0))) * _scale(call, source, target)
    # TensorFlow rounds halves up, unlike np.round.
    rounded = np.floor(positions + _F32(0.5)) if align else np.floor(positions)
    return np.asarray(np.clip(rounded, 0, source - 1))


@op("ResizeBicubic", outputs=("resized_images",))
def resize_bicubic(call: Call, images: Value, size: Value) -> Value:
    """Resize with a cubic kernel over the sixteen nearest pixels; a is -0.5 on half-pixel centres, otherwise -0.75."""
    x = to_tensor(images, call.dtype)
    target = _check_target(call, x, size)
    x = to_dtype(x, call.dtype)
    for axis in (2, 1):
        index, weights = _cubic_taps(call, x.shape[axis], target[axis - 1])
        parts = (_take_rows(x, axis, index[tap]) * _broadcast_weights(x, axis, weights[tap]) for tap in range(4))
        x = torch.stack(list(parts)).sum(0)
    return x


def _cubic_taps(call: Call, source: int, target: int) -> tuple[Array, Array]:
    """Return the indices of four pixels for each target pixel, and their weights; both of shape (4, target)."""
    is_half_pixel = call.flag("half_pixel_centers")
    a = -0.5 if is_half_pixel else -0.75
    positions = _sample_positions(call, source, target)
    floor = np.floor(positions)
    fraction = np.rint((positions - floor) * _F32(_TABLE_SIZE)) / _TABLE_SIZE
    distances = np.stack([1 + fraction, fraction, 1 - fraction, 2 - fraction])
    near = ((a + 2) * distances - (a + 3)) * distances**2 + 1
    far = ((a * distances - 5 * a) * distances + 8 * a) * distances - 4 * a
    weights = np.where(distances <= 1, near, far)
    unclipped = floor + np.array([[-1.0], [0.0], [1.0], [2.0]])
    index = np.clip(unclipped, 0, source - 1)
    if is_half_pixel:
        # Pixels beyond the border are ignored, and the other weights are scaled up.
        weights = np.where(index == unclipped, weights, 0)
        weights = weights / weights.sum(0)
    return index, weights


@op("ResizeArea", outputs=("resized_images",))
def resize_area(call: Call, images: Value, size: Value) -> Value:
    """Resize by averaging over the area that each target pixel covers."""
    x = to_tensor(images, call.dtype)
    target = _check_target(call, x, size)
    x = to_dtype(x, call.dtype)
    for axis in (1, 2):
        length = x.shape[axis]
        scale = _scale(call, length, target[axis - 1])
        first = np.arange(target[axis - 1], dtype=_F32) * scale
        last = (np.arange(target[axis - 1], dtype=_F32) + 1) * scale
        matrix = np.zeros((target[axis - 1], length))
        for row, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            for pixel in range(math.floor(begin), math.ceil(end)):
                covered = min(pixel + 1, end) - max(pixel, begin)
                matrix[row, min(max(pixel, 0), length - 1)] += covered / float(scale)
        x = _apply_matrix(x, axis, matrix)
    return x


def _apply_matrix(x: Tensor, axis: int, matrix: Array) -> Tensor:
    """Multiply an axis by a matrix of shape (new size, old size)."""
    weights = torch.from_numpy(matrix).to(x.device, x.dtype)
    return torch.tensordot(weights, x, dims=([1], [axis])).movedim(0, axis)  # type: ignore[no-any-return]


@op("ScaleAndTranslate", outputs=("resized_images",))
def scale_and_translate(call: Call, images: Value, size: Value, scale: Value, translation: Value) -> Value:
    """Resample with the kernel that the node names; `antialias` widens it when an image is made smaller."""
    x = to_tensor(images, call.dtype)
    target = _check_target(call, x, size)
    x = to_dtype(x, call.dtype)
    scales, shifts = to_array(scale).ravel().tolist(), to_array(translation).ravel().tolist()
    for axis in (1, 2):
        matrix = _kernel_matrix(call, x.shape[axis], target[axis - 1], scales[axis - 1], shifts[axis - 1])
        x = _apply_matrix(x, axis, matrix)
    return x


def _kernel_matrix(call: Call, source: int, target: int, scale: float, shift: float) -> Array:
    inverse = _F32(1) / _F32(scale)
    widening = max(inverse, _F32(1)) if call.flag("antialias", default=True) else _F32(1)
    kind = str(call.get("kernel_type", "lanczos3"))
    if kind not in _KERNELS:
        raise GraphError(f"unknown kernel {kind}, expected one of {', '.join(_KERNELS)}")
    radius, function = _KERNELS[kind]
    centres = (np.arange(target, dtype=_F32) + _F32(0.5)) * inverse - _F32(shift) * inverse
    pixels = np.arange(source, dtype=_F32) + _F32(0.5)
    weights: Array = function(((pixels - centres[:, None]) / widening).astype(np.float64))
    begin = np.maximum(np.ceil(centres - radius * widening - _F32(0.5)), 0)[:, None]
    end = np.minimum(np.floor(centres + radius * widening - _F32(0.5)), source - 1)[:, None]
    numbers = np.arange(source)
    weights = np.where((numbers >= begin) & (numbers <= end), weights, 0)
    total = weights.sum(1, keepdims=True)
    is_inside = ((centres >= 0) & (centres <= source))[:, None] & (np.abs(total) >= 1000 * np.finfo(_F32).tiny)
    normalized: Array = np.where(is_inside, weights / np.where(total == 0, 1, total), 0)
    return normalized


def _triangle(x: Array) -> Array:
    return np.asarray(np.maximum(0, 1 - np.abs(x)))


def _cubic(x: Array) -> Array:
    x = np.abs(x)
    near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x >= 2, 0, np.where(x >= 1, far, near))


def _lanczos(radius: float, x: Array) -> Array:
    return np.where(np.abs(x) > radius, 0, np.sinc(x) * np.sinc(x / radius))


def _gaussian(x: Array) -> Array:
    return np.where(np.abs(x) >= 1.5, 0, np.exp(-(x**2) / (2 * 0.5**2)))


#: The radius and the function of each kernel.
_KERNELS: dict[str, tuple[float, Callable[[Array], Array]]] = {
    "box": (0.5, lambda x: np.where(np.abs(x) < 0.5, 1.0, np.where(np.abs(x) == 0.5, 0.5, 0.0))),
    "triangle": (1.0, _triangle),
    "keyscubic": (2.0, _cubic),
    "lanczos1": (1.0, lambda x: _lanczos(1.0, x)),
    "lanczos3": (3.0, lambda x: _lanczos(3.0, x)),
    "lanczos5": (5.0, lambda x: _lanczos(5.0, x)),
    "gaussian": (1.5, _gaussian),
}


@op("CropAndResize", outputs=("crops",))
def crop_and_resize(call: Call, images: Value, boxes: Value, owners: Value, size: Value) -> Value:
    """Cut boxes, in fractions of the height and width, out of images, and resize them to one size."""
    x, corners, owner = to_tensors(call.dtype, images, boxes, owners)
    height, width = to_ints(size)
    call.check_size([corners.shape[0], height, width, x.shape[3]])
    x, owner = to_dtype(x, call.dtype), to_dtype(owner, torch.int64)
    fill = float(call.get("extrapolation_value", 0.0))
    is_nearest = call.get("method", "bilinear") == "nearest"
    rows, columns = (
        _crop_positions(corners[:, at], corners[:, at + 2], x.shape[1 + at], count)
        for at, count in ((0, height), (1, width))
    )
    inside = _is_inside(rows, x.shape[1])[:, :, None] & _is_inside(columns, x.shape[2])[:, None, :]
    batch = owner[:, None, None]
    rows, columns = rows.clamp(0, x.shape[1] - 1), columns.clamp(0, x.shape[2] - 1)
    if is_nearest:
        crops = x[batch, _round_half_up(rows)[:, :, None], _round_half_up(columns)[:, None, :]]
    else:
        top, left = rows.floor().long()[:, :, None], columns.floor().long()[:, None, :]
        bottom, right = rows.ceil().long()[:, :, None], columns.ceil().long()[:, None, :]
        down, across = (rows - rows.floor())[:, :, None, None], (columns - columns.floor())[:, None, :, None]
        upper = x[batch, top, left] + (x[batch, top, right] - x[batch, top, left]) * across
        lower = x[batch, bottom, left] + (x[batch, bottom, right] - x[batch, bottom, left]) * across
        crops = upper + (lower - upper) * down
    return torch.where(inside[..., None], crops, torch.full((), fill, dtype=crops.dtype))


def _crop_positions(first: Tensor, last: Tensor, length: int, count: int) -> Tensor:
    numbers = torch.arange(count, dtype=first.dtype)
    if count == 1:
        return (0.5 * (first + last) * (length - 1))[:, None]
    return first[:, None] * (length - 1) + numbers * ((last - first) * (length - 1) / (count - 1))[:, None]


def _is_inside(positions: Tensor, length: int) -> Tensor:
    return (positions >= 0) & (positions <= length - 1)


def _round_half_up(positions: Tensor) -> Tensor:
    return (positions + 0.5).floor().long()
