"""From a file of converted weights, or straight from a TensorFlow checkpoint, to a PyTorch model ready to run.

A `.safetensors` that `tf2torch` wrote says which network it holds.
A `.pth` cannot; its network is recognised from the names and shapes in it.
Whatever a file says is compared with its tensors before a network is built.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfckpt.errors import CorruptionError, MissingDependencyError, error_context, printable

from ._typing import Array, HasShape, PathLike
from .bounded_json import read_json
from .conversion import convert
from .errors import ConversionError, MappingError, Mismatch, Missing, Shape, UnknownModelError, Unmapped
from .exporters import CONFIG_KEY, PROVENANCE_KEY, TensorFile, is_output, read_native
from .mapping.averages import WEIGHTS_CHOICES, WeightsChoice
from .mapping.describe import say_stage, stage_config
from .mapping.native import native_targets
from .model.config import CONFIGS, BlockConfig, EfficientNetConfig

if TYPE_CHECKING:
    from torch import Tensor

    from .model.efficientnet import EfficientNet

_BLOCK_KERNEL = re.compile(
    r"stages\.([0-9]{1,4})\.([0-9]{1,4})\.(expand|depthwise|project|se\.reduce)(?:\.conv)?\.weight"
)


def load_model(
    path: PathLike,
    *,
    weights: WeightsChoice | None = None,
    strides: Sequence[int] | None = None,
    scope: str | None = None,
    head: str | None = None,
    num_classes: int | None = None,
) -> EfficientNet:
    """Build the network a file holds, with its weights in float32 and in eval mode: NCHW in, logits out.

    `path` is a file or a folder of converted weights, or a TensorFlow checkpoint.
    `weights` is `ema` (the default) or `raw` for a checkpoint; converted weights have had their choice made, and a file
    that says it was made otherwise is refused.
    `strides`, one for each stage, are needed for a network that is neither published nor described by the file.
    `scope` is needed when several networks share a checkpoint, and `head` names a dense layer beside the network that
    is its classifier.
    `num_classes` other than the file's gives a freshly drawn classifier, 0 gives pooled features.

    Raises a `ConversionError`, where it is a `MappingError` with all findings, or what `tfckpt` raises about the file.
    """
    if weights is not None and weights not in WEIGHTS_CHOICES:
        raise ValueError(f"weights is {weights!r}, expected one of {', '.join(WEIGHTS_CHOICES)}")
    network = _network_class()
    path = os.fspath(path)
    if is_output(path):
        found = read_native(path)
        arrays = found.tensors
        with error_context(path=path):
            config = _recorded_config(found, strides) or config_from_state_dict(arrays, strides=strides)
            _check_weights_choice(found, weights)
            _check_fit(arrays, config)
            tensors = {name: _tensor(name, array) for name, array in arrays.items()}
    else:
        result = convert(path, weights=weights or "ema", strides=strides, scope=scope, head=head)
        config = result.required_config()
        tensors = {name: _tensor(name, array) for name, array in result.state_dict.items()}
    model = _build(network, config, tensors)
    if num_classes is not None and num_classes != config.num_classes:
        model.reset_classifier(num_classes)
    return model.eval()


def config_from_state_dict(
    state_dict: Mapping[str, HasShape], *, strides: Sequence[int] | None = None
) -> EfficientNetConfig:
    """Find the config of a state dict with our target names, from its names and shapes.

    A published network is recognised whatever its class count.
    Any other needs `strides`, one for each stage, which shapes do not tell.
    Raises `UnknownModelError` when there is no such network in it.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict.items()}
    stem = _kernel(shapes, "stem.conv.weight")
    headless = not any(name.startswith("head.") for name in shapes)
    head = (0,) if headless else _kernel(shapes, "head.conv.weight")
    stages = _stages(shapes)
    classifier = shapes.get("classifier.weight", (0,))
    table = "\n".join(f"  stage {number}: {say_stage(stage)}" for number, stage in enumerate(stages))
    if strides is not None and len(strides) != len(stages):
        raise UnknownModelError(f"{len(strides)} strides were given, but there are {len(stages)} stages:\n{table}")
    try:
        config = EfficientNetConfig(
            name="custom",
            stem_channels=stem[0],
            stem_kernel=stem[2],
            stages=tuple(map(stage_config, stages, strides or [1] * len(stages))),
            head_channels=head[0],
            num_classes=classifier[0] if classifier else 0,
            in_channels=stem[1],
            folded_bn="stem.conv.bias" in shapes,
        )
    except ValueError as error:
        raise UnknownModelError(f"these shapes make no EfficientNet: {error}. The stages are\n{table}") from error
    for published in CONFIGS.values():
        known = dataclasses.replace(
            published,
            num_classes=config.num_classes,
            in_channels=config.in_channels,
            head_channels=0 if headless else published.head_channels,
        )
        if _without_strides(known) == _without_strides(config) and (
            strides is None or _strides(known) == _strides(config)
        ):
            return known
    if strides is None:
        raise UnknownModelError(
            "no published EfficientNet has these shapes, and shapes do not tell strides: give one for each stage, "
            f"for example strides={(1, *[2] * (len(stages) - 1))}. The stages are\n{table}"
        )
    return config


def _network_class() -> type[EfficientNet]:
    """Import the PyTorch module."""
    try:
        from .model.efficientnet import EfficientNet
    except ModuleNotFoundError as error:
        raise MissingDependencyError("torch", extra="torch", purpose="building a model") from error
    return EfficientNet


