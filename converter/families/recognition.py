"""Which network a checkpoint holds: a published one, or one described from its shapes and strides; and what decided it.

Names and shapes decide, since neither the scope nor the file's name can be relied on.
Strides, which shapes do not tell, come from the graph beside the checkpoint when it has this network's convolutions,
else from the caller; a published network has its published ones.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..errors import Shape, UnknownModelError
from ..model.config import CONFIGS, EfficientNetConfig
from . import description
from .description import Anatomy, Description
from .graph_facts import GraphFacts

#: A network with unreadable blocks is taken for the published one that at least this part of its blocks agrees with.
#: The rules then list each tensor that differs.
_NEAR = 0.5

CUSTOM = "custom"

#: Of the stem, then of each block.
_Strides: TypeAlias = tuple[int, ...]


class Recognition(NamedTuple):
    """A config, and what decided it, one sentence each."""

    config: EfficientNetConfig
    evidence: tuple[str, ...]


def recognise(
    shapes: Mapping[str, Shape],
    anatomy: Anatomy,
    *,
    model: str = "auto",
    strides: Sequence[int] | None = None,
    graph: GraphFacts | None = None,
) -> Recognition:
    """Find the config of the network whose variables, named without their scope, have these shapes.

    `graph` holds facts about these variables by the same names, None when there is no graph.
    `model` forces a published network; whether its tensors fit is for the rules to find out.
    Raises `UnknownModelError` when the network is not known and not enough of it is stored to describe it.
    """
    if model != "auto" and model not in CONFIGS:
        close = difflib.get_close_matches(model, CONFIGS) or CONFIGS
        raise UnknownModelError(f"there is no model {model!r}; perhaps {', '.join(close)}, or auto")
    if strides is not None and not (strides and all(isinstance(stride, int) and stride > 0 for stride in strides)):
        raise ValueError(f"strides are {strides!r}, expected one positive number a stage")
    found = description.describe(shapes, anatomy)
    seen = _graph_strides(found, graph)
    if model != "auto":
        recognition = _forced(model, found, strides, seen)
    elif found.problems:
        recognition = _damaged(found)
    else:
        recognition = _published(found, strides, seen) or _custom(found, strides, seen, graph)
    if found.headless:
        evidence = (*recognition.evidence, "without head: features of the last stage, as a detector's backbone gives")
        recognition = Recognition(recognition.config, evidence)
    return recognition if graph is None else _with_epsilon(recognition, graph)


def best_fit(shapes: Mapping[str, Shape], anatomy: Anatomy) -> str:
    """Say which published network has these names and shapes, or the most blocks in common with them."""
    found = description.describe(shapes, anatomy)
    exact = _same_shapes(found)
    if exact is not None:
        return f"its names and shapes are those of {exact}"
    name, agreement = _nearest(found)
    if agreement < _NEAR:
        return "no published network is near; leave the model to auto to have it described"
    return f"the nearest published network is {name}, with {agreement:.0%} of the blocks"


def _forced(model: str, found: Description, strides: Sequence[int] | None, seen: _Strides | None) -> Recognition:
    """Take the network that was asked for, unless strides contradict it."""
    config = _adapted(model, found)
    own = _strides_of(config)
    if seen is not None and len(seen) == len(own) and seen != own:
        raise UnknownModelError(
            f"{model} was asked for, but the graph has other strides: {_first_difference(seen, own)}"
        )
    if strides is not None and tuple(strides) != _stage_strides(config):
        raise UnknownModelError(f"{model} has strides {_say(_stage_strides(config))}, not {_say(strides)}")
    return Recognition(config, (f"{model} was asked for",))


def _damaged(found: Description) -> Recognition:
    """Take the published network that an incomplete one was probably, so that the rules list what is wrong."""
    name, agreement = _nearest(found)
    if agreement < _NEAR:
        raise UnknownModelError("\n".join(["no EfficientNet can be made out:", *(f"  {p}" for p in found.problems)]))
    return Recognition(_adapted(name, found), (f"{agreement:.0%} of its blocks are those of {name}",))


def _published(found: Description, strides: Sequence[int] | None, seen: _Strides | None) -> Recognition | None:
    """Find the published network of these shapes, None when there is none or the strides are others."""
    name = _same_shapes(found)
    if name is None:
        return None
    config = _adapted(name, found)
    if seen is not None and seen != _strides_of(config):
        return None
    if strides is not None and tuple(strides) != _stage_strides(config):
        return None
    checked = "published strides" if seen is None else "strides in the graph agree"
    return Recognition(config, (f"names and shapes are those of {name}", checked))


def _custom(
    found: Description, strides: Sequence[int] | None, seen: _Strides | None, graph: GraphFacts | None
) -> Recognition:
    """Describe a network of its own from its shapes, with the graph's strides or else the caller's."""
    blocks = [block for block in found.blocks if block is not None]
    stages = description.split_stages(blocks, None if seen is None else seen[1:], found.stages)
    table = "\n".join(f"  stage {number}: {description.say_stage(stage)}" for number, stage in enumerate(stages))
    if seen is not None:
        first_blocks = itertools.accumulate((len(stage) for stage in stages[:-1]), initial=0)
        chosen = tuple(seen[1 + index] for index in first_blocks)
        if strides is not None and tuple(strides) != chosen:
            raise UnknownModelError(
                f"strides {_say(strides)} were given, but the graph beside the checkpoint has {_say(chosen)}; "
                f"leave them out, or move the graph away if it is another network's. The stages are\n{table}"
            )
    elif strides is None:
        why = "there is no saved graph (.meta)" if graph is None else "the graph has not its convolutions"
        example = ",".join(["1", *["2"] * (len(stages) - 1)])
        raise UnknownModelError(
            f"no published EfficientNet has these shapes ({_near_miss(found)}), and its strides are not known: {why}. "
            f"Give one for each stage, for example --strides {example} "
            f"(in Python strides=({example.replace(',', ', ')})). The stages are\n{table}"
        )
    elif len(strides) != len(stages):
        raise UnknownModelError(
            f"{len(strides)} strides were given ({_say(strides)}), but there are {len(stages)} stages:\n{table}"
        )
    else:
        chosen = tuple(strides)
    try:
        config = EfficientNetConfig(
            name=CUSTOM,
            stem_channels=found.stem_channels,
            stem_kernel=found.stem_kernel,
            stem_stride=2 if seen is None else seen[0],
            stages=tuple(map(description.stage_config, stages, chosen)),
            head_channels=found.head_channels,
            num_classes=found.num_classes,
            in_channels=found.in_channels,
        )
    except ValueError as error:
        raise UnknownModelError(f"these shapes make no EfficientNet: {error}. The stages are\n{table}") from error
    where = "strides as given" if seen is None else "strides from the graph"
    return Recognition(config, ("described from names and shapes", where))


def _with_epsilon(recognition: Recognition, graph: GraphFacts) -> Recognition:
    """Take over the batch norms' epsilon when the graph has another than usual; a network has one."""
    found = sorted(set(graph.epsilons.values()))
    if len(found) > 1:
        raise UnknownModelError(f"the graph's batch norms have epsilons {_say(found)}, expected the same for all")
    if not found or found[0] == recognition.config.bn_epsilon:
        return recognition
    config = dataclasses.replace(recognition.config, bn_epsilon=found[0])
    return Recognition(config, (*recognition.evidence, f"batch-norm epsilon {found[0]:g} from the graph"))


