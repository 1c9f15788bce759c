"""Object paths of Model Garden's EfficientNet (tensorflow/models, `official.vision`).

A Keras model numbers its layers that have weights; full names are numbered by process, and say nothing. In a backbone::

    0                    convolution of the stem
    1                    its batch norm
    2 to n + 1           blocks
    n + 2, n + 3         convolution and batch norm of the head

In its classifier the backbone is layer 0, and the dense layer is layer 1.
The numbers depend on how many blocks a network has, so there is one table for each network.

By default the code has no squeeze-and-excitation and the activation relu, and all its networks have the strides of
version 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ..errors import Shape
from ..mapping.rules import Ignore, Rule
from ..model.config import EfficientNetConfig
from .averages import strip_average
from .description import Anatomy, Parts
from .family import Family
from .settings import Defaults
from .variables import SourceVariable

_LAYER = "layer_with_weights-"
#: The first layers, before the blocks.
_FIRST_BLOCK = 2
_DEPTHWISE = "_conv1/depthwise_kernel"
_EXPAND = "_conv0/kernel"
_SE = "_squeeze_excitation/_se_reduce/kernel"
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_BLOCK = re.compile(rf"(?P<scope>(?:.*/)?){_LAYER}(?P<number>[1-9][0-9]{{0,3}})/{_DEPTHWISE}", re.DOTALL)

_IN_BLOCKS = (
    ("{mbconv}/_conv0/kernel", "{mbconv}.expand.conv.weight", "conv2d"),
    ("{mbconv}/_norm0/{bn}", "{mbconv}.expand.bn.{bn}", "identity"),
    ("{block}/_conv1/depthwise_kernel", "{block}.depthwise.conv.weight", "depthwise"),
    ("{block}/_norm1/{bn}", "{block}.depthwise.bn.{bn}", "identity"),
    ("{block}/_squeeze_excitation/_se_reduce/kernel", "{block}.se.reduce.weight", "conv2d"),
    ("{block}/_squeeze_excitation/_se_reduce/bias", "{block}.se.reduce.bias", "identity"),
    ("{block}/_squeeze_excitation/_se_expand/kernel", "{block}.se.expand.weight", "conv2d"),
    ("{block}/_squeeze_excitation/_se_expand/bias", "{block}.se.expand.bias", "identity"),
    ("{block}/_conv2/kernel", "{block}.project.conv.weight", "conv2d"),
    ("{block}/_norm2/{bn}", "{block}.project.bn.{bn}", "identity"),
)

_IGNORES = (Ignore("{model...}/save_counter", "save counter"),)


def find_garden_networks(variables: Iterable[SourceVariable]) -> Iterator[Family]:
    """Yield a family for each network of this code among the variables of a checkpoint."""
    shapes = {strip_average(variable.path): variable.shape for variable in variables}
    blocks: dict[str, int] = {}
    for path in shapes:
        match = _BLOCK.fullmatch(path)
        if match is not None:
            blocks[match["scope"]] = max(blocks.get(match["scope"], 0), int(match["number"]))
    for scope, last in blocks.items():
        if f"{scope}{_LAYER}{_FIRST_BLOCK}/{_DEPTHWISE}" not in shapes or f"{scope}{_LAYER}0/kernel" not in shapes:
            continue
        outer = scope.removesuffix(f"{_LAYER}0/")
        has_classifier = outer != scope and len(shapes.get(f"{outer}{_LAYER}1/kernel", ())) == 2
        is_normalized = outer != scope and f"{outer}{_LAYER}1/gamma" in shapes
        if has_classifier or is_normalized:
            yield _make_family(last, scopes=(outer,), backbone=f"{_LAYER}0/")
        else:
            yield _make_family(last, scopes=(scope,), backbone="")


def _make_family(last: int, *, scopes: tuple[str, ...], backbone: str) -> Family:
    """Return the table for networks whose last block is this layer; `backbone` is the prefix of a backbone's layers."""
    layer = backbone + _LAYER
    rules = [
        Rule(f"{layer}0/kernel", "stem.conv.weight", "conv2d"),
        Rule(f"{layer}1/{{bn}}", "stem.bn.{bn}"),
        *(Rule(layer + source, f"stages.{target}", layout) for source, target, layout in _IN_BLOCKS),
        Rule(f"{layer}{last + 1}/kernel", "head.conv.weight", "conv2d"),
        Rule(f"{layer}{last + 2}/{{bn}}", "head.bn.{bn}"),
    ]
    classifier = f"{_LAYER}1"
    if backbone:
        rules += [Rule(f"{classifier}/kernel", "classifier.weight", "dense")]
        rules += [Rule(f"{classifier}/bias", "classifier.bias")]
    return Family(
        name="garden-vision",
        title="object paths of Model Garden's official.vision",
        version="1",
        names="path",
        anatomy=Anatomy(
            stem=f"{layer}0/kernel",
            head=f"{layer}{last + 1}/kernel",
            head_parts=(f"{layer}{last + 1}/", f"{layer}{last + 2}/"),
            classifier_biases=(f"{classifier}/bias",) if backbone else (),
            block=re.compile(rf"{layer}([1-9][0-9]{{0,3}})/(_.+)", re.DOTALL),
            block_name=f"{layer}{{}}/",
            sort_ids=lambda _: [str(number) for number in range(_FIRST_BLOCK, last + 1)],
            find_parts=_find_parts,
            defaults=Defaults(strides=_STRIDES, activation="relu", gate_activation="relu"),
        ),
        own=re.compile(rf"{_LAYER}[01]/" if backbone else rf"{_LAYER}[0-9]+/"),
        classifier=classifier if backbone else "classifier",
        rules=tuple(rules),
        ignores=_IGNORES,
        block_ids=_list_block_ids,
        others=(
            (
                re.compile(rf"(?:.*/)?{backbone}{_LAYER}{last + 1}/(?!kernel).+"),
                "a network of Model Garden that has other layers after its blocks than EfficientNet",
            ),
            *_NORMALIZED[: bool(backbone)],
        ),
        scopes=scopes,
    )


_NORMALIZED = (
    (
        re.compile(rf"(?!.*{_LAYER}0/{_LAYER})(?:.*/)?{_LAYER}1/gamma"),
        "an EfficientNet of Model Garden with a batch norm before pooling (add_head_batch_norm)",
    ),
)


def _find_parts(shapes: Mapping[str, Shape]) -> Parts:
    """Return the kernels of a block."""
    return Parts(
        project="_conv2/kernel",
        expand=_EXPAND if _EXPAND in shapes or "_norm0/gamma" in shapes else None,
        depthwise=_DEPTHWISE,
        se=_SE if _SE in shapes else None,
    )


def _list_block_ids(config: EfficientNetConfig) -> list[str]:
    return [str(block.flat_index + _FIRST_BLOCK) for block in config.blocks()]


#: For its name and title; it matches nothing.
GARDEN_VISION = _make_family(_FIRST_BLOCK, scopes=(), backbone="")
