"""Preprocess images as a release's evaluation does, and find the settings for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from tfckpt.errors import CheckpointNotFoundError, CorruptionError
from tfckpt.files.json_text import read_json
from tfckpt.files.reading import open_file

from ._typing import Array, PathLike
from .errors import ConversionError
from .formats.files import PREPROCESSING_KEY, is_output, read_output
from .images.preprocessing import prepare_image
from .images.recipes import Preprocessing
from .libraries.folders import PREPROCESSING_NAME
from .releases.table import find_release

if TYPE_CHECKING:
    from torch import Tensor

ReleaseLike: TypeAlias = str | os.PathLike[str] | Preprocessing

#: Far more than a `preprocessing.json` needs.
_MAX_BYTES = 1 << 20


@overload
def preprocess(image: Tensor, release: ReleaseLike, *, size: int | None = None) -> Tensor: ...
@overload
def preprocess(image: PathLike | Array, release: ReleaseLike, *, size: int | None = None) -> Array: ...


def preprocess(image: Any, release: ReleaseLike, *, size: int | None = None) -> Any:
    """Crop, resize and normalize one image as the release's evaluation does: float32 of shape (1, 3, size, size).

    `image` is uint8 of shape (height, width, 3), an array or a tensor, and the result is of the same kind; or the path
    of an image file, which Pillow opens (extra `images`), and the result is an array.
    `release` is a release's name, a `preprocessing.json`, converted weights that record their preprocessing, or a
    `Preprocessing`. `size` replaces its input size in pixels, and the crop that follows from it.

    Raises `FeedError`, a `ValueError`, for pixels that cannot become an input, `TypeError` for any other object, and
    the errors of `preprocessing_of`.
    """
    settings = release if isinstance(release, Preprocessing) else preprocessing_of(release)
    return prepare_image(image, settings, size=size)


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


def _text(path: str) -> str:
    with open_file(path) as file:
        try:
            content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise ValueError(f"it has more than {_MAX_BYTES} bytes")
            return content.decode()
        except ValueError as error:
            raise CorruptionError(f"no text ({error})", path=path) from error