def _graph_strides(found: Description, graph: GraphFacts | None) -> _Strides | None:
    """Give the strides of stem and blocks as the graph has them, None unless it has them all."""
    if graph is None or found.problems:
        return None
    strides = [graph.strides.get(name) for name in found.strided]
    return None if None in strides else tuple(stride for stride in strides if stride is not None)


def _adapted(name: str, found: Description) -> EfficientNetConfig:
    """Take a published config with the checkpoint's own class count and input channels."""
    config = CONFIGS[name]
    return dataclasses.replace(
        config,
        num_classes=found.num_classes,
        in_channels=found.in_channels or config.in_channels,
        head_channels=0 if found.headless else config.head_channels,
    )


def _same_shapes(found: Description) -> str | None:
    """Name the published network of these shapes."""
    widths = (found.stem_kernel, found.stem_channels)
    for name, config in CONFIGS.items():
        same = widths == (config.stem_kernel, config.stem_channels)
        same = same and found.head_channels == (0 if found.headless else config.head_channels)
        if same and found.blocks == description.blocks_without_strides(config) and _same_stages(found, config):
            return name
    return None


def _same_stages(found: Description, config: EfficientNetConfig) -> bool:
    """Return whether the names, if they number the stages, have the stages of a config."""
    numbers = found.stages
    return numbers is None or all(
        number - numbers[0] == placed.stage for number, placed in zip(numbers, config.blocks(), strict=True)
    )


def _nearest(found: Description) -> tuple[str, float]:
    """Name the published network with the most blocks in common, and the part of them that is."""
    agreement = {}
    for name, config in CONFIGS.items():
        blocks = description.blocks_without_strides(config)
        same = sum(one == other for one, other in zip(found.blocks, blocks, strict=False))
        agreement[name] = same / max(len(found.blocks), len(blocks))
    best = max(agreement, key=lambda name: agreement[name])
    return best, agreement[best]


def _near_miss(found: Description) -> str:
    """Say which published network is nearest and where it first differs."""
    name, agreement = _nearest(found)
    if agreement < _NEAR:
        return "none is near"
    config = CONFIGS[name]
    blocks = description.blocks_without_strides(config)
    for index, (one, other) in enumerate(zip(found.blocks, blocks, strict=False)):
        if one is not None and one != other:
            there, here = description.say_stage([other]), description.say_stage([one])
            return f"{name} is nearest; its block {index} is {there}, here {here}"
    if len(found.blocks) != len(blocks):
        return f"{name} is nearest; it has {len(blocks)} blocks, here {len(found.blocks)}"
    own = f"{config.stem_kernel}, {config.stem_channels} and {config.head_channels}"
    here = f"{found.stem_kernel}, {found.stem_channels} and {found.head_channels}"
    return f"{name} is nearest; its stem kernel, stem and head channels are {own}, here {here}"


def _strides_of(config: EfficientNetConfig) -> _Strides:
    return (config.stem_stride, *(placed.config.stride for placed in config.blocks()))


def _stage_strides(config: EfficientNetConfig) -> _Strides:
    return tuple(stage.stride for stage in config.stages)


def _first_difference(seen: _Strides, own: _Strides) -> str:
    index = next(index for index, pair in enumerate(zip(seen, own, strict=True)) if pair[0] != pair[1])
    where = "the stem" if index == 0 else f"block {index - 1}"
    return f"{where} has {seen[index]}, expected {own[index]}"


def _say(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
