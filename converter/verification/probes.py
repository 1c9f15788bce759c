"""What is fed to both networks: random numbers, an image, or arrays of the user's."""

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
#: Pixels of a side where neither graph nor network say; a larger probe proves no more and takes longer.
DEFAULT_SIZE = 64
MAX_DEFAULT_SIZE = 224
_INPUT = "input"


def probe_shape(declared: Shape | None, channels: int, *, size: int | None, usual: int | None) -> Shape:
    """The shape of a probe (NHWC): what the graph says, else `size`, else the network's usual one up to a limit.

    Raises `FeedError` when the graph takes only another size.
    """
    batch, *sides, _ = declared or (-1, -1, -1, channels)
    found = []
    for side in sides:
        if size is not None and side > 0 and side != size:
            raise FeedError(
                f"the graph takes images of {sides[0]} by {sides[1]} pixels, and the size asked for is {size}"
            )
        found.append(side if side > 0 else size or min(usual or DEFAULT_SIZE, MAX_DEFAULT_SIZE))
    return (batch if batch > 0 else 1, *found, channels)


def random_probe(shape: Shape, seed: int) -> Array:
    """Normally distributed numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def read_probe(path: str, shape: Shape, declared: Shape | None, preprocessing: Preprocessing) -> Array:
    """An `.npz` with NHWC numbers under `input` (or alone), or an image file, preprocessed to the probe's size.

    Raises `FeedError` for arrays that are no such images or of another size than the graph takes.
    """
    if os.path.splitext(path)[1].lower() == ".npz":
        return _from_npz(path, shape, declared)
    from ..images.preprocessing import prepare_image

    if shape[1] != shape[2]:
        raise FeedError(f"an image becomes a square, and the graph takes {shape[1]} by {shape[2]} pixels")
    image: Array = prepare_image(path, preprocessing, size=shape[1])
    return np.repeat(image.transpose(0, 2, 3, 1), shape[0], axis=0)


def _from_npz(path: str, shape: Shape, declared: Shape | None) -> Array:
    arrays = load_golden(path)
    if _INPUT not in arrays and len(arrays) != 1:
        found = ", ".join(map(printable, arrays)) or "nothing"
        raise FeedError(f"{path} has {found}; expected {_INPUT}, or one array only")
    name = _INPUT if _INPUT in arrays else next(iter(arrays))
    array = arrays[name]
    if array.dtype.kind != "f":
        raise FeedError(f"{name} in {path} is {array.dtype}, expected floating point: preprocess the pixels first")
    wanted = declared or (-1, -1, -1, shape[-1])
    wanted = (*wanted[:3], shape[-1])
    fits = array.ndim == 4 and all(want in (-1, size) for want, size in zip(wanted, array.shape, strict=True))
    if not fits or 0 in array.shape:
        shown = ", ".join("any" if side < 0 else str(side) for side in wanted)
        raise FeedError(f"{name} in {path} is {list(array.shape)}, expected [{shown}] (N, H, W, C)")
    if not np.isfinite(array).all():
        raise FeedError(f"{name} in {path} has values that are not finite")
    return array.astype(np.float32)
