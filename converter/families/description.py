"""Description of a network from the names and shapes of its variables, for any family of names.

Only kernels are read: they determine all widths, kernel sizes, expansions and repeats.
The rules check later that all other variables agree with them.
Shapes do not determine strides, so a description has no strides.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Shape
from ..model.config import BlockConfig, EfficientNetConfig, StageConfig
from .graph_facts import BlockFunctions
from .settings import NO_DEFAULTS, Defaults

#: The squeeze-excite ratio of every published EfficientNet, preferred if several ratios match.
_USUAL_SE_RATIO = 0.25


class Parts(NamedTuple):
    """Names of a block's kernels, relative to the block; None for kernels that its form does not have."""

    project: str
    expand: str | None = None
    depthwise: str | None = None
    se: str | None = None

    @property
    def first(self) -> str:
        """The convolution with the kernel size of the block and with its stride."""
        return self.depthwise or self.expand or self.project


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The names, without scope, that a family gives to the kernels that determine a network.

    `block` matches a variable of a block: its id, then its name in the block; `block_name` is the prefix for an id.
    `sort_ids` returns all ids in network order, including missing ones between the first and the last.
    `find_stage` returns the stage of an id; None if names do not contain the stage.
    `kernel_sizes` returns height, width, input and output channels of a 4-D kernel, from its name and shape.
    `find_parts` returns the kernels of a block, from the names and shapes in the block.
    A network without any name that starts with one of `head_parts` has no head, like the backbone of a detector.
    `defaults` are the settings of the code, for what neither names and shapes nor a graph show.
    """

    stem: str
    head: str
    head_parts: tuple[str, ...]
    classifier_biases: tuple[str, ...]
    block: re.Pattern[str]
    block_name: str
    sort_ids: Callable[[Iterable[str]], list[str]]
    find_parts: Callable[[Mapping[str, Shape]], Parts]
    find_stage: Callable[[str], int] | None = None
    kernel_sizes: Callable[[str, Shape], Shape] = lambda _, shape: shape
    defaults: Defaults = NO_DEFAULTS

    def in_block(self, block_id: str, name: str) -> str:
        """Return the full name of a variable in a block."""
        return self.block_name.format(block_id) + name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A network as its shapes describe it; all blocks have stride 1, and an unreadable block is None.

    `ids` are the ids of the blocks in names, and `stages` the stage of each block if names contain it.
    `strided` lists the kernels whose convolutions have the strides of the stem and of each readable block.
    `headless` is True if no variable belongs to a head. `head_channels` is then 0, as it is for a missing kernel.
    `problems` lists the reasons why this is not a complete network.
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
    """Return the description of a network, from the shapes of its variables by name without scope."""
    missing: list[str] = []
    stem = _read_kernel(shapes, anatomy.stem, missing, anatomy)
    headless = not any(name.startswith(anatomy.head_parts) for name in shapes)
    head = (0, 0, 0, 0) if headless else _read_kernel(shapes, anatomy.head, missing, anatomy)
    problems = [f"the network {problem}" for problem in missing]
    in_blocks: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        match = anatomy.block.fullmatch(name)
        if match:
            in_blocks.setdefault(match[1], {})[match[2]] = shape
    ids = anatomy.sort_ids(in_blocks)
    blocks: list[BlockConfig | None] = []
    strided = [anatomy.stem]
    channels = stem[3]
    for block_id in ids:
        block_shapes = in_blocks.get(block_id, {})
        parts = anatomy.find_parts(block_shapes)
        block = _read_block(block_shapes, parts, channels, anatomy)
        if isinstance(block, str):
            problems.append(f"{anatomy.in_block(block_id, '').rstrip('/_.')} {block}")
            blocks.append(None)
            channels = 0
        else:
            blocks.append(block)
            strided.append(anatomy.in_block(block_id, parts.first))
            channels = block.out_channels
    if not blocks:
        problems.append("the network has no blocks")
    elif channels and head[2] and head[2] != channels:
        problems.append(f"{anatomy.head} has {head[2]} input channels, but the last block has {channels} outputs")
    biases = [shapes[name] for name in anatomy.classifier_biases if name in shapes]
    return Description(
        in_channels=stem[2],
        stem_kernel=stem[0],
        stem_channels=stem[3],
        blocks=tuple(blocks),
        ids=tuple(ids),
        stages=None if anatomy.find_stage is None else tuple(map(anatomy.find_stage, ids)),
        strided=tuple(strided),
        headless=headless,
        head_channels=head[3],
        num_classes=biases[0][0] if biases and len(biases[0]) == 1 else 0,
        problems=tuple(problems),
    )


def split_stages(
    blocks: Sequence[BlockConfig],
    strides: Sequence[int] | None = None,
    numbers: Sequence[int] | None = None,
    functions: Sequence[BlockFunctions] | None = None,
) -> list[list[BlockConfig]]:
    """Group blocks into stages: a new stage starts where the width, the form or the stride changes.

    A stage with stride 1 and the widths and form of the previous one is merged into it, which computes the same.
    `strides` has one stride for each block, if known. `numbers` has the stage of each block, if names contain it.
    `functions` are what each block computes: a stage has one activation, and all or none of its blocks add their input.
    """
    stages: list[list[BlockConfig]] = []
    adds: bool | None = None
    for index, block in enumerate(blocks):
        starts = (
            not stages
            or block.in_channels != block.out_channels
            or (strides is not None and strides[index] != 1)
            or (numbers is not None and numbers[index] != numbers[index - 1])
            or _get_form(block) != _get_form(stages[-1][0])
            # All repeats have the same width, so it is enough to compare with the first and the last block.
            or _find_se_ratio([stages[-1][0], stages[-1][-1], block]) is None
            or (functions is not None and functions[index].activation != functions[index - 1].activation)
            or (functions is not None and adds not in (None, functions[index].adds_input))
        )
        if starts:
            adds = None
        if functions is not None and may_add_input(block) and (strides is None or strides[index] == 1):
            adds = functions[index].adds_input
        if starts:
            stages.append([block])
        else:
            stages[-1].append(block)
    return stages


def build_stage(blocks: Sequence[BlockConfig], stride: int) -> StageConfig:
    """Return a stage as a row of the paper's table; raise `ValueError` if no squeeze-excite ratio matches."""
    first = blocks[0]
    ratio = _find_se_ratio(blocks)
    if ratio is None:
        raise ValueError(f"no squeeze-excite ratio up to 1 turns {first.in_channels} channels into {first.se_channels}")
    return StageConfig(
        expand_from=first.expand_from,
        block=first.block,
        repeats=len(blocks),
        kernel=first.kernel,
        stride=stride,
        expansion=first.expansion,
        in_channels=first.in_channels,
        out_channels=first.out_channels,
        se_ratio=ratio,
    )


