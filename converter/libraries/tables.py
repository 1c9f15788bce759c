"""Names of tensors in other libraries, as rules that map our names to theirs.

The rules are those of `converter.mapping.rules`. All layouts are the identity, because only names differ.
A block, `{stage}.{position}` in our names, is translated by the words of each library.

::

    library                checked with                                 name of a block
    timm                   tf_efficientnet_*, tf_efficientnetv2_*       blocks.{stage}.{position}
    torchvision            efficientnet_b*, efficientnet_v2_*           features.{stage + 1}.{position}
    transformers           EfficientNetForImageClassification           efficientnet.encoder.blocks.{flat index}
    efficientnet-pytorch   EfficientNet.from_name                       _blocks.{flat index}

The forms of blocks are those of `model.names`: `fused1`, `fused`, `mbconv1` and `mbconv`; `block` matches any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from ..mapping.matching import translate
from ..mapping.rules import Rule, RuleSet
from ..model.config import Block, EfficientNetConfig
from ..model.names import FORMS, get_form, native_targets

#: Incremented whenever a rule changes.
VERSION = "1"

_Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Table(NamedTuple):
    """The names in one library: pairs of our layer and its layer, and a function that returns its name of a block.

    `{head}` in a name of the library is the number after the last stage's.
    """

    norms: _Pairs
    layers: _Pairs
    format_block: Callable[[Block], str]


def _format_by_stage(block: Block) -> str:
    return f"{block.stage}.{block.position}"


def _format_by_next_stage(block: Block) -> str:
    return f"{block.stage + 1}.{block.position}"


def _format_by_index(block: Block) -> str:
    return str(block.flat_index)


TIMM = Table(
    norms=(
        ("stem.bn", "bn1"),
        ("stages.{fused1}.project.bn", "blocks.{fused1}.bn1"),
        ("stages.{fused}.expand.bn", "blocks.{fused}.bn1"),
        ("stages.{fused}.project.bn", "blocks.{fused}.bn2"),
        ("stages.{mbconv1}.depthwise.bn", "blocks.{mbconv1}.bn1"),
        ("stages.{mbconv1}.project.bn", "blocks.{mbconv1}.bn2"),
        ("stages.{mbconv}.expand.bn", "blocks.{mbconv}.bn1"),
        ("stages.{mbconv}.depthwise.bn", "blocks.{mbconv}.bn2"),
        ("stages.{mbconv}.project.bn", "blocks.{mbconv}.bn3"),
        ("head.bn", "bn2"),
    ),
    layers=(
        ("stem.conv", "conv_stem"),
        ("stages.{fused1}.project.conv", "blocks.{fused1}.conv"),
        ("stages.{fused}.expand.conv", "blocks.{fused}.conv_exp"),
        ("stages.{fused}.project.conv", "blocks.{fused}.conv_pwl"),
        ("stages.{mbconv1}.depthwise.conv", "blocks.{mbconv1}.conv_dw"),
        ("stages.{mbconv1}.project.conv", "blocks.{mbconv1}.conv_pw"),
        ("stages.{mbconv}.expand.conv", "blocks.{mbconv}.conv_pw"),
        ("stages.{mbconv}.depthwise.conv", "blocks.{mbconv}.conv_dw"),
        ("stages.{mbconv}.project.conv", "blocks.{mbconv}.conv_pwl"),
        ("stages.{block}.se.reduce", "blocks.{block}.se.conv_reduce"),
        ("stages.{block}.se.expand", "blocks.{block}.se.conv_expand"),
        ("head.conv", "conv_head"),
        ("classifier", "classifier"),
    ),
    format_block=_format_by_stage,
)

TORCHVISION = Table(
    norms=(
        ("stem.bn", "features.0.1"),
        ("stages.{fused1}.project.bn", "features.{fused1}.block.0.1"),
        ("stages.{fused}.expand.bn", "features.{fused}.block.0.1"),
        ("stages.{fused}.project.bn", "features.{fused}.block.1.1"),
        ("stages.{mbconv1}.depthwise.bn", "features.{mbconv1}.block.0.1"),
        ("stages.{mbconv1}.project.bn", "features.{mbconv1}.block.2.1"),
        ("stages.{mbconv}.expand.bn", "features.{mbconv}.block.0.1"),
        ("stages.{mbconv}.depthwise.bn", "features.{mbconv}.block.1.1"),
        ("stages.{mbconv}.project.bn", "features.{mbconv}.block.3.1"),
        ("head.bn", "features.{head}.1"),
    ),
    layers=(
        ("stem.conv", "features.0.0"),
        ("stages.{fused1}.project.conv", "features.{fused1}.block.0.0"),
        ("stages.{fused}.expand.conv", "features.{fused}.block.0.0"),
        ("stages.{fused}.project.conv", "features.{fused}.block.1.0"),
        ("stages.{mbconv1}.depthwise.conv", "features.{mbconv1}.block.0.0"),
        ("stages.{mbconv1}.se.reduce", "features.{mbconv1}.block.1.fc1"),
        ("stages.{mbconv1}.se.expand", "features.{mbconv1}.block.1.fc2"),
        ("stages.{mbconv1}.project.conv", "features.{mbconv1}.block.2.0"),
        ("stages.{mbconv}.expand.conv", "features.{mbconv}.block.0.0"),
        ("stages.{mbconv}.depthwise.conv", "features.{mbconv}.block.1.0"),
        ("stages.{mbconv}.se.reduce", "features.{mbconv}.block.2.fc1"),
        ("stages.{mbconv}.se.expand", "features.{mbconv}.block.2.fc2"),
        ("stages.{mbconv}.project.conv", "features.{mbconv}.block.3.0"),
        ("head.conv", "features.{head}.0"),
        ("classifier", "classifier.1"),
    ),
    format_block=_format_by_next_stage,
)

_ENCODER = "efficientnet.encoder.blocks"

TRANSFORMERS = Table(
    norms=(
        ("stem.bn", "efficientnet.embeddings.batchnorm"),
        ("stages.{block}.expand.bn", f"{_ENCODER}.{{block}}.expansion.expand_bn"),
        ("stages.{block}.depthwise.bn", f"{_ENCODER}.{{block}}.depthwise_conv.depthwise_norm"),
        ("stages.{block}.project.bn", f"{_ENCODER}.{{block}}.projection.project_bn"),
        ("head.bn", "efficientnet.encoder.top_bn"),
    ),
    layers=(
        ("stem.conv", "efficientnet.embeddings.convolution"),
        ("stages.{block}.expand.conv", f"{_ENCODER}.{{block}}.expansion.expand_conv"),
        ("stages.{block}.depthwise.conv", f"{_ENCODER}.{{block}}.depthwise_conv.depthwise_conv"),
        ("stages.{block}.se.reduce", f"{_ENCODER}.{{block}}.squeeze_excite.reduce"),
        ("stages.{block}.se.expand", f"{_ENCODER}.{{block}}.squeeze_excite.expand"),
        ("stages.{block}.project.conv", f"{_ENCODER}.{{block}}.projection.project_conv"),
        ("head.conv", "efficientnet.encoder.top_conv"),
        ("classifier", "classifier"),
    ),
    format_block=_format_by_index,
)

EFFICIENTNET_PYTORCH = Table(
    norms=(
        ("stem.bn", "_bn0"),
        ("stages.{block}.expand.bn", "_blocks.{block}._bn0"),
        ("stages.{block}.depthwise.bn", "_blocks.{block}._bn1"),
        ("stages.{block}.project.bn", "_blocks.{block}._bn2"),
        ("head.bn", "_bn1"),
    ),
    layers=(
        ("stem.conv", "_conv_stem"),
        ("stages.{block}.expand.conv", "_blocks.{block}._expand_conv"),
        ("stages.{block}.depthwise.conv", "_blocks.{block}._depthwise_conv"),
        ("stages.{block}.se.reduce", "_blocks.{block}._se_reduce"),
        ("stages.{block}.se.expand", "_blocks.{block}._se_expand"),
        ("stages.{block}.project.conv", "_blocks.{block}._project_conv"),
        ("head.conv", "_conv_head"),
        ("classifier", "_fc"),
    ),
    format_block=_format_by_index,
)

#: Tensors of batch norms, and of convolutions and the classifier.
_NORM_PARTS = {part: part for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
_LAYER_PARTS = {part: part for part in ("weight", "bias")}


def build_rules(table: Table, config: EfficientNetConfig, name: str) -> RuleSet:
    """Return the rules of a library for a network."""
    words: dict[str, dict[str, str]] = {form: {} for form in (*FORMS, "block")}
    for block in config.blocks():
        words[get_form(block.config)][_format_by_stage(block)] = words["block"][_format_by_stage(block)] = (
            table.format_block(block)
        )
    # In torchvision the head is numbered like one more stage.
    head = str(len(config.stages) + 1)
    rules = tuple(
        Rule(f"{ours}.{{{part}}}", f"{theirs.replace('{head}', head)}.{{{part}}}")
        for pairs, part in ((table.norms, "norm"), (table.layers, "part"))
        for ours, theirs in pairs
    )
    return RuleSet(name=name, version=VERSION, rules=rules, words={**words, "norm": _NORM_PARTS, "part": _LAYER_PARTS})


def map_to_library(table: Table, config: EfficientNetConfig, name: str) -> dict[str, str]:
    """Return our name -> the library's name for every tensor of a network, one to one.

    Raises `MappingError` for a tensor that is not in the table.
    """
    return translate(native_targets(config), build_rules(table, config, name))
