"""Names of checkpoints that the released EfficientNet code wrote, name-based: the rule table, scope and class count.

The table is that of google/automl, folder efficientnetv2, whose names the older V1 code (tensorflow/tpu) shares.
Blocks are numbered over all stages, and the number of a layer within its block depends on the block's form,
so each form has its own lines, and its own word: the numbers of the blocks that have it.

::

    form        block                        layers, in order
    fused1      fused MBConv, expansion 1    project (k×k)
    fused       fused MBConv                 expand (k×k), project (1×1)
    mbconv1     MBConv, expansion 1          depthwise, project (1×1)
    mbconv      MBConv                       expand (1×1), depthwise, project (1×1)

Each convolution is followed by its batch norm; squeeze-excite, in whichever form, is under `se/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tfckpt.errors import printable

from ..errors import Shape, UnknownModelError
from ..model.config import BlockConfig, EfficientNetConfig
from .averages import Selection, WeightsChoice, select_weights, variable_of
from .describe import STEM
from .graph import GraphFacts
from .recognise import recognise
from .rules import Constant, Ignore, Rule, RuleSet

#: Raised by one whenever a line below changes, so that an output tells which table made it.
VERSION = "1"

#: The string tensor that makes a checkpoint an object-based one.
OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"

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

_IGNORES = (
    Ignore("global_step", "step counter of the training"),
    Ignore("beta1_power", "state of the Adam optimizer"),
    Ignore("beta2_power", "state of the Adam optimizer"),
    Ignore("{scope...}/beta1_power", "state of the Adam optimizer"),
    Ignore("{scope...}/beta2_power", "state of the Adam optimizer"),
    Ignore("{variable...}/RMSProp", "slot of the RMSProp optimizer"),
    Ignore("{variable...}/RMSProp_1", "slot of the RMSProp optimizer"),
    Ignore("{variable...}/Momentum", "slot of the Momentum optimizer"),
    Ignore("{variable...}/Adam", "slot of the Adam optimizer"),
    Ignore("{variable...}/Adam_1", "slot of the Adam optimizer"),
)

_CONSTANTS = (
    Constant(
        "{layer...}.bn.num_batches_tracked",
        0,
        "int64",
        "PyTorch counts batches there; TensorFlow does not, and inference does not read it",
    ),
)

_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class Prepared(NamedTuple):
    """All that planning a conversion needs to know of a checkpoint, and the sentences that say how it is known."""

    config: EfficientNetConfig
    evidence: tuple[str, ...]
    scope: str
    rules: RuleSet
    selection: Selection


def prepare(
    shapes: Mapping[str, Shape],
    *,
    model: str = "auto",
    weights: WeightsChoice = "ema",
    strides: Sequence[int] | None = None,
    scope: str | None = None,
    graph: GraphFacts | None = None,
) -> Prepared:
    """Find the network among a checkpoint's tensors, and write the rules for it.

    Raises `UnknownModelError` when there is none, or several.
    """
    scope = find_scope(shapes, scope)
    recognition = recognise(within(shapes, scope), model=model, strides=strides, graph=graph, scope=scope)
    rules = rule_set(recognition.config, scope)
    return Prepared(*recognition, scope, rules, select_weights(shapes, weights))


def within(shapes: Mapping[str, Shape], scope: str) -> dict[str, Shape]:
    """Give the variables under a scope, named without it; an average and its variable have the same shape."""
    return {variable_of(name).removeprefix(scope): shape for name, shape in shapes.items() if name.startswith(scope)}


def rule_set(config: EfficientNetConfig, scope: str) -> RuleSet:
    """Write the table for one network: which block numbers have which form, and where they stand."""
    words: dict[str, dict[str, str]] = {form: {} for form in ("fused1", "fused", "mbconv1", "mbconv", "block")}
    for placed in config.blocks():
        place = f"{placed.stage}.{placed.position}"
        words[form_of(placed.config)][str(placed.flat_index)] = place
        words["block"][str(placed.flat_index)] = place
    return RuleSet(
        name="automl",
        version=VERSION,
        scope=scope,
        rules=_RULES,
        ignores=_IGNORES,
        constants=_CONSTANTS,
        words={**words, "bn": _BATCH_NORM},
    )


def form_of(block: BlockConfig) -> str:
    """Name the form that tells a block's layers apart."""
    return f"{block.block}1" if block.expansion == 1 else block.block


def find_scope(names: Iterable[str], scope: str | None = None) -> str:
    """Find what the network's names begin with, by its stem: `efficientnetv2-s/` or nothing, for example.

    A given `scope` is taken as it is, with or without its last slash.
    Raises `UnknownModelError` when no stem is there, or several.
    """
    variables = {variable_of(name) for name in names}
    found = sorted(name.removesuffix(STEM) for name in variables if name == STEM or name.endswith("/" + STEM))
    shown = ", ".join(repr(printable(prefix)) for prefix in found)
    if scope is not None:
        scope = scope if not scope or scope.endswith("/") else scope + "/"
        if scope not in found:
            where = f"there is one under {shown}" if found else "nor under any other"
            raise UnknownModelError(f"no EfficientNet stem ({STEM}) under the scope {printable(scope)!r}; {where}")
        return scope
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownModelError(f"several networks in one checkpoint, under {shown}; choose one by its scope (--scope)")
    if OBJECT_GRAPH_KEY in variables:
        raise UnknownModelError(
            "this is an object-based checkpoint; only name-based EfficientNet checkpoints can be converted, "
            f"whose names end in {STEM} and the like"
        )
    examples = ", ".join(printable(name) for name in sorted(variables)[:3])
    raise UnknownModelError(
        f"no EfficientNet in this checkpoint: none of its {len(variables)} variables is a {STEM}"
        + (f"; it has {examples}" + (" ..." if len(variables) > 3 else "") if examples else "")
    )
