"""Recognition of the network in a checkpoint: a published one, or a custom one described from shapes and strides.

Names and shapes decide, because neither the scope nor the name of the file is reliable.
Shapes do not determine strides. They come from the graph saved with the checkpoint if it contains the convolutions of
this network, otherwise from the caller. For the shapes of a published network its published strides are assumed.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..errors import Shape, UnknownModelError
from ..model.architectures import CONFIGS
from ..model.config import Activation, BlockConfig, EfficientNetConfig
from . import description, settings
from .description import Anatomy, Description
from .graph_facts import BlockFunctions, GraphFacts

#: Lowest fraction of equal blocks at which a damaged network counts as a published one; the rules then list the
#: tensors that are missing or different.
_NEAR = 0.5

#: The activation of version 1 and 2.
_USUAL_ACTIVATION: Activation = "silu"

CUSTOM = "custom"

#: Strides of the stem and of each block.
_Strides: TypeAlias = tuple[int, ...]
_Blocks: TypeAlias = tuple[BlockFunctions, ...]


class Recognition(NamedTuple):
    """A config and the evidence for it, one phrase each."""

    config: EfficientNetConfig
    evidence: tuple[str, ...]


def recognize(
    shapes: Mapping[str, Shape],
    anatomy: Anatomy,
    *,
    model: str = "auto",
    strides: Sequence[int] | None = None,
    activation: Activation | None = None,
    epsilon: float | None = None,
    graph: GraphFacts | None = None,
) -> Recognition:
    """Return the config of a network from the shapes of its variables, by name without scope.

    `graph` contains facts about these variables, None if there is no graph.
    `strides`, `activation` and `epsilon` are those that the caller says; a graph has to agree with them.
    `model` selects a published network; the rules check later that the tensors match.
    Raises `UnknownModelError` if the network is neither published nor complete enough to be described.
    """
    if model != "auto" and model not in CONFIGS:
        close = difflib.get_close_matches(model, CONFIGS) or CONFIGS
        raise UnknownModelError(
            f"unknown model {model!r}, expected auto or a published network such as {', '.join(close)}"
        )
    if strides is not None and not (strides and all(isinstance(stride, int) and stride > 0 for stride in strides)):
        raise ValueError(f"strides are {strides!r}, expected one positive number for each stage")
    settings.check_options(activation, epsilon)
    network = description.describe(shapes, anatomy)
    graph_strides = _read_graph_strides(network, graph)
    blocks = None if graph is None else graph.blocks(network.strided[1:], network.blocks)
    defaults = anatomy.defaults if model == "auto" else settings.NO_DEFAULTS
    configured = None if graph is None else graph.configured
    is_said = (activation or defaults.activation or configured) is not None
    if model != "auto":
        recognition = _use_requested(model, network, strides, graph_strides, graph)
    elif network.problems:
        recognition = _use_nearest(network)
    else:
        recognition = _match_published(
            network, strides, graph_strides, graph, blocks, is_said=is_said
        ) or _describe_custom(
            network, strides, graph_strides, graph, blocks, defaults=defaults.strides, is_said=is_said
        )
    if graph is not None:
        recognition = _apply_functions(recognition, network, graph, anatomy, forced=model != "auto")
        recognition = _apply_epsilon(recognition, graph)
    forced = model != "auto"
    setting = settings.apply_activation(
        recognition.config, activation, defaults, graph=graph, in_graph=blocks is not None
    )
    recognition = _apply_setting(recognition, setting, forced=forced)
    setting = settings.apply_epsilon(recognition.config, epsilon, graph=graph)
    recognition = _apply_setting(recognition, setting, forced=forced)
    if graph is not None and graph.padding is not None:
        padding = f"padding {graph.padding}, from {graph.origin}"
        recognition = Recognition(recognition.config, (*recognition.evidence, padding))
    if network.headless:
        evidence = (
            *recognition.evidence,
            "no head: returns the features of the last stage, like a detector's backbone",
        )
        recognition = Recognition(recognition.config, evidence)
    return recognition


def suggest_model(shapes: Mapping[str, Shape], anatomy: Anatomy) -> str:
    """Return a message with the published network that has these names and shapes, or the most equal blocks."""
    network = description.describe(shapes, anatomy)
    exact = _find_same_shapes(network)
    if exact is not None:
        return f"names and shapes match {exact}"
    name, agreement = _find_nearest(network)
    if agreement < _NEAR:
        return "no published network is similar; use the model auto to describe the network from its shapes"
    return f"the most similar published network is {name}, with {agreement:.0%} of the blocks"


def _use_requested(
    model: str,
    network: Description,
    strides: Sequence[int] | None,
    graph_strides: _Strides | None,
    graph: GraphFacts | None,
) -> Recognition:
    """Return the requested network; raise `UnknownModelError` if strides contradict it."""
    config = _adapt(model, network)
    own = _list_strides(config)
    if graph is not None and graph_strides is not None and len(graph_strides) == len(own) and graph_strides != own:
        raise UnknownModelError(
            f"the strides in {graph.origin} are not those of {model}: {_describe_difference(graph_strides, own)}"
        )
    if strides is not None and tuple(strides) != _list_stage_strides(config):
        raise UnknownModelError(f"{model} has strides {_join(_list_stage_strides(config))}, not {_join(strides)}")
    return Recognition(config, (f"requested model: {model}",))


def _use_nearest(network: Description) -> Recognition:
    """Return the published network most similar to an incomplete one, so that the rules list what is wrong."""
    name, agreement = _find_nearest(network)
    if agreement < _NEAR:
        raise UnknownModelError(
            "\n".join(["not a complete EfficientNet:", *(f"  {problem}" for problem in network.problems)])
        )
    return Recognition(_adapt(name, network), (f"{agreement:.0%} of the blocks match {name}",))


def _match_published(
    network: Description,
    strides: Sequence[int] | None,
    graph_strides: _Strides | None,
    graph: GraphFacts | None,
    functions: _Blocks | None,
    *,
    is_said: bool,
) -> Recognition | None:
    """Return the published network with these shapes, strides and stages, or None."""
    name = _find_same_shapes(network)
    if name is None:
        return None
    config = _adapt(name, network)
    if graph_strides is not None and graph_strides != _list_strides(config):
        return None
    if strides is not None and tuple(strides) != _list_stage_strides(config):
        return None
    if functions is not None and not _match_stages(config, functions):
        return None
    checked = ["published strides" if graph_strides is None or graph is None else f"strides in {graph.origin} match"]
    if functions is None and config.activation != _USUAL_ACTIVATION and not is_said:
        checked.append(f"published activation: {config.activation}")
    return Recognition(config, (f"names and shapes match {name}", *checked))


def _describe_custom(
    network: Description,
    strides: Sequence[int] | None,
    graph_strides: _Strides | None,
    graph: GraphFacts | None,
    functions: _Blocks | None,
    *,
    defaults: tuple[int, ...] | None,
    is_said: bool,
) -> Recognition:
    """Return a custom network described from its shapes, with strides from the graph, the caller or its code base.

    `defaults` are the strides of all networks of the code base, and `is_said` is True if the activation is known.
    """
    blocks = [block for block in network.blocks if block is not None]
    known = None if graph_strides is None else graph_strides[1:]
    stages = description.split_stages(blocks, known, network.stages, functions)
    table = "\n".join(f"  stage {number}: {description.format_stage(stage)}" for number, stage in enumerate(stages))
    if graph is not None and graph_strides is not None:
        first_blocks = itertools.accumulate((len(stage) for stage in stages[:-1]), initial=0)
        chosen = tuple(graph_strides[1 + index] for index in first_blocks)
        if strides is not None and tuple(strides) != chosen:
            error = graph.contradict(f"strides are {_join(strides)}", _join(chosen), them="them")
            error.message += f". The stages are\n{table}"
            raise error
    elif strides is None and defaults is not None and len(defaults) == len(stages):
        chosen = defaults
    elif strides is None:
        reason = (
            "there is no saved graph (.meta, or --graph FILE)"
            if graph is None
            else f"{graph.origin} does not contain its convolutions"
        )
        names = ",".join(f"S{number}" for number in range(len(stages)))
        raise UnknownModelError(
            f"no published EfficientNet has these shapes ({_describe_nearest(network)}), and the strides are unknown: "
            f"{reason}. Shapes do not show them, and wrong ones convert to a wrong network: look them up in the code "
            f"that built the network, and pass --strides {names} (in Python strides=({names.replace(',', ', ')})), one "
            f"for each stage. The stages are\n{table}"
        )
    elif len(strides) != len(stages):
        raise UnknownModelError(f"got {len(strides)} strides ({_join(strides)}) for {len(stages)} stages:\n{table}")
    else:
        chosen = tuple(strides)
    try:
        config = EfficientNetConfig(
            name=CUSTOM,
            stem_channels=network.stem_channels,
            stem_kernel=network.stem_kernel,
            stem_stride=2 if graph_strides is None else graph_strides[0],
            stages=tuple(map(description.build_stage, stages, chosen)),
            head_channels=network.head_channels,
            num_classes=network.num_classes,
            in_channels=network.in_channels,
            activation=_assume_activation(blocks),
        )
    except ValueError as error:
        raise UnknownModelError(f"not the shapes of an EfficientNet: {error}. The stages are\n{table}") from error
    source = "of this code" if strides is None else "as specified"
    source = source if graph_strides is None or graph is None else f"from {graph.origin}"
    evidence = ["described from names and shapes", f"strides {source}"]
    if functions is None and not is_said and config.activation != _USUAL_ACTIVATION:
        evidence.append(f"no squeeze-and-excitation: activation {config.activation} is assumed")
    return Recognition(config, tuple(evidence))


def _assume_activation(blocks: Sequence[BlockConfig]) -> Activation:
    """Return the activation of the published networks of this form: those without squeeze-and-excitation differ.

    Lite has only MBConv blocks, and EdgeTPU begins with a fused block that expands, which version 2 does not.
    """
    if any(block.se_channels for block in blocks):
        return _USUAL_ACTIVATION
    if all(block.block == "mbconv" for block in blocks):
        return "relu6"
    return "relu" if blocks[0].block == "fused" and blocks[0].expansion > 1 else _USUAL_ACTIVATION


def _match_stages(config: EfficientNetConfig, functions: _Blocks) -> bool:
    """Return whether the blocks of every stage have one activation, and all or none add their input."""
    placed = list(config.blocks())
    return all(
        len({one.activation for _, one in rows}) == 1
        and len({one.adds_input for block, one in rows if description.may_add_input(block.config)}) <= 1
        for _, rows in (
            (stage, list(rows))
            for stage, rows in itertools.groupby(zip(placed, functions, strict=False), key=lambda row: row[0].stage)
        )
    )


def _apply_functions(
    recognition: Recognition, network: Description, graph: GraphFacts, anatomy: Anatomy, *, forced: bool
) -> Recognition:
    """Take over activations, gates, pooling and residual additions from the graph.

    What a configuration cannot say is left as it is: the account of the graph's operations finds it.
    """
    config = recognition.config
    functions = graph.blocks(network.strided[1:], network.blocks)
    placed = list(config.blocks())
    if functions is None or len(functions) != len(placed):
        return recognition
    activation = graph.activation(anatomy.stem) or config.activation
    stages = []
    for number, stage in enumerate(config.stages):
        rows = [(block.config, one) for block, one in zip(placed, functions, strict=True) if block.stage == number]
        own = rows[0][1].activation or activation
        adds = {one.adds_input for block, one in rows if description.may_add_input(block)}
        stages.append(
            dataclasses.replace(
                stage,
                activation=None if own == activation else own,
                residual=adds != {False} if adds else stage.residual,
            )
        )
    gated = [one for one in functions if one.gate is not None]
    gate = gated[0].gate if gated and gated[0].gate else config.gate
    inner = {one.gate_activation or one.activation or activation for one in gated}
    same = all((one.gate_activation or activation) == (one.activation or activation) for one in gated)
    changed = dataclasses.replace(
        config,
        activation=activation,
        stages=tuple(stages),
        gate=gate,
        gate_activation=None if same or len(inner) != 1 else inner.pop(),
        pooling=graph.pooling or config.pooling,
    )
    if config.name == CUSTOM:  # an activation that was assumed from the shapes is known now
        config = dataclasses.replace(config, activation=_USUAL_ACTIVATION)
    if changed == config:
        return Recognition(changed, recognition.evidence)
    differences = "; ".join(_list_differences(config, changed))
    if forced:
        raise UnknownModelError(f"{config.name} was asked for, but the graph computes another network: {differences}")
    if config.name == CUSTOM:
        return Recognition(changed, (*recognition.evidence, f"from the graph: {differences}"))
    evidence = (f"names and shapes are those of {config.name}, but the graph computes another network", differences)
    return Recognition(dataclasses.replace(changed, name=CUSTOM), evidence)


def _apply_setting(recognition: Recognition, setting: settings.Setting, *, forced: bool) -> Recognition:
    """Take over a setting; a published network that gets another one is not this network any more."""
    config, evidence = recognition
    changed = setting.config
    if changed == config or config.name == CUSTOM:
        return Recognition(changed, (*evidence, *setting.evidence))
    said = "; ".join(setting.evidence)
    if forced:
        raise UnknownModelError(f"{config.name} was asked for, which has other settings: {said}")
    first = f"names and shapes are those of {config.name}, but not its settings"
    return Recognition(dataclasses.replace(changed, name=CUSTOM), (first, *setting.evidence))


def _list_differences(config: EfficientNetConfig, changed: EfficientNetConfig) -> list[str]:
    """Say what the graph changed in a configuration."""
    says = [
        f"{name.replace('_', ' ')} {getattr(changed, name)}"
        for name in ("activation", "gate", "gate_activation", "pooling")
        if getattr(config, name) != getattr(changed, name)
    ]
    for number, (old, new) in enumerate(zip(config.stages, changed.stages, strict=True)):
        if old.activation != new.activation:
            says.append(f"stage {number} has activation {new.activation or changed.activation}")
        if old.residual != new.residual:
            says.append(f"stage {number} {'adds' if new.residual else 'does not add'} inputs to outputs")
    return says


def _apply_epsilon(recognition: Recognition, graph: GraphFacts) -> Recognition:
    """Return the recognition with the graph's epsilon if it is not the default; it must be the same everywhere."""
    epsilons = sorted(set(graph.epsilons.values()))
    if len(epsilons) > 1:
        raise UnknownModelError(f"the batch norms in {graph.origin} have different epsilons: {_join(epsilons)}")
    if not epsilons or epsilons[0] == recognition.config.bn_epsilon:
        return recognition
    config = dataclasses.replace(recognition.config, bn_epsilon=epsilons[0])
    return Recognition(config, (*recognition.evidence, f"batch-norm epsilon {epsilons[0]:g} from {graph.origin}"))


