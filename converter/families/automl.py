"""Variable names of the released EfficientNet code, as full names in object-based checkpoints too.

The names are those of google/automl, directory efficientnetv2; the older V1 code (tensorflow/tpu) has the same.
Blocks are numbered across all stages. The number of a layer in its block depends on the form of the block, so each
form has its own rules and its own group; `family.map_blocks` lists the forms.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from ..errors import Shape
from ..mapping.rules import Ignore, Rule
from .description import Anatomy, Parts
from .family import Family, fill_numbers, number_blocks

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
    # Squeeze-excite, in all forms.
    Rule("blocks_{block}/se/conv2d/kernel", "stages.{block}.se.reduce.weight", "conv2d"),
    Rule("blocks_{block}/se/conv2d/bias", "stages.{block}.se.reduce.bias"),
    Rule("blocks_{block}/se/conv2d_1/kernel", "stages.{block}.se.expand.weight", "conv2d"),
    Rule("blocks_{block}/se/conv2d_1/bias", "stages.{block}.se.expand.bias"),
    # Head.
    Rule("head/conv2d/kernel", "head.conv.weight", "conv2d"),
    Rule("head/tpu_batch_normalization/{bn}", "head.bn.{bn}"),
    Rule("head/dense/kernel", "classifier.weight", "dense"),
    Rule("head/dense/bias", "classifier.bias"),
    # Graph mode of current TensorFlow makes the scope of the classifier unique again.
    Rule("head_1/dense/kernel", "classifier.weight", "dense"),
    Rule("head_1/dense/bias", "classifier.bias"),
)

_IGNORES = (Ignore("global_step", "training step counter"),)

#: Networks of tensorflow/tpu, folders condconv and tpu of models/official/efficientnet.
_OTHERS = (
    (
        re.compile(r"(?:.*/)?(?:depthwise_)?condconv_kernel"),
        "CondConv, which mixes the kernels of its experts for each image",
    ),
    (
        re.compile(r"(?:.*/)?blocks_[0-9]+/space2depth/.*"),
        "EfficientNet-X, which has space-to-depth convolutions in its blocks",
    ),
)

_DEPTHWISE = "depthwise_conv2d/depthwise_kernel"
_FIRST = "conv2d/kernel"
_SECOND = "conv2d_1/kernel"
_SE = "se/conv2d/kernel"


def _find_parts(shapes: Mapping[str, Shape]) -> Parts:
    """Return the kernels of a block; numbered layers have a different role in each form."""
    norms = 1 + max((n for n in (1, 2) if f"tpu_batch_normalization_{n}/gamma" in shapes), default=0)
    # Only MBConv blocks with expansion have three batch norms; only blocks with expansion have a second convolution.
    depthwise = _DEPTHWISE in shapes or norms == 3
    expands = _SECOND in shapes or norms > (2 if depthwise else 1)
    return Parts(
        project=_SECOND if expands else _FIRST,
        expand=_FIRST if expands else None,
        depthwise=_DEPTHWISE if depthwise else None,
        se=_SE if _SE in shapes else None,
    )


_NUMBERED_STEM = re.compile(r"(?:.*/)?stem_([1-9][0-9]{0,3})/conv2d/kernel(?:/ExponentialMovingAverage)?")
_DENSE = re.compile(r"(?:.*/)?(head(?:_[0-9]+)?/dense(?:_[0-9]+)?)/bias(?:/ExponentialMovingAverage)?")

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
        sort_ids=fill_numbers,
        find_parts=_find_parts,
    ),
    own=re.compile(r"(?:stem|blocks_[0-9]+|head(?:_[0-9]+)?)/"),
    classifier="head/dense",
    rules=_RULES,
    ignores=_IGNORES,
    block_ids=number_blocks,
    others=_OTHERS,
)


def number_layers(names: Iterable[str]) -> tuple[Family, ...]:
    """Return this family for every number that stems have in names: `stem_1` of the second network of one process.

    The code names only blocks itself, so that Keras numbers the stems, heads and dense layers of all networks of a
    process, each kind for itself::

        first     stem/conv2d      head/conv2d      head/dense
        second    stem_1/conv2d    head_1/conv2d    head/dense_1
    """
    present = list(names)
    stems = {match[1] for name in present if (match := _NUMBERED_STEM.fullmatch(name))}
    layers = {match[1] for name in present if (match := _DENSE.fullmatch(name))}
    return tuple(_with_number(number, sorted(layers)) for number in sorted(stems, key=int))


def _with_number(number: str, layers: Sequence[str]) -> Family:
    """Return this family with a number at the stem and at the head, and these dense layers as the classifier."""
    stem, head = f"stem_{number}/", f"head_{number}/"
    rules = [
        dataclasses.replace(rule, source=re.sub("^stem/", stem, re.sub("^head/", head, str(rule))))
        for rule in _RULES
        if "/dense/" not in str(rule)
    ]
    for layer in layers:
        rules += [Rule(f"{layer}/kernel", "classifier.weight", "dense"), Rule(f"{layer}/bias", "classifier.bias")]
    return dataclasses.replace(
        AUTOML,
        anatomy=dataclasses.replace(
            AUTOML.anatomy,
            stem=f"{stem}conv2d/kernel",
            head=f"{head}conv2d/kernel",
            head_parts=("head/", head),
            classifier_biases=tuple(f"{layer}/bias" for layer in layers),
        ),
        own=re.compile(rf"(?:{stem[:-1]}|blocks_[0-9]+|head|{head[:-1]})/"),
        classifier=layers[0] if layers else f"{head}dense",
        rules=tuple(rules),
    )
