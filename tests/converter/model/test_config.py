"""The papers' tables as records, and records as JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from converter.model.config import (
    CONFIGS,
    EFFICIENTNET_V1,
    EFFICIENTNET_V2,
    EfficientNetConfig,
    StageConfig,
    round_channels,
    round_repeats,
)

STAGE = StageConfig(
    block="mbconv", repeats=2, kernel=3, stride=2, expansion=4, in_channels=8, out_channels=16, se_ratio=0.25
)
CONFIG = EfficientNetConfig(name="small", stem_channels=8, stages=(STAGE,), head_channels=32, num_classes=10)

# (parameters with 1000 classes, blocks, stem, head, widths of the stages)
PUBLISHED: dict[str, tuple[int, int, int, int, list[int]]] = {
    "efficientnetv2-s": (21_458_488, 40, 24, 1280, [24, 48, 64, 128, 160, 256]),
    "efficientnetv2-m": (54_139_356, 57, 24, 1280, [24, 48, 80, 160, 176, 304, 512]),
    "efficientnetv2-l": (118_515_272, 79, 32, 1280, [32, 64, 96, 192, 224, 384, 640]),
    "efficientnetv2-xl": (208_119_808, 100, 32, 1280, [32, 64, 96, 192, 256, 512, 640]),
    "efficientnetv2-b0": (7_139_704, 21, 32, 1280, [16, 32, 48, 96, 112, 192]),
    "efficientnetv2-b1": (8_141_052, 27, 32, 1280, [16, 32, 48, 96, 112, 192]),
    "efficientnetv2-b2": (10_096_086, 28, 32, 1408, [16, 32, 56, 104, 120, 208]),
    "efficientnetv2-b3": (14_358_406, 32, 40, 1536, [16, 40, 56, 112, 136, 232]),
    "efficientnet-b0": (5_288_548, 16, 32, 1280, [16, 24, 40, 80, 112, 192, 320]),
    "efficientnet-b1": (7_794_184, 23, 32, 1280, [16, 24, 40, 80, 112, 192, 320]),
    "efficientnet-b2": (9_109_994, 23, 32, 1408, [16, 24, 48, 88, 120, 208, 352]),
    "efficientnet-b3": (12_233_232, 26, 40, 1536, [24, 32, 48, 96, 136, 232, 384]),
    "efficientnet-b4": (19_341_616, 32, 48, 1792, [24, 32, 56, 112, 160, 272, 448]),
    "efficientnet-b5": (30_389_784, 39, 48, 2048, [24, 40, 64, 128, 176, 304, 512]),
    "efficientnet-b6": (43_040_704, 45, 56, 2304, [32, 40, 72, 144, 200, 344, 576]),
    "efficientnet-b7": (66_347_960, 55, 64, 2560, [32, 48, 80, 160, 224, 384, 640]),
    "efficientnet-b8": (87_413_142, 61, 72, 2816, [32, 56, 88, 176, 248, 424, 704]),
    "efficientnet-l2": (480_309_308, 88, 136, 5504, [72, 104, 176, 344, 480, 824, 1376]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_sizes(name: str) -> None:
    """Parameters, blocks and widths are the published ones."""
    config = CONFIGS[name]

    widths = [stage.out_channels for stage in config.stages]
    found = (
        config.parameter_count(),
        sum(1 for _ in config.blocks()),
        config.stem_channels,
        config.head_channels,
        widths,
    )

    assert found == PUBLISHED[name]


#: Millions of parameters as the papers and their READMEs print them.
PRINTED = {
    "efficientnetv2-s": "21.5",
    "efficientnetv2-m": "54.1",
    "efficientnetv2-l": "119.5",
    "efficientnetv2-xl": "208",
    "efficientnetv2-b0": "7.1",
    "efficientnetv2-b1": "8.1",
    "efficientnetv2-b2": "10.1",
    "efficientnetv2-b3": "14.4",
    "efficientnet-b0": "5.3",
    "efficientnet-b1": "7.8",
    "efficientnet-b2": "9.2",
    "efficientnet-b3": "12",
    "efficientnet-b4": "19",
    "efficientnet-b5": "30",
    "efficientnet-b6": "43",
    "efficientnet-b7": "66",
    "efficientnet-b8": "87",
    "efficientnet-l2": "480",
}
#: Where counting the shapes gives another number than the papers print.
OTHERWISE = {"efficientnetv2-l": "118.5", "efficientnet-b2": "9.1"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_the_papers_print(name: str) -> None:
    """To the digits that are printed; two networks are other than printed, and known to be."""
    printed = OTHERWISE.get(name, PRINTED[name])
    digits = len(printed.partition(".")[2])

    assert f"{CONFIGS[name].parameter_count() / 1e6:.{digits}f}" == printed
    assert PRINTED.keys() == PUBLISHED.keys()


def test_configs_are_both_families_under_their_own_names() -> None:
    """Eight networks of version 2 and ten of version 1, each under the name it carries."""
    assert len(EFFICIENTNET_V2) == 8
    assert len(EFFICIENTNET_V1) == 10
    assert {**EFFICIENTNET_V2, **EFFICIENTNET_V1} == CONFIGS
    assert [config.name for config in CONFIGS.values()] == list(CONFIGS)


def test_sizes_and_rates_are_those_of_the_released_code() -> None:
    """Training and evaluation sizes, dropout, stochastic depth and batch norm of one network of each family."""
    s, b4 = CONFIGS["efficientnetv2-s"], CONFIGS["efficientnet-b4"]

    assert (s.train_size, s.eval_size, s.dropout, s.drop_path) == (300, 384, 0.2, 0.2)
    assert (b4.train_size, b4.eval_size, b4.dropout, b4.drop_path) == (380, 380, 0.4, 0.2)
    assert (s.bn_epsilon, s.bn_momentum, s.in_channels, s.stem_kernel, s.stem_stride) == (1e-3, 0.1, 3, 3, 2)


@pytest.mark.parametrize(
    ("channels", "width", "rounded"),
    [(32, 1.1, 32), (48, 1.1, 56), (16, 1.2, 16), (24, 1.4, 32), (1280, 1.1, 1408), (1, 1.0, 8), (20, 1.0, 24)],
)
def test_channels_round_to_the_nearest_multiple_of_eight(channels: int, width: float, rounded: int) -> None:
    """Halves round up, and no width goes below 8 or, in version 2, is kept from losing more than a tenth."""
    assert round_channels(channels, width) == rounded


def test_channels_of_version_one_are_guarded_against_losing_more_than_a_tenth() -> None:
    """19.2 channels would lose more than a tenth as 16 and become 24; 17.6 lose less and become 16."""
    assert round_channels(16, 1.2, guarded=True) == 24
    assert round_channels(16, 1.1, guarded=True) == 16


def test_repeats_round_up() -> None:
    """Any part of a repeat is a whole one."""
    assert [round_repeats(repeats, 1.1) for repeats in (1, 2, 5, 10)] == [2, 3, 6, 11]
    assert round_repeats(5, 1.0) == 5


def test_blocks_walk_the_stages_in_order() -> None:
    """Only a stage's first block has the stride and the narrower input; SE follows a block's own input."""
    second = dataclasses.replace(STAGE, block="fused", stride=1, in_channels=16, out_channels=24, se_ratio=0.0)
    config = dataclasses.replace(CONFIG, stages=(STAGE, second))

    blocks = list(config.blocks())

    assert [(b.stage, b.position, b.flat_index) for b in blocks] == [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)]
    assert [(b.config.stride, b.config.in_channels, b.config.out_channels) for b in blocks] == [
        (2, 8, 16),
        (1, 16, 16),
        (1, 16, 24),
        (1, 24, 24),
    ]
    assert [b.config.se_channels for b in blocks] == [2, 4, 0, 0]
    assert [b.config.expanded_channels for b in blocks] == [32, 64, 64, 96]
    assert [b.config.has_residual for b in blocks] == [False, True, False, True]


def test_squeeze_excite_keeps_at_least_one_channel() -> None:
    """A ratio that would leave none leaves one; no ratio means no squeeze-excite."""
    tiny = dataclasses.replace(CONFIG, stages=(dataclasses.replace(STAGE, se_ratio=0.01),))

    assert [block.config.se_channels for block in tiny.blocks()] == [1, 1]


@pytest.mark.parametrize("config", [*CONFIGS.values(), CONFIG], ids=lambda config: config.name)
def test_config_comes_back_from_json(config: EfficientNetConfig) -> None:
    """A config survives being written as JSON and read again, equal in every field."""
    text = json.dumps(config.to_dict(), allow_nan=False)

    assert EfficientNetConfig.from_dict(json.loads(text)) == config


def edited(**changes: Any) -> dict[str, Any]:
    """Give a sound config as plain values with some of them changed."""
    return {**CONFIG.to_dict(), **changes}


def with_stage(**changes: Any) -> dict[str, Any]:
    """Give a sound config as plain values with its stage changed."""
    return edited(stages=[{**dataclasses.asdict(STAGE), **changes}])


def without(key: str) -> dict[str, Any]:
    """Give a sound config as plain values with one key gone."""
    return {name: value for name, value in CONFIG.to_dict().items() if name != key}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (edited(colour=1), "keys of config differ from this version's: unknown 'colour'"),
        (without("dropout"), "keys of config differ from this version's: missing 'dropout'"),
        (with_stage(squeeze=1), "keys of stage 0 differ from this version's: unknown 'squeeze'"),
        (edited(stages=["mbconv"]), "stage 0 is str, expected a mapping"),
        (edited(stages="mbconv"), "stages is str, expected a list"),
        (edited(stages=[]), "stages is empty"),
        (edited(name=7), "name is 7, expected a string"),
        (edited(head_channels=-1), "head_channels is -1, expected a whole number of at least 0"),
        (edited(head_channels=0), "num_classes is 10, but there is no head: head_channels is 0"),
        (edited(num_classes=-1), "num_classes is -1, expected a whole number of at least 0"),
        (edited(num_classes=1 << 31), "num_classes is 2147483648, expected at most 2147483647"),
        (edited(eval_size=1 << 15), "eval_size is 32768, expected at most 16384"),
        (edited(num_classes=True), "num_classes is True"),
        (edited(eval_size=0), "eval_size is 0"),
        (edited(dropout=1.5), "dropout is 1.5, expected a number from 0 to 1"),
        (edited(bn_epsilon=float("nan")), "bn_epsilon is nan"),
        (with_stage(block="conv"), "block is 'conv', expected one of fused, mbconv"),
        (with_stage(stride=0), "stride is 0"),
        (with_stage(kernel=3.0), "kernel is 3.0"),
        (with_stage(in_channels=9), "stage 0 takes 9 channels, what precedes it gives 8"),
    ],
)
def test_config_rejects_values_no_network_has(record: dict[str, Any], message: str) -> None:
    """What is wrong is named, with what was found and expected."""
    with pytest.raises(ValueError) as caught:
        EfficientNetConfig.from_dict(record)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [
        edited(head_channels=1),
        edited(num_classes=0),
        edited(eval_size=None),
        edited(eval_size=1),
        edited(dropout=1),
        edited(bn_epsilon=0.0),
        with_stage(block="fused"),
        with_stage(stride=1),
        with_stage(kernel=2),
        with_stage(se_ratio=0),
    ],
)
def test_config_takes_the_nearest_values_a_network_can_have(record: dict[str, Any]) -> None:
    """The twins of the rejected values, one step inside the limits, are configs."""
    assert EfficientNetConfig.from_dict(record).to_dict() == record


def test_configs_load_without_torch() -> None:
    """Speaking about a network does not import the library that would run it."""
    program = "import sys, converter.model; converter.model.CONFIGS; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
