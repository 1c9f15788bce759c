"""Inception v3 of slim, with the names of torchvision's module; ours leaves padding out of averages as TensorFlow does.

Some layers have names that say something else than their kernels, such as Conv2d_1a_1x1 of Mixed_6a, which is 3 by 3.
"""

from __future__ import annotations

from ..mapping.rules import Constant, Ignore, Rule
from .network import BATCH_NORM, COUNTERS, Network, Part, RuleTable, Shapes
from .settings import Settings
from .targets import Targets

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")

#: Kind of block -> slim's name of a layer in it -> torchvision's; where slim has two names, both.
_A = {
    "Branch_0/Conv2d_0a_1x1": "branch1x1",
    "Branch_1/Conv2d_0a_1x1": "branch5x5_1",
    "Branch_1/Conv2d_0b_5x5": "branch5x5_2",
    "Branch_2/Conv2d_0a_1x1": "branch3x3dbl_1",
    "Branch_2/Conv2d_0b_3x3": "branch3x3dbl_2",
    "Branch_2/Conv2d_0c_3x3": "branch3x3dbl_3",
    "Branch_3/Conv2d_0b_1x1": "branch_pool",
}
_A_OF_5C = {"Branch_1/Conv2d_0b_1x1": "branch5x5_1", "Branch_1/Conv_1_0c_5x5": "branch5x5_2"}
_B = {
    "Branch_0/Conv2d_1a_1x1": "branch3x3",
    "Branch_1/Conv2d_0a_1x1": "branch3x3dbl_1",
    "Branch_1/Conv2d_0b_3x3": "branch3x3dbl_2",
    "Branch_1/Conv2d_1a_1x1": "branch3x3dbl_3",
}
_C = {
    "Branch_0/Conv2d_0a_1x1": "branch1x1",
    "Branch_1/Conv2d_0a_1x1": "branch7x7_1",
    "Branch_1/Conv2d_0b_1x7": "branch7x7_2",
    "Branch_1/Conv2d_0c_7x1": "branch7x7_3",
    "Branch_2/Conv2d_0a_1x1": "branch7x7dbl_1",
    "Branch_2/Conv2d_0b_7x1": "branch7x7dbl_2",
    "Branch_2/Conv2d_0c_1x7": "branch7x7dbl_3",
    "Branch_2/Conv2d_0d_7x1": "branch7x7dbl_4",
    "Branch_2/Conv2d_0e_1x7": "branch7x7dbl_5",
    "Branch_3/Conv2d_0b_1x1": "branch_pool",
}
_D = {
    "Branch_0/Conv2d_0a_1x1": "branch3x3_1",
    "Branch_0/Conv2d_1a_3x3": "branch3x3_2",
    "Branch_1/Conv2d_0a_1x1": "branch7x7x3_1",
    "Branch_1/Conv2d_0b_1x7": "branch7x7x3_2",
    "Branch_1/Conv2d_0c_7x1": "branch7x7x3_3",
    "Branch_1/Conv2d_1a_3x3": "branch7x7x3_4",
}
_E = {
    "Branch_0/Conv2d_0a_1x1": "branch1x1",
    "Branch_1/Conv2d_0a_1x1": "branch3x3_1",
    "Branch_1/Conv2d_0b_1x3": "branch3x3_2a",
    "Branch_1/Conv2d_0b_3x1": "branch3x3_2b",
    "Branch_2/Conv2d_0a_1x1": "branch3x3dbl_1",
    "Branch_2/Conv2d_0b_3x3": "branch3x3dbl_2",
    "Branch_2/Conv2d_0c_1x3": "branch3x3dbl_3a",
    "Branch_2/Conv2d_0d_3x1": "branch3x3dbl_3b",
    "Branch_3/Conv2d_0b_1x1": "branch_pool",
}
_E_OF_7C = {"Branch_1/Conv2d_0c_3x1": "branch3x3_2b"}


