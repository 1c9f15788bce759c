"""Moving blocks of pixels into the channels or the batch, and back."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_ints, to_tensor
from converter.errors import GraphError

from .windows import same_padding


def _channels_last(call: Call, value: Value) -> tuple[Tensor, bool]:
    layout = str(call.get("data_format", "NHWC"))
    if layout not in ("NHWC", "NCHW"):
        raise GraphError(f"data format {layout} is not supported, only NHWC and NCHW")
    tensor = to_tensor(value, call.dtype)
    return (tensor.permute(0, 2, 3, 1), True) if layout == "NCHW" else (tensor, False)


@op("SpaceToDepth")
def space_to_depth(call: Call, value: Value) -> Value:
    """Move each square block of pixels into the channels of one pixel."""
    x, is_first = _channels_last(call, value)
    block = int(call.get("block_size", 2))
    batch, height, width, depth = x.shape
    if height % block or width % block:
        raise GraphError(f"an image of {height} by {width} is not divisible into blocks of {block}")
    x = x.reshape(batch, height // block, block, width // block, block, depth).permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, height // block, width // block, block * block * depth)
    return x.permute(0, 3, 1, 2) if is_first else x


@op("DepthToSpace")
def depth_to_space(call: Call, value: Value) -> Value:
    """Move the channels of each pixel into a square block of pixels."""
    x, is_first = _channels_last(call, value)
    block = int(call.get("block_size", 2))
    batch, height, width, depth = x.shape
    if depth % (block * block):
        raise GraphError(f"blocks of {block} need a multiple of {block * block} channels, not {depth}")
    depth //= block * block
    x = x.reshape(batch, height, width, block, block, depth).permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, height * block, width * block, depth)
    return x.permute(0, 3, 1, 2) if is_first else x


@op("SpaceToBatchND")
def space_to_batch(call: Call, value: Value, block_shape: Value, paddings: Value) -> Value:
    """Pad the images, and move the pixels at each position of a block into an image of its own."""
    x, blocks, flat = to_tensor(value, call.dtype), to_ints(block_shape), to_ints(paddings)
    trailing = x.ndim - 1 - len(blocks)
    pairs = [*zip(flat[::2], flat[1::2], strict=True), *[(0, 0)] * trailing]
    x = F.pad(x, [number for pair in reversed(pairs) for number in pair])
    batch, sizes, rest = x.shape[0], x.shape[1 : 1 + len(blocks)], x.shape[1 + len(blocks) :]
    if any(size % block for size, block in zip(sizes, blocks, strict=True)):
        raise GraphError(f"a padded image of {list(sizes)} is not divisible into blocks of {blocks}")
    cells = [size // block for size, block in zip(sizes, blocks, strict=True)]
    x = x.reshape([batch, *(number for pair in zip(cells, blocks, strict=True) for number in pair), *rest])
    inner = [2 + 2 * axis for axis in range(len(blocks))]
    outer = [1 + 2 * axis for axis in range(len(blocks))]
    x = x.permute([*inner, 0, *outer, *range(1 + 2 * len(blocks), x.ndim)])
    return x.reshape([batch * math.prod(blocks), *cells, *rest])


@op("BatchToSpaceND")
def batch_to_space(call: Call, value: Value, block_shape: Value, crops: Value) -> Value:
    """Reverse `space_to_batch`: combine images of the batch into one image, and crop its borders."""
    x, blocks, flat = to_tensor(value, call.dtype), to_ints(block_shape), to_ints(crops)
    batch, sizes, rest = x.shape[0], x.shape[1 : 1 + len(blocks)], x.shape[1 + len(blocks) :]
    if batch % math.prod(blocks):
        raise GraphError(f"blocks of {blocks} need a multiple of {math.prod(blocks)} images, not {batch}")
    x = x.reshape([*blocks, batch // math.prod(blocks), *sizes, *rest])
    spatial = [axis for pair in range(len(blocks)) for axis in (len(blocks) + 1 + pair, pair)]
    x = x.permute([len(blocks), *spatial, *range(2 * len(blocks) + 1, x.ndim)])
    full = [size * block for size, block in zip(sizes, blocks, strict=True)]
    x = x.reshape([batch // math.prod(blocks), *full, *rest])
    for axis, (size, before, after) in enumerate(zip(full, flat[::2], flat[1::2], strict=True), start=1):
        x = x.narrow(axis, before, size - before - after)
    return x


@op("ExtractImagePatches", outputs=("patches",))
def extract_patches(call: Call, images: Value) -> Value:
    """Return the pixels of each window in the channels, in the order row, column, channel."""
    x = to_tensor(images, call.dtype)
    heights, widths = (tuple(call.integers(name)[axis] for name in ("ksizes", "strides", "rates")) for axis in (1, 2))
    for axis, (size, stride, rate) in ((1, heights), (2, widths)):
        x = _patches(x, axis, size, stride, rate=rate, padding=str(call.get("padding", "VALID")))
    # batch, rows, kernel rows, columns, kernel columns, channels
    x = x.permute(0, 1, 3, 2, 4, 5)
    return x.reshape(*x.shape[:3], -1)


def _patches(x: Tensor, axis: int, size: int, stride: int, *, rate: int, padding: str) -> Tensor:
    """Replace a spatial axis by two: the windows, and the positions in each.

    `axis` is 1 or 2 in the original image; axis 1 must be replaced first.
    """
    axis = axis if axis == 1 else axis + 1
    width, length = (size - 1) * rate + 1, x.shape[axis]
    count = (length + stride - 1) // stride if padding == "SAME" else (length - width + stride) // stride
    before_and_after = same_padding(length, width, stride) if padding == "SAME" else (0, 0)
    x = F.pad(x, [*[0, 0] * (x.ndim - 1 - axis), *before_and_after])
    positions = torch.arange(count)[:, None] * stride + torch.arange(size) * rate
    taken = x.index_select(axis, positions.reshape(-1).to(x.device))
    return taken.reshape([*x.shape[:axis], count, size, *x.shape[axis + 1 :]])
