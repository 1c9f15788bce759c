"""Loading a PyTorch model from converted weights, or directly from a TensorFlow checkpoint.

A `.safetensors` file written by `tf2torch` describes its network.
A `.pth` file cannot; its network is recognised from names and shapes.
The description is compared with the tensors before the network is built.
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
from .formats.files import PROVENANCE_KEY, TensorFile, is_output, read_native, recorded_config
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
    """Return the network of a file with its weights, in float32 and eval mode; it maps NCHW images to logits.

    `path` is a file or a folder of converted weights, or a TensorFlow checkpoint.
    `weights` is `ema` (the default) or `raw` for a checkpoint; a file of converted weights that records the other
    choice is refused.
    `strides`, one for each stage, are needed if the network is neither published nor described by the file.
    `scope` is needed if a checkpoint holds several networks.
    `head` names a dense layer next to the network that becomes its classifier.
    `num_classes` different from the file's gives a newly initialized classifier; 0 gives pooled features.

    Raises a `ConversionError`, such as a `MappingError` with all findings, or any error of `tfckpt` about the file.
    """
    if weights is not None and weights not in WEIGHTS_CHOICES:
        raise ValueError(f"weights is {weights!r}, expected one of {', '.join(WEIGHTS_CHOICES)}")
    network = _import_network()
    path = os.fspath(path)
    if is_output(path):
        output = read_native(path)
        arrays = output.tensors
        with error_context(path=path):
            config = _read_config(output, path, strides) or config_from_state_dict(arrays, strides=strides)
            _check_weights_choice(output, weights)
            _check_tensors(arrays, config)
            tensors = {name: _to_tensor(name, array) for name, array in arrays.items()}
    else:
        result = convert(path, weights=weights or "ema", strides=strides, scope=scope, head=head)
        config = result.required_config()
        tensors = {name: _to_tensor(name, array) for name, array in result.state_dict.items()}
    model = _build(network, config, tensors)
    if num_classes is not None and num_classes != config.num_classes:
        model.reset_classifier(num_classes)
    return model.eval()


def _import_network() -> type[EfficientNet]:
    """Import the class of the network; raise `MissingDependencyError` without torch."""
    try:
        from .model.efficientnet import EfficientNet
    except ModuleNotFoundError as error:
        raise MissingDependencyError("torch", extra="torch", purpose="building a model") from error
    return EfficientNet


def _build(network: type[EfficientNet], config: EfficientNetConfig, tensors: Mapping[str, Tensor]) -> EfficientNet:
    """Build the network on the given weights."""
    import torch

    with torch.device("meta"):  # no initialization, and no memory for weights that are replaced
        model = network(config)
    model.load_state_dict(tensors, assign=True)
    return model


def _to_tensor(name: str, array: Array) -> Tensor:
    """Copy an array into a tensor of the dtype that the module has for it."""
    import torch

    dtype = np.dtype(np.int64 if name.endswith(".num_batches_tracked") else np.float32)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise CorruptionError(f"dtype {array.dtype.name} cannot be converted to {dtype.name}", tensor=name)
    return torch.from_numpy(np.array(array, dtype, order="C"))


def _read_config(output: TensorFile, path: str, strides: Sequence[int] | None) -> EfficientNetConfig | None:
    """Return the config in a file's metadata, or None; given strides have to agree with it."""
    config = recorded_config(output, path)
    if config is not None and strides is not None and tuple(strides) != _list_strides(config):
        raise UnknownModelError(f"strides {tuple(strides)} do not match those in the file, {_list_strides(config)}")
    return config


def _check_weights_choice(output: TensorFile, weights: WeightsChoice | None) -> None:
    """Raise `ConversionError` if a file records a different choice of weights."""
    if weights is None or PROVENANCE_KEY not in output.metadata:
        return
    try:
        recorded = read_json(output.metadata[PROVENANCE_KEY])["weights"]["choice"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"metadata {PROVENANCE_KEY} is not valid ({error!r})") from error
    if recorded != weights:
        raise ConversionError(
            f"the file has {printable(str(recorded))} weights, not {weights}: convert the checkpoint again"
        )


def _check_tensors(arrays: Mapping[str, Array], config: EfficientNetConfig) -> None:
    """Raise `MappingError` unless names and shapes match the config, before anything of its size is allocated."""
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


def _list_strides(config: EfficientNetConfig) -> tuple[int, ...]:
    return tuple(stage.stride for stage in config.stages)
