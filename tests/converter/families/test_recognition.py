"""Which network it is: the variant, or a description from shapes and strides, and what decided it."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import TypeAlias

import pytest

from converter.conversion import plan_conversion
from converter.errors import MappingError, Shape, UnknownModelError
from converter.families.automl import AUTOML
from converter.families.graph_facts import GraphFacts
from converter.families.recognition import Recognition
from converter.families.recognition import recognise as recognise_family
from converter.model.config import CONFIGS, BlockKind, EfficientNetConfig, StageConfig

from .. import networks

#: Block, repeats, kernel, stride, expansion, input and output channels, squeeze-excite ratio: the paper's columns.
Row: TypeAlias = tuple[BlockKind, int, int, int, int, int, int, float]


recognise = functools.partial(recognise_family, anatomy=AUTOML.anatomy)


def stage(row: Row) -> StageConfig:
    """Make a stage from a row of the paper's table."""
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
        stage(("fused", 1, 3, 1, 1, 8, 8, 0.0)),
        stage(("fused", 2, 3, 2, 4, 8, 16, 0.0)),
        stage(("mbconv", 2, 5, 2, 4, 16, 24, 0.25)),
        stage(("mbconv", 2, 3, 1, 6, 24, 32, 0.25)),
    ),
    head_channels=64,
    num_classes=10,
)


def shapes_of(config: EfficientNetConfig) -> dict[str, Shape]:
    """Give a network's variables without scope."""
    return {variable.name: variable.shape for variable in networks.variables(config)}


def facts_of(config: EfficientNetConfig, *, epsilon: float = 1e-3, scope: str = "") -> GraphFacts:
    """Give what the graph of a network tells."""
    strides = {scope + "stem/conv2d/kernel": config.stem_stride}
    for placed in config.blocks():
        kernel = "conv2d/kernel" if placed.config.block == "fused" else "depthwise_conv2d/depthwise_kernel"
        strides[f"{scope}blocks_{placed.flat_index}/{kernel}"] = placed.config.stride
    return GraphFacts(strides, {scope + "stem/tpu_batch_normalization/gamma": epsilon})


def with_stages(*stages: StageConfig) -> EfficientNetConfig:
    """Make a small network of other stages."""
    return dataclasses.replace(SMALL, stages=stages, stem_channels=stages[0].in_channels)


def test_custom_network_is_described_from_shapes_and_given_strides() -> None:
    """Kernel, widths, expansion, squeeze-excite and repeats come from shapes, strides from the caller."""
    found = recognise(shapes_of(SMALL), strides=(1, 2, 2, 1))

    assert found == Recognition(SMALL, ("described from names and shapes", "strides as given"))


def test_custom_network_is_described_with_strides_from_the_graph() -> None:
    """With a graph nothing has to be given."""
    found = recognise(shapes_of(SMALL), graph=facts_of(SMALL))

    assert found == Recognition(SMALL, ("described from names and shapes", "strides from the graph"))


def test_custom_network_without_strides_shows_its_stages_and_how_to_give_them() -> None:
    """The error says what is not known, why, what was found and what to type."""
    with pytest.raises(UnknownModelError) as caught:
        recognise(shapes_of(SMALL))

    assert str(caught.value).splitlines() == [
        "no published EfficientNet has these shapes (none is near), and its strides are not known: "
        "there is no saved graph (.meta). Give one for each stage, for example --strides 1,2,2,2 "
        "(in Python strides=(1, 2, 2, 2)). The stages are",
        "  stage 0: fused MBConv k3 r1 e1 8-8",
        "  stage 1: fused MBConv k3 r2 e4 8-16",
        "  stage 2: MBConv k5 r2 e4 16-24 SE 4",
        "  stage 3: MBConv k3 r2 e6 24-32 SE 6",
    ]


@pytest.mark.parametrize("strides", [(1, 2, 2), (1, 2, 2, 1, 1)])
def test_wrong_number_of_strides_shows_the_stages(strides: tuple[int, ...]) -> None:
    """Strides are one for each stage; four would do here."""
    said = f"{len(strides)} strides were given ({','.join(map(str, strides))}), but there are 4 stages"
    with pytest.raises(UnknownModelError, match=re.escape(said)) as caught:
        recognise(shapes_of(SMALL), strides=strides)

    assert "stage 3: MBConv k3 r2 e6 24-32 SE 6" in str(caught.value)


@pytest.mark.parametrize("strides", [(), (1, 2, 0, 1), (1, 2, 2.5, 1)])
def test_strides_that_are_no_strides_are_misuse(strides: tuple[int, ...]) -> None:
    """A stride is a positive whole number."""
    with pytest.raises(ValueError, match="expected one positive number a stage"):
        recognise(shapes_of(SMALL), strides=strides)


