"""Preprocessing of images as in the evaluation of a release, and the search for its settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from tfckpt.errors import CheckpointNotFoundError, CorruptionError
from tfckpt.files.json_text import read_json
from tfckpt.files.reading import open_file

from ._typing import Array, PathLike
from .errors import ConversionError, FeedError
from .formats.files import PREPROCESSING_KEY, is_output, read_output
from .images.preprocessing import prepare_image, replace_size
from .images.recipes import Preprocessing
from .libraries.folders import PREPROCESSING_NAME
from .releases.table import find_release

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

ImageLike: TypeAlias = "PathLike | Array | Image"
ReleaseLike: TypeAlias = str | os.PathLike[str] | Preprocessing

#: Largest `preprocessing.json` that is read.
_MAX_BYTES = 1 << 20


@overload
def preprocess(image: Tensor | Sequence[Tensor], release: ReleaseLike, *, size: int | None = None) -> Tensor: ...
@overload
def preprocess(image: ImageLike | Sequence[ImageLike], release: ReleaseLike, *, size: int | None = None) -> Array: ...


def preprocess(image: Any, release: ReleaseLike, *, size: int | None = None) -> Any:
    """Crop, resize and normalize images like a release's evaluation; return float32 of shape (N, 3, size, size).

    An image is a uint8 array or tensor of shape (height, width, 3), Pillow's image, or the path of an image file, which
    Pillow opens (extra `images`). A batch is an array or tensor of shape (N, height, width, 3), or a list of images,
    which may differ in size. Tensors give a tensor, and everything else gives an array.
    `release` is the name of a release, a `preprocessing.json`, converted weights that record their preprocessing, or a
    `Preprocessing`. `size` in pixels replaces its input size, and the crop changes with it.

    Raises `FeedError`, a `ValueError`, for an image of a wrong dtype, shape or mode, `TypeError` for other objects, and
    the errors of `preprocessing_of`.
    """
    return prepare_image(image, _find_settings(release), size=size)


class ImageTransform:
    """Preprocessing for PyTorch's data sets: a callable from one image to a float32 tensor of shape (3, size, size).

    The arguments are those of `preprocess`, and `settings` are the result. It can be pickled, so that the workers of a
    `DataLoader` can use it.
    """

    def __init__(self, release: ReleaseLike, *, size: int | None = None) -> None:
        settings = _find_settings(release)
        self.settings = settings if size is None else replace_size(settings, size)

    def __repr__(self) -> str:
        """Return the settings in one line."""
        return f"ImageTransform({self.settings.describe()})"

    def __call__(self, image: ImageLike | Tensor) -> Tensor:
        """Return an image as an input of the network, without the axis of the batch."""
        import torch

        prepared = prepare_image(image, self.settings)
        if len(prepared) != 1:
            raise FeedError(f"expected one image, found a batch of {len(prepared)}")
        tensor: Tensor = torch.as_tensor(prepared[0])
        return tensor


def _find_settings(release: ReleaseLike) -> Preprocessing:
    return release if isinstance(release, Preprocessing) else preprocessing_of(release)


def preprocessing_of(release: PathLike) -> Preprocessing:
    """Return the settings of a release by name, or those in a `preprocessing.json` or in converted weights.

    Raises `UnknownModelError` if the name is not a release, `ConversionError` for weights that do not record their
    preprocessing, and the errors of `tfckpt` about files.
    """
    path = os.fspath(release)
    if not os.path.exists(path):
        if os.path.basename(path) != path or os.path.splitext(path)[1]:  # not the name of a release
            raise CheckpointNotFoundError("file not found", path=path)
        return find_release(path).preprocessing
    if os.path.isdir(path) and os.path.isfile(os.path.join(path, PREPROCESSING_NAME)):
        path = os.path.join(path, PREPROCESSING_NAME)
    if path.endswith(".json"):
        text = _read_text(path)
    elif is_output(path):
        metadata = read_output(path).metadata
        if PREPROCESSING_KEY not in metadata:
            raise ConversionError(
                f"{path} does not record its preprocessing; "
                "pass a release, such as efficientnetv2-s (tf2torch models lists them)"
            )
        text = metadata[PREPROCESSING_KEY]
    else:
        raise ConversionError(f"{path} is neither converted weights nor a {PREPROCESSING_NAME}")
    try:
        return Preprocessing.from_dict(read_json(text))
    except ValueError as error:
        raise CorruptionError(f"cannot parse the preprocessing ({error})", path=path) from error


def _read_text(path: str) -> str:
    with open_file(path) as file:
        try:
            content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise ValueError(f"larger than {_MAX_BYTES} bytes")
            return content.decode()
        except ValueError as error:
            raise CorruptionError(f"cannot be read as text ({error})", path=path) from error
