"""ResNet v1 and v2 of slim: strides in the last unit of a block, and padding SAME, so the modules are our own.

Those of v1 have the names of torchvision's ResNet, whose strides are in the first unit; its weights load there too, and
compute something else.
"""

from __future__ import annotations

import functools

from ..mapping.rules import Ignore, Rule
from .network import BATCH_NORM, COUNTERS, Network, Part, RuleTable, Shapes, count_numbers, number
from .settings import Settings
from .targets import Targets

_BLOCKS = (1, 2, 3, 4)
#: Most units of a block; ResNet-200 has 36.
_MAX_UNITS = 200


def _unit(version: int, block: int | str, unit: int | str) -> str:
    return f"block{block}/unit_{unit}/bottleneck_v{version}"


def _describe(shapes: Shapes, settings: Settings, part: Part, *, version: int) -> None:
    settings.decide("version", version, "names of the layers")
    settings.measure("in_channels", shapes["conv1/weights"][2], "conv1/weights")
    settings.measure("stem", shapes["conv1/weights"][3], "conv1/weights")
    units, widths, outputs = [], [], []
    for block in _BLOCKS:
        count = count_numbers(shapes, f"{_unit(version, block, '{n}')}/conv1/weights") - 1
        units.append(count)
        widths.append(shapes.get(f"{_unit(version, block, 1)}/conv1/weights", (0,))[-1])
        outputs.append(shapes.get(f"{_unit(version, block, 1)}/conv3/weights", (0,))[-1])
        if not 0 < count <= _MAX_UNITS:
            settings.contradict(f"units of block {block}", str(count), f"1 to {_MAX_UNITS}", "the code's blocks")
    settings.decide("units", units, "names of the units")
    settings.decide("widths", widths, "shapes of conv1 in the first units")
    settings.decide("outputs", outputs, "shapes of conv3 in the first units")
    settings.measure("num_classes", shapes["logits/biases"][0], "logits/biases")
    settings.decide("strides", [2, 2, 2, 1], "the code's blocks; in the last unit of each")
    settings.decide("bn_epsilon", 1e-5, "the code's batch norm")


def _list_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()
    is_first = settings["version"] == 1
    targets.convolution("conv1", settings["in_channels"], settings["stem"], 7, bias=not is_first)
    if is_first:
        targets.batch_norm("bn1", settings["stem"])
    inputs = settings["stem"]
    sizes = zip(settings["units"], settings["widths"], settings["outputs"], strict=True)
    for block, (units, width, outputs) in enumerate(sizes, 1):
        for unit in range(units):
            name = f"layer{block}.{unit}"
            if not is_first:
                targets.batch_norm(f"{name}.preact", inputs)
            for position, (before, after, kernel) in enumerate(
                ((inputs, width, 1), (width, width, 3), (width, outputs, 1)), 1
            ):
                has_norm = is_first or position < 3
                targets.convolution(f"{name}.conv{position}", before, after, kernel, bias=not has_norm)
                if has_norm:
                    targets.batch_norm(f"{name}.bn{position}", after)
            if inputs != outputs:
                targets.convolution(f"{name}.downsample.0", inputs, outputs, 1, bias=not is_first)
                if is_first:
                    targets.batch_norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    if not is_first:
        targets.batch_norm("postnorm", inputs)
    targets.linear("fc", inputs, settings["num_classes"])
    return targets


def _build_rules(settings: Settings, part: Part) -> RuleTable:
    source, target = _unit(settings["version"], "{b}", "{u}"), "layer{b}.{u}"
    rules = (
        Rule("conv1/weights", "conv1.weight", "conv2d"),
        Rule("conv1/biases", "conv1.bias"),
        Rule("conv1/BatchNorm/{bn}", "bn1.{bn}"),
        Rule(f"{source}/preact/{{bn}}", f"{target}.preact.{{bn}}"),
        Rule(f"{source}/conv{{c}}/weights", f"{target}.conv{{c}}.weight", "conv2d"),
        Rule(f"{source}/conv{{c}}/biases", f"{target}.conv{{c}}.bias"),
        Rule(f"{source}/conv{{c}}/BatchNorm/{{bn}}", f"{target}.bn{{c}}.{{bn}}"),
        Rule(f"{source}/shortcut/weights", f"{target}.downsample.0.weight", "conv2d"),
        Rule(f"{source}/shortcut/biases", f"{target}.downsample.0.bias"),
        Rule(f"{source}/shortcut/BatchNorm/{{bn}}", f"{target}.downsample.1.{{bn}}"),
        Rule("postnorm/{bn}", "postnorm.{bn}"),
        Rule("logits/weights", "fc.weight", "11IO -> OI"),
        Rule("logits/biases", "fc.bias"),
    )
    words = {"bn": BATCH_NORM, "u": number(max(settings["units"], default=0), first=1)}
    ignores = (Ignore("global_step", "training step counter"),)
    return RuleTable(rules, constants=COUNTERS, ignores=ignores, words=words)


def _make(version: int) -> Network:
    return Network(
        name=f"resnet-v{version}",
        title=f"ResNet v{version} (50, 101, 152, 200)",
        code="slim",
        library="converter",
        model_type="resnet",
        stem="conv1/weights",
        anchors=(f"{_unit(version, 1, 1)}/conv1/weights", f"{_unit(version, 1, 1)}/conv3/weights", "logits/biases"),
        parts=(Part(name="model", model="ResNet"),),
        describe=functools.partial(_describe, version=version),
        list_targets=_list_targets,
        build_rules=_build_rules,
    )


RESNET_V1 = _make(1)
RESNET_V2 = _make(2)
