"""Targets: checks whether a library has a network, and notes on what its model computes differently."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfckpt.errors import abridged, pluralize, printable

from ..errors import ExportError
from ..images.labels import find_duplicates
from ..images.recipes import Preprocessing
from ..model.architectures import CONFIGS
from ..model.config import EfficientNetConfig
from .models import TORCHVISION_OTHER_EPSILON, TargetName, find_library_model, list_targets
from .tables import EFFICIENTNET_PYTORCH, TIMM, TORCHVISION, TRANSFORMERS, Table

TABLES: dict[TargetName, Table] = {
    "timm": TIMM,
    "torchvision": TORCHVISION,
    "transformers": TRANSFORMERS,
    "efficientnet-pytorch": EFFICIENTNET_PYTORCH,
}
#: The batch norm epsilon of the libraries' models; `same_padding_` sets it in torchvision's.
_LIBRARY_EPSILON = 1e-3

#: Fields that may differ from those of the published network: the libraries' models can have these values, `find_model`
#: checks them by itself, or inference does not depend on them.
_FREE = (
    "num_classes",
    "in_channels",
    "dropout",
    "drop_path",
    "bn_epsilon",
    "bn_momentum",
    "train_size",
    "eval_size",
    "folded_bn",
)


def find_model(target: TargetName, config: EfficientNetConfig) -> str:
    """Return the library's name for a network; raise `ExportError` with possible targets if it has none."""
    targets = ", ".join(list_targets(config.name))
    model = find_library_model(target, config.name)
    if model is not None and not config.head_channels:
        raise ExportError(
            f"models of {target} need a head, which this backbone does not have; possible targets: native"
        )
    if model is None or not _is_published(config):
        network = config.name if config.name in CONFIGS else "a custom network"
        raise ExportError(f"{target} has no model for {printable(network)}; possible targets: {targets}")
    if config.bn_epsilon != _LIBRARY_EPSILON:
        raise ExportError(f"the batch norm epsilon is {config.bn_epsilon:g}, but {target} has {_LIBRARY_EPSILON:g}")
    if target == "torchvision" and config.in_channels != 3:
        raise ExportError(f"torchvision needs 3 input channels, not {config.in_channels}; possible targets: {targets}")
    if target == "torchvision" and not config.num_classes:
        raise ExportError(f"torchvision needs a classifier; possible targets: {targets}")
    return model


def _is_published(config: EfficientNetConfig) -> bool:
    """Return whether a config computes the same as the published one of its name, apart from `_FREE` fields."""
    published = CONFIGS.get(config.name)
    if published is None:
        return False
    return config == dataclasses.replace(published, **{name: getattr(config, name) for name in _FREE})


def list_notes(target: TargetName, config: EfficientNetConfig, preprocessing: Preprocessing | None) -> tuple[str, ...]:
    """Return notes on what the library's model computes differently from TensorFlow, and how to avoid it."""
    if target == "torchvision":
        if config.name in TORCHVISION_OTHER_EPSILON:
            return (
                "torchvision pads stride-2 convolutions differently from TensorFlow, and its batch norms of this model "
                "have epsilon 1e-5, not 1e-3: call converter.same_padding_(model) after loading, which sets both",
            )
        return (
            "torchvision pads stride-2 convolutions differently from TensorFlow: call converter.same_padding_(model) "
            "after loading; without it the logits are exact only at inputs of 32k + 1 pixels, such as 225 or 385",
        )
    if target == "transformers":
        size = find_input_size(config, preprocessing)
        if size % 2:
            return (
                f"transformers pads its first convolution for even inputs, but {size} is odd: the logits differ from "
                "TensorFlow's; evaluate at an even size, with a matching depthwise_padding in config.json",
            )
        return (
            f"transformers reads its padding from config.json: it is TensorFlow's for inputs of {size} pixels, and for "
            "other sizes only if the same feature maps have even sizes",
        )
    if target == "efficientnet-pytorch":
        return (
            f"EfficientNet.from_name({config.name!r}) pads only for its own input size; with image_size=None, "
            f"{'include_top=False' if not config.num_classes else f'num_classes={config.num_classes}'} "
            "it pads like TensorFlow for any size",
        )
    return ()


def list_label_notes(target: TargetName, labels: Sequence[str] | None) -> tuple[str, ...]:
    """Return a note on labels that the target's config cannot have twice."""
    duplicates = {} if labels is None or target != "transformers" else find_duplicates(labels)
    if not duplicates:
        return ()
    label, numbers = next(iter(duplicates.items()))
    more = f", and {pluralize(len(duplicates) - 1, 'other label')}" if len(duplicates) > 1 else ""
    return (
        f"several classes have the label {printable(abridged(label))} ({', '.join(map(str, numbers))}){more}: "
        "config.json, which needs each label once, has the number of the class after it",
    )


def find_input_size(config: EfficientNetConfig, preprocessing: Preprocessing | None) -> int:
    """Return the evaluation size of a network in pixels."""
    if preprocessing is not None:
        return preprocessing.size
    return config.eval_size or 224


def list_odd_blocks(config: EfficientNetConfig, size: int) -> list[int]:
    """Return the indices of stride-2 blocks whose input has an odd side, for an image of `size` pixels.

    transformers pads these blocks equally on all sides, and the others less at the top and left.
    """
    side = -(-size // config.stem_stride)
    odd = []
    for block in config.blocks():
        if block.config.stride == 2 and side % 2:
            odd.append(block.flat_index)
        side = -(-side // block.config.stride)
    return odd
