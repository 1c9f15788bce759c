"""What can be done to converted weights before they are written: another classifier, folded batch norms, a dtype.

Everything is planned here and computed when a tensor's turn to be written comes, so that memory stays at a few tensors.
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
from .output import Pending, Writable, made

DTYPES = ("float32", "float16", "bfloat16")
_CLASSIFIER = ("classifier.weight", "classifier.bias")
#: Of a new classifier: forty times the classes of ImageNet-21k, and 5 GB of weights on the smallest network.
MAX_CLASSES = 1_000_000
#: A new classifier is drawn from NumPy's default generator with this seed, so that a command repeats its file.
SEED = 0


def with_classes(
    tensors: Mapping[str, Writable], config: EfficientNetConfig, num_classes: int
) -> tuple[dict[str, Writable], EfficientNetConfig, str]:
    """Put a new classifier of so many classes in the place of the old one, 0 for none; and say so.

    A new one is drawn as the released code draws it: weights uniform within 1 / sqrt(classes), biases 0.
    Raises `ExportError` for a number that no classifier has, and for a backbone without the head it would stand on.
    """
    if not 0 <= num_classes <= MAX_CLASSES:
        raise ExportError(f"a classifier of {num_classes} classes was asked for, expected from 0 to {MAX_CLASSES}")
    if num_classes and not config.head_channels:
        raise ExportError("a classifier was asked for, but this backbone has no head for it to stand on")
    kept = {name: tensor for name, tensor in tensors.items() if name not in _CLASSIFIER}
    changed = dataclasses.replace(config, num_classes=num_classes)
    if num_classes == 0:
        return kept, changed, f"classifier of {config.num_classes} classes dropped: the network gives pooled features"
    shape = (num_classes, config.head_channels)
    bound = 1.0 / math.sqrt(num_classes)
    kept["classifier.weight"] = Pending(shape, np.dtype(np.float32), functools.partial(_drawn, shape, bound))
    kept["classifier.bias"] = np.zeros(num_classes, np.float32)
    drawn = f"to be trained: weights uniform within 1 / sqrt({num_classes}), seed {SEED}, biases 0"
    if config.num_classes == 0:
        return kept, changed, f"classifier of {num_classes} classes added {drawn}"
    return kept, changed, f"classifier of {config.num_classes} classes replaced by one of {num_classes} {drawn}"


def with_folded_norms(
    tensors: Mapping[str, Writable], config: EfficientNetConfig
) -> tuple[dict[str, Writable], EfficientNetConfig, str]:
    """Fold every batch norm into the convolution before it, which gets a bias; computed in float64.

    With g, b, m, v the norm's weight, bias, mean and variance: kernel · g / sqrt(v + epsilon), b - m · g / sqrt(...).
    """
    folded: dict[str, Writable] = {}
    count = 0
    for name, tensor in tensors.items():
        layer, found, part = name.rpartition(".bn.")
        if found:
            if part == "bias":
                bias = functools.partial(_folded_bias, _norm(tensors, layer), config.bn_epsilon)
                folded[f"{layer}.conv.bias"] = Pending(tensor.shape, tensor.dtype, bias)
                count += 1
        elif name.endswith(".conv.weight"):
            layer = name.removesuffix(".conv.weight")
            kernel = functools.partial(_folded_kernel, tensor, _norm(tensors, layer), config.bn_epsilon)
            folded[name] = Pending(tensor.shape, tensor.dtype, kernel)
        else:
            folded[name] = tensor
    changed = dataclasses.replace(config, folded_bn=True)
    return folded, changed, f"{count} batch norms folded into their convolutions, for inference"


def with_dtype(tensors: Mapping[str, Writable], dtype: str) -> tuple[dict[str, Writable], str]:
    """Round floating-point tensors to another dtype when they are written; whole numbers stay as they are."""
    wanted = _dtype(dtype)
    cast: dict[str, Writable] = {}
    for name, tensor in tensors.items():
        if tensor.dtype.name in FLOATS and tensor.dtype != wanted:
            cast[name] = Pending(tensor.shape, wanted, functools.partial(_cast, tensor, wanted, name))
        else:
            cast[name] = tensor
    return cast, f"floating-point tensors rounded to {dtype}"


def _drawn(shape: tuple[int, int], bound: float) -> Array:
    return np.random.default_rng(SEED).uniform(-bound, bound, shape).astype(np.float32)


_Norm = tuple[Writable, Writable, Writable, Writable]


def _norm(tensors: Mapping[str, Writable], layer: str) -> _Norm:
    """Weight, bias, mean and variance of a layer's batch norm."""
    weight, bias, mean, variance = (
        tensors[f"{layer}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return weight, bias, mean, variance


def _scale(norm: _Norm, epsilon: float) -> Array:
    scale: Array = made(norm[0]).astype(np.float64) / np.sqrt(made(norm[3]).astype(np.float64) + epsilon)
    return scale


def _folded_bias(norm: _Norm, epsilon: float) -> Array:
    bias, mean = made(norm[1]), made(norm[2])
    folded: Array = (bias.astype(np.float64) - mean * _scale(norm, epsilon)).astype(bias.dtype)
    return folded


def _folded_kernel(kernel: Writable, norm: _Norm, epsilon: float) -> Array:
    array = made(kernel)
    scale = _scale(norm, epsilon).reshape(-1, 1, 1, 1)
    # One output channel at a time would spare memory; a whole kernel is at most a few MB.
    folded: Array = (array * scale).astype(array.dtype)
    return folded


def _cast(tensor: Writable, dtype: np.dtype[Any], name: str) -> Array:
    array = made(tensor)  # outside, since a damaged file is a ValueError too
    try:
        return cast_floats(array, dtype, name=name)
    except ValueError as error:
        raise ExportError(f"tensor {error}; use bfloat16") from None


def _dtype(name: str) -> np.dtype[Any]:
    if name not in DTYPES:
        raise ExportError(f"dtype {name!r} is none that is written, expected one of {', '.join(DTYPES)}")
    if name == "bfloat16":
        import ml_dtypes

        extension: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return extension
    plain: np.dtype[Any] = np.dtype(name)
    return plain
