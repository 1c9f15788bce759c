"""From a file of converted weights, or straight from a TensorFlow checkpoint, to a PyTorch model ready to run.

A `.safetensors` that `tf2torch` wrote says which network it holds.
A `.pth` cannot; its network is recognised from the names and shapes in it.
Whatever a file says is compared with its tensors before a network is built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfckpt.errors import CorruptionError, MissingDependencyError, error_context, printable
from tfckpt.files.json_text import read_json

from ._typing import Array, PathLike
from .conversion import convert
from .errors import ConversionError, MappingError, Mismatch, Missing, UnknownModelError, Unmapped
from .families.averages import WEIGHTS_CHOICES, WeightsChoice
from .families.state_dict import config_from_state_dict
from .formats.files import CONFIG_KEY, PROVENANCE_KEY, TensorFile, is_output, read_native
from .model.config import EfficientNetConfig
from .model.names import native_targets

if TYPE_CHECKING:
    from torch import Tensor

    from .model.efficientnet import EfficientNet


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


def _strides(config: EfficientNetConfig) -> tuple[int, ...]:
    return tuple(stage.stride for stage in config.stages)
