"""Loading a PyTorch model from converted weights, or directly from a TensorFlow checkpoint.

A `.safetensors` file written by `tf2torch` describes its network.
A `.pth` file cannot; its network is recognised from names and shapes.
The description is compared with the tensors before the network is built.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import tfckpt
from tfckpt.errors import CorruptionError, MissingDependencyError, error_context, printable
from tfckpt.files.json_text import read_json

from ._typing import Array, PathLike
from .conversion import ConversionOptions, ConversionResult, convert_to_views
from .errors import ConversionError, MappingError, Mismatch, Missing, UnknownModelError, Unmapped
from .families.averages import WEIGHTS_CHOICES, WeightsChoice
from .families.state_dict import config_from_state_dict
from .formats.files import (
    NETWORK_KEY,
    PROVENANCE_KEY,
    TARGET_KEY,
    NetworkFile,
    is_output,
    name_natively,
    read_network,
    recorded_config,
)
from .libraries.origin import describe_origin
from .libraries.recognition import identify_library
from .mapping.modules import find_shared
from .model.config import Activation, EfficientNetConfig
from .model.names import native_targets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .model.efficientnet import EfficientNet


def load_model(
    source: PathLike | tfckpt.Checkpoint | ConversionResult,
    *,
    weights: WeightsChoice | None = None,
    strides: Sequence[int] | None = None,
    activation: Activation | None = None,
    epsilon: float | None = None,
    scope: str | None = None,
    head: str | None = None,
    num_classes: int | None = None,
    key: str | None = None,
    talk: Callable[[str], None] | None = None,
) -> EfficientNet:
    """Return a network with its weights, in float32 and eval mode; it maps NCHW images to logits.

    `source` is a file or a folder of PyTorch weights, a TensorFlow checkpoint as a path or open, or the result of
    `convert`, for which only `num_classes` can be given.
    `weights` is `ema` (the default) or `raw` for a checkpoint; a file of converted weights that records the other
    choice is refused.
    `strides`, one for each stage, are needed if the network is neither published nor described by the file.
    `activation` and `epsilon` are those of a checkpoint without a graph, as for `convert`.
    `scope` is needed if a checkpoint holds several networks.
    `head` names a dense layer next to the network that becomes its classifier.
    `num_classes` different from the file's gives a newly initialized classifier; 0 gives pooled features.
    `key` chooses one of several state dicts in a file of a training program, such as `state_dict_ema`, as in `revert`.
    `talk` is called with sentences on what was taken from such a file, and on what is assumed about its model.

    Raises a `ConversionError`, such as a `MappingError` with all findings, or any error of `tfckpt` about the file.
    """
    if weights is not None and weights not in WEIGHTS_CHOICES:
        raise ValueError(f"weights is {weights!r}, expected one of {', '.join(WEIGHTS_CHOICES)}")
    network = _import_network()
    if isinstance(source, ConversionResult):
        if any(option is not None for option in (weights, strides, activation, epsilon, scope, head, key)):
            options = "weights, strides, activation, epsilon, scope, head and key"
            raise ValueError(f"{options} belong to the conversion, which is done")
        config, tensors = _from_result(source)
    elif not isinstance(source, tfckpt.Checkpoint) and is_output(source):
        if activation is not None or epsilon is not None:
            raise ValueError("activation and epsilon are those of a checkpoint, not of PyTorch weights")
        path = os.fspath(source)
        output = read_network(path, key)
        arrays = name_natively(output, path)
        with error_context(path=path):
            config = _read_config(output, path, strides) or config_from_state_dict(arrays, strides=strides)
            _check_weights_choice(output, weights)
            check_tensors(arrays, config)
            tensors = {name: _to_tensor(name, array) for name, array in arrays.items()}
        for note in _list_notes(output, config):
            if talk is not None:
                talk(note)
    else:
        if key is not None:
            raise ValueError("key chooses weights in a file of a training program, not in a checkpoint of TensorFlow")
        result = convert_to_views(
            source,
            ConversionOptions(
                weights=weights or "ema",
                strides=strides,
                activation=activation,
                epsilon=epsilon,
                scope=scope,
                head=head,
            ),
        )
        config, tensors = _from_result(result)
    model = _build(network, config, tensors)
    if num_classes is not None and num_classes != config.num_classes:
        model.reset_classifier(num_classes)
    return model.eval()


def load_network(source: PathLike | ConversionResult) -> nn.Module:
    """Return the module of a converted network of any ready family, with its weights, in eval mode.

    `source` is a file or a folder that `tf2torch convert` wrote, or the result of `convert`.
    The module is our own for ResNet, Inception and EfficientNet, and that of transformers for the others.

    Raises `ConversionError` if the source does not record its network, as for conversions by rules,
    `MissingDependencyError` if a library is not installed, or any error of `tfckpt` about the file.
    """
    if isinstance(source, ConversionResult):
        if source.config is not None:
            return load_model(source)
        if source.network is None:
            raise ConversionError(
                f"{printable(source.report.network)} was converted by rules: build its module yourself"
            )
        config = source.network.build_config("float32")
        return fill_network(source.network.title, config, source.state_dict)
    output = read_network(source)
    if NETWORK_KEY not in output.metadata:
        return load_model(source)
    try:
        record = read_json(output.metadata[NETWORK_KEY])
        model, config = str(record["model"]), dict(record["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"metadata {NETWORK_KEY} is not valid ({error!r})", path=os.fspath(source)) from error
    return fill_network(model, config, output.tensors)


def fill_network(model: str, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> nn.Module:
    """Return the module of a ready network with these weights, in eval mode; tied names may be left out.

    Raises `ConversionError` if the weights are not those of the module.
    """
    from .networks.modules import build_module

    module = build_module(model, config)
    state = module.state_dict()
    tensors = {name: _to_tensor(name, array) for name, array in arrays.items()}
    unmapped = [Unmapped(name, tuple(tensor.shape)) for name, tensor in tensors.items() if name not in state]
    mismatched = [
        Mismatch(name, tuple(tensor.shape), "identity", name, tuple(tensor.shape), tuple(state[name].shape))
        for name, tensor in tensors.items()
        if name in state and tensor.shape != state[name].shape
    ]
    tied = {name for names in find_shared(module) for name in names if not tensors.keys().isdisjoint(names)}
    missing = [Missing(name, tuple(state[name].shape)) for name in state if name not in tensors and name not in tied]
    if unmapped or mismatched or missing:
        raise MappingError(unmapped=unmapped, missing=missing, mismatched=mismatched)
    _untie(module, tensors)
    module.load_state_dict(tensors, strict=False)
    loaded = module.state_dict()
    overwritten = [name for name, tensor in tensors.items() if not loaded[name].equal(tensor)]
    if overwritten:
        names = ", ".join(map(printable, overwritten))
        raise ConversionError(f"the module ties tensors that differ in the weights: {names}")
    return module


def _untie(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give names of one tensor of a module tensors of their own, if the weights have different values for them.

    transformers 5 builds every T5 with its embedding as the output layer, which T5 1.1 and mT5 do not share.
    """
    from torch import nn

    for first, *others in find_shared(module):
        for name in others:
            if name in tensors and first in tensors and not tensors[name].equal(tensors[first]):
                owner, _, attribute = name.rpartition(".")
                setattr(module.get_submodule(owner), attribute, nn.Parameter(tensors[name].clone()))


