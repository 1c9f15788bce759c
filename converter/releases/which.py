"""Identification of the release that a published network comes from, and so of its training and preprocessing.

Names and shapes do not determine the release. The class count often does, and otherwise the directory's name may.
Source: the releases' own addresses (google/automl, folder efficientnetv2; tensorflow/tpu, folder efficientnet).
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import UnknownModelError
from ..model.architectures import CONFIGS, EFFICIENTNET_EDGETPU, EFFICIENTNET_LITE, EFFICIENTNET_V2
from ..model.config import EfficientNetConfig

IMAGENET_CLASSES = 1000
IMAGENET_21K_CLASSES = 21_843

#: Families of names of the released code.
_OF_RELEASES = ("automl", "automl-objects")

_21K = "-21k"
_FINETUNED = "-21k-ft1k"
_ADVPROP = "-advprop"
_NOISY = "-noisystudent"
_NOISY_475 = "-noisystudent-475"

#: Networks without a release trained only on ImageNet-1k.
_NO_1K = ("efficientnetv2-xl",)
_NO_ADVPROP = ("efficientnet-l2",)
_NO_NOISY = ("efficientnet-b8",)
#: Networks with a second release for smaller images.
_TWO_SIZES = ("efficientnet-l2",)
#: Parts of directory and file names, and the releases they indicate; longer parts come first.
_HINTS = (
    (_FINETUNED[1:], _FINETUNED),
    (_21K[1:], _21K),
    ("advprop", _ADVPROP),
    ("l2_475", _NOISY_475),
    ("noisy", _NOISY),
)


class Releases(NamedTuple):
    """The releases that a checkpoint may be, most likely first, and the evidence in words.

    `is_decided` is False if several releases remain possible.
    """

    names: tuple[str, ...]
    sentence: str
    is_decided: bool


def identify_releases(config: EfficientNetConfig, family: str, path: str, *, requested: str | None = None) -> Releases:
    """Return the releases that a network may be; `path` is the path of its checkpoint.

    `requested` is the release that the caller says it is; raise `UnknownModelError` if that is impossible.
    """
    releases = _identify(config, family, path)
    if requested is None:
        return releases
    possible = _identify(config, family, "").names
    if requested not in possible:
        alternatives = f"it may be {' or '.join(possible)}" if possible else "it is not a release"
        raise UnknownModelError(
            f"the network is not the release {requested}: by names, shapes and class count {alternatives}"
        )
    if len(possible) == 1:
        return releases
    sentence = f"{config.num_classes:,} classes: {' or '.join(possible)}; requested: {requested}"
    return Releases((requested,), sentence, True)


def _identify(config: EfficientNetConfig, family: str, path: str) -> Releases:
    """Return the releases that a network may be by its class count, its family and its path."""
    if config.name not in CONFIGS or not config.num_classes:
        return Releases((), "", True)
    classes = f"{config.num_classes:,} classes"
    if family == "keras":
        if config.num_classes != IMAGENET_CLASSES:
            return Releases((), f"{classes}: not the weights that Keras provides", True)
        return Releases((f"keras-{config.name}",), f"{classes}: as provided by Keras", True)
    if family not in _OF_RELEASES:
        return Releases((), f"{classes}: the releases have other names", True)
    names = _list_candidates(config)
    if not names:
        return Releases((), f"{classes}: no release has this number", True)
    if len(names) == 1:
        return Releases(names, f"{classes}: only the release {names[0]} has this number", True)
    hint = next((ending for text, ending in _HINTS if text in path), None)
    hinted = [name for name in names if hint is not None and name.endswith(hint)]
    if hinted:
        sentence = f"{classes}: {' or '.join(names)}; {hinted[0]} by the name of its directory"
        return Releases(tuple(hinted), sentence, True)
    return Releases(
        names,
        f"{classes}: {' or '.join(names)}; names and shapes are the same, but preprocessing differs; "
        "choose one with --release NAME (in Python release=NAME)",
        False,
    )


def _list_candidates(config: EfficientNetConfig) -> tuple[str, ...]:
    """Return the releases of a network with its class count."""
    name = config.name
    if name in EFFICIENTNET_V2:
        if config.num_classes == IMAGENET_21K_CLASSES:
            return (name + _21K,)
        plain = () if name in _NO_1K else (name,)
        return (*plain, name + _FINETUNED) if config.num_classes == IMAGENET_CLASSES else ()
    if name in EFFICIENTNET_LITE or name in EFFICIENTNET_EDGETPU:
        return (name,) if config.num_classes == CONFIGS[name].num_classes else ()
    if config.num_classes != IMAGENET_CLASSES:
        return ()
    noisy = () if name in _NO_NOISY else (name + _NOISY,)
    if name in _TWO_SIZES:
        noisy = (*noisy, name + _NOISY_475)
    advprop = () if name in _NO_ADVPROP else (name + _ADVPROP,)
    return (*noisy, *advprop)
