"""Object paths of the released EfficientNet code, as written by `save_weights` and `tf.train.Checkpoint`.

Layers are named by their function. Batch norms are numbered: 0 follows the expansion, 1 the depthwise convolution
(the projection in a fused MBConv block), and 2 the projection of an MBConv block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import Shape
from ..mapping.rules import Ignore, Rule
from .description import Anatomy, Parts
from .family import Family, fill_numbers, number_blocks

_RULES = (
    Rule("_stem/_conv_stem/kernel", "stem.conv.weight", "conv2d"),
    Rule("_stem/_norm/{bn}", "stem.bn.{bn}"),
    # Convolutions, in all forms.
    Rule("_blocks/{block}/_expand_conv/kernel", "stages.{block}.expand.conv.weight", "conv2d"),
    Rule("_blocks/{block}/_depthwise_conv/depthwise_kernel", "stages.{block}.depthwise.conv.weight", "depthwise"),
    Rule("_blocks/{block}/_project_conv/kernel", "stages.{block}.project.conv.weight", "conv2d"),
    Rule("_blocks/{block}/_se/_se_reduce/kernel", "stages.{block}.se.reduce.weight", "conv2d"),
    Rule("_blocks/{block}/_se/_se_reduce/bias", "stages.{block}.se.reduce.bias"),
    Rule("_blocks/{block}/_se/_se_expand/kernel", "stages.{block}.se.expand.weight", "conv2d"),
    Rule("_blocks/{block}/_se/_se_expand/bias", "stages.{block}.se.expand.bias"),
    # Batch norms of each form.
    Rule("_blocks/{fused1}/_norm1/{bn}", "stages.{fused1}.project.bn.{bn}"),
    Rule("_blocks/{fused}/_norm0/{bn}", "stages.{fused}.expand.bn.{bn}"),
    Rule("_blocks/{fused}/_norm1/{bn}", "stages.{fused}.project.bn.{bn}"),
    Rule("_blocks/{mbconv1}/_norm1/{bn}", "stages.{mbconv1}.depthwise.bn.{bn}"),
    Rule("_blocks/{mbconv1}/_norm2/{bn}", "stages.{mbconv1}.project.bn.{bn}"),
    Rule("_blocks/{mbconv}/_norm0/{bn}", "stages.{mbconv}.expand.bn.{bn}"),
    Rule("_blocks/{mbconv}/_norm1/{bn}", "stages.{mbconv}.depthwise.bn.{bn}"),
    Rule("_blocks/{mbconv}/_norm2/{bn}", "stages.{mbconv}.project.bn.{bn}"),
    # Head.
    Rule("_head/_conv_head/kernel", "head.conv.weight", "conv2d"),
    Rule("_head/_norm/{bn}", "head.bn.{bn}"),
    Rule("_fc/kernel", "classifier.weight", "dense"),
    Rule("_fc/bias", "classifier.bias"),
)

_IGNORES = (Ignore("{model...}/save_counter", "save counter"),)

_EXPAND = "_expand_conv/kernel"
_DEPTHWISE = "_depthwise_conv/depthwise_kernel"
_SE = "_se/_se_reduce/kernel"


def _find_parts(shapes: Mapping[str, Shape]) -> Parts:
    """Return the kernels of a block."""
    return Parts(
        project="_project_conv/kernel",
        expand=_EXPAND if _EXPAND in shapes or "_norm0/gamma" in shapes else None,
        depthwise=_DEPTHWISE if _DEPTHWISE in shapes or "_norm2/gamma" in shapes else None,
        se=_SE if _SE in shapes else None,
    )


AUTOML_OBJECTS = Family(
    name="automl-objects",
    title="object paths of the released code (google/automl)",
    version="1",
    names="path",
    anatomy=Anatomy(
        stem="_stem/_conv_stem/kernel",
        head="_head/_conv_head/kernel",
        head_parts=("_head/", "_fc/"),
        classifier_biases=("_fc/bias",),
        block=re.compile(r"_blocks/(0|[1-9][0-9]{0,3})/(.+)", re.DOTALL),
        block_name="_blocks/{}/",
        sort_ids=fill_numbers,
        find_parts=_find_parts,
    ),
    own=re.compile(r"(?:_stem|_blocks|_head|_fc)/"),
    classifier="_fc",
    rules=_RULES,
    ignores=_IGNORES,
    block_ids=number_blocks,
)
