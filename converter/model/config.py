"""Configs of networks and their stages.

This module imports neither torch nor NumPy, so configs can be used without building a network.
"""

import dataclasses
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