def format_stage(blocks: Sequence[BlockConfig]) -> str:
    """Return a readable description of a stage, like a row of the paper's table without the stride."""
    first = blocks[0]
    text = "MBConv" if first.block == "mbconv" else "fused MBConv"
    text += f" k{first.kernel} r{len(blocks)} e{first.expansion} {first.in_channels}-{first.out_channels}"
    return f"{text} SE {first.se_channels}" if first.se_channels else text


def list_blocks_as_described(config: EfficientNetConfig) -> tuple[BlockConfig, ...]:
    """Return the blocks of a config as `describe` reads them from their shapes, for comparison with a `Description`."""
    return tuple(_strip_block(block.config) for block in config.blocks())


def may_add_input(block: BlockConfig) -> bool:
    """Return whether a block's input has the shape of its output."""
    return block.stride == 1 and block.in_channels == block.out_channels


def _get_form(block: BlockConfig) -> tuple[str, int, int, bool]:
    return block.block, block.kernel, block.expansion, bool(block.se_channels)


def _read_block(shapes: Mapping[str, Shape], parts: Parts, channels: int, anatomy: Anatomy) -> BlockConfig | str:
    """Return a block, or a message why it cannot be read; `channels` are its input channels, 0 if unknown."""
    if not shapes:
        return "is missing"
    problems: list[str] = []
    depthwise = _read_kernel(shapes, parts.depthwise, problems, anatomy) if parts.depthwise else None
    project = _read_kernel(shapes, parts.project, problems, anatomy)
    first = depthwise or _read_kernel(shapes, parts.expand or parts.project, problems, anatomy)
    se = _read_kernel(shapes, parts.se, problems, anatomy)[3] if parts.se else 0
    if problems:
        return "; ".join(dict.fromkeys(problems))
    if depthwise is not None and depthwise[3] != 1:
        return f"has a channel multiplier of {depthwise[3]}, expected 1"
    in_channels = _read_in_channels(shapes, parts, depthwise, anatomy) or channels
    if not in_channels:
        return f"has no {parts.expand or parts.project}"
    if channels and in_channels != channels:
        return f"has {in_channels} input channels, but the layer before it has {channels} outputs"
    expanded = depthwise[2] if depthwise is not None else first[3] if parts.expand else in_channels
    if parts.expand is None and expanded != in_channels:
        return f"has {expanded} channels after {in_channels}, but no convolution that expands them"
    widened = _read_out_channels(shapes, parts, anatomy) or expanded
    if widened != expanded:
        return f"expands {in_channels} channels to {widened}, but its depthwise convolution has {expanded}"
    if parts.expand is not None and expanded == 1:
        return f"expands {in_channels} channels to 1, expected more"
    expansion, expand_from = _split_expansion(expanded, in_channels, project[3]) if parts.expand else (1, None)
    return BlockConfig(
        block="fused" if depthwise is None else "mbconv",
        kernel=first[0],
        stride=1,
        expansion=expansion,
        in_channels=in_channels,
        out_channels=project[3],
        se_channels=se,
        expand_from=expand_from,
    )