def test_given_strides_may_repeat_what_the_graph_says_but_not_contradict_it() -> None:
    """The graph is what was trained; other strides are refused with both."""
    graph = facts_of(SMALL)

    assert recognise(shapes_of(SMALL), strides=(1, 2, 2, 1), graph=graph).config == SMALL
    with pytest.raises(UnknownModelError, match=r"strides 1,2,2,2 were given, but the graph .* has 1,2,2,1"):
        recognise(shapes_of(SMALL), strides=(1, 2, 2, 2), graph=graph)


def test_graph_of_another_network_counts_as_none() -> None:
    """A graph without this network's convolutions does not tell its strides, and the error says so."""
    graph = facts_of(SMALL, scope="other/")

    with pytest.raises(UnknownModelError, match="the graph has not its convolutions"):
        recognise(shapes_of(SMALL), graph=graph)
    assert recognise(shapes_of(SMALL), strides=(1, 2, 2, 1), graph=graph).config == SMALL


def test_block_of_equal_width_and_stride_two_begins_a_stage_when_the_graph_says_so() -> None:
    """Shapes cannot tell a repeat from a new stage of the same width; strides can."""
    config = with_stages(stage(("mbconv", 2, 3, 1, 4, 16, 16, 0.25)), stage(("mbconv", 2, 3, 2, 4, 16, 16, 0.25)))
    repeated = with_stages(stage(("mbconv", 4, 3, 1, 4, 16, 16, 0.25)))

    found = recognise(shapes_of(config), graph=facts_of(config)).config
    found_repeated = recognise(shapes_of(config), graph=facts_of(repeated)).config

    assert found == config
    assert found_repeated == repeated


def test_stage_that_begins_with_stride_one_and_equal_width_is_a_repeat() -> None:
    """Such a stage computes what repeats compute, and becomes them."""
    config = with_stages(stage(("fused", 1, 3, 2, 4, 16, 16, 0.0)), stage(("fused", 2, 3, 1, 4, 16, 16, 0.0)))

    found = recognise(shapes_of(config), graph=facts_of(config)).config

    assert found.stages == (stage(("fused", 3, 3, 2, 4, 16, 16, 0.0)),)


@pytest.mark.parametrize(
    "second",
    [
        stage(("mbconv", 1, 5, 1, 4, 16, 16, 0.25)),
        stage(("mbconv", 1, 3, 1, 6, 16, 16, 0.25)),
        stage(("mbconv", 1, 3, 1, 4, 16, 16, 0.0)),
        stage(("mbconv", 1, 3, 1, 4, 16, 16, 0.5)),
        stage(("fused", 1, 3, 1, 4, 16, 16, 0.25)),
    ],
    ids=["kernel", "expansion", "without SE", "SE width", "block"],
)
def test_change_of_form_begins_a_stage(second: StageConfig) -> None:
    """Blocks of one stage differ in their input width at most."""
    config = with_stages(stage(("mbconv", 2, 3, 2, 4, 16, 16, 0.25)), second)

    found = recognise(shapes_of(config), strides=(2, 1)).config

    assert found == config


def test_unusual_squeeze_excite_width_gives_a_ratio_that_reproduces_it() -> None:
    """The ratio is not stored, but one that rounds to the same widths is as good."""
    config = with_stages(stage(("mbconv", 3, 3, 2, 4, 24, 40, 0.31)))

    found = recognise(shapes_of(config), strides=(2,)).config

    widths = [placed.config.se_channels for placed in found.blocks()]
    assert widths == [7, 12, 12]


def test_published_network_with_other_classes_keeps_its_name() -> None:
    """The class count is the checkpoint's own, 21 843 for example."""
    config = dataclasses.replace(CONFIGS["efficientnetv2-xl"], num_classes=21_843)

    assert recognise(shapes_of(config)).config == config


def test_published_shapes_with_other_strides_are_not_the_published_network() -> None:
    """A variant that was trained with other strides computes something else, and its graph tells."""
    published = CONFIGS["efficientnetv2-b0"]
    changed = dataclasses.replace(published, stem_stride=1)

    found = recognise(shapes_of(published), graph=facts_of(changed)).config
    same = recognise(shapes_of(published), graph=facts_of(published))

    assert (found.name, found.stem_stride) == ("custom", 1)
    assert same == Recognition(
        published, ("names and shapes are those of efficientnetv2-b0", "strides in the graph agree")
    )


def test_epsilon_of_the_graph_is_taken_over() -> None:
    """A batch norm's epsilon is not in the shapes either."""
    assert recognise(shapes_of(SMALL), graph=facts_of(SMALL)).config.bn_epsilon == 1e-3

    found = recognise(shapes_of(SMALL), graph=facts_of(SMALL, epsilon=1e-5))

    assert found.config.bn_epsilon == 1e-5
    assert "batch-norm epsilon 1e-05 from the graph" in found.evidence


