"""The papers' tables: the published networks by name.

This module imports neither torch nor NumPy.

Sources: Tan and Le, "EfficientNet" (arXiv 1905.11946), table 1 and the compound scaling; Tan and Le, "EfficientNetV2"
(arXiv 2104.00298), tables 4 and 9; sizes, dropout, rounding and survival probability as in the released TensorFlow
code (google/automl, folder efficientnetv2; for the rounding of version 1, and for the Lite and EdgeTPU networks,
tensorflow/tpu, folder models/official/efficientnet).
"""

import dataclasses
import functools
import math
from typing import TypeAlias

from .config import BlockKind, EfficientNetConfig, StageConfig

_Row: TypeAlias = tuple[BlockKind, int, int, int, int, int, int]
_Scaling: TypeAlias = tuple[tuple[_Row, ...], float, float, int, int, float]

# (block, repeats, kernel, stride of the first block, expansion, input channels, output channels)
_V2_S: tuple[_Row, ...] = (
    ("fused", 2, 3, 1, 1, 24, 24),
    ("fused", 4, 3, 2, 4, 24, 48),
    ("fused", 4, 3, 2, 4, 48, 64),
    ("mbconv", 6, 3, 2, 4, 64, 128),
    ("mbconv", 9, 3, 1, 6, 128, 160),
    ("mbconv", 15, 3, 2, 6, 160, 256),
)
_V2_M: tuple[_Row, ...] = (
    ("fused", 3, 3, 1, 1, 24, 24),
    ("fused", 5, 3, 2, 4, 24, 48),
    ("fused", 5, 3, 2, 4, 48, 80),
    ("mbconv", 7, 3, 2, 4, 80, 160),
    ("mbconv", 14, 3, 1, 6, 160, 176),
    ("mbconv", 18, 3, 2, 6, 176, 304),
    ("mbconv", 5, 3, 1, 6, 304, 512),
)
_V2_L: tuple[_Row, ...] = (
    ("fused", 4, 3, 1, 1, 32, 32),
    ("fused", 7, 3, 2, 4, 32, 64),
    ("fused", 7, 3, 2, 4, 64, 96),
    ("mbconv", 10, 3, 2, 4, 96, 192),
    ("mbconv", 19, 3, 1, 6, 192, 224),
    ("mbconv", 25, 3, 2, 6, 224, 384),
    ("mbconv", 7, 3, 1, 6, 384, 640),
)
_V2_XL: tuple[_Row, ...] = (
    ("fused", 4, 3, 1, 1, 32, 32),
    ("fused", 8, 3, 2, 4, 32, 64),
    ("fused", 8, 3, 2, 4, 64, 96),
    ("mbconv", 16, 3, 2, 4, 96, 192),
    ("mbconv", 24, 3, 1, 6, 192, 256),
    ("mbconv", 32, 3, 2, 6, 256, 512),
    ("mbconv", 8, 3, 1, 6, 512, 640),
)
_V2_BASE: tuple[_Row, ...] = (
    ("fused", 1, 3, 1, 1, 32, 16),
    ("fused", 2, 3, 2, 4, 16, 32),
    ("fused", 2, 3, 2, 4, 32, 48),
    ("mbconv", 3, 3, 2, 4, 48, 96),
    ("mbconv", 5, 3, 1, 6, 96, 112),
    ("mbconv", 8, 3, 2, 6, 112, 192),
)
_V1_BASE: tuple[_Row, ...] = (
    ("mbconv", 1, 3, 1, 1, 32, 16),
    ("mbconv", 2, 3, 2, 6, 16, 24),
    ("mbconv", 2, 5, 2, 6, 24, 40),
    ("mbconv", 3, 3, 2, 6, 40, 80),
    ("mbconv", 3, 5, 1, 6, 80, 112),
    ("mbconv", 4, 5, 2, 6, 112, 192),
    ("mbconv", 1, 3, 1, 6, 192, 320),
)
_EDGETPU_BASE: tuple[_Row, ...] = (
    ("fused", 1, 3, 1, 4, 24, 24),
    ("fused", 2, 3, 2, 8, 24, 32),
    ("fused", 4, 3, 2, 8, 32, 48),
    ("mbconv", 5, 5, 2, 8, 48, 96),
    ("mbconv", 4, 5, 1, 8, 96, 144),
    ("mbconv", 2, 5, 2, 8, 144, 192),
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
_SE_RATIO = 0.25
_IMAGENET_CLASSES = 1000
#: Classes of the EdgeTPU networks, of which class 0 is the background.
_CLASSES_WITH_BACKGROUND = 1001

# (rows, width, depth, train size, eval size, dropout)
_V2_TABLE: dict[str, _Scaling] = {
    "efficientnetv2-s": (_V2_S, 1.0, 1.0, 300, 384, 0.2),
    "efficientnetv2-m": (_V2_M, 1.0, 1.0, 384, 480, 0.3),
    "efficientnetv2-l": (_V2_L, 1.0, 1.0, 384, 480, 0.4),
    "efficientnetv2-xl": (_V2_XL, 1.0, 1.0, 384, 512, 0.4),
    "efficientnetv2-b0": (_V2_BASE, 1.0, 1.0, 192, 224, 0.2),
    "efficientnetv2-b1": (_V2_BASE, 1.0, 1.1, 192, 240, 0.2),
    "efficientnetv2-b2": (_V2_BASE, 1.1, 1.2, 208, 260, 0.3),
    "efficientnetv2-b3": (_V2_BASE, 1.2, 1.4, 240, 300, 0.3),
}
_V1_TABLE: dict[str, _Scaling] = {
    "efficientnet-b0": (_V1_BASE, 1.0, 1.0, 224, 224, 0.2),
    "efficientnet-b1": (_V1_BASE, 1.0, 1.1, 240, 240, 0.2),
    "efficientnet-b2": (_V1_BASE, 1.1, 1.2, 260, 260, 0.3),
    "efficientnet-b3": (_V1_BASE, 1.2, 1.4, 300, 300, 0.3),
    "efficientnet-b4": (_V1_BASE, 1.4, 1.8, 380, 380, 0.4),
    "efficientnet-b5": (_V1_BASE, 1.6, 2.2, 456, 456, 0.4),
    "efficientnet-b6": (_V1_BASE, 1.8, 2.6, 528, 528, 0.5),
    "efficientnet-b7": (_V1_BASE, 2.0, 3.1, 600, 600, 0.5),
    "efficientnet-b8": (_V1_BASE, 2.2, 3.6, 672, 672, 0.5),
    "efficientnet-l2": (_V1_BASE, 4.3, 5.3, 800, 800, 0.5),
}
_LITE_TABLE: dict[str, _Scaling] = {
    "efficientnet-lite0": (_V1_BASE, 1.0, 1.0, 224, 224, 0.2),
    "efficientnet-lite1": (_V1_BASE, 1.0, 1.1, 240, 240, 0.2),
    "efficientnet-lite2": (_V1_BASE, 1.1, 1.2, 260, 260, 0.3),
    "efficientnet-lite3": (_V1_BASE, 1.2, 1.4, 280, 280, 0.3),
    "efficientnet-lite4": (_V1_BASE, 1.4, 1.8, 300, 300, 0.3),
}
_EDGETPU_TABLE: dict[str, _Scaling] = {
    "efficientnet-edgetpu-S": (_EDGETPU_BASE, 1.0, 1.0, 224, 224, 0.2),
    "efficientnet-edgetpu-M": (_EDGETPU_BASE, 1.0, 1.1, 240, 240, 0.2),
    "efficientnet-edgetpu-L": (_EDGETPU_BASE, 1.2, 1.4, 300, 300, 0.3),
}


def round_channels(channels: int, width: float, *, guarded: bool = False) -> int:
    """Return a scaled channel count, rounded to the nearest multiple of 8 as in the released code.

    `guarded` rounds up if rounding would lose more than a tenth. The code of version 1 (tensorflow/tpu) does this, and
    the code of version 2 does not. Among the published networks it matters for one width: the 24 channels of
    efficientnet-b3's first stage.
    """
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if guarded and rounded < 0.9 * scaled else rounded


def round_repeats(repeats: int, depth: float) -> int:
    """Return a scaled number of repeats, rounded up."""
    return math.ceil(depth * repeats)


def _scale(name: str, row: _Scaling, *, guarded: bool) -> EfficientNetConfig:
    """Return the config of a base table scaled by width and depth."""
    rows, width, depth, train_size, eval_size, dropout = row
    scale = functools.partial(round_channels, width=width, guarded=guarded)
    stages = tuple(
        StageConfig(
            block=block,
            repeats=round_repeats(repeats, depth),
            kernel=kernel,
            stride=stride,
            expansion=expansion,
            in_channels=scale(in_channels),
            out_channels=scale(out_channels),
            se_ratio=_SE_RATIO if block == "mbconv" else 0.0,
        )
        for block, repeats, kernel, stride, expansion, in_channels, out_channels in rows
    )
    return EfficientNetConfig(
        name=name,
        stem_channels=stages[0].in_channels,
        stages=stages,
        head_channels=scale(_HEAD_CHANNELS),
        num_classes=_IMAGENET_CLASSES,
        dropout=dropout,
        train_size=train_size,
        eval_size=eval_size,
    )


def _scale_lite(name: str, row: _Scaling) -> EfficientNetConfig:
    """Return a Lite network: as version 1, but stem, head and the repeats of the first and last stage do not scale."""
    scaled = _scale(name, row, guarded=True)
    rows = row[0]
    stages = [dataclasses.replace(stage, se_ratio=0.0) for stage in scaled.stages]
    stages[0] = dataclasses.replace(stages[0], in_channels=_STEM_CHANNELS, repeats=rows[0][1])
    stages[-1] = dataclasses.replace(stages[-1], repeats=rows[-1][1])
    return dataclasses.replace(
        scaled, stem_channels=_STEM_CHANNELS, stages=tuple(stages), head_channels=_HEAD_CHANNELS, activation="relu6"
    )


def _scale_edgetpu(name: str, row: _Scaling) -> EfficientNetConfig:
    """Return an EdgeTPU network: the first block expands from the table's channels, not from those of the stem."""
    scaled = _scale(name, row, guarded=True)
    stem = round_channels(_STEM_CHANNELS, row[1], guarded=True)
    first, *others = (dataclasses.replace(stage, se_ratio=0.0) for stage in scaled.stages)
    first = dataclasses.replace(first, in_channels=stem, expand_from=first.in_channels, residual=False)
    return dataclasses.replace(
        scaled,
        stem_channels=stem,
        stages=(first, *others),
        num_classes=_CLASSES_WITH_BACKGROUND,
        activation="relu",
    )


EFFICIENTNET_V2: dict[str, EfficientNetConfig] = {
    key: _scale(key, row, guarded=False) for key, row in _V2_TABLE.items()
}
EFFICIENTNET_V1: dict[str, EfficientNetConfig] = {key: _scale(key, row, guarded=True) for key, row in _V1_TABLE.items()}
#: Width and depth factors of the version 1 networks, relative to efficientnet-b0.
V1_SCALING: dict[str, tuple[float, float]] = {key: (row[1], row[2]) for key, row in _V1_TABLE.items()}
EFFICIENTNET_LITE: dict[str, EfficientNetConfig] = {key: _scale_lite(key, row) for key, row in _LITE_TABLE.items()}
EFFICIENTNET_EDGETPU: dict[str, EfficientNetConfig] = {
    key: _scale_edgetpu(key, row) for key, row in _EDGETPU_TABLE.items()
}
CONFIGS: dict[str, EfficientNetConfig] = {
    **EFFICIENTNET_V2,
    **EFFICIENTNET_V1,
    **EFFICIENTNET_LITE,
    **EFFICIENTNET_EDGETPU,
}