def _read_graph_strides(network: Description, graph: GraphFacts | None) -> _Strides | None:
    """Return the strides of stem and blocks in the graph, None if any is missing."""
    if graph is None or network.problems:
        return None
    strides = [graph.strides.get(name) for name in network.strided]
    return None if None in strides else tuple(stride for stride in strides if stride is not None)


def _adapt(name: str, network: Description) -> EfficientNetConfig:
    """Return a published config with the class count and input channels of the checkpoint."""
    config = CONFIGS[name]
    return dataclasses.replace(
        config,
        num_classes=network.num_classes,
        in_channels=network.in_channels or config.in_channels,
        head_channels=0 if network.headless else config.head_channels,
    )


def _find_same_shapes(network: Description) -> str | None:
    """Return the name of the published network with these shapes, or None."""
    widths = (network.stem_kernel, network.stem_channels)
    for name, config in CONFIGS.items():
        same = widths == (config.stem_kernel, config.stem_channels)
        same = same and network.head_channels == (0 if network.headless else config.head_channels)
        if (
            same
            and network.blocks == description.list_blocks_as_described(config)
            and _has_same_stages(network, config)
        ):
            return name
    return None


def _has_same_stages(network: Description, config: EfficientNetConfig) -> bool:
    """Return whether stages match those of a config; True if names do not contain stages."""
    numbers = network.stages
    return numbers is None or all(
        number - numbers[0] == block.stage for number, block in zip(numbers, config.blocks(), strict=True)
    )


