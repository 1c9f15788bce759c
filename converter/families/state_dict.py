"""Recognition of a network from a state dict of our own module, by names and shapes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from .._typing import HasShape
from ..errors import Shape, UnknownModelError
from ..model.config import EfficientNetConfig
from .description import Anatomy, Parts
from .recognition import recognize

_DEPTHWISE = "depthwise.conv.weight"
_FOLDED = "stem.conv.bias"


def config_from_state_dict(
    state_dict: Mapping[str, HasShape], *, strides: Sequence[int] | None = None
) -> EfficientNetConfig:
    """Return the config of a state dict with our own names.

    A published network is recognized for any number of classes, even if some tensors are missing or damaged.
    Other networks need `strides`, one for each stage, because shapes do not determine them.
    Raises `UnknownModelError` if the names and shapes are not those of an EfficientNet.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict.items()}
    config = recognize(shapes, ANATOMY, strides=strides).config
    return dataclasses.replace(config, folded_bn=True) if _FOLDED in shapes else config


def config_without_strides(state_dict: Mapping[str, HasShape]) -> EfficientNetConfig:
    """Return a config with the names and shapes of a state dict; all strides are 1 if the network is not published."""
    try:
        return config_from_state_dict(state_dict)
    except UnknownModelError:
        blocks = (ANATOMY.block.fullmatch(name) for name in state_dict)
        count = 1 + max((_split_id(block[1])[0] for block in blocks if block), default=0)
        return config_from_state_dict(state_dict, strides=(1,) * count)


def _split_id(block_id: str) -> tuple[int, int]:
    """Return the stage of a block and its position in the stage."""
    stage, _, position = block_id.partition(".")
    return int(stage), int(position)


def _sort_ids(ids: Iterable[str]) -> list[str]:
    """Return all ids in network order, with one missing id for each gap."""
    order: list[tuple[int, int]] = []
    last = (-1, 0)
    for stage, position in sorted(map(_split_id, ids)):
        if (stage, position) not in ((last[0], last[1] + 1), (last[0] + 1, 0)):
            order.append((stage, position - 1) if position else (stage - 1, 0))
        last = (stage, position)
        order.append(last)
    return [f"{stage}.{position}" for stage, position in order]


def _find_parts(shapes: Mapping[str, Shape]) -> Parts:
    layers = {name.partition(".")[0] for name in shapes}
    return Parts(
        project="project.conv.weight",
        expand="expand.conv.weight" if "expand" in layers else None,
        depthwise=_DEPTHWISE if "depthwise" in layers else None,
        se="se.reduce.weight" if "se" in layers else None,
    )


def _kernel_sizes(name: str, shape: Shape) -> Shape:
    """Return height, width, input and output channels; a depthwise kernel is C1HW here and HWC1 in TensorFlow."""
    first, second, height, width = shape
    return (height, width, first, second) if name.endswith(_DEPTHWISE) else (height, width, second, first)


ANATOMY = Anatomy(
    stem="stem.conv.weight",
    head="head.conv.weight",
    head_parts=("head.",),
    classifier_biases=("classifier.bias",),
    block=re.compile(r"stages\.((?:0|[1-9][0-9]{0,3})\.(?:0|[1-9][0-9]{0,3}))\.(.+)", re.DOTALL),
    block_name="stages.{}.",
    sort_ids=_sort_ids,
    find_parts=_find_parts,
    find_stage=lambda block_id: _split_id(block_id)[0],
    kernel_sizes=_kernel_sizes,
)
