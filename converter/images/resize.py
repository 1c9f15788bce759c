"""Cropping and resizing as TensorFlow does it, in NumPy: images are height × width × channels, values float32.

Both methods are separable: along rows as along columns, an output pixel is a weighted sum of two or four input pixels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from .recipes import CROP_PADDING, Crop, Resize

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Image: TypeAlias = np.ndarray[Any, np.dtype[Any]]
#: For each output pixel along an axis, one input pixel and its weight.
Tap: TypeAlias = tuple[np.ndarray[Any, np.dtype[np.int64]], Floats]

#: TensorFlow looks bicubic weights up in a table of this many steps between two pixels, and so has to be followed.
_STEPS = 1024
#: The cubic kernel's parameter in TensorFlow's legacy grid.
_A = -0.75


def central_crop(image: Image, size: int, crop: Crop) -> Image:
    """Cut the centre square that an evaluation at `size` pixels keeps: a view."""
    if crop == "none":
        return image
    height, width = image.shape[:2]
    # In float32, as TensorFlow computes it: the rounding decides about a pixel.
    side = int(np.float32(size / (size + CROP_PADDING)) * np.float32(min(height, width)))
    extra = 1 if crop == "ceil" else 0
    top, left = (height - side + extra) // 2, (width - side + extra) // 2
    return image[top : top + side, left : left + side]


def resize(image: Image, size: int, method: Resize) -> Floats:
    """Resize to `size` by `size` pixels, without antialiasing; memory goes by `size`, however large the image is."""
    taps = _bilinear if method == "bilinear" else _legacy_bicubic
    down, across = taps(image.shape[0], size), taps(image.shape[1], size)
    resized = np.zeros((size, size, image.shape[2]), np.float32)
    for rows, heights in down:
        line = np.zeros_like(resized)
        for columns, widths in across:
            line += image[rows[:, None], columns] * widths[:, None]
        resized += line * heights[:, None, None]
    return resized


def _bilinear(length: int, size: int) -> list[Tap]:
    """Give the two taps of `tf.image.resize`: half-pixel centres, borders repeated."""
    scale = np.float32(length) / np.float32(size)
    at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(at)
    part = at - below
    return [_tap(below, 0, length, 1 - part), _tap(below, 1, length, part)]


def _legacy_bicubic(length: int, size: int) -> list[Tap]:
    """Give the four taps of `tf.compat.v1.image.resize_bicubic`: corners of pixels, borders repeated."""
    scale = np.float32(length) / np.float32(size)
    at = np.arange(size, dtype=np.float32) * scale
    below = np.floor(at)
    part = np.rint((at - below) * np.float32(_STEPS)).astype(np.float64) / _STEPS
    return [_tap(below, step, length, _cubic(np.abs(part - step)).astype(np.float32)) for step in (-1, 0, 1, 2)]


def _tap(below: Floats, step: int, length: int, weights: Floats) -> Tap:
    """Pair the pixels `step` after those at or before the outputs' places with their weights."""
    return np.clip(below.astype(np.int64) + step, 0, length - 1), weights


def _cubic(x: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The cubic convolution kernel at distances from 0 to 2 (Keys, 1981)."""
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return np.where(x <= 1, near, far)
