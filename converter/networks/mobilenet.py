"""MobileNet V1 and V2: names of slim in tensorflow/models, and models of transformers, which pad as TensorFlow does."""

from __future__ import annotations

from ..mapping.rules import Ignore, Rule
from .network import BATCH_NORM, COUNTERS, Network, Part, RuleTable, Shapes
from .settings import Settings
from .targets import Targets

_IGNORES = (Ignore("global_step", "training step counter"),)
#: The channels of V1's thirteen pairs of layers before the multiplier.
_V1_CHANNELS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
#: The channels that V2's seventeen blocks return before the multiplier.
_V2_CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)


def _describe(shapes: Shapes, settings: Settings, root: str, stem: str) -> None:
    """Set what both versions have: the multiplier, by the stem's 32 channels, and the number of classes."""
    kernel = f"{root}/{stem}/weights"
    settings.measure("num_channels", shapes[kernel][2], kernel)
    head = f"{root}/Logits/Conv2d_1c_1x1/biases"
    classes = settings.measure("num_labels", shapes[head][0], head)
    settings.decide("hidden_act", "relu6", "the code's activation")
    settings.decide("tf_padding", True, "the code's padding SAME")
    settings.decide("layer_norm_eps", 0.001, "the code's batch norm")
    settings.decide("min_depth", 8, "the code's smallest width")
    settings.decide("image_size", 224, "the published networks")
    if classes == 1001:
        settings.decide("background", True, "1,001 classes: class 0 is the background")


def _describe_v1(shapes: Shapes, settings: Settings, part: Part) -> None:
    _describe(shapes, settings, "MobilenetV1", "Conv2d_0")
    last = "MobilenetV1/Conv2d_13_pointwise/weights"
    settings.measure("depth_multiplier", shapes[last][3] / 1024, last)


def _v1_width(settings: Settings, depth: int) -> int:
    least: int = settings["min_depth"]
    return max(int(depth * settings["depth_multiplier"]), least)


def _list_v1_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()

    def add(name: str, inputs: int, outputs: int, kernel: int) -> None:
        targets.convolution(f"{name}.convolution", inputs, outputs, kernel)
        targets.batch_norm(f"{name}.normalization", outputs)

    width = _v1_width(settings, 32)
    add("mobilenet_v1.conv_stem", settings["num_channels"], width, 3)
    for number, depth in enumerate(_V1_CHANNELS):
        add(f"mobilenet_v1.layer.{2 * number}", 1, width, 3)
        inputs, width = width, _v1_width(settings, depth)
        add(f"mobilenet_v1.layer.{2 * number + 1}", inputs, width, 1)
    targets.linear("classifier", width, settings["num_labels"])
    return targets


def _build_v1_rules(settings: Settings, part: Part) -> RuleTable:
    root, target = "MobilenetV1/", "mobilenet_v1."
    rules = (
        Rule(f"{root}Conv2d_0/weights", f"{target}conv_stem.convolution.weight", "conv2d"),
        Rule(f"{root}Conv2d_0/BatchNorm/{{bn}}", f"{target}conv_stem.normalization.{{bn}}"),
        Rule(f"{root}Conv2d_{{d}}_depthwise/depthwise_weights", f"{target}layer.{{d}}.convolution.weight", "depthwise"),
        Rule(f"{root}Conv2d_{{d}}_depthwise/BatchNorm/{{bn}}", f"{target}layer.{{d}}.normalization.{{bn}}"),
        Rule(f"{root}Conv2d_{{p}}_pointwise/weights", f"{target}layer.{{p}}.convolution.weight", "conv2d"),
        Rule(f"{root}Conv2d_{{p}}_pointwise/BatchNorm/{{bn}}", f"{target}layer.{{p}}.normalization.{{bn}}"),
        *_list_head_rules(root),
    )
    words = {
        "bn": BATCH_NORM,
        "d": {str(number): str(2 * number - 2) for number in range(1, 14)},
        "p": {str(number): str(2 * number - 1) for number in range(1, 14)},
    }
    return RuleTable(rules, constants=COUNTERS, ignores=_IGNORES, words=words)


def _list_head_rules(root: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{root}Logits/Conv2d_1c_1x1/weights", "classifier.weight", "11IO -> OI"),
        Rule(f"{root}Logits/Conv2d_1c_1x1/biases", "classifier.bias"),
    )