def _replace(layers: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """Return the layers of a block that has other names for some of them."""
    return {**{name: target for name, target in layers.items() if target not in others.values()}, **others}


BLOCKS = {
    "Mixed_5b": _A,
    "Mixed_5c": _replace(_A, _A_OF_5C),
    "Mixed_5d": _A,
    "Mixed_6a": _B,
    "Mixed_6b": _C,
    "Mixed_6c": _C,
    "Mixed_6d": _C,
    "Mixed_6e": _C,
    "Mixed_7a": _D,
    "Mixed_7b": _E,
    "Mixed_7c": _replace(_E, _E_OF_7C),
}
_AUXILIARY = {"Conv2d_1b_1x1": "conv0", "Conv2d_2a_1x1": "conv1", "Conv2d_2a_5x5": "conv1"}
#: Every layer with a batch norm: slim's name -> torchvision's.
LAYERS = {
    **{name: name for name in _STEM},
    **{f"{block}/{name}": f"{block}.{target}" for block, layers in BLOCKS.items() for name, target in layers.items()},
    **{f"AuxLogits/{name}": f"AuxLogits.{target}" for name, target in _AUXILIARY.items()},
}


def _describe(shapes: Shapes, settings: Settings, part: Part) -> None:
    kernel, head = "InceptionV3/Conv2d_1a_3x3/weights", "InceptionV3/Logits/Conv2d_1c_1x1/biases"
    settings.measure("in_channels", shapes[kernel][2], kernel)
    settings.measure("num_classes", shapes[head][0], head)
    kernels: dict[str, list[int]] = {}
    for name, target in LAYERS.items():
        shape = shapes.get(f"InceptionV3/{name}/weights")
        if shape is not None and len(shape) == 4:
            kernels[target] = list(shape)
    settings.decide("kernels", kernels, "shapes of the kernels")
    auxiliary = "InceptionV3/AuxLogits/Conv2d_2b_1x1/weights"
    settings.decide("aux_logits", auxiliary in shapes, "names of the auxiliary classifier")
    large = "InceptionV3/AuxLogits/Conv2d_2a_5x5/weights" in shapes
    settings.decide("auxiliary", f"Conv2d_2a_{'5x5' if large else '1x1'}", "names of the auxiliary classifier")
    settings.decide("bn_epsilon", 0.001, "the code's batch norm")
    has_scale = "InceptionV3/Conv2d_1a_3x3/BatchNorm/gamma" in shapes
    settings.decide("bn_scale", has_scale, "names of the batch norms")


def _list_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()
    kernels = settings["kernels"]
    wanted = dict.fromkeys(
        target for target in LAYERS.values() if settings["aux_logits"] or not target.startswith("Aux")
    )
    for target in wanted:
        height, width, inputs, outputs = kernels.get(target, (0, 0, 0, 0))
        targets.convolution(f"{target}.conv", inputs, outputs, height, width)
        targets.batch_norm(f"{target}.bn", outputs)
    if settings["aux_logits"]:
        targets.linear("AuxLogits.fc", kernels.get("AuxLogits.conv1", (0,) * 4)[3], settings["num_classes"])
    features = sum(kernels.get(f"Mixed_7c.{name}", (0,) * 4)[3] for name in set(_E.values()) if name[-2:] != "_1")
    features -= kernels.get("Mixed_7c.branch3x3dbl_2", (0,) * 4)[3]
    targets.linear("fc", features, settings["num_classes"])
    return targets


def _build_rules(settings: Settings, part: Part) -> RuleTable:
    constants: tuple[Constant, ...] = COUNTERS
    if not settings["bn_scale"]:
        constants += (Constant("{layer...}.bn.weight", 1, "float32", "slim's batch norms of Inception have no scale"),)
    rules = (
        Rule("InceptionV3/{layer}/weights", "{layer}.conv.weight", "conv2d"),
        Rule("InceptionV3/{layer}/BatchNorm/{bn}", "{layer}.bn.{bn}"),
        Rule("InceptionV3/AuxLogits/Conv2d_2b_1x1/weights", "AuxLogits.fc.weight", "11IO -> OI"),
        Rule("InceptionV3/AuxLogits/Conv2d_2b_1x1/biases", "AuxLogits.fc.bias"),
        Rule("InceptionV3/Logits/Conv2d_1c_1x1/weights", "fc.weight", "11IO -> OI"),
        Rule("InceptionV3/Logits/Conv2d_1c_1x1/biases", "fc.bias"),
    )
    unused = {"Conv2d_2a_1x1", "Conv2d_2a_5x5"} - {settings["auxiliary"]}
    layers = {name: target for name, target in LAYERS.items() if name.removeprefix("AuxLogits/") not in unused}
    ignores = (Ignore("global_step", "training step counter"),)
    return RuleTable(rules, constants=constants, ignores=ignores, words={"bn": BATCH_NORM, "layer": layers})


INCEPTION_V3 = Network(
    name="inception-v3",
    title="Inception v3",
    code="slim",
    library="converter",
    model_type="inception-v3",
    stem="InceptionV3/Conv2d_1a_3x3/weights",
    anchors=("InceptionV3/Mixed_7c/Branch_0/Conv2d_0a_1x1/weights", "InceptionV3/Logits/Conv2d_1c_1x1/biases"),
    parts=(Part(name="model", model="InceptionV3"),),
    describe=_describe,
    list_targets=_list_targets,
    build_rules=_build_rules,
)