def _find_nearest(network: Description) -> tuple[str, float]:
    """Return the published network with the most equal blocks, and their fraction."""
    agreement = {}
    for name, config in CONFIGS.items():
        blocks = description.list_blocks_as_described(config)
        same = sum(one == other for one, other in zip(network.blocks, blocks, strict=False))
        agreement[name] = same / max(len(network.blocks), len(blocks))
    best = max(agreement, key=lambda name: agreement[name])
    return best, agreement[best]


def _describe_nearest(network: Description) -> str:
    """Return a message with the most similar published network and the first difference from it."""
    name, agreement = _find_nearest(network)
    if agreement < _NEAR:
        return "none is similar"
    config = CONFIGS[name]
    blocks = description.list_blocks_as_described(config)
    for index, (one, other) in enumerate(zip(network.blocks, blocks, strict=False)):
        if one is not None and one != other:
            published, stored = description.format_stage([other]), description.format_stage([one])
            return f"most similar: {name}, whose block {index} is {published}, not {stored}"
    if len(network.blocks) != len(blocks):
        return f"most similar: {name}, which has {len(blocks)} blocks, not {len(network.blocks)}"
    published = f"{config.stem_kernel}, {config.stem_channels} and {config.head_channels}"
    stored = f"{network.stem_kernel}, {network.stem_channels} and {network.head_channels}"
    return f"most similar: {name}, whose stem kernel, stem and head channels are {published}, not {stored}"


def _list_strides(config: EfficientNetConfig) -> _Strides:
    return (config.stem_stride, *(block.config.stride for block in config.blocks()))


def _list_stage_strides(config: EfficientNetConfig) -> _Strides:
    return tuple(stage.stride for stage in config.stages)


def _describe_difference(graph_strides: _Strides, own: _Strides) -> str:
    index = next(index for index, pair in enumerate(zip(graph_strides, own, strict=True)) if pair[0] != pair[1])
    where = "the stem" if index == 0 else f"block {index - 1}"
    return f"{where} has {graph_strides[index]}, expected {own[index]}"


def _join(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
