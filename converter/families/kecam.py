"""Layer names of keras_cv_attention_models (kecam) and keras_efficientnet_v2: version 1 and version 2.

A block's id is its stack and its number in the stack, both from 0.
Stem and classifier have the names of Keras applications.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import Shape
from ..mapping.rules import Ignore, Rule
from .description import Anatomy, Parts
from .family import Family
from .keras_applications import NORMALIZATION
from .stacked import StackedIds

_RULES = (
    Rule("stem_conv/kernel", "stem.conv.weight", "conv2d"),
    Rule("stem_bn/{bn}", "stem.bn.{bn}"),
    Rule("stack_{fused1}_fu_conv/kernel", "stages.{fused1}.project.conv.weight", "conv2d"),
    Rule("stack_{fused1}_fu_bn/{bn}", "stages.{fused1}.project.bn.{bn}"),
    Rule("stack_{block}_sortcut_conv/kernel", "stages.{block}.expand.conv.weight", "conv2d"),
    Rule("stack_{block}_sortcut_bn/{bn}", "stages.{block}.expand.bn.{bn}"),
    Rule("stack_{block}_MB_dw_/depthwise_kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    # Keras 3 names every kernel `kernel`.
    Rule("stack_{block}_MB_dw_/kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    Rule("stack_{block}_MB_dw_bn/{bn}", "stages.{block}.depthwise.bn.{bn}"),
    Rule("stack_{block}_se_1_conv/kernel", "stages.{block}.se.reduce.weight", "conv2d"),
    Rule("stack_{block}_se_1_conv/bias", "stages.{block}.se.reduce.bias"),
    Rule("stack_{block}_se_2_conv/kernel", "stages.{block}.se.expand.weight", "conv2d"),
    Rule("stack_{block}_se_2_conv/bias", "stages.{block}.se.expand.bias"),
    Rule("stack_{block}_MB_pw_conv/kernel", "stages.{block}.project.conv.weight", "conv2d"),
    Rule("stack_{block}_MB_pw_bn/{bn}", "stages.{block}.project.bn.{bn}"),
    Rule("post_conv/kernel", "head.conv.weight", "conv2d"),
    Rule("post_bn/{bn}", "head.bn.{bn}"),
    Rule("predictions/kernel", "classifier.weight", "dense"),
    Rule("predictions/bias", "classifier.bias"),
)

_IGNORES = (
    Ignore("{scope...}/normalization/{statistic}", NORMALIZATION),
    Ignore("normalization/{statistic}", NORMALIZATION),
)

_DEPTHWISE = ("MB_dw_/depthwise_kernel", "MB_dw_/kernel")


def _find_parts(shapes: Mapping[str, Shape]) -> Parts:
    """Return the kernels of a block."""
    layers = {name.partition("/")[0] for name in shapes}
    kernels = [name for name in _DEPTHWISE if name in shapes]
    depthwise = kernels[0] if kernels else _DEPTHWISE[0] if layers & {"MB_dw_", "MB_dw_bn"} else None
    return Parts(
        project="fu_conv/kernel" if layers & {"fu_conv", "fu_bn"} else "MB_pw_conv/kernel",
        expand="sortcut_conv/kernel" if layers & {"sortcut_conv", "sortcut_bn"} else None,
        depthwise=depthwise,
        se="se_1_conv/kernel" if "se_1_conv" in layers else None,
    )


_IDS = StackedIds("_block")


KECAM = Family(
    name="kecam",
    title="layers of keras_cv_attention_models and keras_efficientnet_v2",
    version="1",
    names="full_name",
    containers=True,
    anatomy=Anatomy(
        stem="stem_conv/kernel",
        head="post_conv/kernel",
        head_parts=("post_conv/", "post_bn/", "predictions/"),
        classifier_biases=("predictions/bias",),
        block=re.compile(r"stack_((?:0|[1-9][0-9]?)_block(?:0|[1-9][0-9]?))_(.+)", re.DOTALL),
        block_name="stack_{}_",
        sort_ids=_IDS.sort,
        find_parts=_find_parts,
        find_stage=_IDS.find_stage,
    ),
    own=re.compile(r"(?:stem_(?:conv|bn)|stack_[0-9]+_block[0-9]+_[^/]+|post_(?:conv|bn)|predictions)/"),
    classifier="predictions",
    rules=_RULES,
    ignores=_IGNORES,
    block_ids=_IDS.list_all,
    assumption=(
        "assumed, because there is no graph: the model was not built with is_torch_mode=True, which has the same names "
        "and shapes, but pads symmetrically and has epsilon 1e-5; a SavedModel shows it"
    ),
)
