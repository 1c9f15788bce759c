"""The names and shapes of our PyTorch module's tensors, computed from a config without torch."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Shape
from .config import Block, BlockConfig, EfficientNetConfig

_Named = tuple[str, Shape]

#: The forms of blocks, which differ in their layers: MBConv and fused MBConv, with expansion 1 if the name ends in 1.
FORMS = ("fused1", "fused", "mbconv1", "mbconv")


def native_targets(config: EfficientNetConfig) -> dict[str, Shape]:
    """Return name -> shape of the module's state dict, in its order."""
    targets = dict(_conv_and_norm("stem", config.in_channels, config.stem_channels, config.stem_kernel))
    for block in config.blocks():
        targets.update(_list_block(block))
    if config.head_channels:
        targets.update(_conv_and_norm("head", config.stages[-1].out_channels, config.head_channels, 1))
    if config.folded_bn:
        targets = dict(_fold(targets))
    if config.num_classes:
        targets["classifier.weight"] = (config.num_classes, config.head_channels)
        targets["classifier.bias"] = (config.num_classes,)
    return targets


def get_form(block: BlockConfig) -> str:
    """Return the form of a block, one of `FORMS`."""
    return f"{block.block}1" if block.expansion == 1 else block.block


def _fold(targets: dict[str, Shape]) -> Iterator[_Named]:
    """Yield the targets with a bias of the convolution instead of each batch norm."""
    for name, shape in targets.items():
        if name.endswith(".bn.bias"):
            yield name.removesuffix(".bn.bias") + ".conv.bias", shape
        elif ".bn." not in name:
            yield name, shape


def get_block_name(block: Block) -> str:
    """Return the name of a block's module."""
    return f"stages.{block.stage}.{block.position}"


def _list_block(block: Block) -> Iterator[_Named]:
    name = get_block_name(block)
    config = block.config
    expanded, se = config.expanded_channels, config.se_channels
    if config.expansion > 1:
        yield from _conv_and_norm(
            f"{name}.expand", config.in_channels, expanded, config.kernel if config.block == "fused" else 1
        )
    if config.block == "mbconv":
        yield from _conv_and_norm(f"{name}.depthwise", 1, expanded, config.kernel)
    if se:
        yield f"{name}.se.reduce.weight", (se, expanded, 1, 1)
        yield f"{name}.se.reduce.bias", (se,)
        yield f"{name}.se.expand.weight", (expanded, se, 1, 1)
        yield f"{name}.se.expand.bias", (expanded,)
    is_only_convolution = config.block == "fused" and config.expansion == 1
    kernel = config.kernel if is_only_convolution else 1
    yield from _conv_and_norm(f"{name}.project", expanded, config.out_channels, kernel)


def _conv_and_norm(name: str, in_channels: int, out_channels: int, kernel: int) -> Iterator[_Named]:
    yield f"{name}.conv.weight", (out_channels, in_channels, kernel, kernel)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (out_channels,)
    yield f"{name}.bn.num_batches_tracked", ()
