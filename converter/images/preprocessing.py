"""From an image to a network's input, with the arithmetic of TensorFlow's evaluation."""

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
from .recipes import RECIPES, Preprocessing, recipe
from .resize import central_crop, resize

if TYPE_CHECKING:
    from torch import Tensor

_CHANNELS = 3
#: Formats of pixels, for Pillow. It knows more, among them some that it has other programs draw.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def prepare_image(image: Any, settings: Preprocessing, *, size: int | None = None) -> Any:
    """Crop, resize and normalize one image: float32 of shape (1, 3, size, size).

    `image` is uint8 of shape (height, width, 3), an array or a tensor, and the result is of the same kind; or the path
    of an image file, which Pillow opens (extra `images`), and the result is an array.
    `size` replaces the input size of the settings in pixels, and the crop that follows from it.

    Raises `FeedError`, a `ValueError`, for pixels that cannot become an input, and `TypeError` for any other object.
    """
    if size is not None:
        settings = _resized(settings, size)
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        return _prepare(_open_image(path), settings, name=path)
    if isinstance(image, np.ndarray):
        return _prepare(image, settings)
    torch: Any = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(image, torch.Tensor):
        if image.dtype != torch.uint8:  # some dtypes have no NumPy array
            raise FeedError(f"image has dtype {image.dtype}, expected uint8 pixels from 0 to 255")
        tensor: Tensor = torch.from_numpy(_prepare(image.detach().cpu().numpy(), settings))
        return tensor.to(image.device)
    raise TypeError(f"image is {type(image).__name__}, expected an array or tensor (height, width, 3), or a path")


def _prepare(image: Array, settings: Preprocessing, *, name: str = "image") -> Array:
    """H, W, C of bytes -> 1, C, size, size of float32."""
    if image.dtype != np.uint8:
        raise FeedError(f"{name} has dtype {image.dtype}, expected uint8 pixels from 0 to 255")
    if image.ndim != 3 or image.shape[2] != _CHANNELS:
        raise FeedError(f"{name} has shape {list(image.shape)}, expected (height, width, {_CHANNELS})")
    cropped = central_crop(image, settings.size, settings.crop)
    if 0 in cropped.shape:
        raise FeedError(f"{name} has shape {list(image.shape)}, of which the crop leaves nothing")
    resized = resize(cropped, settings.size, settings.resize)
    normal = (resized - np.asarray(settings.mean, np.float32)) / np.asarray(settings.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def _resized(settings: Preprocessing, size: int) -> Preprocessing:
    """Take the same recipe at another size; settings of no recipe keep their crop."""
    if settings.recipe in RECIPES:
        return recipe(settings.recipe, size)
    return dataclasses.replace(settings, size=size)


def _open_image(path: str) -> Array:
    """Decode an image file as RGB."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError("Pillow", extra="images", purpose="opening an image file") from error
    with open_file(path) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                return np.asarray(image.convert("RGB"))
        except UnidentifiedImageError as error:
            raise CorruptionError(f"no image that is read ({', '.join(_FORMATS)})", path=path) from error
        except Exception as error:  # its decoders end in whatever a damaged file leads them to
            raise CorruptionError(f"the image cannot be decoded ({error})", path=path) from error
