"""A network described from the names and shapes of its variables, in the naming of `automl`.

Only kernels are read here: they give every width, kernel size, expansion and repeat.
That all other variables agree with them is for the rules to find out.
Shapes do not tell strides, so that a description has none until they come from elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from ..errors import Shape
from ..model.config import BlockConfig, EfficientNetConfig, StageConfig

#: The squeeze-excite ratio of every published EfficientNet, tried before any other that fits.
_USUAL_SE_RATIO = 0.25

STEM = "stem/conv2d/kernel"
_HEAD = "head/conv2d/kernel"
_CLASSIFIER_BIASES = ("head/dense/bias", "head_1/dense/bias")
_DEPTHWISE = "depthwise_conv2d/depthwise_kernel"
_FIRST = "conv2d/kernel"
_SECOND = "conv2d_1/kernel"
_SE = "se/conv2d/kernel"
_BLOCK_NAME = re.compile(r"blocks_(0|[1-9][0-9]{0,5})/(.+)", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What shapes tell: widths, and blocks with stride 1 in place of the unknown one; None for an unreadable block.

    `problems` says, one a line, what keeps this from being a whole network.
    """

    in_channels: int
    stem_kernel: int
    stem_channels: int
    blocks: tuple[BlockConfig | None, ...]
    head_channels: int
    num_classes: int
    problems: tuple[str, ...]


