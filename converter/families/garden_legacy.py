"""Layer names of Model Garden's legacy EfficientNet (tensorflow/models, `official.legacy.image_classification`).

Other programs of Model Garden and networks of TensorFlow Hub have these names too.
A block's id is its stack and its number in the stack, both from 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import Shape
from ..mapping.rules import Ignore, Rule
from .description import Anatomy, Parts
from .family import Family
from .stacked import StackedIds

_RULES = (
    Rule("stem_conv2d/kernel", "stem.conv.weight", "conv2d"),
    Rule("stem_bn/{bn}", "stem.bn.{bn}"),
    Rule("stack_{fused}/fused_conv2d/kernel", "stages.{fused}.expand.conv.weight", "conv2d"),
    Rule("stack_{fused}/fused_bn/{bn}", "stages.{fused}.expand.bn.{bn}"),
    Rule("stack_{mbconv}/expand_conv2d/kernel", "stages.{mbconv}.expand.conv.weight", "conv2d"),
    Rule("stack_{mbconv}/expand_bn/{bn}", "stages.{mbconv}.expand.bn.{bn}"),
    Rule("stack_{block}/depthwise_conv2d/depthwise_kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    Rule("stack_{block}/depthwise_bn/{bn}", "stages.{block}.depthwise.bn.{bn}"),
    Rule("stack_{block}/se_reduce_conv2d/kernel", "stages.{block}.se.reduce.weight", "conv2d"),
    Rule("stack_{block}/se_reduce_conv2d/bias", "stages.{block}.se.reduce.bias"),
    Rule("stack_{block}/se_expand_conv2d/kernel", "stages.{block}.se.expand.weight", "conv2d"),
    Rule("stack_{block}/se_expand_conv2d/bias", "stages.{block}.se.expand.bias"),
    Rule("stack_{block}/project_conv2d/kernel", "stages.{block}.project.conv.weight", "conv2d"),
    Rule("stack_{block}/project_bn/{bn}", "stages.{block}.project.bn.{bn}"),
    Rule("top_conv2d/kernel", "head.conv.weight", "conv2d"),
    Rule("top_bn/{bn}", "head.bn.{bn}"),
    Rule("logits/kernel", "classifier.weight", "dense"),
    Rule("logits/bias", "classifier.bias"),
)

_IGNORES = (Ignore("{model...}/save_counter", "save counter"),)


def _find_parts(shapes: Mapping[str, Shape]) -> Parts:
    """Return the kernels of a block."""
    layers = {name.partition("/")[0] for name in shapes}
    expand = "fused" if "fused_conv2d" in layers else "expand" if layers & {"expand_conv2d", "expand_bn"} else None
    return Parts(
        project="project_conv2d/kernel",
        expand=None if expand is None else f"{expand}_conv2d/kernel",
        depthwise="depthwise_conv2d/depthwise_kernel" if layers & {"depthwise_conv2d", "depthwise_bn"} else None,
        se="se_reduce_conv2d/kernel" if "se_reduce_conv2d" in layers else None,
    )


_IDS = StackedIds("/block_")


GARDEN_LEGACY = Family(
    name="garden-legacy",
    title="layers of Model Garden's legacy code",
    version="1",
    names="full_name",
    containers=True,
    anatomy=Anatomy(
        stem="stem_conv2d/kernel",
        head="top_conv2d/kernel",
        head_parts=("top_conv2d/", "top_bn/", "logits/"),
        classifier_biases=("logits/bias",),
        block=re.compile(r"stack_((?:0|[1-9][0-9]?)/block_(?:0|[1-9][0-9]?))/(.+)", re.DOTALL),
        block_name="stack_{}/",
        sort_ids=_IDS.sort,
        find_parts=_find_parts,
        find_stage=_IDS.find_stage,
    ),
    own=re.compile(r"(?:stem_(?:conv2d|bn)|stack_[0-9]+/block_[0-9]+/[^/]+|top_(?:conv2d|bn)|logits)/"),
    classifier="logits",
    rules=_RULES,
    ignores=_IGNORES,
    block_ids=_IDS.list_all,
)
