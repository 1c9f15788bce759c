"""Checkpoints of complete networks as dictionaries of arrays, with names and shapes of the released TensorFlow code.

Each tensor is filled with its own number, in an array with stride 0, so any network fits in memory and swapped tensors
of equal shape are noticed.
The names are repeated here from the released code, independently of the package's rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from converter.model.architectures import CONFIGS
from converter.model.config import BlockConfig, EfficientNetConfig

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

AVERAGE = "/ExponentialMovingAverage"
#: The difference between the number of an average and of its raw value.
AVERAGE_OFFSET = 100_000


class Variable(NamedTuple):
    """The name of a variable without scope and its shape, and both of its PyTorch target."""

    name: str
    shape: tuple[int, ...]
    target: str
    target_shape: tuple[int, ...]


def variables(config: EfficientNetConfig, *, dense: str = "head/dense") -> Iterator[Variable]:
    """Yield every variable of a network in the order in which the released code creates them."""
    yield _conv("stem/conv2d", "stem", config.stem_kernel, config.in_channels, config.stem_channels)
    yield from _norm("stem/tpu_batch_normalization", "stem", config.stem_channels)
    for block in config.blocks():
        yield from _block(f"blocks_{block.flat_index}", f"stages.{block.stage}.{block.position}", block.config)
    yield _conv("head/conv2d", "head", 1, config.stages[-1].out_channels, config.head_channels)
    yield from _norm("head/tpu_batch_normalization", "head", config.head_channels)
    if config.num_classes:
        wide, classes = config.head_channels, config.num_classes
        yield Variable(f"{dense}/kernel", (wide, classes), "classifier.weight", (classes, wide))
        yield Variable(f"{dense}/bias", (classes,), "classifier.bias", (classes,))


def arrays(
    config: EfficientNetConfig | str, *, scope: str = "net/", averages: bool = True, dense: str = "head/dense"
) -> Arrays:
    """Return the tensors of a checkpoint, including `global_step`; the nth variable is filled with the number n."""
    if isinstance(config, str):
        config = CONFIGS[config]
    tensors: Arrays = {"global_step": np.array(7, np.int64)}
    for number, variable in enumerate(variables(config, dense=dense)):
        tensors[scope + variable.name] = number_array(number, variable.shape)
        if averages:
            tensors[scope + variable.name + AVERAGE] = number_array(AVERAGE_OFFSET + number, variable.shape)
    return tensors


def number_array(number: float, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return an array filled with a number, which needs the memory of one element."""
    return np.broadcast_to(np.float32(number), shape)


def _block(name: str, target: str, block: BlockConfig) -> Iterator[Variable]:
    k, wide = block.kernel, block.expanded_channels
    norms = (f"{name}/tpu_batch_normalization{suffix}" for suffix in ("", "_1", "_2"))
    convs = (f"{name}/conv2d{suffix}" for suffix in ("", "_1"))
    if block.expansion > 1:
        yield _conv(next(convs), f"{target}.expand", k if block.block == "fused" else 1, block.in_channels, wide)
        yield from _norm(next(norms), f"{target}.expand", wide)
    if block.block == "mbconv":
        kernel = f"{name}/depthwise_conv2d/depthwise_kernel"
        yield Variable(kernel, (k, k, wide, 1), f"{target}.depthwise.conv.weight", (wide, 1, k, k))
        yield from _norm(next(norms), f"{target}.depthwise", wide)
    if block.se_channels:
        few = block.se_channels
        yield Variable(f"{name}/se/conv2d/kernel", (1, 1, wide, few), f"{target}.se.reduce.weight", (few, wide, 1, 1))
        yield Variable(f"{name}/se/conv2d/bias", (few,), f"{target}.se.reduce.bias", (few,))
        yield Variable(f"{name}/se/conv2d_1/kernel", (1, 1, few, wide), f"{target}.se.expand.weight", (wide, few, 1, 1))
        yield Variable(f"{name}/se/conv2d_1/bias", (wide,), f"{target}.se.expand.bias", (wide,))
    is_only_convolution = block.block == "fused" and block.expansion == 1
    yield _conv(next(convs), f"{target}.project", k if is_only_convolution else 1, wide, block.out_channels)
    yield from _norm(next(norms), f"{target}.project", block.out_channels)


def _conv(name: str, target: str, kernel: int, in_channels: int, out_channels: int) -> Variable:
    shape = (kernel, kernel, in_channels, out_channels)
    return Variable(f"{name}/kernel", shape, f"{target}.conv.weight", (out_channels, in_channels, kernel, kernel))


def _norm(name: str, target: str, channels: int) -> Iterator[Variable]:
    yield Variable(f"{name}/gamma", (channels,), f"{target}.bn.weight", (channels,))
    yield Variable(f"{name}/beta", (channels,), f"{target}.bn.bias", (channels,))
    yield Variable(f"{name}/moving_mean", (channels,), f"{target}.bn.running_mean", (channels,))
    yield Variable(f"{name}/moving_variance", (channels,), f"{target}.bn.running_var", (channels,))
