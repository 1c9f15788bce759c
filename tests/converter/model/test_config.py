"""Configs contain the papers' tables and can be written as JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from converter.model.architectures import (
    CONFIGS,
    EFFICIENTNET_EDGETPU,
    EFFICIENTNET_LITE,
    EFFICIENTNET_V1,
    EFFICIENTNET_V2,
    round_channels,
    round_repeats,
)
from converter.model.config import EfficientNetConfig, StageConfig

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
def test_published_networks_have_the_published_sizes(name: str) -> None:
    """Parameters, blocks and widths match."""
    config = CONFIGS[name]

    widths = [stage.out_channels for stage in config.stages]
    sizes = (
        config.parameter_count(),
        sum(1 for _ in config.blocks()),
        config.stem_channels,
        config.head_channels,
        widths,
    )

    assert sizes == PUBLISHED[name]


#: Millions of parameters as printed in the papers and READMEs.
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
#: Networks whose number of parameters differs from the printed one.
DIFFERENT = {"efficientnetv2-l": "118.5", "efficientnet-b2": "9.1"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters_is_the_printed_one(name: str) -> None:
    """The printed digits match, except for two networks that are known to differ."""
    printed = DIFFERENT.get(name, PRINTED[name])
    digits = len(printed.partition(".")[2])

    assert f"{CONFIGS[name].parameter_count() / 1e6:.{digits}f}" == printed
    assert PRINTED.keys() == PUBLISHED.keys()


def test_configs_contain_every_table() -> None:
    """Each network of each table is there under its name."""
    tables = (EFFICIENTNET_V2, EFFICIENTNET_V1, EFFICIENTNET_LITE, EFFICIENTNET_EDGETPU)

    assert list(map(len, tables)) == [8, 10, 5, 3]
    assert {name: config for table in tables for name, config in table.items()} == CONFIGS
    assert [config.name for config in CONFIGS.values()] == list(CONFIGS)


def test_lite_scales_neither_stem_nor_head_nor_the_repeats_of_the_outer_stages() -> None:
    """Widths and the other repeats are those of the version 1 network of the same scaling, without its gates."""
    lite, b4 = CONFIGS["efficientnet-lite4"], CONFIGS["efficientnet-b4"]

    assert (lite.stem_channels, lite.head_channels, lite.activation) == (32, 1280, "relu6")
    assert [stage.repeats for stage in lite.stages] == [1, 4, 4, 6, 6, 8, 1]
    assert [stage.repeats for stage in b4.stages] == [2, 4, 4, 6, 6, 8, 2]
    assert [stage.out_channels for stage in lite.stages] == [stage.out_channels for stage in b4.stages]
    assert not any(block.config.se_channels for block in lite.blocks())


@pytest.mark.parametrize(("size", "stem", "expanded"), [("S", 32, 96), ("M", 32, 96), ("L", 40, 128)])
def test_first_block_of_edgetpu_expands_from_the_nominal_channels(size: str, stem: int, expanded: int) -> None:
    """In L these are 4 times 32 channels, although the stem has 40; and no block of the stage adds its input."""
    config = CONFIGS[f"efficientnet-edgetpu-{size}"]
    first = [block.config for block in config.blocks() if block.stage == 0]

    assert (config.stem_channels, first[0].in_channels, first[0].expanded_channels) == (stem, stem, expanded)
    assert not any(block.has_residual for block in first)
    assert all(block.expanded_channels == 4 * block.in_channels for block in first[1:])


def test_sizes_and_rates_match_the_released_code() -> None:
    """One network of each version is compared."""
    s, b4 = CONFIGS["efficientnetv2-s"], CONFIGS["efficientnet-b4"]

    assert (s.train_size, s.eval_size, s.dropout, s.drop_path) == (300, 384, 0.2, 0.2)
    assert (b4.train_size, b4.eval_size, b4.dropout, b4.drop_path) == (380, 380, 0.4, 0.2)
    assert (s.bn_epsilon, s.bn_momentum, s.in_channels, s.stem_kernel, s.stem_stride) == (1e-3, 0.1, 3, 3, 2)


@pytest.mark.parametrize(
    ("channels", "width", "rounded"),
    [(32, 1.1, 32), (48, 1.1, 56), (16, 1.2, 16), (24, 1.4, 32), (1280, 1.1, 1408), (1, 1.0, 8), (20, 1.0, 24)],
)
def test_channels_round_to_the_nearest_multiple_of_eight(channels: int, width: float, rounded: int) -> None:
    """Halves round up, the minimum is 8, and version 2 may lose more than a tenth."""
    assert round_channels(channels, width) == rounded


def test_channels_of_version_1_never_lose_more_than_a_tenth() -> None:
    """19.2 channels become 24, because 16 would lose more than a tenth; 17.6 become 16."""
    assert round_channels(16, 1.2, guarded=True) == 24
    assert round_channels(16, 1.1, guarded=True) == 16


def test_repeats_round_up() -> None:
    """Any fraction counts as a whole repeat."""
    assert [round_repeats(repeats, 1.1) for repeats in (1, 2, 5, 10)] == [2, 3, 6, 11]
    assert round_repeats(5, 1.0) == 5


def test_blocks_are_listed_in_network_order() -> None:
    """Only the first block of a stage has its stride and input width; SE depends on the input of each block."""
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
    """A small positive ratio results in one channel."""
    tiny = dataclasses.replace(CONFIG, stages=(dataclasses.replace(STAGE, se_ratio=0.01),))

    assert [block.config.se_channels for block in tiny.blocks()] == [1, 1]


@pytest.mark.parametrize("config", [*CONFIGS.values(), CONFIG], ids=lambda config: config.name)
def test_config_round_trips_through_json(config: EfficientNetConfig) -> None:
    """The config read from JSON is equal."""
    text = json.dumps(config.to_dict(), allow_nan=False)

    assert EfficientNetConfig.from_dict(json.loads(text)) == config


def edit(**changes: Any) -> dict[str, Any]:
    """Return a valid record with changed values."""
    return {**CONFIG.to_dict(), **changes}


def edit_stage(**changes: Any) -> dict[str, Any]:
    """Return a valid record with changed values of its stage."""
    return edit(stages=[{**dataclasses.asdict(STAGE), **changes}])


def remove(key: str) -> dict[str, Any]:
    """Return a valid record without a key."""
    return {name: value for name, value in CONFIG.to_dict().items() if name != key}


@pytest.mark.parametrize(
    ("record", "token"),
    [
        (edit(colour=1), "colour"),
        (remove("dropout"), "dropout"),
        (edit_stage(squeeze=1), "squeeze"),
        (edit(stages=["mbconv"]), "stage 0"),
        (edit(stages="mbconv"), "stages"),
        (edit(stages=[]), "stages"),
        (edit(name=7), "name"),
        (edit(head_channels=-1), "head_channels"),
        (edit(head_channels=0), "head_channels"),
        (edit(num_classes=-1), "num_classes"),
        (edit(num_classes=1 << 31), "num_classes"),
        (edit(eval_size=1 << 15), "eval_size"),
        (edit(num_classes=True), "num_classes"),
        (edit(eval_size=0), "eval_size"),
        (edit(dropout=1.5), "dropout"),
        (edit(bn_epsilon=float("nan")), "bn_epsilon"),
        (edit_stage(block="conv"), "block"),
        (edit_stage(stride=0), "stride"),
        (edit_stage(kernel=3.0), "kernel"),
        (edit_stage(in_channels=9), "stage 0"),
    ],
)
def test_config_rejects_impossible_values(record: dict[str, Any], token: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=token):
        EfficientNetConfig.from_dict(record)


@pytest.mark.parametrize(
    "record",
    [
        edit(head_channels=1),
        edit(num_classes=0),
        edit(eval_size=None),
        edit(eval_size=1),
        edit(dropout=1),
        edit(bn_epsilon=0.0),
        edit_stage(block="fused"),
        edit_stage(stride=1),
        edit_stage(kernel=2),
        edit_stage(se_ratio=0),
    ],
)
def test_config_accepts_the_nearest_possible_values(record: dict[str, Any]) -> None:
    """Values next to the rejected ones are accepted."""
    assert EfficientNetConfig.from_dict(record).to_dict() == record


def test_configs_load_without_torch() -> None:
    """Importing the configs does not import torch."""
    program = "import sys, converter.model; converter.model.CONFIGS; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