def _divisible(value: float) -> int:
    """Return a number of channels divisible by 8, at most a tenth below `value`, as the code rounds."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def _describe_v2(shapes: Shapes, settings: Settings, part: Part) -> None:
    _describe(shapes, settings, "MobilenetV2", "Conv")
    last, wide = "MobilenetV2/expanded_conv_16/project/weights", "MobilenetV2/Conv_1/weights"
    # Widths are rounded; among the usual multipliers, the one that gives the width of the last block.
    usual = (1.0, 1.4, 1.3, 0.75, 0.5, 0.35, 0.25, 0.125)
    width = shapes[last][3]
    fitting = (multiplier for multiplier in usual if _divisible(round(320 * multiplier)) == width)
    settings.measure("depth_multiplier", next(fitting, width / 320), last)
    settings.decide("depth_divisible_by", 8, "the code's rounding of widths")
    settings.decide("expand_ratio", 6.0, "the code's blocks")
    settings.decide("output_stride", 32, "the published networks")
    settings.decide("first_layer_is_expansion", True, "the code's first block")
    if shapes["MobilenetV2/Conv/weights"][3] == shapes["MobilenetV2/expanded_conv/project/weights"][3]:
        reason = "so narrow a network adds the input of its first block, which the model of transformers does not"
        settings.contradict("depth_multiplier", str(settings["depth_multiplier"]), "0.35 or more", reason)
    is_fine = shapes[wide][3] == 1280
    settings.decide("finegrained_output", is_fine, f"shape of {wide}")


def _v2_width(settings: Settings, depth: int) -> int:
    return _divisible(round(depth * settings["depth_multiplier"]))


def _list_v2_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()

    def add(name: str, inputs: int, outputs: int, kernel: int) -> None:
        targets.convolution(f"{name}.convolution", inputs, outputs, kernel)
        targets.batch_norm(f"{name}.normalization", outputs)

    stem, width = _v2_width(settings, 32), _v2_width(settings, _V2_CHANNELS[0])
    add("mobilenet_v2.conv_stem.first_conv", settings["num_channels"], stem, 3)
    add("mobilenet_v2.conv_stem.conv_3x3", 1, stem, 3)
    add("mobilenet_v2.conv_stem.reduce_1x1", stem, width, 1)
    for number, depth in enumerate(_V2_CHANNELS[1:]):
        layer, inner = f"mobilenet_v2.layer.{number}", _divisible(round(width * settings["expand_ratio"]))
        add(f"{layer}.expand_1x1", width, inner, 1)
        add(f"{layer}.conv_3x3", 1, inner, 3)
        width = _v2_width(settings, depth)
        add(f"{layer}.reduce_1x1", inner, width, 1)
    is_fixed = settings["finegrained_output"] and settings["depth_multiplier"] < 1
    outputs = 1280 if is_fixed else _v2_width(settings, 1280)
    add("mobilenet_v2.conv_1x1", width, outputs, 1)
    targets.linear("classifier", outputs, settings["num_labels"])
    return targets


def _build_v2_rules(settings: Settings, part: Part) -> RuleTable:
    root, target = "MobilenetV2/", "mobilenet_v2."
    rules = (
        Rule(f"{root}Conv/weights", f"{target}conv_stem.first_conv.convolution.weight", "conv2d"),
        Rule(f"{root}Conv/BatchNorm/{{bn}}", f"{target}conv_stem.first_conv.normalization.{{bn}}"),
        Rule(f"{root}Conv_1/weights", f"{target}conv_1x1.convolution.weight", "conv2d"),
        Rule(f"{root}Conv_1/BatchNorm/{{bn}}", f"{target}conv_1x1.normalization.{{bn}}"),
        Rule(f"{root}{{n}}/{{dense}}/weights", f"{target}{{n}}.{{dense}}.convolution.weight", "conv2d"),
        Rule(f"{root}{{n}}/depthwise/depthwise_weights", f"{target}{{n}}.conv_3x3.convolution.weight", "depthwise"),
        Rule(f"{root}{{n}}/{{layer}}/BatchNorm/{{bn}}", f"{target}{{n}}.{{layer}}.normalization.{{bn}}"),
        *_list_head_rules(root),
    )
    blocks = {f"expanded_conv_{number}": f"layer.{number - 1}" for number in range(1, len(_V2_CHANNELS))}
    words = {
        "bn": BATCH_NORM,
        "layer": {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"},
        "dense": {"expand": "expand_1x1", "project": "reduce_1x1"},
        "n": {"expanded_conv": "conv_stem", **blocks},
    }
    return RuleTable(rules, constants=COUNTERS, ignores=_IGNORES, words=words)


MOBILENET_V1 = Network(
    name="mobilenet-v1",
    title="MobileNet V1",
    code="slim",
    library="transformers",
    model_type="mobilenet_v1",
    stem="MobilenetV1/Conv2d_0/weights",
    anchors=("MobilenetV1/Conv2d_13_pointwise/weights", "MobilenetV1/Logits/Conv2d_1c_1x1/biases"),
    parts=(Part(name="model", model="MobileNetV1ForImageClassification"),),
    describe=_describe_v1,
    list_targets=_list_v1_targets,
    build_rules=_build_v1_rules,
)
MOBILENET_V2 = Network(
    name="mobilenet-v2",
    title="MobileNet V2",
    code="slim",
    library="transformers",
    model_type="mobilenet_v2",
    stem="MobilenetV2/Conv/weights",
    anchors=(
        "MobilenetV2/expanded_conv_16/project/weights",
        "MobilenetV2/expanded_conv/project/weights",
        "MobilenetV2/Conv_1/weights",
        "MobilenetV2/Logits/Conv2d_1c_1x1/biases",
    ),
    parts=(Part(name="model", model="MobileNetV2ForImageClassification"),),
    describe=_describe_v2,
    list_targets=_list_v2_targets,
    build_rules=_build_v2_rules,
)