def describe(shapes: Mapping[str, Shape]) -> Description:
    """Read a network from variable names without their scope."""
    missing: list[str] = []
    stem = _kernel(shapes, STEM, missing)
    head = _kernel(shapes, _HEAD, missing)
    problems = [f"the network {problem}" for problem in missing]
    in_blocks: dict[int, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        match = _BLOCK_NAME.fullmatch(name)
        if match:
            in_blocks.setdefault(int(match[1]), {})[match[2]] = shape
    blocks: list[BlockConfig | None] = []
    channels = stem[3]
    for index in range(max(in_blocks, default=-1) + 1):
        found = _block(in_blocks.get(index, {}), channels)
        if isinstance(found, str):
            problems.append(f"blocks_{index} {found}")
            blocks.append(None)
            channels = 0
        else:
            blocks.append(found)
            channels = found.out_channels
    if not blocks:
        problems.append("blocks_0 is missing")
    elif channels and head[2] and head[2] != channels:
        problems.append(f"{_HEAD} takes {head[2]} channels, the last block gives {channels}")
    biases = [shapes[name] for name in _CLASSIFIER_BIASES if name in shapes]
    return Description(
        in_channels=stem[2],
        stem_kernel=stem[0],
        stem_channels=stem[3],
        blocks=tuple(blocks),
        head_channels=head[3],
        num_classes=biases[0][0] if biases and len(biases[0]) == 1 else 0,
        problems=tuple(problems),
    )


def stride_variable(index: int, block: BlockConfig) -> str:
    """Name the kernel whose convolution has a block's stride."""
    return f"blocks_{index}/{_DEPTHWISE if block.block == 'mbconv' else _FIRST}"


def split_stages(blocks: Sequence[BlockConfig], strides: Sequence[int] | None = None) -> list[list[BlockConfig]]:
    """Group blocks into stages: where the width, the form or, when `strides` has one a block, the stride says so.

    A stage with the widths and form of the one before it and stride 1 is a repeat, which computes the same.
    """
    stages: list[list[BlockConfig]] = []
    for index, block in enumerate(blocks):
        starts = (
            not stages
            or block.in_channels != block.out_channels
            or (strides is not None and strides[index] != 1)
            or _form(block) != _form(stages[-1][0])
            or _se_ratio([*stages[-1], block]) is None
        )
        if starts:
            stages.append([block])
        else:
            stages[-1].append(block)
    return stages


def stage_config(blocks: Sequence[BlockConfig], stride: int) -> StageConfig:
    """Write one stage as a row of the paper's table; `ValueError` when no squeeze-excite ratio gives its widths."""
    first = blocks[0]
    ratio = _se_ratio(blocks)
    if ratio is None:
        raise ValueError(f"no squeeze-excite ratio up to 1 makes {first.se_channels} of {first.in_channels} channels")
    return StageConfig(
        block=first.block,
        repeats=len(blocks),
        kernel=first.kernel,
        stride=stride,
        expansion=first.expansion,
        in_channels=first.in_channels,
        out_channels=first.out_channels,
        se_ratio=ratio,
    )


def say_stage(blocks: Sequence[BlockConfig]) -> str:
    """Write a stage for people, as in the paper's table but without the stride."""
    first = blocks[0]
    text = "MBConv" if first.block == "mbconv" else "fused MBConv"
    text += f" k{first.kernel} r{len(blocks)} e{first.expansion} {first.in_channels}-{first.out_channels}"
    return f"{text} SE {first.se_channels}" if first.se_channels else text


def blocks_without_strides(config: EfficientNetConfig) -> tuple[BlockConfig, ...]:
    """Give a config's blocks as a description has them, without their strides."""
    return tuple(dataclasses.replace(placed.config, stride=1) for placed in config.blocks())


def _form(block: BlockConfig) -> tuple[str, int, int, bool]:
    return block.block, block.kernel, block.expansion, bool(block.se_channels)


def _block(parts: Mapping[str, Shape], channels: int) -> BlockConfig | str:
    """Read one block from its variables, or say what is wrong; `channels` are those before it, 0 when not known."""
    if not parts:
        return "is missing"
    problems: list[str] = []
    norms = 1 + max((n for n in (1, 2) if f"tpu_batch_normalization_{n}/gamma" in parts), default=0)
    # Only an MBConv block with expansion has three batch norms; only blocks with expansion have a second convolution.
    depthwise = _kernel(parts, _DEPTHWISE, problems) if _DEPTHWISE in parts or norms == 3 else None
    expands = _SECOND in parts or norms > (1 if depthwise is None else 2)
    project = _kernel(parts, _SECOND if expands else _FIRST, problems)
    first = depthwise if depthwise is not None else _kernel(parts, _FIRST, problems)
    se = _kernel(parts, _SE, problems)[3] if _SE in parts else 0
    if problems:
        return "; ".join(problems)
    if depthwise is not None and depthwise[3] != 1:
        return f"has a channel multiplier of {depthwise[3]}, expected 1"
    in_channels = _taken(parts, depthwise, expands) or channels
    if not in_channels:
        return f"has no {_FIRST}"
    if channels and in_channels != channels:
        return f"takes {in_channels} channels, what precedes it gives {channels}"
    expanded = depthwise[2] if depthwise is not None else first[3] if expands else in_channels
    expansion, rest = divmod(expanded, in_channels)
    if rest or (expansion > 1) != expands:
        return f"expands {in_channels} channels to {expanded}, expected a multiple of them"
    return BlockConfig(
        block="fused" if depthwise is None else "mbconv",
        kernel=first[0],
        stride=1,
        expansion=expansion,
        in_channels=in_channels,
        out_channels=project[3],
        se_channels=se,
    )


def _taken(parts: Mapping[str, Shape], depthwise: Shape | None, expands: bool) -> int:
    """Give the channels a block's own first kernel takes, 0 when that kernel is not there."""
    if depthwise is not None and not expands:
        return depthwise[2]
    first = parts.get(_FIRST, ())
    return first[2] if len(first) == 4 else 0


def _se_ratio(blocks: Sequence[BlockConfig]) -> float | None:
    """Find the ratio that gives every block its squeeze-excite width, 0 without squeeze-excite."""
    if not any(block.se_channels for block in blocks):
        return 0.0
    # The middle of a width's interval stands in for its lower end, which rounding may miss.
    own = [(block.se_channels + part) / block.in_channels for block in blocks for part in (0, 0.5)]
    for ratio in (_USUAL_SE_RATIO, *own):
        if ratio <= 1 and all(block.se_channels == max(1, int(block.in_channels * ratio)) for block in blocks):
            return ratio
    return None


def _kernel(shapes: Mapping[str, Shape], name: str, problems: list[str]) -> Shape:
    """Give a square kernel's four sizes; zeros, and a problem, when there is none."""
    shape = shapes.get(name)
    if shape is None:
        problems.append(f"has no {name}")
    elif len(shape) != 4 or shape[0] != shape[1] or 0 in shape:
        problems.append(f"has {name} {list(shape)}, expected a square kernel of 4 axes")
    else:
        return shape
    return (0, 0, 0, 0)
