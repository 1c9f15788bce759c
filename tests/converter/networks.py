"""Checkpoints of whole networks as dictionaries of arrays, named and shaped as the released TensorFlow code does.

Each tensor holds one number, its own, in an array of stride 0: any network fits in memory, and a swap of two tensors
of equal shape shows.
The names are written out here once more, from the released code, and owe nothing to the package's rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from converter.model.config import CONFIGS, BlockConfig, EfficientNetConfig

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

AVERAGE = "/ExponentialMovingAverage"
#: What an average's number is above that of its raw value.
AVERAGE_OFFSET = 100_000


class Variable(NamedTuple):
    """A variable's name under its scope, its shape, and what it becomes in PyTorch, with that shape."""

    name: str
    shape: tuple[int, ...]
    target: str
    target_shape: tuple[int, ...]


def variables(config: EfficientNetConfig, *, dense: str = "head/dense") -> Iterator[Variable]:
    """Give every variable of a network in the order the released code creates them."""
    yield _conv("stem/conv2d", "stem", config.stem_kernel, config.in_channels, config.stem_channels)
    yield from _norm("stem/tpu_batch_normalization", "stem", config.stem_channels)
    for placed in config.blocks():
        yield from _block(f"blocks_{placed.flat_index}", f"stages.{placed.stage}.{placed.position}", placed.config)
    yield _conv("head/conv2d", "head", 1, config.stages[-1].out_channels, config.head_channels)
    yield from _norm("head/tpu_batch_normalization", "head", config.head_channels)
    if config.num_classes:
        wide, classes = config.head_channels, config.num_classes
        yield Variable(f"{dense}/kernel", (wide, classes), "classifier.weight", (classes, wide))
        yield Variable(f"{dense}/bias", (classes,), "classifier.bias", (classes,))


def arrays(
    config: EfficientNetConfig | str, *, scope: str = "net/", averages: bool = True, dense: str = "head/dense"
) -> Arrays:
    """Write a network as a checkpoint has it, with `global_step`; the nth variable holds the number n."""
    if isinstance(config, str):
        config = CONFIGS[config]
    found: Arrays = {"global_step": np.array(7, np.int64)}
    for number, variable in enumerate(variables(config, dense=dense)):
        found[scope + variable.name] = number_array(number, variable.shape)
        if averages:
            found[scope + variable.name + AVERAGE] = number_array(AVERAGE_OFFSET + number, variable.shape)
    return found


def number_array(number: float, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[Any]]:
    """Fill a shape with one number, in the memory of one."""
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
    alone = block.block == "fused" and block.expansion == 1
    yield _conv(next(convs), f"{target}.project", k if alone else 1, wide, block.out_channels)
    yield from _norm(next(norms), f"{target}.project", block.out_channels)


def _conv(name: str, target: str, kernel: int, in_channels: int, out_channels: int) -> Variable:
    shape = (kernel, kernel, in_channels, out_channels)
    return Variable(f"{name}/kernel", shape, f"{target}.conv.weight", (out_channels, in_channels, kernel, kernel))


def _norm(name: str, target: str, channels: int) -> Iterator[Variable]:
    yield Variable(f"{name}/gamma", (channels,), f"{target}.bn.weight", (channels,))
    yield Variable(f"{name}/beta", (channels,), f"{target}.bn.bias", (channels,))
    yield Variable(f"{name}/moving_mean", (channels,), f"{target}.bn.running_mean", (channels,))
    yield Variable(f"{name}/moving_variance", (channels,), f"{target}.bn.running_var", (channels,))
