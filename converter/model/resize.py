"""Cropping and resizing as TensorFlow does it, in NumPy: images are height × width × channels, values float32.

Both methods are separable: a weight for each pair of an output and an input pixel, along rows and along columns.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from .recipes import CROP_PADDING, Crop, Resize

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Image: TypeAlias = np.ndarray[Any, np.dtype[Any]]

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
    """Resize to `size` by `size` pixels, without antialiasing."""
    weights = _bilinear if method == "bilinear" else _legacy_bicubic
    rows, columns = weights(image.shape[0], size), weights(image.shape[1], size)
    # (size, height) · (height, width, channels) -> (size, width, channels), and the same along the columns.
    tall = np.tensordot(rows, image.astype(np.float32), axes=(1, 0))
    wide = np.tensordot(columns, tall, axes=(1, 1))
    return np.ascontiguousarray(wide.transpose(1, 0, 2), np.float32)


def _bilinear(length: int, size: int) -> Floats:
    """Give `tf.image.resize`'s weights (size, length): half-pixel centres, borders repeated."""
    scale = np.float32(length) / np.float32(size)
    at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(at)
    part = at - below
    matrix = np.zeros((size, length), np.float32)
    outputs = np.arange(size)
    for step, weight in ((0, 1 - part), (1, part)):
        inputs = np.clip(below.astype(np.int64) + step, 0, length - 1)
        np.add.at(matrix, (outputs, inputs), weight)
    return matrix


def _legacy_bicubic(length: int, size: int) -> Floats:
    """Give `tf.compat.v1.image.resize_bicubic`'s weights (size, length): corners of pixels, borders repeated."""
    scale = np.float32(length) / np.float32(size)
    at = np.arange(size, dtype=np.float32) * scale
    below = np.floor(at)
    part = np.rint((at - below) * np.float32(_STEPS)).astype(np.float64) / _STEPS
    matrix = np.zeros((size, length), np.float32)
    outputs = np.arange(size)
    for step in (-1, 0, 1, 2):
        inputs = np.clip(below.astype(np.int64) + step, 0, length - 1)
        np.add.at(matrix, (outputs, inputs), _cubic(np.abs(part - step)).astype(np.float32))
    return matrix


def _cubic(x: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The cubic convolution kernel at distances from 0 to 2 (Keys, 1981)."""
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return np.where(x <= 1, near, far)
