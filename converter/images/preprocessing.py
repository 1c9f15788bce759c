"""Images to inputs, as TensorFlow's evaluation did it: `preprocess`, and where its settings come from."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, overload

import numpy as np

from tfckpt.errors import CheckpointNotFoundError, CorruptionError, MissingDependencyError
from tfckpt.files.bounded_json import read_json

from .._typing import Array, PathLike
from ..errors import ConversionError, FeedError
from ..formats.files import PREPROCESSING_KEY, is_output, read_output
from ..libraries.folders import PREPROCESSING_NAME
from ..releases.table import find_release
from .recipes import RECIPES, Preprocessing, recipe
from .resize import central_crop, resize

if TYPE_CHECKING:
    from torch import Tensor

ReleaseLike: TypeAlias = str | os.PathLike[str] | Preprocessing

_CHANNELS = 3
#: A `preprocessing.json` has a thousandth of it.
_MAX_BYTES = 1 << 20
#: Formats of pixels, for Pillow. It knows more, among them some that it has other programs draw.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


@overload
def preprocess(image: Tensor, release: ReleaseLike, *, size: int | None = None) -> Tensor: ...
@overload
def preprocess(image: PathLike | Array, release: ReleaseLike, *, size: int | None = None) -> Array: ...


def preprocess(image: Any, release: ReleaseLike, *, size: int | None = None) -> Any:
    """Crop, resize and normalise one image as the release's evaluation does: (1, 3, size, size) float32.

    `image` is uint8 of (height, width, 3), an array or a tensor, and the result is of the same kind; or the path of an
    image file, which Pillow opens (extra `images`), and the result is an array.
    `release` is a release's name, a `preprocessing.json`, converted weights that hold their preprocessing, or a
    `Preprocessing`. `size` overrides its input size in pixels, and with it the crop.

    Raises `FeedError`, a `ValueError`, for pixels that no input can be made of, `TypeError` for what is no image, and
    `preprocessing_of`'s errors.
    """
    settings = release if isinstance(release, Preprocessing) else preprocessing_of(release)
    if size is not None:
        settings = _resized(settings, size)
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        return _preprocess(_opened(path), settings, name=path)
    if isinstance(image, np.ndarray):
        return _preprocess(image, settings)
    torch: Any = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(image, torch.Tensor):
        if image.dtype != torch.uint8:  # some dtypes have no NumPy array
            raise FeedError(f"image has dtype {image.dtype}, expected uint8 pixels from 0 to 255")
        tensor: Tensor = torch.from_numpy(_preprocess(image.detach().cpu().numpy(), settings))
        return tensor.to(image.device)
    raise TypeError(f"image is {type(image).__name__}, expected an array or tensor (height, width, 3), or a path")


def preprocessing_of(release: PathLike) -> Preprocessing:
    """Find settings by a release's name, or in a `preprocessing.json`, a folder or a file of converted weights.

    Raises `UnknownModelError` for a name of no release, `ConversionError` for weights that do not say their
    preprocessing, and what `tfckpt` raises about files.
    """
    path = os.fspath(release)
    if not os.path.exists(path):
        if os.path.basename(path) != path or os.path.splitext(path)[1]:  # no release is called so
            raise CheckpointNotFoundError("there is no such file", path=path)
        return find_release(path).preprocessing
    if os.path.isdir(path) and os.path.isfile(os.path.join(path, PREPROCESSING_NAME)):
        path = os.path.join(path, PREPROCESSING_NAME)
    if path.endswith(".json"):
        text = _text(path)
    elif is_output(path):
        found = read_output(path).metadata
        if PREPROCESSING_KEY not in found:
            raise ConversionError(
                f"{path} does not say which preprocessing it was trained with; "
                "give a release, such as efficientnetv2-s (tf2torch models lists them)"
            )
        text = found[PREPROCESSING_KEY]
    else:
        raise ConversionError(f"{path} is neither converted weights nor a {PREPROCESSING_NAME}")
    try:
        return Preprocessing.from_dict(read_json(text))
    except ValueError as error:
        raise CorruptionError(f"its preprocessing cannot be understood ({error})", path=path) from error


def _preprocess(image: Array, settings: Preprocessing, *, name: str = "image") -> Array:
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


def _opened(path: str) -> Array:
    """Decode an image file as RGB."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError("Pillow", extra="images", purpose="opening an image file") from error
    with _file(path) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                return np.asarray(image.convert("RGB"))
        except UnidentifiedImageError as error:
            raise CorruptionError(f"no image that is read ({', '.join(_FORMATS)})", path=path) from error
        except Exception as error:  # its decoders end in whatever a damaged file leads them to
            raise CorruptionError(f"the image cannot be decoded ({error})", path=path) from error


def _text(path: str) -> str:
    with _file(path) as file:
        try:
            content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise ValueError(f"it has more than {_MAX_BYTES} bytes")
            return content.decode()
        except ValueError as error:
            raise CorruptionError(f"no text ({error})", path=path) from error


def _file(path: str) -> BinaryIO:
    """Open a file for reading; the caller closes it."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise CheckpointNotFoundError("there is no such file", path=path) from None
    except OSError as error:
        raise CheckpointNotFoundError(f"cannot be read ({error.strerror or error})", path=path) from error
