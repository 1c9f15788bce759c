"""State dicts of our own module: its names as one more family to describe a network by, from names and shapes alone."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from .._typing import HasShape
from ..errors import Shape, UnknownModelError
from ..model.config import EfficientNetConfig
from .description import Anatomy, Parts
from .recognition import recognise

_DEPTHWISE = "depthwise.conv.weight"
_FOLDED = "stem.conv.bias"


def config_from_state_dict(
    state_dict: Mapping[str, HasShape], *, strides: Sequence[int] | None = None
) -> EfficientNetConfig:
    """Return the config of a state dict under our own names, from its names and shapes.

    A published network is recognised whatever its class count, also if some of its tensors are missing or damaged.
    Any other needs `strides`, one for each stage, since shapes do not show them.
    Raises `UnknownModelError` if it is not such a network.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict.items()}
    config = recognise(shapes, ANATOMY, strides=strides).config
    return dataclasses.replace(config, folded_bn=True) if _FOLDED in shapes else config


def config_without_strides(state_dict: Mapping[str, HasShape]) -> EfficientNetConfig:
    """Return a config with the names and shapes of a state dict; all strides are 1 if the network is not published."""
    try:
        return config_from_state_dict(state_dict)
    except UnknownModelError:
        blocks = (ANATOMY.block.fullmatch(name) for name in state_dict)
        count = 1 + max((_place(block[1])[0] for block in blocks if block), default=0)
        return config_from_state_dict(state_dict, strides=(1,) * count)


def _place(block_id: str) -> tuple[int, int]:
    """Return the stage of a block and its position there."""
    stage, _, position = block_id.partition(".")
    return int(stage), int(position)


def _order(ids: Iterable[str]) -> list[str]:
    """Return all ids in network order, and a missing one before each gap ends."""
    order: list[tuple[int, int]] = []
    last = (-1, 0)
    for stage, position in sorted(map(_place, ids)):
        if (stage, position) not in ((last[0], last[1] + 1), (last[0] + 1, 0)):
            order.append((stage, position - 1) if position else (stage - 1, 0))
        last = (stage, position)
        order.append(last)
    return [f"{stage}.{position}" for stage, position in order]


def _parts(shapes: Mapping[str, Shape]) -> Parts:
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
    order=_order,
    parts=_parts,
    stage_of=lambda block_id: _place(block_id)[0],
    kernel_sizes=_kernel_sizes,
)
