"""The table of released checkpoints: address, network, training and preprocessing.

Sources: the tables of google/automl (folder efficientnetv2, README) and tensorflow/tpu (models/official/efficientnet,
README, also of its folders lite and edgetpu) for addresses and published accuracy; `converter.model` for the rest.
The published accuracy is top-1 on the validation images of ImageNet, None if none was published.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from typing import Any

from tfckpt.errors import say_close_names

from ..errors import UnknownModelError
from ..images.recipes import Preprocessing, get_recipe
from ..libraries.models import TARGETS, find_library_model
from ..model.architectures import CONFIGS, EFFICIENTNET_EDGETPU, EFFICIENTNET_LITE, EFFICIENTNET_V1, EFFICIENTNET_V2
from ..model.config import EfficientNetConfig

#: The address of the directory with all archives.
BASE_URL = "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientnet"

_1K = 1000
_21K = 21_843
#: The evaluation size in pixels of every model trained on ImageNet-21k.
_21K_SIZE = 224


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A released checkpoint: `path` is its archive under `BASE_URL`, `size` the evaluation size in pixels."""

    name: str
    path: str
    architecture: str
    training: str
    classes: int
    size: int
    recipe: str
    top1: float | None

    @property
    def config(self) -> EfficientNetConfig:
        """The config of the network, with the class count of this release."""
        return dataclasses.replace(CONFIGS[self.architecture], num_classes=self.classes)

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return self.config.parameter_count()

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of images in its evaluation."""
        return get_recipe(self.recipe, self.size)

    @property
    def fits(self) -> dict[str, str]:
        """The models for these weights in other libraries, by library."""
        names = {target: find_library_model(target, self.architecture) for target in TARGETS if target != "native"}
        return {target: name for target, name in names.items() if name is not None}

    def address(self, base_url: str = BASE_URL) -> str:
        """Return the address of the archive."""
        return f"{base_url.rstrip('/')}/{self.path}"

    def to_dict(self) -> dict[str, Any]:
        """Return the release as values that JSON can represent."""
        return {
            "name": self.name,
            "address": self.address(),
            "architecture": self.architecture,
            "training": self.training,
            "classes": self.classes,
            "input_size": self.size,
            "parameters": self.parameters,
            "top1": self.top1,
            "preprocessing": self.preprocessing.to_dict(),
            "fits": self.fits,
        }


# (published top-1 in percent after training on ImageNet-1k, and after fine-tuning from 21k)
_V2_TOP1: dict[str, tuple[float | None, float | None]] = {
    "s": (83.9, 84.9),
    "m": (85.2, 86.2),
    "l": (85.7, 86.9),
    "xl": (None, 87.2),
    "b0": (78.7, None),
    "b1": (79.8, None),
    "b2": (80.5, None),
    "b3": (82.1, None),
}
_ADVPROP_TOP1 = {
    "b0": 77.6,
    "b1": 79.6,
    "b2": 80.5,
    "b3": 81.9,
    "b4": 83.3,
    "b5": 84.3,
    "b6": 84.8,
    "b7": 85.2,
    "b8": 85.5,
}
_NOISY_STUDENT_TOP1 = {
    "b0": 78.8,
    "b1": 81.5,
    "b2": 82.4,
    "b3": 84.1,
    "b4": 85.3,
    "b5": 86.1,
    "b6": 86.4,
    "b7": 86.9,
    "l2_475": 88.2,
    "l2": 88.4,
}
_LITE_TOP1 = {
    "efficientnet-lite0": 75.1,
    "efficientnet-lite1": 76.7,
    "efficientnet-lite2": 77.6,
    "efficientnet-lite3": 79.8,
    "efficientnet-lite4": 81.5,
}
_EDGETPU_TOP1 = {
    "efficientnet-edgetpu-S": 77.2,
    "efficientnet-edgetpu-M": 78.7,
    "efficientnet-edgetpu-L": 80.6,
}


def _list_v2_releases() -> list[Release]:
    releases = []
    for variant, (plain_top1, finetuned_top1) in _V2_TOP1.items():
        name = f"efficientnetv2-{variant}"
        size = EFFICIENTNET_V2[name].eval_size or _21K_SIZE
        plain = Release(
            name=name,
            path=f"v2/{name}.tgz",
            architecture=name,
            training="ImageNet-1k",
            classes=_1K,
            size=size,
            recipe="v1" if variant.startswith("b") else "v2",
            top1=plain_top1,
        )
        if variant != "xl":
            releases.append(plain)
        pretrained, finetuned = f"{name}-21k", f"{name}-21k-ft1k"
        releases.append(
            dataclasses.replace(
                plain,
                name=pretrained,
                path=f"v2/{pretrained}.tgz",
                training="ImageNet-21k",
                classes=_21K,
                size=_21K_SIZE,
                recipe="v2",
                top1=None,
            )
        )
        releases.append(
            dataclasses.replace(
                plain,
                name=finetuned,
                path=f"v2/{finetuned}.tgz",
                training="ImageNet-21k, then 1k",
                recipe="v2-finetuned",
                top1=finetuned_top1,
            )
        )
    return releases


def _list_v1_releases() -> list[Release]:
    releases = []
    for variant, top1 in _ADVPROP_TOP1.items():
        name = f"efficientnet-{variant}"
        releases.append(
            Release(
                name=f"{name}-advprop",
                path=f"advprop/{name}.tar.gz",
                architecture=name,
                training="ImageNet-1k, AdvProp",
                classes=_1K,
                size=EFFICIENTNET_V1[name].eval_size or _21K_SIZE,
                recipe="v1-advprop",
                top1=top1,
            )
        )
    for variant, top1 in _NOISY_STUDENT_TOP1.items():
        base, _, size = variant.partition("_")
        name = f"efficientnet-{base}"
        releases.append(
            Release(
                name=f"{name}-noisystudent" + (f"-{size}" if size else ""),
                path=f"noisystudent/noisy_student_efficientnet-{variant}.tar.gz",
                architecture=name,
                training="ImageNet-1k and unlabelled images, noisy student",
                classes=_1K,
                size=int(size) if size else EFFICIENTNET_V1[name].eval_size or _21K_SIZE,
                recipe="v1",
                top1=top1,
            )
        )
    return releases


def _list_edge_releases() -> list[Release]:
    networks = EFFICIENTNET_LITE | EFFICIENTNET_EDGETPU
    return [
        Release(
            name=name,
            path=f"lite/{name}.tar.gz" if name in EFFICIENTNET_LITE else f"{name}.tar.gz",
            architecture=name,
            training="ImageNet-1k" if name in EFFICIENTNET_LITE else "ImageNet-1k, with a background class",
            classes=networks[name].num_classes,
            size=networks[name].eval_size or _21K_SIZE,
            recipe="lite",
            top1=top1,
        )
        for name, top1 in (_LITE_TOP1 | _EDGETPU_TOP1).items()
    ]


RELEASES: dict[str, Release] = {
    release.name: release for release in (*_list_v2_releases(), *_list_v1_releases(), *_list_edge_releases())
}


def find_release(name: str) -> Release:
    """Return the release of a name; raise `UnknownModelError` with close names if there is none."""
    if name not in RELEASES:
        hint = say_close_names(find_close_releases(name))
        raise UnknownModelError(f"there is no release {name!r}{hint}; tf2torch models lists them")
    return RELEASES[name]


def find_close_releases(name: str) -> list[str]:
    """Return the releases of the network with this name, or otherwise the releases with similar names."""
    own = [release.name for release in RELEASES.values() if release.architecture == name]
    return own or difflib.get_close_matches(name, RELEASES, n=4)


def find_releases(pattern: str = "*") -> list[Release]:
    """Return the releases whose name or architecture matches a shell pattern or contains it."""
    return [
        release
        for release in RELEASES.values()
        if any(fnmatch.fnmatchcase(name, pattern) or (pattern in name) for name in (release.name, release.architecture))
    ]


def find_preprocessing(releases: tuple[str, ...], config: EfficientNetConfig) -> Preprocessing | None:
    """Return the preprocessing of the first of some releases, as listed in a conversion report.

    Return None for a network that is not a release, because its preprocessing is unknown.
    """
    if not releases:
        return None
    name = releases[0]
    if name in RELEASES:
        return RELEASES[name].preprocessing
    architecture = name.removeprefix("keras-")
    if architecture not in CONFIGS:
        return None
    plain = architecture in EFFICIENTNET_V2 and not architecture.removeprefix("efficientnetv2-").startswith("b")
    size = CONFIGS[architecture].eval_size or config.eval_size or _21K_SIZE
    return get_recipe("keras-v2" if plain else "keras-v1", size)
