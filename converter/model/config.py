"""Configs of networks and their stages, and the papers' tables.

This module imports neither torch nor NumPy, so configs can be used without building a network.

Sources: Tan and Le, "EfficientNet" (arXiv 1905.11946), table 1 and the compound scaling; Tan and Le, "EfficientNetV2"
(arXiv 2104.00298), tables 4 and 9; sizes, dropout, rounding and survival probability as in the released TensorFlow
code (google/automl, folder efficientnetv2; for the rounding of version 1 tensorflow/tpu).
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

BlockKind: TypeAlias = Literal["fused", "mbconv"]

BLOCK_KINDS: tuple[BlockKind, ...] = ("fused", "mbconv")

#: The activations that the released code offers, by PyTorch's names.
Activation: TypeAlias = Literal["silu", "relu", "relu6", "hard_swish", "elu", "leaky_relu", "selu", "mish"]
#: The function that turns the output of squeeze-excite into factors. `hard_sigmoid` is relu6(x + 3) / 6, and
#: `hard_sigmoid_keras2` is clip(0.2 x + 0.5, 0, 1), as Keras 2 defines it.
Gate: TypeAlias = Literal["sigmoid", "hard_sigmoid", "hard_sigmoid_keras2"]
Pooling: TypeAlias = Literal["avg", "max"]

ACTIVATIONS: tuple[Activation, ...] = ("silu", "relu", "relu6", "hard_swish", "elu", "leaky_relu", "selu", "mish")
GATES: tuple[Gate, ...] = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras2")
POOLINGS: tuple[Pooling, ...] = ("avg", "max")

#: Largest side of an input in pixels. Published networks use less than a tenth; an image of this size takes 3 GiB.
MAX_SIDE = 1 << 14
#: Largest value of every other count.
_LARGEST = (1 << 31) - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockConfig:
    """One MBConv block: `fused` (k×k convolution) or `mbconv` (depthwise); `se_channels` is 0 without SE.

    The other fields are described by `StageConfig` and `EfficientNetConfig`.
    """

    block: BlockKind
    kernel: int
    stride: int
    expansion: int
    in_channels: int
    out_channels: int
    se_channels: int
    expand_from: int | None = None
    residual: bool = True
    activation: Activation = "silu"
    gate: Gate = "sigmoid"
    gate_activation: Activation = "silu"

    @property
    def expanded_channels(self) -> int:
        """Channels between the expand and the project convolution."""
        return (self.expand_from or self.in_channels) * self.expansion

    @property
    def has_residual(self) -> bool:
        """True if the input is added to the output: stride 1 and equal channels, unless the stage has no residuals."""
        return self.residual and self.stride == 1 and self.in_channels == self.out_channels


class Block(NamedTuple):
    """A block and its position: stage, position in the stage, and index across all stages, all from 0."""

    stage: int
    position: int
    flat_index: int
    config: BlockConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """A row of the paper's table: `repeats` blocks; the stride and the input channels apply to the first.

    `se_ratio` is relative to a block's input channels, 0 without squeeze-excite.
    `activation` None means the network's. `residual` is False if no block of the stage adds its input to its output.
    `expand_from` is the number of channels that the expansion and `se_ratio` of the first block refer to, if it is not
    the number of input channels: the released code uses the nominal width (EfficientNet-EdgeTPU-L).
    """

    block: BlockKind
    repeats: int
    kernel: int
    stride: int
    expansion: int
    in_channels: int
    out_channels: int
    se_ratio: float
    activation: Activation | None = None
    residual: bool = True
    expand_from: int | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that no network can have."""
        _check_choice(self, "block", BLOCK_KINDS)
        _check_choice(self, "activation", (None, *ACTIVATIONS))
        _check_bool(self, "residual")
        if self.expand_from is not None:
            _check_counts(self, "expand_from")
        _check_counts(self, "repeats", "kernel", "stride", "expansion", "in_channels", "out_channels")
        _check_fractions(self, "se_ratio")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNetConfig:
    """A network.

    `drop_path` is the stochastic depth rate near the last block (TensorFlow's survival probability 0.8 is 0.2 here).
    `bn_momentum` is torch's (TensorFlow's 0.9 is 0.1 here).
    `num_classes` is 0 for a network that returns pooled features. If `head_channels` is 0 too, there is no head, and
    these are the features of the last stage.
    `train_size` and `eval_size` are in pixels, None if unknown.
    `folded_bn` is for inference: batch norms are folded into their convolutions, which get a bias.
    `gate` and `gate_activation` belong to squeeze-excite: the function of the factors, and the activation between the
    two convolutions, None for the network's. `pooling` precedes the classifier and covers the whole map.
    """

    name: str
    stem_channels: int
    stem_kernel: int = 3
    stem_stride: int = 2
    stages: tuple[StageConfig, ...]
    head_channels: int
    num_classes: int
    in_channels: int = 3
    dropout: float = 0.2
    drop_path: float = 0.2
    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.1
    train_size: int | None = None
    eval_size: int | None = None
    folded_bn: bool = False
    activation: Activation = "silu"
    gate: Gate = "sigmoid"
    gate_activation: Activation | None = None
    pooling: Pooling = "avg"

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that no network can have, and for stages whose channels do not match."""
        _check_bool(self, "folded_bn")
        _check_choice(self, "activation", ACTIVATIONS)
        _check_choice(self, "gate", GATES)
        _check_choice(self, "gate_activation", (None, *ACTIVATIONS))
        _check_choice(self, "pooling", POOLINGS)
        if not isinstance(self.name, str):
            raise ValueError(f"name is {self.name!r}, expected a string")
        _check_counts(self, "stem_channels", "stem_kernel", "stem_stride", "in_channels")
        _check_counts(self, "num_classes", "head_channels", least=0)
        if self.num_classes and not self.head_channels:
            raise ValueError(f"num_classes is {self.num_classes}, but without head (head_channels 0) it must be 0")
        _check_counts(
            self, *(key for key in ("train_size", "eval_size") if getattr(self, key) is not None), most=MAX_SIDE
        )
        _check_fractions(self, "dropout", "drop_path", "bn_epsilon", "bn_momentum")
        if not self.stages:
            raise ValueError("stages is empty, expected at least one")
        channels = self.stem_channels
        for index, stage in enumerate(self.stages):
            if stage.in_channels != channels:
                raise ValueError(f"stage {index} has {stage.in_channels} input channels, expected {channels}")
            channels = stage.out_channels

    def blocks(self) -> Iterator[Block]:
        """Yield every block in network order."""
        flat_index = 0
        for number, stage in enumerate(self.stages):
            for position in range(stage.repeats):
                in_channels = stage.in_channels if position == 0 else stage.out_channels
                expand_from = stage.expand_from if position == 0 else None
                counted = expand_from or in_channels
                block = BlockConfig(
                    block=stage.block,
                    kernel=stage.kernel,
                    stride=stage.stride if position == 0 else 1,
                    expansion=stage.expansion,
                    in_channels=in_channels,
                    out_channels=stage.out_channels,
                    se_channels=max(1, int(counted * stage.se_ratio)) if stage.se_ratio else 0,
                    expand_from=expand_from,
                    residual=stage.residual,
                    activation=stage.activation or self.activation,
                    gate=self.gate,
                    gate_activation=self.gate_activation or stage.activation or self.activation,
                )
                yield Block(number, position, flat_index, block)
                flat_index += 1

    def parameter_count(self) -> int:
        """Return the number of trained values: weights and biases, without the moving statistics of batch norms."""
        norm = 1 if self.folded_bn else 2  # a bias for each channel, or a batch norm's weight and bias
        count = self.stem_kernel**2 * self.in_channels * self.stem_channels + norm * self.stem_channels
        count += sum(_count_parameters(block.config, norm) for block in self.blocks())
        count += self.stages[-1].out_channels * self.head_channels + norm * self.head_channels
        return count + (self.head_channels + 1) * self.num_classes

    def to_dict(self) -> dict[str, Any]:
        """Return the config as values that JSON can represent; `from_dict` is the inverse."""
        record = dataclasses.asdict(self)
        record["stages"] = list(record["stages"])
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "EfficientNetConfig":
        """Return the config of `to_dict`'s value; keys that older versions did not write may be missing.

        Raises `ValueError` for an unknown or missing key and for a value that no network can have.
        """
        _check_keys(record, cls, "config")
        stages = record["stages"]
        if not isinstance(stages, (list, tuple)):
            raise ValueError(f"stages is {type(stages).__name__}, expected a list")
        for index, stage in enumerate(stages):
            _check_keys(stage, StageConfig, f"stage {index}")
        return cls(**{**record, "stages": tuple(StageConfig(**stage) for stage in stages)})


#: Fields that the first version did not write; their defaults are what that version computed.
_ADDED_LATER = {"activation", "gate", "gate_activation", "pooling", "residual", "expand_from"}


def _check_keys(record: object, cls: type, what: str) -> None:
    """Raise unless a mapping has the fields of a dataclass as keys; those in `_ADDED_LATER` may be missing."""
    if not isinstance(record, Mapping):
        raise ValueError(f"{what} is {type(record).__name__}, expected a mapping")
    expected = {field.name for field in dataclasses.fields(cls)}
    keys = set(record)
    unknown = ", ".join(sorted(map(repr, keys - expected)))
    missing = ", ".join(sorted(map(repr, expected - keys - _ADDED_LATER)))
    if unknown or missing:
        parts = [f"unknown {unknown}"] * bool(unknown) + [f"missing {missing}"] * bool(missing)
        raise ValueError(f"keys of {what} are not those of this version: {'; '.join(parts)}")


def _check_choice(record: object, name: str, choices: tuple[object, ...]) -> None:
    """Raise unless a field has one of the values."""
    value = getattr(record, name)
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(str, choices))}")


def _check_bool(record: object, name: str) -> None:
    """Raise unless a field is True or False."""
    value = getattr(record, name)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, expected True or False")


def _check_counts(record: object, *names: str, least: int = 1, most: int = _LARGEST) -> None:
    """Raise unless fields are integers from `least` to `most`; a bool is not accepted."""
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} is {value!r}, expected an integer of at least {least}")
        if value > most:
            raise ValueError(f"{name} is {value}, expected at most {most}")


def _check_fractions(record: object, *names: str) -> None:
    """Raise unless fields are numbers from 0 to 1; NaN is not accepted."""
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise ValueError(f"{name} is {value!r}, expected a number from 0 to 1")


def _count_parameters(block: BlockConfig, norm: int) -> int:
    """Return the number of a block's weights and biases, with `norm` values for each channel after a convolution."""
    expanded = block.expanded_channels
    area = block.kernel**2
    count = 0
    if block.block == "fused" and block.expansion == 1:
        count += area * expanded * block.out_channels + norm * block.out_channels
    else:
        count += expanded * block.out_channels + norm * block.out_channels
        if block.expansion > 1:
            expand_area = area if block.block == "fused" else 1
            count += expand_area * block.in_channels * expanded + norm * expanded
        if block.block == "mbconv":
            count += area * expanded + norm * expanded
    if block.se_channels:
        count += (2 * expanded + 1) * block.se_channels + expanded
    return count


# The papers' tables.

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
_HEAD_CHANNELS = 1280
_SE_RATIO = 0.25
_IMAGENET_CLASSES = 1000

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


EFFICIENTNET_V2: dict[str, EfficientNetConfig] = {
    key: _scale(key, row, guarded=False) for key, row in _V2_TABLE.items()
}
EFFICIENTNET_V1: dict[str, EfficientNetConfig] = {key: _scale(key, row, guarded=True) for key, row in _V1_TABLE.items()}
#: Width and depth factors of the version 1 networks, relative to efficientnet-b0.
V1_SCALING: dict[str, tuple[float, float]] = {key: (row[1], row[2]) for key, row in _V1_TABLE.items()}
CONFIGS: dict[str, EfficientNetConfig] = {**EFFICIENTNET_V2, **EFFICIENTNET_V1}