def _build(network: type[EfficientNet], config: EfficientNetConfig, tensors: Mapping[str, Tensor]) -> EfficientNet:
    """Make the network around its weights: nothing is drawn, and no memory is taken twice."""
    import torch

    with torch.device("meta"):
        model = network(config)
    model.load_state_dict(tensors, assign=True)
    return model


def _tensor(name: str, array: Array) -> Tensor:
    """Copy an array into a tensor of the dtype the module has for it."""
    import torch

    dtype = np.dtype(np.int64 if name.endswith(".num_batches_tracked") else np.float32)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise CorruptionError(f"dtype {array.dtype.name}, which does not become {dtype.name}", tensor=name)
    return torch.from_numpy(np.array(array, dtype, order="C"))


def _recorded_config(found: TensorFile, strides: Sequence[int] | None) -> EfficientNetConfig | None:
    """Read the config from a file's metadata, None when it has none; strides given beside it have to agree."""
    if CONFIG_KEY not in found.metadata:
        return None
    try:
        config = EfficientNetConfig.from_dict(read_json(found.metadata[CONFIG_KEY]))
    except ValueError as error:
        raise CorruptionError(f"metadata {CONFIG_KEY} is no config ({error})") from error
    if strides is not None and tuple(strides) != _strides(config):
        raise UnknownModelError(f"strides {tuple(strides)} were given, but the file says {_strides(config)}")
    return config


def _check_weights_choice(found: TensorFile, weights: WeightsChoice | None) -> None:
    """Refuse a file that says it was made of the other weights than those asked for."""
    if weights is None or PROVENANCE_KEY not in found.metadata:
        return
    try:
        made_of = read_json(found.metadata[PROVENANCE_KEY])["weights"]["choice"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"metadata {PROVENANCE_KEY} cannot be understood ({error!r})") from error
    if made_of != weights:
        raise ConversionError(
            f"the file was made of {printable(str(made_of))} weights, not {weights}: convert the checkpoint again"
        )


def _check_fit(arrays: Mapping[str, Array], config: EfficientNetConfig) -> None:
    """Require the names and shapes the config's network has, before anything of that size is made."""
    block_count = sum(stage.repeats for stage in config.stages)
    if block_count > len(arrays):
        raise CorruptionError(f"config of {block_count} blocks, but the file has {len(arrays)} tensors")
    targets = native_targets(config)
    shapes = {name: array.shape for name, array in arrays.items()}
    unmapped = [Unmapped(name, shape) for name, shape in shapes.items() if name not in targets]
    missing = [Missing(name, shape) for name, shape in targets.items() if name not in shapes]
    mismatched = [
        Mismatch(name, shapes[name], "identity", name, shapes[name], expected)
        for name, expected in targets.items()
        if name in shapes and shapes[name] != expected
    ]
    if unmapped or missing or mismatched:
        raise MappingError(unmapped=unmapped, missing=missing, mismatched=mismatched)


def _stages(shapes: Mapping[str, Shape]) -> list[list[BlockConfig]]:
    """Read every block, stage by stage."""
    parts: dict[tuple[int, int], dict[str, Shape]] = {}
    for name in shapes:
        match = _BLOCK_KERNEL.fullmatch(name)
        if match:
            place = int(match[1]), int(match[2])
            parts.setdefault(place, {})[match[3]] = _kernel(shapes, name)
    stages: list[list[BlockConfig]] = []
    for stage, position in sorted(parts):
        if position == 0:
            stages.append([])
        if (stage, position) != (len(stages) - 1, len(stages[-1]) if stages else 0):
            raise UnknownModelError(f"a block before stages.{stage}.{position} is missing")
        stages[-1].append(_block(parts[stage, position], f"stages.{stage}.{position}"))
    if not stages:
        raise UnknownModelError("there is no stages.0.0, the first block")
    return stages


def _block(kernels: Mapping[str, Shape], where: str) -> BlockConfig:
    """Read one block from its convolutions, OIHW; its stride is not known and set to 1."""
    project, expand, depthwise = (kernels.get(part) for part in ("project", "expand", "depthwise"))
    if project is None:
        raise UnknownModelError(f"{where} has no project.conv.weight")
    in_channels = expand[1] if expand else depthwise[0] if depthwise else project[1]
    expansion, rest = divmod(project[1], in_channels)
    if rest or (expansion > 1) != (expand is not None):
        raise UnknownModelError(f"{where} expands {in_channels} channels to {project[1]}, expected a multiple of them")
    return BlockConfig(
        block="fused" if depthwise is None else "mbconv",
        kernel=(depthwise or expand or project)[2],
        stride=1,
        expansion=expansion,
        in_channels=in_channels,
        out_channels=project[0],
        se_channels=kernels["se.reduce"][0] if "se.reduce" in kernels else 0,
    )


def _kernel(shapes: Mapping[str, Shape], name: str) -> Shape:
    """Give a square kernel's shape."""
    if name not in shapes:
        raise UnknownModelError(f"there is no {name}: these are not the names of converted weights")
    shape = shapes[name]
    if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
        raise UnknownModelError(f"{name} is {list(shape)}, expected a square kernel of 4 axes")
    return shape


def _without_strides(config: EfficientNetConfig) -> tuple[object, ...]:
    """Give all of a config that shapes tell, without the class count and the input channels."""
    stages = tuple(dataclasses.replace(stage, stride=1) for stage in config.stages)
    return config.stem_channels, config.stem_kernel, stages, config.head_channels


def _strides(config: EfficientNetConfig) -> tuple[int, ...]:
    return tuple(stage.stride for stage in config.stages)
