"""The model that a library's state dict comes from, and what it computes differently from TensorFlow.

A state dict has names and weights, but neither the padding nor the epsilon of its model.
timm's training checkpoints and folders name the model; nothing else does.

::

    library                same names and shapes, another result           taken for
    timm                   models without tf_: padding, epsilon 1e-5       the model with tf_, if none is named
    torchvision            any model that same_padding_ has not changed    such a model
    transformers           other input sizes, another batch_norm_eps       input size and epsilon of the release
    efficientnet-pytorch   other input sizes, unless image_size=None       the input size of the network
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tfckpt.errors import abridged, printable

from ..model.config import EfficientNetConfig
from .models import TORCHVISION_OTHER_EPSILON, TargetName, find_library_model

_TIMM_PREFIX = "tf_"
#: A model of timm in what its files call the architecture, also after `hf-hub:` and before the tag of its weights.
#: Without a name, timm's training writes the class, `efficientnet`, which shows nothing.
_TIMM_MODEL = re.compile(r"(?:.*[:/])?((?:tf_)?efficientnet(?:v2)?_\w+)(?:\.\w+)?")
#: timm has these networks only as `tf_` models.
_ONLY_TENSORFLOW = ("efficientnetv2-b",)


class Origin(NamedTuple):
    """What is known or assumed about the model, as a sentence; `differs` if TensorFlow computes something else."""

    sentence: str
    differs: bool = False


def describe_origin(target: TargetName, config: EfficientNetConfig, architecture: str | None) -> Origin | None:
    """Return what is known or assumed about the model of a state dict, or None if it computes what TensorFlow does.

    `target` is the library that the names belong to, `architecture` the model that the file names, if it names one.
    """
    if target == "timm":
        return _describe_timm(config, architecture)
    if target == "torchvision":
        epsilon = " and have batch norms of epsilon 1e-5" if config.name in TORCHVISION_OTHER_EPSILON else ""
        return Origin(
            f"torchvision's models pad stride-2 convolutions differently from TensorFlow{epsilon}, "
            "unless converter.same_padding_(model) was called before training; the state dict does not show it",
            differs=True,
        )
    if target == "transformers":
        return Origin(
            "assumed: the input size that depthwise_padding in config.json is for, and batch_norm_eps "
            f"{config.bn_epsilon:g}; with other values the model of transformers computes something else"
        )
    if target == "efficientnet-pytorch":
        return Origin(
            "assumed: image_size=None, or the network's own input size; "
            "for other sizes the model of efficientnet-pytorch pads differently from TensorFlow"
        )
    return None


def _describe_timm(config: EfficientNetConfig, architecture: str | None) -> Origin | None:
    difference = "pads stride-2 convolutions differently from TensorFlow, and its batch norms have epsilon 1e-5"
    named = None if architecture is None else _TIMM_MODEL.fullmatch(architecture)
    if named is None:
        model = find_library_model("timm", config.name)
        if model is None or config.name.startswith(_ONLY_TENSORFLOW):
            return None
        return Origin(
            f"assumed: the weights are those of timm's {model}; "
            f"{model.removeprefix(_TIMM_PREFIX)} has the same names and shapes, but it {difference}"
        )
    if named[1].startswith(_TIMM_PREFIX):
        return None
    return Origin(f"timm's {printable(abridged(named[1]))} {difference}, not {config.bn_epsilon:g}", differs=True)
