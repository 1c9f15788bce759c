"""Names of checkpoints that the released EfficientNet code wrote, name-based, or object-based by full names.

The table is that of google/automl, folder efficientnetv2, whose names the older V1 code (tensorflow/tpu) shares.
Blocks are numbered over all stages, and the number of a layer within its block depends on the block's form,
so each form has its own lines and its own word; `family.words_of` draws the forms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import Shape
from ..mapping.rules import Ignore, Rule
from .description import Anatomy, Parts
from .family import Family, flat_ids, flat_order

_RULES = (
    Rule("stem/conv2d/kernel", "stem.conv.weight", "conv2d"),
    Rule("stem/tpu_batch_normalization/{bn}", "stem.bn.{bn}"),
    # Fused MBConv, expansion 1.
    Rule("blocks_{fused1}/conv2d/kernel", "stages.{fused1}.project.conv.weight", "conv2d"),
    Rule("blocks_{fused1}/tpu_batch_normalization/{bn}", "stages.{fused1}.project.bn.{bn}"),
    # Fused MBConv.
    Rule("blocks_{fused}/conv2d/kernel", "stages.{fused}.expand.conv.weight", "conv2d"),
    Rule("blocks_{fused}/tpu_batch_normalization/{bn}", "stages.{fused}.expand.bn.{bn}"),
    Rule("blocks_{fused}/conv2d_1/kernel", "stages.{fused}.project.conv.weight", "conv2d"),
    Rule("blocks_{fused}/tpu_batch_normalization_1/{bn}", "stages.{fused}.project.bn.{bn}"),
    # MBConv, expansion 1.
    Rule(
        "blocks_{mbconv1}/depthwise_conv2d/depthwise_kernel",
        "stages.{mbconv1}.depthwise.conv.weight",
        "depthwise",
    ),
    Rule("blocks_{mbconv1}/tpu_batch_normalization/{bn}", "stages.{mbconv1}.depthwise.bn.{bn}"),
    Rule("blocks_{mbconv1}/conv2d/kernel", "stages.{mbconv1}.project.conv.weight", "conv2d"),
    Rule("blocks_{mbconv1}/tpu_batch_normalization_1/{bn}", "stages.{mbconv1}.project.bn.{bn}"),
    # MBConv.
    Rule("blocks_{mbconv}/conv2d/kernel", "stages.{mbconv}.expand.conv.weight", "conv2d"),
    Rule("blocks_{mbconv}/tpu_batch_normalization/{bn}", "stages.{mbconv}.expand.bn.{bn}"),
    Rule("blocks_{mbconv}/depthwise_conv2d/depthwise_kernel", "stages.{mbconv}.depthwise.conv.weight", "depthwise"),
    Rule("blocks_{mbconv}/tpu_batch_normalization_1/{bn}", "stages.{mbconv}.depthwise.bn.{bn}"),
    Rule("blocks_{mbconv}/conv2d_1/kernel", "stages.{mbconv}.project.conv.weight", "conv2d"),
    Rule("blocks_{mbconv}/tpu_batch_normalization_2/{bn}", "stages.{mbconv}.project.bn.{bn}"),
    # Squeeze-excite of any block.
    Rule("blocks_{block}/se/conv2d/kernel", "stages.{block}.se.reduce.weight", "conv2d"),
    Rule("blocks_{block}/se/conv2d/bias", "stages.{block}.se.reduce.bias"),
    Rule("blocks_{block}/se/conv2d_1/kernel", "stages.{block}.se.expand.weight", "conv2d"),
    Rule("blocks_{block}/se/conv2d_1/bias", "stages.{block}.se.expand.bias"),
    # Head.
    Rule("head/conv2d/kernel", "head.conv.weight", "conv2d"),
    Rule("head/tpu_batch_normalization/{bn}", "head.bn.{bn}"),
    Rule("head/dense/kernel", "classifier.weight", "dense"),
    Rule("head/dense/bias", "classifier.bias"),
    # Graph mode under current TensorFlow names the classifier's scope anew.
    Rule("head_1/dense/kernel", "classifier.weight", "dense"),
    Rule("head_1/dense/bias", "classifier.bias"),
)

_IGNORES = (Ignore("global_step", "step counter of the training"),)

_DEPTHWISE = "depthwise_conv2d/depthwise_kernel"
_FIRST = "conv2d/kernel"
_SECOND = "conv2d_1/kernel"
_SE = "se/conv2d/kernel"


def _parts(shapes: Mapping[str, Shape]) -> Parts:
    """Tell a block's form: layers are numbered, so that what a layer is depends on how many there are."""
    norms = 1 + max((n for n in (1, 2) if f"tpu_batch_normalization_{n}/gamma" in shapes), default=0)
    # Only an MBConv block with expansion has three batch norms; only blocks with expansion have a second convolution.
    depthwise = _DEPTHWISE in shapes or norms == 3
    expands = _SECOND in shapes or norms > (2 if depthwise else 1)
    return Parts(
        project=_SECOND if expands else _FIRST,
        expand=_FIRST if expands else None,
        depthwise=_DEPTHWISE if depthwise else None,
        se=_SE if _SE in shapes else None,
    )


AUTOML = Family(
    name="automl",
    title="names of the released code (google/automl, tensorflow/tpu)",
    version="1",
    names="full_name",
    anatomy=Anatomy(
        stem="stem/conv2d/kernel",
        head="head/conv2d/kernel",
        head_parts=("head/", "head_1/"),
        classifier_biases=("head/dense/bias", "head_1/dense/bias"),
        block=re.compile(r"blocks_(0|[1-9][0-9]{0,3})/(.+)", re.DOTALL),
        block_name="blocks_{}/",
        order=flat_order,
        parts=_parts,
    ),
    own=re.compile(r"(?:stem|blocks_[0-9]+|head(?:_[0-9]+)?)/"),
    classifier="head/dense",
    rules=_RULES,
    ignores=_IGNORES,
    block_ids=flat_ids,
)
