"""Recognition of published networks, and of custom ones from shapes and strides."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any, TypeAlias

import pytest

from converter.conversion import ConversionOptions, plan_conversion
from converter.errors import MappingError, Shape, UnknownModelError
from converter.families.automl import AUTOML
from converter.families.graph_facts import GraphFacts
from converter.families.recognition import recognize as recognize_network
from converter.model.architectures import CONFIGS
from converter.model.config import BlockKind, EfficientNetConfig, StageConfig

from .. import networks

#: The columns of the paper: block, repeats, kernel, stride, expansion, input and output channels, squeeze-excite ratio.
Row: TypeAlias = tuple[BlockKind, int, int, int, int, int, int, float]


recognize = functools.partial(recognize_network, anatomy=AUTOML.anatomy)


def make_stage(row: Row) -> StageConfig:
    """Return a stage from a row of the paper's table."""
    block, repeats, kernel, stride, expansion, in_channels, out_channels, se_ratio = row
    return StageConfig(
        block=block,
        repeats=repeats,
        kernel=kernel,
        stride=stride,
        expansion=expansion,
        in_channels=in_channels,
        out_channels=out_channels,
        se_ratio=se_ratio,
    )


SMALL = EfficientNetConfig(
    name="custom",
    stem_channels=8,
    stages=(
        make_stage(("fused", 1, 3, 1, 1, 8, 8, 0.0)),
        make_stage(("fused", 2, 3, 2, 4, 8, 16, 0.0)),
        make_stage(("mbconv", 2, 5, 2, 4, 16, 24, 0.25)),
        make_stage(("mbconv", 2, 3, 1, 6, 24, 32, 0.25)),
    ),
    head_channels=64,
    num_classes=10,
)


def list_shapes(config: EfficientNetConfig) -> dict[str, Shape]:
    """Return the shapes of a network's variables by name without scope."""
    return {variable.name: variable.shape for variable in networks.variables(config)}


def make_facts(config: EfficientNetConfig, *, epsilon: float = 1e-3, scope: str = "") -> GraphFacts:
    """Return the facts in the graph of a network."""
    strides = {scope + "stem/conv2d/kernel": config.stem_stride}
    for block in config.blocks():
        kernel = "conv2d/kernel" if block.config.block == "fused" else "depthwise_conv2d/depthwise_kernel"
        strides[f"{scope}blocks_{block.flat_index}/{kernel}"] = block.config.stride
    return GraphFacts(strides, {scope + "stem/tpu_batch_normalization/gamma": epsilon})


def replace_stages(*stages: StageConfig) -> EfficientNetConfig:
    """Return the small network with different stages."""
    return dataclasses.replace(SMALL, stages=stages, stem_channels=stages[0].in_channels)


def test_custom_network_is_described_from_shapes_and_strides() -> None:
    """Kernel, widths, expansion, squeeze-excite and repeats come from the shapes, strides from the caller."""
    recognition = recognize(list_shapes(SMALL), strides=(1, 2, 2, 1))

    assert recognition.config == SMALL
    assert "graph" not in recognition.evidence[-1]


def test_custom_network_is_described_with_strides_from_the_graph() -> None:
    """With a graph the caller need not pass strides."""
    recognition = recognize(list_shapes(SMALL), graph=make_facts(SMALL))

    assert recognition.config == SMALL
    assert "graph" in recognition.evidence[-1]


def test_activation_and_epsilon_of_the_caller_are_used_without_a_graph() -> None:
    """They are evidence, and a published network with other ones is not that network any more."""
    custom = recognize(list_shapes(SMALL), strides=(1, 2, 2, 1), activation="relu", epsilon=1e-5)
    published = CONFIGS["efficientnet-b0"]
    other = recognize(list_shapes(published), activation="relu")
    same = recognize(list_shapes(published), activation="silu", epsilon=1e-3)

    assert custom.config == dataclasses.replace(SMALL, activation="relu", bn_epsilon=1e-5)
    assert custom.evidence[-2:] == ("activation relu, as specified", "epsilon 1e-05, as specified")
    assert other.config == dataclasses.replace(published, name="custom", activation="relu")
    assert same.config == published


