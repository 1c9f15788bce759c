"""Conversion of an image to the input of a network, as computed by TensorFlow's evaluation."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tfckpt.errors import CorruptionError, MissingDependencyError
from tfckpt.files.reading import open_file

from .._typing import Array
from ..errors import FeedError
from .recipes import RECIPES, Preprocessing, get_recipe
from .resize import central_crop, resize

if TYPE_CHECKING:
    from torch import Tensor

_CHANNELS = 3
#: Image formats for Pillow. It has more, but runs other programs for some, such as Ghostscript for PostScript.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def prepare_image(image: Any, settings: Preprocessing, *, size: int | None = None) -> Any:
    """Crop, resize and normalize an image; return float32 of shape (1, 3, size, size).

    `image` is a uint8 array or tensor of shape (height, width, 3), and the result has the same type; or it is the path
    of an image file, which Pillow opens (extra `images`), and the result is an array.
    `size` in pixels replaces the size of the settings, and the crop changes with it.

    Raises `FeedError`, a `ValueError`, for an image of a wrong dtype or shape, and `TypeError` for other objects.
    """
    if size is not None:
        settings = _replace_size(settings, size)
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        return _prepare(_open_image(path), settings, name=path)
    if isinstance(image, np.ndarray):
        return _prepare(image, settings)
    torch: Any = sys.modules.get("torch")  # a tensor exists only if torch is imported
    if torch is not None and isinstance(image, torch.Tensor):
        if image.dtype != torch.uint8:  # NumPy does not support every dtype of torch
            raise FeedError(f"image has dtype {image.dtype}, expected uint8 pixels from 0 to 255")
        tensor: Tensor = torch.from_numpy(_prepare(image.detach().cpu().numpy(), settings))
        return tensor.to(image.device)
    raise TypeError(f"image is {type(image).__name__}, expected an array or tensor (height, width, 3), or a path")


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


def _replace_size(settings: Preprocessing, size: int) -> Preprocessing:
    """Return the settings for a different size; the crop changes only if a recipe defines it."""
    if settings.recipe in RECIPES:
        return get_recipe(settings.recipe, size)
    return dataclasses.replace(settings, size=size)


def _open_image(path: str) -> Array:
    """Return the RGB pixels of an image file."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError("Pillow", extra="images", purpose="opening an image file") from error
    with open_file(path) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                return np.asarray(image.convert("RGB"))
        except UnidentifiedImageError as error:
            raise CorruptionError(f"not an image of a supported format ({', '.join(_FORMATS)})", path=path) from error
        except Exception as error:  # decoders raise various exceptions for damaged files
            raise CorruptionError(f"cannot decode the image ({error})", path=path) from error
