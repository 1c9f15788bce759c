"""Changes of converted weights before they are written: a new classifier, folded batch norms, another dtype.

A change is planned here and computed when its tensor is written, so only a few tensors are in memory at a time.
Names are those of our own module.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfckpt.tensors.casting import FLOATS, cast_floats

from .._typing import Array
from ..errors import ExportError
from ..model.config import EfficientNetConfig
from .output import LazyArray, Writable, materialize

DTYPES = ("float32", "float16", "bfloat16")
_CLASSIFIER = ("classifier.weight", "classifier.bias")
#: For a new classifier: forty times the classes of ImageNet-21k, and 5 GB of weights for the smallest network.
MAX_CLASSES = 1_000_000
#: The seed of a new classifier, so that repeating a command gives the same file.
SEED = 0


def replace_classifier(
    tensors: Mapping[str, Writable], config: EfficientNetConfig, num_classes: int
) -> tuple[dict[str, Writable], EfficientNetConfig, str]:
    """Replace the classifier by a new one, or remove it if `num_classes` is 0; also return a sentence about the change.

    A new one is initialized like the released code: weights uniform within 1 / sqrt(classes), biases 0.
    Raises `ExportError` if the number of classes is out of range, or if the backbone has no head for a classifier.
    """
    if not 0 <= num_classes <= MAX_CLASSES:
        raise ExportError(f"num_classes is {num_classes}, expected from 0 to {MAX_CLASSES}")
    if num_classes and not config.head_channels:
        raise ExportError("this backbone has no head, so it cannot have a classifier")
    kept = {name: tensor for name, tensor in tensors.items() if name not in _CLASSIFIER}
    changed = dataclasses.replace(config, num_classes=num_classes)
    if num_classes == 0:
        return kept, changed, f"classifier of {config.num_classes} classes removed: the network returns pooled features"
    shape = (num_classes, config.head_channels)
    bound = 1.0 / math.sqrt(num_classes)
    kept["classifier.weight"] = LazyArray(shape, np.dtype(np.float32), functools.partial(_draw_weights, shape, bound))
    kept["classifier.bias"] = np.zeros(num_classes, np.float32)
    note = f"to be trained: weights uniform within 1 / sqrt({num_classes}), seed {SEED}, biases 0"
    if config.num_classes == 0:
        return kept, changed, f"classifier of {num_classes} classes added {note}"
    return kept, changed, f"classifier of {config.num_classes} classes replaced by one of {num_classes} {note}"


def fold_batch_norms(
    tensors: Mapping[str, Writable], config: EfficientNetConfig
) -> tuple[dict[str, Writable], EfficientNetConfig, str]:
    """Fold every batch norm into the convolution before it, which gets a bias; also return a sentence about the change.

    With the norm's weight g, bias b, mean m and variance v, the kernel becomes kernel · g / sqrt(v + epsilon), and the
    bias is b - m · g / sqrt(v + epsilon), computed in float64.
    """
    folded: dict[str, Writable] = {}
    count = 0
    for name, tensor in tensors.items():
        layer, is_norm, part = name.rpartition(".bn.")
        if is_norm:
            if part == "bias":
                bias = functools.partial(_fold_bias, _find_norm(tensors, layer), config.bn_epsilon)
                folded[f"{layer}.conv.bias"] = LazyArray(tensor.shape, tensor.dtype, bias)
                count += 1
        elif name.endswith(".conv.weight"):
            layer = name.removesuffix(".conv.weight")
            kernel = functools.partial(_fold_kernel, tensor, _find_norm(tensors, layer), config.bn_epsilon)
            folded[name] = LazyArray(tensor.shape, tensor.dtype, kernel)
        else:
            folded[name] = tensor
    changed = dataclasses.replace(config, folded_bn=True)
    return folded, changed, f"{count} batch norms folded into their convolutions, for inference"


def list_inputs(name: str) -> tuple[str, ...]:
    """Return the names of the tensors that `fold_batch_norms` needs for one of its results."""
    layer = name.rpartition(".conv.")[0]
    if not layer:
        return (name,)
    return (name, *(f"{layer}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")))


def cast_tensors(tensors: Mapping[str, Writable], dtype: str) -> tuple[dict[str, Writable], str]:
    """Cast floating-point tensors to another dtype when they are written; integers do not change."""
    target = _find_dtype(dtype)
    cast: dict[str, Writable] = {}
    for name, tensor in tensors.items():
        if tensor.dtype.name in FLOATS and tensor.dtype != target:
            cast[name] = LazyArray(tensor.shape, target, functools.partial(_cast, tensor, target, name))
        else:
            cast[name] = tensor
    changed = [tensor.dtype for name, tensor in tensors.items() if cast[name] is not tensor]
    verb = "widened" if changed and all(dtype.itemsize < target.itemsize for dtype in changed) else "rounded"
    return cast, f"floating-point tensors {verb} to {target.name}"


def _draw_weights(shape: tuple[int, int], bound: float) -> Array:
    return np.random.default_rng(SEED).uniform(-bound, bound, shape).astype(np.float32)


_Norm = tuple[Writable, Writable, Writable, Writable]


def _find_norm(tensors: Mapping[str, Writable], layer: str) -> _Norm:
    """Return weight, bias, mean and variance of a layer's batch norm."""
    weight, bias, mean, variance = (
        tensors[f"{layer}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return weight, bias, mean, variance


def _compute_scale(norm: _Norm, epsilon: float) -> Array:
    scale: Array = materialize(norm[0]).astype(np.float64) / np.sqrt(materialize(norm[3]).astype(np.float64) + epsilon)
    return scale


def _fold_bias(norm: _Norm, epsilon: float) -> Array:
    bias, mean = materialize(norm[1]), materialize(norm[2])
    folded: Array = (bias.astype(np.float64) - mean * _compute_scale(norm, epsilon)).astype(bias.dtype)
    return folded


def _fold_kernel(kernel: Writable, norm: _Norm, epsilon: float) -> Array:
    array = materialize(kernel)
    scale = _compute_scale(norm, epsilon).reshape(-1, 1, 1, 1)
    # A whole kernel is at most a few MB, so there is no need to scale one output channel at a time.
    folded: Array = (array * scale).astype(array.dtype)
    return folded


def _cast(tensor: Writable, dtype: np.dtype[Any], name: str) -> Array:
    array = materialize(tensor)  # not in the block below, since a damaged file is a ValueError too
    try:
        return cast_floats(array, dtype, name=name)
    except ValueError as error:
        raise ExportError(f"tensor {error}; use bfloat16") from None


def _find_dtype(name: str) -> np.dtype[Any]:
    if name not in DTYPES:
        raise ExportError(f"unknown dtype {name!r}, expected one of {', '.join(DTYPES)}")
    if name == "bfloat16":
        import ml_dtypes

        extension: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return extension
    plain: np.dtype[Any] = np.dtype(name)
    return plain
