"""The models of other libraries: whether one has a network at all, and where it computes something different."""

from __future__ import annotations

from tfckpt.errors import printable

from ..errors import ExportError
from ..images.recipes import Preprocessing
from ..model.config import CONFIGS, EfficientNetConfig
from .models import TORCHVISION_OTHER_EPSILON, TargetName, library_model, targets_of
from .tables import EFFICIENTNET_PYTORCH, TIMM, TORCHVISION, TRANSFORMERS, Table

TABLES: dict[TargetName, Table] = {
    "timm": TIMM,
    "torchvision": TORCHVISION,
    "transformers": TRANSFORMERS,
    "efficientnet-pytorch": EFFICIENTNET_PYTORCH,
}
#: The batch norm epsilon that the libraries' models have, or get from us.
_LIBRARY_EPSILON = 1e-3


def model_of(target: TargetName, config: EfficientNetConfig) -> str:
    """Name the library's model; `ExportError` says which targets there are instead."""
    others = ", ".join(targets_of(config.name))
    model = library_model(target, config.name)
    if model is not None and not config.head_channels:
        raise ExportError(f"{target}'s models have a head, and this backbone has none; targets for it: native")
    if model is None or not _same_network(config):
        what = config.name if config.name in CONFIGS else "a network that is not a published one"
        raise ExportError(f"{target} has no model for {printable(what)}; targets for it: {others}")
    if config.bn_epsilon != _LIBRARY_EPSILON:
        raise ExportError(f"the batch norms have epsilon {config.bn_epsilon:g}, those of {target} {_LIBRARY_EPSILON:g}")
    if target == "torchvision" and config.in_channels != 3:
        raise ExportError(f"torchvision's models take 3 channels, not {config.in_channels}; targets for it: {others}")
    if target == "torchvision" and not config.num_classes:
        raise ExportError(f"torchvision's models are not built without a classifier; targets for it: {others}")
    return model


def _same_network(config: EfficientNetConfig) -> bool:
    """Whether the config is the published one of its name, whatever its classes and input channels."""
    known = CONFIGS.get(config.name)
    return known is not None and (known.stages, known.stem_channels, known.stem_stride, known.head_channels) == (
        config.stages,
        config.stem_channels,
        config.stem_stride,
        config.head_channels,
    )


def notes_of(target: TargetName, config: EfficientNetConfig, preprocessing: Preprocessing | None) -> tuple[str, ...]:
    """Say where the library's model computes something else than TensorFlow, and what to do about it."""
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
        size = input_size(config, preprocessing)
        if size % 2:
            return (
                f"transformers pads its first convolution for even inputs, and {size} is odd: the logits differ from "
                "TensorFlow's; evaluate at an even size, with depthwise_padding in config.json to suit it",
            )
        return (
            f"transformers has its padding in config.json: it is TensorFlow's at inputs of {size} pixels, and at other "
            "sizes whose feature maps are even and odd in the same places",
        )
    if target == "efficientnet-pytorch":
        return (
            f"EfficientNet.from_name({config.name!r}) pads for its own input size only; with image_size=None, "
            f"{'include_top=False' if not config.num_classes else f'num_classes={config.num_classes}'} "
            "it pads as TensorFlow does at any size",
        )
    return ()


def input_size(config: EfficientNetConfig, preprocessing: Preprocessing | None) -> int:
    """Give the pixels of a side that the network is evaluated at."""
    if preprocessing is not None:
        return preprocessing.size
    return config.eval_size or 224


def depthwise_padding(config: EfficientNetConfig, size: int) -> list[int]:
    """List the blocks of stride 2 whose input has an odd side at an input of `size` pixels, as transformers wants it.

    SAME pads those by the same on all sides, and even ones by less on the left.
    """
    side = -(-size // config.stem_stride)
    odd = []
    for block in config.blocks():
        if block.config.stride == 2 and side % 2:
            odd.append(block.flat_index)
        side = -(-side // block.config.stride)
    return odd