def _strip_block(block: BlockConfig) -> BlockConfig:
    """Return a block with only what shapes determine."""
    expansion, expand_from = 1, None
    if block.expansion > 1:
        expansion, expand_from = _split_expansion(block.expanded_channels, block.in_channels, block.out_channels)
    return BlockConfig(
        block=block.block,
        kernel=block.kernel,
        stride=1,
        expansion=expansion,
        in_channels=block.in_channels,
        out_channels=block.out_channels,
        se_channels=block.se_channels,
        expand_from=expand_from,
    )


def _split_expansion(expanded: int, in_channels: int, out_channels: int) -> tuple[int, int | None]:
    """Return an expansion above 1 and the channels that it is counted from, None for the block's input channels.

    Both together determine only the expanded channels. Where these are not a multiple of the input channels, a multiple
    of the output channels is preferred: the next blocks of the stage have the same expansion then.
    """
    for counted in (in_channels, out_channels):
        expansion, rest = divmod(expanded, counted)
        if not rest and expansion > 1:
            return expansion, None if counted == in_channels else counted
    expansion = next((factor for factor in range(2, math.isqrt(expanded) + 1) if expanded % factor == 0), expanded)
    return expansion, expanded // expansion


def _read_in_channels(shapes: Mapping[str, Shape], parts: Parts, depthwise: Shape | None, anatomy: Anatomy) -> int:
    """Return the input channels of the first kernel of a block, 0 if this kernel is missing."""
    if depthwise is not None and parts.expand is None:
        return depthwise[2]
    name = parts.expand or parts.project
    first = shapes.get(name, ())
    return anatomy.kernel_sizes(name, first)[2] if len(first) == 4 else 0


def _read_out_channels(shapes: Mapping[str, Shape], parts: Parts, anatomy: Anatomy) -> int:
    """Return the output channels of the kernel that expands, 0 if there is none."""
    name = parts.expand or ""
    shape = shapes.get(name, ())
    return anatomy.kernel_sizes(name, shape)[3] if len(shape) == 4 else 0


def _find_se_ratio(blocks: Sequence[BlockConfig]) -> float | None:
    """Return the ratio that matches the squeeze-excite width of every block, or None; 0 without squeeze-excite."""
    if not any(block.se_channels for block in blocks):
        return 0.0
    # Rounding may miss the lower end of the interval of ratios for a width, so its middle is tried too.
    widths = [(block.se_channels, block.expand_from or block.in_channels) for block in blocks]
    own = [(se + part) / counted for se, counted in widths for part in (0, 0.5)]
    for ratio in (_USUAL_SE_RATIO, *own):
        if ratio <= 1 and all(se == max(1, int(counted * ratio)) for se, counted in widths):
            return ratio
    return None


def _read_kernel(shapes: Mapping[str, Shape], name: str, problems: list[str], anatomy: Anatomy) -> Shape:
    """Return height, width, input and output channels of a square kernel; otherwise zeros, and append a problem."""
    shape = shapes.get(name)
    if shape is None:
        problems.append(f"has no {name}")
        return (0, 0, 0, 0)
    sizes = anatomy.kernel_sizes(name, shape) if len(shape) == 4 else ()
    if not sizes or sizes[0] != sizes[1] or 0 in sizes:
        problems.append(f"has {name} {list(shape)}, expected a square kernel of 4 axes")
        return (0, 0, 0, 0)
    return sizes