def _from_result(result: ConversionResult) -> tuple[EfficientNetConfig, dict[str, Tensor]]:
    return result.required_config(), {name: _to_tensor(name, array) for name, array in result.state_dict.items()}


def _list_notes(output: NetworkFile, config: EfficientNetConfig) -> list[str]:
    """Return what was taken from a file, and what its model may compute differently from the one that is built."""
    origin = None
    if TARGET_KEY not in output.metadata:
        origin = describe_origin(identify_library(output.tensors), config, output.architecture)
    return [*output.notes, *([origin.sentence] if origin is not None else [])]


def build_model(config: EfficientNetConfig, arrays: Mapping[str, Array]) -> EfficientNet:
    """Return the network of a config with these weights, in float32 and eval mode.

    Raises `MappingError` if names or shapes do not match the config.
    """
    network = _import_network()
    check_tensors(arrays, config)
    return _build(network, config, {name: _to_tensor(name, array) for name, array in arrays.items()}).eval()


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


def _read_config(output: NetworkFile, path: str, strides: Sequence[int] | None) -> EfficientNetConfig | None:
    """Return the config in a file's metadata, or None; given strides have to agree with it."""
    config = recorded_config(output, path)
    if config is not None and strides is not None and tuple(strides) != _list_strides(config):
        raise UnknownModelError(f"strides {tuple(strides)} do not match those in the file, {_list_strides(config)}")
    return config


def _check_weights_choice(output: NetworkFile, weights: WeightsChoice | None) -> None:
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


def check_tensors(arrays: Mapping[str, Array], config: EfficientNetConfig) -> None:
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
