"""Layer names of keras_cv_attention_models (kecam) and keras_efficientnet_v2: version 1 and version 2.

A block's id is its stack and its number in the stack, both from 0.
Stem and classifier have the names of Keras applications.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tfckpt.errors import printable
from tfckpt.graphs.object_graph import ObjectGraph

from ..errors import Shape, UnknownModelError
from ..mapping.rules import Ignore, Rule
from .description import Anatomy, Parts
from .family import Family, Settings
from .keras_applications import NORMALIZATION
from .keras_config import KerasLayers
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

#: Layers whose padding PyTorch mode changes.
_CONVOLUTION = re.compile(r"stem_conv|stack_[0-9]+_block[0-9]+_(?:fu_conv|sortcut_conv|MB_dw_)")
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


def _is_not_torch_mode(names: Mapping[str, str], objects: ObjectGraph | None, configured: KerasLayers | None) -> bool:
    """Return whether the checkpoint shows that the model was not built in PyTorch mode, which pads by layers.

    A configuration says how each convolution pads. An object graph numbers the layers of a model of Keras 2: between
    the batch norm of an expansion and its depthwise convolution there is one layer, and in PyTorch mode two.
    """
    paddings = {} if configured is None else _list_paddings(configured)
    for layer, padding in paddings.items():
        if padding != "same":
            raise UnknownModelError(_describe_torch_mode(f"{layer} has padding {padding!r}"))
    counts = {} if objects is None else _count_layers_before(names, objects)
    for layer, count in counts.items():
        if count != 1:
            raise UnknownModelError(_describe_torch_mode(f"{count} layers stand before {layer}, expected 1"))
    return bool(paddings or counts)


def _list_paddings(configured: KerasLayers) -> dict[str, str]:
    """Return the padding of each convolution with a kernel of more than one pixel."""
    found = {}
    for layer, arguments in configured.layers.items():
        sizes = arguments.get("kernel_size")
        if _CONVOLUTION.fullmatch(layer) and isinstance(sizes, list) and sizes not in ([1], [1, 1]):
            found[layer] = str(arguments.get("padding"))
    return found


def _count_layers_before(names: Mapping[str, str], objects: ObjectGraph) -> dict[str, int]:
    """Return the number of layers between each depthwise convolution and the batch norm of its block's expansion."""
    counts = {}
    for node in objects.nodes:
        numbers = {number: child for name, child in node.children.items() if (number := _get_number(name)) is not None}
        layers: dict[int, str] = {}
        for number, child in numbers.items():
            variables = [objects.nodes[inner] for inner in objects.nodes[child].children.values()]
            keys = [attribute.checkpoint_key for variable in variables for attribute in variable.attributes]
            known = [names[key] for key in keys if key in names]
            if known:
                layers[number] = known[0].rpartition("/")[0]
        by_name = {layer: number for number, layer in layers.items()}
        for layer, number in by_name.items():
            before = by_name.get(layer.removesuffix("MB_dw_") + "sortcut_bn")
            if layer.endswith("MB_dw_") and before is not None:
                counts[layer] = number - before - 1
    return counts


def _get_number(name: str) -> int | None:
    """Return the number of a layer that an object graph names by it."""
    number = name.removeprefix("layer-")
    return int(number) if number != name and number.isdecimal() else None


def _describe_torch_mode(what: str) -> str:
    return (
        f"the model was built with is_torch_mode=True: {printable(what)}. It pads symmetrically and has epsilon 1e-5, "
        "and cannot be converted; saved as a SavedModel its graph runs in PyTorch: converter.graph_module(PATH)"
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
    settings=Settings(
        "assumed, because there is no graph: the model was not built with is_torch_mode=True, which has the same names "
        "and shapes, but pads symmetrically and has epsilon 1e-5; a SavedModel shows it",
        _is_not_torch_mode,
    ),
)
