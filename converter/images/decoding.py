"""Decoding of image files and of Pillow's images to RGB pixels, as TensorFlow decodes them where it can.

::

    mode                              pixels
    RGB, RGBA, RGBX, L, LA, P, PA, 1  as they are; alpha is dropped, not blended, as in TensorFlow
    CMYK, YCbCr, HSV                  converted by Pillow; CMYK within 5 of TensorFlow
    I;16 and its byte orders          the high byte, as in TensorFlow; also I in PNG and PPM, whose range is 16 bits
    I, F, LAB, RGBa, La               refused: the file does not show the range of the pixels, or Pillow cannot convert

The orientation in EXIF is not applied, and of an animation only the first image is decoded, as in TensorFlow.
A transparent pixel of a GIF is black, as in TensorFlow. A BMP with a palette gets its colours, of which TensorFlow
returns the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfckpt.errors import CorruptionError, MissingDependencyError
from tfckpt.files.reading import open_file

from .._typing import Array
from ..errors import FeedError

if TYPE_CHECKING:
    from PIL.Image import Image

#: Image formats for Pillow. It has more, but runs other programs for some, such as Ghostscript for PostScript.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_EIGHT_BITS = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"})
_SIXTEEN_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
#: In these formats, integers of 32 bits are Pillow's way to hold 16 bits: in PNG before Pillow 11, in PPM still.
_SIXTEEN_BITS_IN_I = frozenset({"PNG", "PPM"})


def open_image(path: str) -> Array:
    """Return the RGB pixels of an image file, uint8 of shape (height, width, 3)."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError("Pillow", extra="images", purpose="opening an image file") from error
    with open_file(path) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                return to_pixels(image, name=path)
        except FeedError:
            raise
        except UnidentifiedImageError as error:
            raise CorruptionError(f"not an image of a supported format ({', '.join(_FORMATS)})", path=path) from error
        except Exception as error:  # decoders raise various exceptions for damaged files
            raise CorruptionError(f"cannot decode the image ({error})", path=path) from error


def to_pixels(image: Image, *, name: str = "image") -> Array:
    """Return the RGB pixels of Pillow's image; raise `FeedError` for a mode whose range is not known."""
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in _SIXTEEN_BITS_IN_I):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode not in _EIGHT_BITS:
        raise FeedError(
            f"{name} has pixels of mode {image.mode}, which have no fixed range: convert it to 8 bits first"
        )
    pixels = np.asarray(image.convert("RGB"))
    if image.format == "GIF" and image.mode == "P" and isinstance(key := image.info.get("transparency"), int):
        pixels = np.where((np.asarray(image) == key)[..., None], np.uint8(0), pixels)
    return pixels
