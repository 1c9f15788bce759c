"""TensorFlow's cropping and resizing in NumPy, for images of shape (height, width, channels); results are float32.

Pillow and torchvision average when they shrink an image, and PyTorch does not have the grid of TensorFlow 1.

Both methods are separable: along each axis, an output pixel is a weighted sum of two or four input pixels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from .recipes import CROP_PADDING, Crop, Resize

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Image: TypeAlias = np.ndarray[Any, np.dtype[Any]]
#: The index and the weight of one input pixel, for each output pixel along an axis.
Tap: TypeAlias = tuple[np.ndarray[Any, np.dtype[np.int64]], Floats]

#: TensorFlow looks up bicubic weights in a table with this many steps between two pixels.
_STEPS = 1024
#: The parameter of the cubic kernel in TensorFlow's legacy method.
_A = -0.75


def central_crop(image: Image, size: int, crop: Crop) -> Image:
    """Return the center square that an evaluation at `size` pixels uses, as a view."""
    if crop == "none":
        return image
    height, width = image.shape[:2]
    # Computed in float32 like TensorFlow, because its rounding may change the result by a pixel.
    side = int(np.float32(size / (size + CROP_PADDING)) * np.float32(min(height, width)))
    extra = 1 if crop == "ceil" else 0
    top, left = (height - side + extra) // 2, (width - side + extra) // 2
    return image[top : top + side, left : left + side]


def resize(image: Image, size: int, method: Resize) -> Floats:
    """Return the image resized to `size` by `size` pixels, without antialiasing; the memory depends only on `size`."""
    compute_taps = _compute_bilinear if method == "bilinear" else _compute_legacy_bicubic
    vertical, horizontal = compute_taps(image.shape[0], size), compute_taps(image.shape[1], size)
    resized = np.zeros((size, size, image.shape[2]), np.float32)
    for rows, row_weights in vertical:
        line = np.zeros_like(resized)
        for columns, column_weights in horizontal:
            line += image[rows[:, None], columns] * column_weights[:, None]
        resized += line * row_weights[:, None, None]
    return resized


def _compute_bilinear(length: int, size: int) -> list[Tap]:
    """Return the two taps of `tf.image.resize`: half-pixel centers, repeated borders."""
    scale = np.float32(length) / np.float32(size)
    position = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(position)
    part = position - below
    return [_make_tap(below, 0, length, 1 - part), _make_tap(below, 1, length, part)]


def _compute_legacy_bicubic(length: int, size: int) -> list[Tap]:
    """Return the four taps of `tf.compat.v1.image.resize_bicubic`: no half-pixel centers, repeated borders."""
    scale = np.float32(length) / np.float32(size)
    position = np.arange(size, dtype=np.float32) * scale
    below = np.floor(position)
    part = np.rint((position - below) * np.float32(_STEPS)).astype(np.float64) / _STEPS
    return [
        _make_tap(below, step, length, _evaluate_kernel(np.abs(part - step)).astype(np.float32))
        for step in (-1, 0, 1, 2)
    ]


def _make_tap(below: Floats, step: int, length: int, weights: Floats) -> Tap:
    """Return the tap of the input pixels `step` after `below`, clipped to the image."""
    return np.clip(below.astype(np.int64) + step, 0, length - 1), weights


def _evaluate_kernel(x: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the cubic convolution kernel at distances from 0 to 2 (Keys, 1981)."""
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return np.where(x <= 1, near, far)
