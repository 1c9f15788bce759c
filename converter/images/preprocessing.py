"""Conversion of an image to the input of a network, as computed by TensorFlow's evaluation."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import Array
from ..errors import FeedError
from .decoding import open_image, to_pixels
from .recipes import RECIPES, Preprocessing, get_recipe
from .resize import central_crop, resize

if TYPE_CHECKING:
    from torch import Tensor

_CHANNELS = 3


def prepare_image(image: Any, settings: Preprocessing, *, size: int | None = None) -> Any:
    """Crop, resize and normalize images; return float32 of shape (N, 3, size, size), where one image is a batch of one.

    An image is a uint8 array or tensor of shape (height, width, 3), Pillow's image, or the path of an image file, which
    Pillow opens (extra `images`). A batch is an array or tensor of shape (N, height, width, 3), or a list of images,
    which may differ in size. Tensors give a tensor on their device, and everything else gives an array.
    `size` in pixels replaces the size of the settings, and the crop changes with it.

    Raises `FeedError`, a `ValueError`, for an image of a wrong dtype, shape or mode, and `TypeError` for other objects.
    """
    if size is not None:
        settings = replace_size(settings, size)
    if isinstance(image, list | tuple):
        if not image:
            raise FeedError("the batch has no images")
        prepared = [prepare_image(one, settings) for one in image]
        if all(isinstance(one, np.ndarray) for one in prepared):
            return np.concatenate(prepared)
        return sys.modules["torch"].cat(prepared)
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        return _prepare(open_image(path), settings, name=path)
    if isinstance(image, np.ndarray):
        return _prepare_batch(image, settings)
    torch: Any = sys.modules.get("torch")  # a tensor exists only if torch is imported
    if torch is not None and isinstance(image, torch.Tensor):
        if image.dtype != torch.uint8:  # NumPy does not support every dtype of torch
            raise FeedError(f"image has dtype {image.dtype}, expected uint8 pixels from 0 to 255")
        tensor: Tensor = torch.from_numpy(_prepare_batch(image.detach().cpu().numpy(), settings))
        return tensor.to(image.device)
    pillow: Any = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return _prepare(to_pixels(image), settings)
    raise TypeError(
        f"image is {type(image).__name__}, expected an array or tensor (height, width, 3) or (N, height, width, 3), "
        "Pillow's image, a path, or a list of them"
    )


def _prepare_batch(images: Array, settings: Preprocessing) -> Array:
    """Return an image or a batch of images as (N, 3, size, size) float32."""
    if images.ndim != 4:
        return _prepare(images, settings)
    if not len(images):
        raise FeedError("the batch has no images")
    return np.concatenate([_prepare(image, settings) for image in images])


def _prepare(image: Array, settings: Preprocessing, *, name: str = "image") -> Array:
    """Return a (height, width, 3) uint8 image as (1, 3, size, size) float32."""
    if image.dtype != np.uint8:
        raise FeedError(f"{name} has dtype {image.dtype}, expected uint8 pixels from 0 to 255")
    if image.ndim != 3 or image.shape[2] != _CHANNELS:
        raise FeedError(f"{name} has shape {list(image.shape)}, expected (height, width, {_CHANNELS})")
    cropped = central_crop(image, settings.size, settings.crop)
    if 0 in cropped.shape:
        raise FeedError(f"{name} has shape {list(image.shape)}, too small for the crop")
    resized = resize(cropped, settings.size, settings.resize)
    normal = (resized - np.asarray(settings.mean, np.float32)) / np.asarray(settings.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def replace_size(settings: Preprocessing, size: int) -> Preprocessing:
    """Return the settings for a different size; the crop changes only if a recipe defines it."""
    if settings.recipe in RECIPES:
        return get_recipe(settings.recipe, size)
    return dataclasses.replace(settings, size=size)