def test_several_epsilons_are_refused() -> None:
    """The model has one epsilon for all batch norms."""
    facts = facts_of(SMALL)
    facts = facts._replace(epsilons={**facts.epsilons, "head/tpu_batch_normalization/gamma": 1e-5})

    with pytest.raises(UnknownModelError, match=r"epsilons 1e-05,0\.001, expected the same for all"):
        recognise(shapes_of(SMALL), graph=facts)


def test_near_miss_names_the_variant_and_the_first_difference() -> None:
    """A network that is almost a published one is told apart by its first other block."""
    published = CONFIGS["efficientnetv2-s"]
    stages = list(published.stages)
    stages[5] = dataclasses.replace(stages[5], repeats=14)
    config = dataclasses.replace(published, stages=tuple(stages))

    with pytest.raises(UnknownModelError, match=r"efficientnetv2-s is nearest; it has 40 blocks, here 39"):
        recognise(shapes_of(config))


def test_forced_model_that_fits_is_taken() -> None:
    """Saying the right name changes nothing but what decided it."""
    arrays = networks.arrays("efficientnetv2-b1")

    planned = plan_conversion(arrays, model="efficientnetv2-b1")

    assert planned.config == CONFIGS["efficientnetv2-b1"]
    assert planned.report.evidence == ("efficientnetv2-b1 was asked for",)


def test_forced_model_that_does_not_fit_says_which_would() -> None:
    """The error lists the tensors that disagree, and ends with the variant they are."""
    arrays = networks.arrays("efficientnetv2-b1", averages=False)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays, model="efficientnetv2-b2")

    assert str(caught.value).splitlines()[-1] == (
        "efficientnetv2-b2 was asked for; its names and shapes are those of efficientnetv2-b1"
    )
    assert "net/head/conv2d/kernel" in {mismatch.source for mismatch in caught.value.mismatched}
    assert {missing.target.split(".")[0] for missing in caught.value.missing} == {"stages"}


def test_forced_model_with_other_strides_in_the_graph_is_refused() -> None:
    """The graph is believed over the name that was given."""
    published = CONFIGS["efficientnetv2-b0"]
    changed = facts_of(dataclasses.replace(published, stem_stride=1))

    with pytest.raises(UnknownModelError, match="the graph has other strides: the stem has 1, expected 2"):
        recognise(shapes_of(published), model="efficientnetv2-b0", graph=changed)
    assert recognise(shapes_of(published), model="efficientnetv2-b0", graph=facts_of(published)).config == published


def test_forced_model_with_other_given_strides_is_refused() -> None:
    """A published network has its own strides."""
    shapes = shapes_of(CONFIGS["efficientnetv2-b0"])

    with pytest.raises(UnknownModelError, match="efficientnetv2-b0 has strides 1,2,2,2,1,2, not 1,2,2,2,1,1"):
        recognise(shapes, model="efficientnetv2-b0", strides=(1, 2, 2, 2, 1, 1))
    assert recognise(shapes, model="efficientnetv2-b0", strides=(1, 2, 2, 2, 1, 2)).config.name == "efficientnetv2-b0"


def test_unknown_model_name_offers_close_ones() -> None:
    """A slip of the pen is answered with what may be meant."""
    with pytest.raises(UnknownModelError, match="there is no model 'efficientnet-v2-s'; perhaps efficientnetv2-s"):
        recognise({}, model="efficientnet-v2-s")


@pytest.mark.parametrize(
    ("name", "shape", "problem"),
    [
        ("blocks_4/depthwise_conv2d/depthwise_kernel", (3, 3, 96, 2), "blocks_4 has a channel multiplier of 2"),
        (
            "blocks_4/depthwise_conv2d/depthwise_kernel",
            (3, 5, 96, 1),
            r"depthwise_kernel \[3, 5, 96, 1\], expected a square",
        ),
        ("blocks_3/depthwise_conv2d/depthwise_kernel", (5, 5, 65, 1), "blocks_3 expands 16 channels to 65"),
        ("blocks_1/conv2d_1/kernel", (1, 1, 32, 17), "blocks_2 takes 16 channels, what precedes it gives 17"),
        ("head/conv2d/kernel", (1, 1, 33, 64), "head/conv2d/kernel takes 33 channels, the last block gives 32"),
        ("blocks_9/conv2d/kernel", (1, 1, 32, 32), "blocks_7 is missing"),
    ],
)
def test_network_that_is_none_is_refused_with_what_is_wrong(name: str, shape: Shape, problem: str) -> None:
    """Shapes that do not fit together make no network, whatever the strides."""
    shapes = shapes_of(SMALL)
    assert recognise(shapes, strides=(1, 2, 2, 1)).config == SMALL

    with pytest.raises(UnknownModelError, match=problem):
        recognise({**shapes, name: shape}, strides=(1, 2, 2, 1))