def test_activation_that_is_assumed_from_the_form_of_the_network_can_be_given() -> None:
    """Without squeeze-and-excitation relu6 is assumed, as in Lite, unless the caller says otherwise."""
    lite = CONFIGS["efficientnet-lite0"]

    assert recognize(list_shapes(lite)).config == lite
    given = recognize(list_shapes(lite), activation="silu")

    assert (given.config.name, given.config.activation) == ("custom", "silu")
    assert not any("relu6" in sentence for sentence in given.evidence)


def test_activation_and_epsilon_must_not_contradict_a_requested_model() -> None:
    """As strides must not; the model's own are accepted."""
    shapes = list_shapes(CONFIGS["efficientnet-b0"])

    with pytest.raises(UnknownModelError, match="activation relu"):
        recognize(shapes, model="efficientnet-b0", activation="relu")
    with pytest.raises(UnknownModelError, match="epsilon"):
        recognize(shapes, model="efficientnet-b0", epsilon=1e-5)
    assert recognize(shapes, model="efficientnet-b0", activation="silu", epsilon=1e-3).config.name == "efficientnet-b0"


def test_epsilon_of_the_caller_must_not_contradict_the_graph() -> None:
    """The error has both; an equal one is accepted."""
    graph = make_facts(SMALL, epsilon=1e-5)

    assert recognize(list_shapes(SMALL), epsilon=1e-5, graph=graph).config.bn_epsilon == 1e-5
    with pytest.raises(UnknownModelError, match=r"0\.001.*1e-05"):
        recognize(list_shapes(SMALL), epsilon=1e-3, graph=graph)


@pytest.mark.parametrize("options", [{"activation": "gelu"}, {"epsilon": 0}, {"epsilon": 1.0}, {"epsilon": True}])
def test_activation_and_epsilon_have_to_be_possible(options: dict[str, Any]) -> None:
    """The activations of a configuration, and a number between 0 and 1."""
    with pytest.raises(ValueError, match=next(iter(options))):
        recognize(list_shapes(SMALL), strides=(1, 2, 2, 1), **options)


def test_error_for_unknown_strides_lists_the_stages() -> None:
    """The message shows the form of the option without likely values, which may be wrong, and a line for each stage."""
    with pytest.raises(UnknownModelError) as caught:
        recognize(list_shapes(SMALL))

    first, *lines = str(caught.value).splitlines()
    assert "--strides S0,S1,S2,S3 " in first
    assert lines == [
        "  stage 0: fused MBConv k3 r1 e1 8-8",
        "  stage 1: fused MBConv k3 r2 e4 8-16",
        "  stage 2: MBConv k5 r2 e4 16-24 SE 4",
        "  stage 3: MBConv k3 r2 e6 24-32 SE 6",
    ]


@pytest.mark.parametrize("strides", [(1, 2, 2), (1, 2, 2, 1, 1)])
def test_error_for_a_wrong_number_of_strides_lists_the_stages(strides: tuple[int, ...]) -> None:
    """The network has four stages and needs as many strides."""
    with pytest.raises(UnknownModelError, match="stage 3: MBConv k3 r2 e6 24-32 SE 6"):
        recognize(list_shapes(SMALL), strides=strides)


@pytest.mark.parametrize("strides", [(), (1, 2, 0, 1), (1, 2, 2.5, 1)])
def test_strides_must_be_positive_integers(strides: tuple[int, ...]) -> None:
    """The error shows the strides; neither an empty list, nor 0, nor a fraction is accepted."""
    with pytest.raises(ValueError, match=re.escape(repr(strides))):
        recognize(list_shapes(SMALL), strides=strides)


def test_strides_of_the_caller_must_not_contradict_the_graph() -> None:
    """Equal strides are accepted; the error contains both strides."""
    graph = make_facts(SMALL)

    assert recognize(list_shapes(SMALL), strides=(1, 2, 2, 1), graph=graph).config == SMALL
    with pytest.raises(UnknownModelError, match=r"1,2,2,2.*1,2,2,1"):
        recognize(list_shapes(SMALL), strides=(1, 2, 2, 2), graph=graph)


def test_graph_of_a_different_network_is_not_used() -> None:
    """A graph without the convolutions of this network does not contain its strides."""
    graph = make_facts(SMALL, scope="other/")

    with pytest.raises(UnknownModelError, match="--strides"):
        recognize(list_shapes(SMALL), graph=graph)
    assert recognize(list_shapes(SMALL), strides=(1, 2, 2, 1), graph=graph).config == SMALL


