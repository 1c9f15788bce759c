"""How images become inputs: the evaluation preprocessing of each group of checkpoints, as records.

Sources: google/automl, folder efficientnetv2, `preprocessing.py` and `preprocess_legacy.py`; tensorflow/tpu,
`efficientnet/eval_ckpt_main.py` for AdvProp; `keras.applications.efficientnet` and `efficientnet_v2`.

::

    recipe         pixels                      crop                       resize           for
    v2             (x - 128) / 128             below 320 pixels, floor    bilinear         V2 s, m, l 1k; all V2 21k
    v2-finetuned   (x - 127.5) / 127.5         none                       bilinear         all V2 21k-ft1k
    v1             ImageNet mean, deviation    always, ceil               legacy bicubic   V2 b0 to b3 1k; V1
    v1-advprop     (x - 127.5) / 127.5         always, ceil               legacy bicubic   V1 AdvProp
    keras-v2       (x - 128) / 128             none                       bilinear         Keras V2 s, m, l
    keras-v1       ImageNet mean, deviation    none                       bilinear         Keras V1, V2 b0 to b3

A crop is the centre square of int(size / (size + 32) · shorter side) pixels; floor and ceil say to which side of the
exact middle an odd remainder goes.
Bilinear is `tf.image.resize`: half-pixel centres, no antialiasing.
Legacy bicubic is TensorFlow 1's `resize_bicubic`: no half-pixel centres, a = -0.75.
Keras leaves the resizing to the caller; bilinear is what its loaders do.
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

#: What the released code leaves around the crop, in pixels of the resized image.
CROP_PADDING = 32
MAX_SIZE = MAX_SIDE
#: Of means, and of deviations and their reciprocals; pixels are from 0 to 255, and float32 has room around this.
_LARGEST = 1e6
#: From this size on, the V2 recipe squashes the whole image instead of cropping it.
_SQUASHED_FROM = 320

_128: Triple = (128.0, 128.0, 128.0)
_127: Triple = (127.5, 127.5, 127.5)
_IMAGENET_MEAN: Triple = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STD: Triple = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Crop, resize to `size` by `size` pixels, then `(x - mean) / std` for each channel of pixels from 0 to 255."""

    recipe: str
    size: int
    mean: Triple
    std: Triple
    crop: Crop
    resize: Resize

    def __post_init__(self) -> None:
        """Reject what cannot be computed."""
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"size is {self.size!r}, expected a whole number from 1 to {MAX_SIZE}")
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
        """Say it in a line."""
        crop = {
            "none": "whole image",
            "floor": f"centre crop {self.crop_fraction:.3f}",
            "ceil": f"centre crop {self.crop_fraction:.3f}",
        }[self.crop]
        pixels = {_128: "(x - 128) / 128", _127: "(x - 127.5) / 127.5", _IMAGENET_MEAN: "ImageNet mean and deviation"}
        said = pixels.get(self.mean, f"(x - {_numbers(self.mean)}) / {_numbers(self.std)}")
        return f"{crop}, {self.resize.replace('-', ' ')} to {self.size}, {said}"

    @property
    def crop_fraction(self) -> float:
        """The part of the shorter side that the crop leaves; 1 without one."""
        return 1.0 if self.crop == "none" else self.size / (self.size + CROP_PADDING)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values in the style of timm's `pretrained_cfg`, whose means are of pixels from 0 to 1.

        What that style has no words for stands under `exact`, from which `from_dict` reads.
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
        """Rebuild from `to_dict`'s value; `ValueError` when it is none."""
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
            raise ValueError(f"no preprocessing that was written here ({error!r})") from error

    def to_json(self) -> str:
        """Give it as JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def recipe(name: str, size: int) -> Preprocessing:
    """Take a recipe of the table for an input size in pixels; `ValueError` when there is none of that name."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}, expected one of {', '.join(RECIPES)}")
    mean, std, crop, resize = RECIPES[name]
    if name == "v2" and size >= _SQUASHED_FROM:
        crop = "none"
    return Preprocessing(recipe=name, size=size, mean=mean, std=std, crop=crop, resize=resize)


RECIPES: dict[str, tuple[Triple, Triple, Crop, Resize]] = {
    "v2": (_128, _128, "floor", "bilinear"),
    "v2-finetuned": (_127, _127, "none", "bilinear"),
    "v1": (_IMAGENET_MEAN, _IMAGENET_STD, "ceil", "legacy-bicubic"),
    "v1-advprop": (_127, _127, "ceil", "legacy-bicubic"),
    "keras-v2": (_128, _128, "none", "bilinear"),
    "keras-v1": (_IMAGENET_MEAN, _IMAGENET_STD, "none", "bilinear"),
}


def _numbers(values: Triple) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
