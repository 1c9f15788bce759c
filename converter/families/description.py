"""A network described from the names and shapes of its variables, whatever family of names they have.

Only kernels are read here: they give every width, kernel size, expansion and repeat.
That all other variables agree with them is for the rules to find out.
Shapes do not tell strides, so that a description has none until they come from elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Shape
from ..model.config import BlockConfig, EfficientNetConfig, StageConfig

#: The squeeze-excite ratio of every published EfficientNet, tried before any other that fits.
_USUAL_SE_RATIO = 0.25


class Parts(NamedTuple):
    """Names of a block's kernels, under the block; None for those its form does not have."""

    project: str
    expand: str | None = None
    depthwise: str | None = None
    se: str | None = None

    @property
    def first(self) -> str:
        """The convolution that gives a block its kernel size, and its first block's stride."""
        return self.depthwise or self.expand or self.project


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """How a family of names calls the kernels that tell a network's form; all names are without scope.

    `block` matches a variable of a block: its id, then the name under the block; `block_name` makes both from an id.
    `order` gives all ids from the first to the last in network order, with those that are missing between.
    `stage_of` says which stage an id belongs to, for names that say it.
    `kernel_sizes` gives height, width, input and output channels of a kernel of 4 axes, from its name and shape.
    `parts` tells a block's form from the names and shapes under it.
    A network in which no name begins with one of `head_parts` is one without head, such as a detector's backbone.
    """

    stem: str
    head: str
    head_parts: tuple[str, ...]
    classifier_biases: tuple[str, ...]
    block: re.Pattern[str]
    block_name: str
    order: Callable[[Iterable[str]], list[str]]
    parts: Callable[[Mapping[str, Shape]], Parts]
    stage_of: Callable[[str], int] | None = None
    kernel_sizes: Callable[[str, Shape], Shape] = lambda _, shape: shape

    def in_block(self, block_id: str, name: str) -> str:
        """Name a variable of a block."""
        return self.block_name.format(block_id) + name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What shapes tell: widths, and blocks with stride 1 in place of the unknown one; None for an unreadable block.

    `ids` are the blocks' ids in the names, `stages` the stage of each block where the names say it.
    `strided` are the names of the kernels whose convolutions have the strides of the stem and of each readable block.
    `headless` is a network without any variable of a head; `head_channels` is 0 then, and where its kernel is missing.
    `problems` says, one a line, what keeps this from being a whole network.
    """

    in_channels: int
    stem_kernel: int
    stem_channels: int
    blocks: tuple[BlockConfig | None, ...]
    ids: tuple[str, ...]
    stages: tuple[int, ...] | None
    strided: tuple[str, ...]
    headless: bool
    head_channels: int
    num_classes: int
    problems: tuple[str, ...]


def describe(shapes: Mapping[str, Shape], anatomy: Anatomy) -> Description:
    """Read a network from variable names without their scope."""
    missing: list[str] = []
    stem = _kernel(shapes, anatomy.stem, missing, anatomy)
    headless = not any(name.startswith(anatomy.head_parts) for name in shapes)
    head = (0, 0, 0, 0) if headless else _kernel(shapes, anatomy.head, missing, anatomy)
    problems = [f"the network {problem}" for problem in missing]
    in_blocks: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        match = anatomy.block.fullmatch(name)
        if match:
            in_blocks.setdefault(match[1], {})[match[2]] = shape
    ids = anatomy.order(in_blocks)
    blocks: list[BlockConfig | None] = []
    strided = [anatomy.stem]
    channels = stem[3]
    for block_id in ids:
        inside = in_blocks.get(block_id, {})
        parts = anatomy.parts(inside)
        found = _block(inside, parts, channels, anatomy)
        if isinstance(found, str):
            problems.append(f"{anatomy.in_block(block_id, '').rstrip('/_.')} {found}")
            blocks.append(None)
            channels = 0
        else:
            blocks.append(found)
            strided.append(anatomy.in_block(block_id, parts.first))
            channels = found.out_channels
    if not blocks:
        problems.append("the network has no blocks")
    elif channels and head[2] and head[2] != channels:
        problems.append(f"{anatomy.head} takes {head[2]} channels, the last block gives {channels}")
    biases = [shapes[name] for name in anatomy.classifier_biases if name in shapes]
    return Description(
        in_channels=stem[2],
        stem_kernel=stem[0],
        stem_channels=stem[3],
        blocks=tuple(blocks),
        ids=tuple(ids),
        stages=None if anatomy.stage_of is None else tuple(map(anatomy.stage_of, ids)),
        strided=tuple(strided),
        headless=headless,
        head_channels=head[3],
        num_classes=biases[0][0] if biases and len(biases[0]) == 1 else 0,
        problems=tuple(problems),
    )


def split_stages(
    blocks: Sequence[BlockConfig], strides: Sequence[int] | None = None, numbers: Sequence[int] | None = None
) -> list[list[BlockConfig]]:
    """Group blocks into stages: where the width, the form or, when `strides` has one a block, the stride says so.

    A stage with the widths and form of the one before it and stride 1 is a repeat, which computes the same.
    `numbers` are the stages of the blocks where the names say them; then each is a stage of its own.
    """
    stages: list[list[BlockConfig]] = []
    for index, block in enumerate(blocks):
        starts = (
            not stages
            or block.in_channels != block.out_channels
            or (strides is not None and strides[index] != 1)
            or (numbers is not None and numbers[index] != numbers[index - 1])
            or _form(block) != _form(stages[-1][0])
            # All repeats have the same width, so that the first one and the last stand for those before.
            or _se_ratio([stages[-1][0], stages[-1][-1], block]) is None
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


def _block(shapes: Mapping[str, Shape], parts: Parts, channels: int, anatomy: Anatomy) -> BlockConfig | str:
    """Read one block from its variables, or say what is wrong; `channels` are those before it, 0 when not known."""
    if not shapes:
        return "is missing"
    problems: list[str] = []
    depthwise = _kernel(shapes, parts.depthwise, problems, anatomy) if parts.depthwise else None
    project = _kernel(shapes, parts.project, problems, anatomy)
    first = depthwise or _kernel(shapes, parts.expand or parts.project, problems, anatomy)
    se = _kernel(shapes, parts.se, problems, anatomy)[3] if parts.se else 0
    if problems:
        return "; ".join(dict.fromkeys(problems))
    if depthwise is not None and depthwise[3] != 1:
        return f"has a channel multiplier of {depthwise[3]}, expected 1"
    in_channels = _taken(shapes, parts, depthwise, anatomy) or channels
    if not in_channels:
        return f"has no {parts.expand or parts.project}"
    if channels and in_channels != channels:
        return f"takes {in_channels} channels, what precedes it gives {channels}"
    expanded = depthwise[2] if depthwise is not None else first[3] if parts.expand else in_channels
    expansion, rest = divmod(expanded, in_channels)
    if rest or (expansion > 1) != (parts.expand is not None):
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


def _taken(shapes: Mapping[str, Shape], parts: Parts, depthwise: Shape | None, anatomy: Anatomy) -> int:
    """Give the channels a block's own first kernel takes, 0 when that kernel is not there."""
    if depthwise is not None and parts.expand is None:
        return depthwise[2]
    name = parts.expand or parts.project
    first = shapes.get(name, ())
    return anatomy.kernel_sizes(name, first)[2] if len(first) == 4 else 0


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


def _kernel(shapes: Mapping[str, Shape], name: str, problems: list[str], anatomy: Anatomy) -> Shape:
    """Return a square kernel's height, width, input and output channels; zeros, and a problem, if there is none."""
    shape = shapes.get(name)
    if shape is None:
        problems.append(f"has no {name}")
        return (0, 0, 0, 0)
    sizes = anatomy.kernel_sizes(name, shape) if len(shape) == 4 else ()
    if not sizes or sizes[0] != sizes[1] or 0 in sizes:
        problems.append(f"has {name} {list(shape)}, expected a square kernel of 4 axes")
        return (0, 0, 0, 0)
    return sizes
