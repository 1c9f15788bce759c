"""Inputs for both networks: random numbers, an image, or arrays of the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from tfckpt.errors import printable

from .._typing import Array
from ..errors import FeedError, Shape
from .activations import load_golden

if TYPE_CHECKING:
    from ..images.recipes import Preprocessing

RANDOM = "random"
#: The least side of a small probe: below twice the total stride of 32, the last layers would only see paddings.
SMALL_SIZE = 65
#: Sides that are equal modulo this number have the same parity in all layers of a network of total stride 32.
_PERIOD = 64
#: Pixels of a side if neither graph nor network determine it; a larger probe only takes longer.
DEFAULT_SIZE = 64
MAX_DEFAULT_SIZE = 224
_INPUT = "input"


def choose_shape(declared: Shape | None, channels: int, *, size: int | None, usual: int | None) -> Shape:
    """Return the shape of a probe (NHWC), with the size of the graph, or else `size`, or else `usual` up to a limit.

    Raises `FeedError` if the graph only takes a size different from `size`.
    """
    batch, *sides, _ = declared or (-1, -1, -1, channels)
    chosen = []
    for side in sides:
        if size is not None and side > 0 and side != size:
            raise FeedError(f"the graph takes images of {sides[0]} by {sides[1]} pixels, not of size {size}")
        chosen.append(side if side > 0 else size or min(usual or DEFAULT_SIZE, MAX_DEFAULT_SIZE))
    return (batch if batch > 0 else 1, *chosen, channels)


def shrink(shape: Shape) -> Shape:
    """Return the shape of a small probe with the same paddings in every layer, and a single image."""
    batch, height, width, channels = shape
    height, width = (min(side, SMALL_SIZE + (side - SMALL_SIZE) % _PERIOD) for side in (height, width))
    return batch, height, width, channels


def make_random_probe(shape: Shape, seed: int) -> Array:
    """Return normally distributed numbers, which the seed determines."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def read_probe(path: str, shape: Shape, declared: Shape | None, preprocessing: Preprocessing) -> Array:
    """Read an `.npz` whose only array, or `input`, is an NHWC probe, or preprocess an image file to the given size.

    Raises `FeedError` if an array is not a batch of images, or has a size that the graph does not take.
    """
    if os.path.splitext(path)[1].lower() == ".npz":
        return _read_npz(path, shape, declared)
    from ..images.preprocessing import prepare_image

    if shape[1] != shape[2]:
        raise FeedError(f"preprocessing makes images square, but the graph takes {shape[1]} by {shape[2]} pixels")
    image: Array = prepare_image(path, preprocessing, size=shape[1])
    return np.repeat(image.transpose(0, 2, 3, 1), shape[0], axis=0)


def _read_npz(path: str, shape: Shape, declared: Shape | None) -> Array:
    arrays = load_golden(path)
    if _INPUT not in arrays and len(arrays) != 1:
        present = ", ".join(map(printable, arrays)) or "no arrays"
        raise FeedError(f"{path} has {present}; expected {_INPUT} or a single array")
    name = _INPUT if _INPUT in arrays else next(iter(arrays))
    array = arrays[name]
    if array.dtype.kind != "f":
        raise FeedError(
            f"{name} in {path} is {array.dtype}, expected a floating-point dtype: preprocess the pixels first"
        )
    expected = (*(declared or (-1, -1, -1))[:3], shape[-1])
    matches = array.ndim == 4 and all(side in (-1, size) for side, size in zip(expected, array.shape, strict=True))
    if not matches or 0 in array.shape:
        sides = ", ".join("any" if side < 0 else str(side) for side in expected)
        raise FeedError(f"{name} in {path} is {list(array.shape)}, expected [{sides}] (N, H, W, C)")
    if not np.isfinite(array).all():
        raise FeedError(f"{name} in {path} has values that are not finite")
    return array.astype(np.float32)
