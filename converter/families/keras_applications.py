"""Layer names of Keras applications: EfficientNetV2 B0 to L and EfficientNet B0 to B7.

Rules match full names, because paths such as `layer_with_weights-3/kernel` only number the layers.
A block's id is the number of its stage, from 1, and a letter for its position, continued after `z` in ASCII order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import Shape
from ..mapping.rules import Ignore, Rule
from ..model.config import EfficientNetConfig
from .description import Anatomy, Parts
from .family import Family

#: The character for the first block of a stage.
_FIRST_LETTER = "a"
_MAX_REPEATS = 100

NORMALIZATION = "statistics of the input normalization, part of preprocessing"

_RANDOM = "random number generator state"

_RULES = (
    Rule("stem_conv/kernel", "stem.conv.weight", "conv2d"),
    Rule("stem_bn/{bn}", "stem.bn.{bn}"),
    Rule("block{block}_expand_conv/kernel", "stages.{block}.expand.conv.weight", "conv2d"),
    Rule("block{block}_expand_bn/{bn}", "stages.{block}.expand.bn.{bn}"),
    Rule("block{block}_dwconv2/depthwise_kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    # In version 1 the name of the depthwise layer has no 2. Keras 3 names every kernel `kernel`.
    Rule("block{block}_dwconv/depthwise_kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    Rule("block{block}_dwconv2/kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    Rule("block{block}_dwconv/kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    Rule("block{block}_bn/{bn}", "stages.{block}.depthwise.bn.{bn}"),
    Rule("block{block}_se_reduce/kernel", "stages.{block}.se.reduce.weight", "conv2d"),
    Rule("block{block}_se_reduce/bias", "stages.{block}.se.reduce.bias"),
    Rule("block{block}_se_expand/kernel", "stages.{block}.se.expand.weight", "conv2d"),
    Rule("block{block}_se_expand/bias", "stages.{block}.se.expand.bias"),
    Rule("block{block}_project_conv/kernel", "stages.{block}.project.conv.weight", "conv2d"),
    Rule("block{block}_project_bn/{bn}", "stages.{block}.project.bn.{bn}"),
    Rule("top_conv/kernel", "head.conv.weight", "conv2d"),
    Rule("top_bn/{bn}", "head.bn.{bn}"),
    Rule("predictions/kernel", "classifier.weight", "dense"),
    Rule("predictions/bias", "classifier.bias"),
    # The package `efficientnet` has the other names of Keras applications.
    Rule("probs/kernel", "classifier.weight", "dense"),
    Rule("probs/bias", "classifier.bias"),
)

_IGNORES = (
    Ignore("{scope...}/normalization/{statistic}", NORMALIZATION),
    Ignore("{scope...}/normalization_{number}/{statistic}", NORMALIZATION),
    Ignore("normalization/{statistic}", NORMALIZATION),
    Ignore("seed_generator/{state}", _RANDOM),
    Ignore("seed_generator_{number}/{state}", _RANDOM),
    Ignore("normalization_{number}/{statistic}", NORMALIZATION),
)


_DEPTHWISE = ("dwconv2/depthwise_kernel", "dwconv/depthwise_kernel", "dwconv2/kernel", "dwconv/kernel")


def _find_parts(shapes: Mapping[str, Shape]) -> Parts:
    """Return the kernels of a block."""
    layers = {name.partition("/")[0] for name in shapes}
    kernels = [name for name in _DEPTHWISE if name in shapes]
    depthwise = kernels[0] if kernels else _DEPTHWISE[0] if layers & {"dwconv", "dwconv2", "bn"} else None
    return Parts(
        project="project_conv/kernel",
        expand="expand_conv/kernel" if layers & {"expand_conv", "expand_bn"} else None,
        depthwise=depthwise,
        se="se_reduce/kernel" if "se_reduce" in layers else None,
    )


def _sort_ids(ids: Iterable[str]) -> list[str]:
    """Return all ids: stages from 1 to the last, each from `a` to its last letter."""
    repeats: dict[int, int] = {}
    for block_id in ids:
        stage = int(block_id[:-1])
        repeats[stage] = max(repeats.get(stage, 0), _get_position(block_id) + 1)
    return [
        _format_block_id(stage, position)
        for stage in range(1, max(repeats, default=0) + 1)
        for position in range(repeats.get(stage, 1))
    ]


def _get_position(block_id: str) -> int:
    return ord(block_id[-1]) - ord(_FIRST_LETTER)


def _format_block_id(stage: int, position: int) -> str:
    return f"{stage}{chr(ord(_FIRST_LETTER) + position)}"


def _get_stage(block_id: str) -> int:
    return int(block_id[:-1])


def _list_block_ids(config: EfficientNetConfig) -> list[str]:
    return [_format_block_id(block.stage + 1, block.position) for block in config.blocks()]


#: keras_hub names its blocks like Keras applications, and their layers otherwise, or inside the block.
_OTHERS = (
    (
        re.compile(r"(?:.*/)?block[0-9]+._(?:dwconv_bn/.+|project/kernel|/block[0-9]+._.+)"),
        "an EfficientNet of keras_hub, which pads symmetrically and has another epsilon",
    ),
)

_LETTERS = re.escape(_FIRST_LETTER) + "-" + re.escape(chr(ord(_FIRST_LETTER) + _MAX_REPEATS - 1))

KERAS = Family(
    name="keras",
    title="layers of Keras applications",
    version="2",
    names="full_name",
    containers=True,
    anatomy=Anatomy(
        stem="stem_conv/kernel",
        head="top_conv/kernel",
        head_parts=("top_conv/", "top_bn/", "predictions/", "probs/"),
        classifier_biases=("predictions/bias", "probs/bias"),
        block=re.compile(rf"block([1-9][0-9]?[{_LETTERS}])_(.+)", re.DOTALL),
        block_name="block{}_",
        sort_ids=_sort_ids,
        find_parts=_find_parts,
        find_stage=_get_stage,
    ),
    own=re.compile(rf"(?:stem_(?:conv|bn)|block[0-9]+[{_LETTERS}]_[^/]+|top_(?:conv|bn)|predictions|probs)/"),
    classifier="predictions",
    rules=_RULES,
    ignores=_IGNORES,
    block_ids=_list_block_ids,
    others=_OTHERS,
    padding="SAME, which Keras fixes for the image size of the model",
)