def test_stride_in_the_graph_starts_a_stage_of_equal_width() -> None:
    """Shapes do not distinguish a repeat from a new stage of equal width, but strides do."""
    config = replace_stages(
        make_stage(("mbconv", 2, 3, 1, 4, 16, 16, 0.25)), make_stage(("mbconv", 2, 3, 2, 4, 16, 16, 0.25))
    )
    repeated = replace_stages(make_stage(("mbconv", 4, 3, 1, 4, 16, 16, 0.25)))

    assert recognize(list_shapes(config), graph=make_facts(config)).config == config
    assert recognize(list_shapes(config), graph=make_facts(repeated)).config == repeated


def test_stage_with_stride_one_and_equal_width_is_merged() -> None:
    """The stage computes the same as repeats of the previous stage."""
    config = replace_stages(
        make_stage(("fused", 1, 3, 2, 4, 16, 16, 0.0)), make_stage(("fused", 2, 3, 1, 4, 16, 16, 0.0))
    )

    stages = recognize(list_shapes(config), graph=make_facts(config)).config.stages

    assert stages == (make_stage(("fused", 3, 3, 2, 4, 16, 16, 0.0)),)


@pytest.mark.parametrize(
    "second",
    [
        make_stage(("mbconv", 1, 5, 1, 4, 16, 16, 0.25)),
        make_stage(("mbconv", 1, 3, 1, 6, 16, 16, 0.25)),
        make_stage(("mbconv", 1, 3, 1, 4, 16, 16, 0.0)),
        make_stage(("mbconv", 1, 3, 1, 4, 16, 16, 0.5)),
        make_stage(("fused", 1, 3, 1, 4, 16, 16, 0.25)),
    ],
    ids=["kernel", "expansion", "without SE", "SE width", "block"],
)
def test_change_of_form_starts_a_stage(second: StageConfig) -> None:
    """Blocks of a stage differ at most in their input width."""
    config = replace_stages(make_stage(("mbconv", 2, 3, 2, 4, 16, 16, 0.25)), second)

    assert recognize(list_shapes(config), strides=(2, 1)).config == config


def test_unusual_squeeze_excite_ratio_reproduces_the_widths() -> None:
    """The ratio is not stored; any ratio that rounds to the same widths is equivalent."""
    config = replace_stages(make_stage(("mbconv", 3, 3, 2, 4, 24, 40, 0.31)))

    recognized = recognize(list_shapes(config), strides=(2,)).config

    widths = [block.config.se_channels for block in recognized.blocks()]
    assert widths == [7, 12, 12]


def test_published_network_with_other_classes_keeps_its_name() -> None:
    """The class count is taken from the checkpoint."""
    config = dataclasses.replace(CONFIGS["efficientnetv2-xl"], num_classes=21_843)

    assert recognize(list_shapes(config)).config == config


def test_published_shapes_with_other_strides_are_not_the_published_network() -> None:
    """A graph with different strides makes the network a custom one."""
    published = CONFIGS["efficientnetv2-b0"]
    changed = dataclasses.replace(published, stem_stride=1)

    custom = recognize(list_shapes(published), graph=make_facts(changed)).config

    assert (custom.name, custom.stem_stride) == ("custom", 1)
    assert recognize(list_shapes(published), graph=make_facts(published)).config == published


def test_epsilon_is_read_from_the_graph() -> None:
    """Shapes do not determine the epsilon; without a graph it has its default."""
    assert recognize(list_shapes(SMALL), graph=make_facts(SMALL)).config.bn_epsilon == 1e-3

    recognition = recognize(list_shapes(SMALL), graph=make_facts(SMALL, epsilon=1e-5))

    assert recognition.config.bn_epsilon == 1e-5
    assert "1e-05" in recognition.evidence[-1]


def test_different_epsilons_are_rejected() -> None:
    """The model has one epsilon for all batch norms; the error contains the different ones."""
    facts = make_facts(SMALL)
    facts = facts._replace(epsilons={**facts.epsilons, "head/tpu_batch_normalization/gamma": 1e-5})

    with pytest.raises(UnknownModelError, match=r"1e-05,0\.001"):
        recognize(list_shapes(SMALL), graph=facts)


