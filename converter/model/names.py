"""The target names of our own PyTorch module and their shapes, from its config alone."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Shape
from .config import BlockConfig, EfficientNetConfig, PlacedBlock

_Named = tuple[str, Shape]

#: The forms of blocks, each with layers of its own: MBConv and fused MBConv, those ending in 1 with an expansion of 1.
FORMS = ("fused1", "fused", "mbconv1", "mbconv")


def native_targets(config: EfficientNetConfig) -> dict[str, Shape]:
    """List the module's state dict, in its order: name -> shape."""
    targets = dict(_conv_and_norm("stem", config.in_channels, config.stem_channels, config.stem_kernel))
    for placed in config.blocks():
        targets.update(_block(placed))
    if config.head_channels:
        targets.update(_conv_and_norm("head", config.stages[-1].out_channels, config.head_channels, 1))
    if config.folded_bn:
        targets = dict(_folded(targets))
    if config.num_classes:
        targets["classifier.weight"] = (config.num_classes, config.head_channels)
        targets["classifier.bias"] = (config.num_classes,)
    return targets


def form_of(block: BlockConfig) -> str:
    """Return the form of a block, one of `FORMS`."""
    return f"{block.block}1" if block.expansion == 1 else block.block


def _folded(targets: dict[str, Shape]) -> Iterator[_Named]:
    """Put a bias of the convolution in the place of its batch norm."""
    for name, shape in targets.items():
        if name.endswith(".bn.bias"):
            yield name.removesuffix(".bn.bias") + ".conv.bias", shape
        elif ".bn." not in name:
            yield name, shape


def block_name(placed: PlacedBlock) -> str:
    """Name a block's module."""
    return f"stages.{placed.stage}.{placed.position}"


def _block(placed: PlacedBlock) -> Iterator[_Named]:
    name = block_name(placed)
    block = placed.config
    expanded, se = block.expanded_channels, block.se_channels
    if block.expansion > 1:
        yield from _conv_and_norm(
            f"{name}.expand", block.in_channels, expanded, block.kernel if block.block == "fused" else 1
        )
    if block.block == "mbconv":
        yield from _conv_and_norm(f"{name}.depthwise", 1, expanded, block.kernel)
    if se:
        yield f"{name}.se.reduce.weight", (se, expanded, 1, 1)
        yield f"{name}.se.reduce.bias", (se,)
        yield f"{name}.se.expand.weight", (expanded, se, 1, 1)
        yield f"{name}.se.expand.bias", (expanded,)
    alone = block.block == "fused" and block.expansion == 1
    yield from _conv_and_norm(f"{name}.project", expanded, block.out_channels, block.kernel if alone else 1)


def _conv_and_norm(name: str, in_channels: int, out_channels: int, kernel: int) -> Iterator[_Named]:
    yield f"{name}.conv.weight", (out_channels, in_channels, kernel, kernel)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (out_channels,)
    yield f"{name}.bn.num_batches_tracked", ()
