"""Recipes: the preprocessing of images that each group of checkpoints is evaluated with.

Sources: google/automl, folder efficientnetv2, `preprocessing.py` and `preprocess_legacy.py`; tensorflow/tpu,
`efficientnet/eval_ckpt_main.py` for AdvProp, Lite and EdgeTPU; `keras.applications.efficientnet` and `efficientnet_v2`.

::

    recipe         pixels                      crop                       resize           for
    v2             (x - 128) / 128             below 320 pixels, floor    bilinear         V2 s, m, l 1k; all V2 21k
    v2-finetuned   (x - 127.5) / 127.5         none                       bilinear         all V2 21k-ft1k
    v1             ImageNet mean, deviation    always, ceil               legacy bicubic   V2 b0 to b3 1k; V1
    v1-advprop     (x - 127.5) / 127.5         always, ceil               legacy bicubic   V1 AdvProp
    lite           (x - 127) / 128             always, ceil               legacy bicubic   Lite and EdgeTPU
    keras-v2       (x - 128) / 128             none                       bilinear         Keras V2 s, m, l
    keras-v1       ImageNet mean, deviation    none                       bilinear         Keras V1, V2 b0 to b3

The crop is the center square with int(size / (size + 32) · shorter side) pixels a side; its offset is rounded by floor
or ceil.
Bilinear is `tf.image.resize`: half-pixel centers, no antialiasing.
Legacy bicubic is TensorFlow 1's `resize_bicubic`: no half-pixel centers, a = -0.75.
Keras leaves resizing to the caller; its loaders use bilinear.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from ..model.config import MAX_SIDE

Crop: TypeAlias = Literal["none", "floor", "ceil"]
Resize: TypeAlias = Literal["bilinear", "legacy-bicubic"]
Triple: TypeAlias = tuple[float, float, float]

#: Pixels of the resized image outside the crop, as in the released code.
CROP_PADDING = 32
MAX_SIZE = MAX_SIDE
#: Largest absolute value of means, standard deviations and their reciprocals; safe in float32.
_LARGEST = 1e6
#: Smallest size at which the V2 recipe resizes the whole image instead of cropping it.
_SQUASHED_FROM = 320

_128: Triple = (128.0, 128.0, 128.0)
_127: Triple = (127.5, 127.5, 127.5)
_LITE_MEAN: Triple = (127.0, 127.0, 127.0)
_IMAGENET_MEAN: Triple = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STD: Triple = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Settings: crop, resize to `size` by `size` pixels, then `(x - mean) / std` of each channel, from 0 to 255."""

    recipe: str
    size: int
    mean: Triple
    std: Triple
    crop: Crop
    resize: Resize

    def __post_init__(self) -> None:
        """Raise `ValueError` for invalid settings."""
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"size is {self.size!r}, expected an integer from 1 to {MAX_SIZE}")
        for name, least in (("mean", -_LARGEST), ("std", 1 / _LARGEST)):
            values = getattr(self, name)
            if len(values) != 3 or not all(
                isinstance(value, (int, float)) and least <= value <= _LARGEST for value in values
            ):
                raise ValueError(f"{name} is {values!r}, expected three numbers from {least:g} to {_LARGEST:g}")
        if self.crop not in ("none", "floor", "ceil"):
            raise ValueError(f"crop is {self.crop!r}, expected none, floor or ceil")
        if self.resize not in ("bilinear", "legacy-bicubic"):
            raise ValueError(f"resize is {self.resize!r}, expected bilinear or legacy-bicubic")

    def describe(self) -> str:
        """Return a description of one line."""
        crop = {
            "none": "whole image",
            "floor": f"center crop {self.crop_fraction:.3f}",
            "ceil": f"center crop {self.crop_fraction:.3f}",
        }[self.crop]
        pixels = {
            (_128, _128): "(x - 128) / 128",
            (_127, _127): "(x - 127.5) / 127.5",
            (_LITE_MEAN, _128): "(x - 127) / 128",
            (_IMAGENET_MEAN, _IMAGENET_STD): "ImageNet mean and deviation",
        }
        normalization = pixels.get((self.mean, self.std), f"(x - {_format(self.mean)}) / {_format(self.std)}")
        return f"{crop}, {self.resize.replace('-', ' ')} to {self.size}, {normalization}"

    @property
    def crop_fraction(self) -> float:
        """The side of the crop relative to the shorter side of the image; 1 without crop."""
        return 1.0 if self.crop == "none" else self.size / (self.size + CROP_PADDING)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in the style of timm's `pretrained_cfg`, with means of pixels from 0 to 1.

        The key `exact` contains all settings in our own terms; `from_dict` reads only this key.
        """
        return {
            "input_size": [3, self.size, self.size],
            "interpolation": "bilinear" if self.resize == "bilinear" else "bicubic",
            "crop_pct": self.crop_fraction,
            "crop_mode": "squash" if self.crop == "none" else "center",
            "mean": [round(value / 255, 12) for value in self.mean],
            "std": [round(value / 255, 12) for value in self.std],
            "exact": {
                "recipe": self.recipe,
                "size": self.size,
                "pixel_mean": list(self.mean),
                "pixel_std": list(self.std),
                "crop": self.crop,
                "resize": self.resize,
                "antialias": False,
            },
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Preprocessing:
        """Return the settings of `to_dict`'s value; raise `ValueError` for any other."""
        try:
            exact = record["exact"]
            return cls(
                recipe=str(exact["recipe"]),
                size=exact["size"],
                mean=tuple(exact["pixel_mean"]),
                std=tuple(exact["pixel_std"]),
                crop=exact["crop"],
                resize=exact["resize"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a record of preprocessing ({error!r})") from error

    def to_json(self) -> str:
        """Return the settings as JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def get_recipe(name: str, size: int) -> Preprocessing:
    """Return the settings of a recipe for an input size in pixels; raise `ValueError` for an unknown name."""
    if name not in RECIPES:
        raise ValueError(f"recipe is {name!r}, expected one of {', '.join(RECIPES)}")
    mean, std, crop, resize = RECIPES[name]
    if name == "v2" and size >= _SQUASHED_FROM:
        crop = "none"
    return Preprocessing(recipe=name, size=size, mean=mean, std=std, crop=crop, resize=resize)


RECIPES: dict[str, tuple[Triple, Triple, Crop, Resize]] = {
    "v2": (_128, _128, "floor", "bilinear"),
    "v2-finetuned": (_127, _127, "none", "bilinear"),
    "v1": (_IMAGENET_MEAN, _IMAGENET_STD, "ceil", "legacy-bicubic"),
    "v1-advprop": (_127, _127, "ceil", "legacy-bicubic"),
    "lite": (_LITE_MEAN, _128, "ceil", "legacy-bicubic"),
    "keras-v2": (_128, _128, "none", "bilinear"),
    "keras-v1": (_IMAGENET_MEAN, _IMAGENET_STD, "none", "bilinear"),
}


def _format(values: Triple) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