def test_error_names_the_most_similar_network_and_the_first_difference() -> None:
    """The message contains the published number of blocks and the actual one."""
    published = CONFIGS["efficientnetv2-s"]
    stages = list(published.stages)
    stages[5] = dataclasses.replace(stages[5], repeats=14)
    config = dataclasses.replace(published, stages=tuple(stages))

    with pytest.raises(UnknownModelError, match=r"efficientnetv2-s.* 40 blocks.* 39"):
        recognize(list_shapes(config))


def test_requested_model_is_used_if_it_matches() -> None:
    """Requesting the right model changes only the evidence."""
    arrays = networks.arrays("efficientnetv2-b1")

    planned = plan_conversion(arrays, ConversionOptions(model="efficientnetv2-b1"))

    assert planned.config == CONFIGS["efficientnetv2-b1"]
    (evidence,) = planned.report.evidence
    assert "efficientnetv2-b1" in evidence


def test_error_for_a_wrong_model_names_the_right_one() -> None:
    """The error lists the tensors that do not match, and the hint contains the model with these shapes."""
    arrays = networks.arrays("efficientnetv2-b1", averages=False)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays, ConversionOptions(model="efficientnetv2-b2"))

    assert caught.value.hint is not None
    assert "efficientnetv2-b1" in caught.value.hint
    assert "net/head/conv2d/kernel" in {mismatch.source for mismatch in caught.value.mismatched}
    assert {missing.target.split(".")[0] for missing in caught.value.missing} == {"stages"}


def test_requested_model_must_not_contradict_the_graph() -> None:
    """A graph with the published strides is accepted; the error names the first difference."""
    published = CONFIGS["efficientnetv2-b0"]
    changed = make_facts(dataclasses.replace(published, stem_stride=1))

    with pytest.raises(UnknownModelError, match=r"efficientnetv2-b0.*stem"):
        recognize(list_shapes(published), model="efficientnetv2-b0", graph=changed)
    assert recognize(list_shapes(published), model="efficientnetv2-b0", graph=make_facts(published)).config == published


def test_requested_model_must_not_contradict_the_strides() -> None:
    """The published strides are accepted; the error contains both strides."""
    shapes = list_shapes(CONFIGS["efficientnetv2-b0"])

    with pytest.raises(UnknownModelError, match=r"1,2,2,2,1,2.*1,2,2,2,1,1"):
        recognize(shapes, model="efficientnetv2-b0", strides=(1, 2, 2, 2, 1, 1))
    assert recognize(shapes, model="efficientnetv2-b0", strides=(1, 2, 2, 2, 1, 2)).config.name == "efficientnetv2-b0"


def test_error_for_an_unknown_model_contains_close_names() -> None:
    """A misspelled name is followed by similar names."""
    with pytest.raises(UnknownModelError, match=r"'efficientnet-v2-s'.* efficientnetv2-s"):
        recognize({}, model="efficientnet-v2-s")


@pytest.mark.parametrize(
    ("name", "shape", "token"),
    [
        ("blocks_4/depthwise_conv2d/depthwise_kernel", (3, 3, 96, 2), "blocks_4"),
        (
            "blocks_4/depthwise_conv2d/depthwise_kernel",
            (3, 5, 96, 1),
            r"\[3, 5, 96, 1\]",
        ),
        ("blocks_3/depthwise_conv2d/depthwise_kernel", (5, 5, 65, 1), "blocks_3.*16.*65"),
        ("blocks_1/conv2d_1/kernel", (1, 1, 32, 17), "blocks_2.*16.*17"),
        ("head/conv2d/kernel", (1, 1, 33, 64), "head/conv2d/kernel.*33.*32"),
        ("blocks_9/conv2d/kernel", (1, 1, 32, 32), "blocks_7"),
    ],
)
def test_inconsistent_shapes_are_rejected(name: str, shape: Shape, token: str) -> None:
    """The error names the block and the numbers that do not match; the unchanged network is accepted."""
    shapes = list_shapes(SMALL)
    assert recognize(shapes, strides=(1, 2, 2, 1)).config == SMALL

    with pytest.raises(UnknownModelError, match=token):
        recognize({**shapes, name: shape}, strides=(1, 2, 2, 1))
