"""Which release a published network may be: its training data and preprocessing, which names and shapes do not tell.

A class count leaves one release or several; where there are several, the name of the checkpoint's folder may decide.
Source: the releases' own addresses (google/automl, folder efficientnetv2; tensorflow/tpu, folder efficientnet).
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import UnknownModelError
from ..model.config import CONFIGS, EFFICIENTNET_V2, EfficientNetConfig

IMAGENET_CLASSES = 1000
IMAGENET_21K_CLASSES = 21_843

_21K = "-21k"
_FINETUNED = "-21k-ft1k"
_ADVPROP = "-advprop"
_NOISY = "-noisystudent"
_NOISY_475 = "-noisystudent-475"

#: Without the release that was trained on ImageNet-1k alone.
_NO_1K = ("efficientnetv2-xl",)
_NO_ADVPROP = ("efficientnet-l2",)
_NO_NOISY = ("efficientnet-b8",)
#: With a second release of weights for smaller images.
_TWO_SIZES = ("efficientnet-l2",)
#: What the name of a folder or file says where it contains it, the longer first.
_HINTS = (
    (_FINETUNED[1:], _FINETUNED),
    (_21K[1:], _21K),
    ("advprop", _ADVPROP),
    ("l2_475", _NOISY_475),
    ("noisy", _NOISY),
)


class Releases(NamedTuple):
    """The releases a checkpoint may be, the likeliest first, and a sentence on what decided; empty for none."""

    names: tuple[str, ...]
    sentence: str
    decided: bool


def releases_of(config: EfficientNetConfig, family: str, path: str, *, asked: str | None = None) -> Releases:
    """Say which releases a network may be; `path` is where its checkpoint stands.

    `asked` is the release that it is known to be; `UnknownModelError` if it cannot be that one.
    """
    found = _found(config, family, path)
    if asked is None:
        return found
    possible = _found(config, family, "").names
    if asked not in possible:
        may_be = f"it may be {' or '.join(possible)}" if possible else "it is no release"
        raise UnknownModelError(f"the network is not the release {asked}: by names, shapes and class count {may_be}")
    if len(possible) == 1:
        return found
    sentence = f"{config.num_classes:,} classes: {' or '.join(possible)}; {asked} by the name it was asked for"
    return Releases((asked,), sentence, True)


def _found(config: EfficientNetConfig, family: str, path: str) -> Releases:
    """Say which releases a network may be by what is found."""
    if config.name not in CONFIGS or not config.num_classes:
        return Releases((), "", True)
    classes = f"{config.num_classes:,} classes"
    if family == "keras":
        if config.num_classes != IMAGENET_CLASSES:
            return Releases((), f"{classes}: not the weights that Keras offers", True)
        return Releases((f"keras-{config.name}",), f"{classes}: as Keras offers it", True)
    names = _candidates(config)
    if not names:
        return Releases((), f"{classes}: no release has that many", True)
    if len(names) == 1:
        return Releases(names, f"{classes}: only the release {names[0]} has that many", True)
    hint = next((ending for text, ending in _HINTS if text in path), None)
    told = [name for name in names if hint is not None and name.endswith(hint)]
    if told:
        return Releases(tuple(told), f"{classes}: {' or '.join(names)}; {told[0]} by the name of its folder", True)
    return Releases(
        names,
        f"{classes}: {' or '.join(names)}; names and shapes are the same, but preprocessing differs; "
        "choose one with --release NAME (in Python release=NAME)",
        False,
    )


def _candidates(config: EfficientNetConfig) -> tuple[str, ...]:
    """Give the releases of a network with its class count."""
    name = config.name
    if name in EFFICIENTNET_V2:
        if config.num_classes == IMAGENET_21K_CLASSES:
            return (name + _21K,)
        plain = () if name in _NO_1K else (name,)
        return (*plain, name + _FINETUNED) if config.num_classes == IMAGENET_CLASSES else ()
    if config.num_classes != IMAGENET_CLASSES:
        return ()
    noisy = () if name in _NO_NOISY else (name + _NOISY,)
    if name in _TWO_SIZES:
        noisy = (*noisy, name + _NOISY_475)
    advprop = () if name in _NO_ADVPROP else (name + _ADVPROP,)
    return (*noisy, *advprop)
