"""What convolution and pooling share: data formats, and the padding of windows that slide over an image.

Source: the documentation of `tf.nn.convolution`.
With SAME the output has ceil(size / stride) positions; of an odd number of padding rows the larger half comes after.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch.nn.functional as F

from converter.engine.registry import Call
from converter.engine.values import Tensor
from converter.errors import GraphError


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A window's geometry along the spatial axes, whatever the data format."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    is_channels_last: bool
    padding: str
    explicit: tuple[tuple[int, int], ...]

    def to_channels_first(self, tensor: Tensor) -> Tensor:
        """A view with the channels after the batch, as PyTorch has them."""
        return tensor.movedim(-1, 1) if self.is_channels_last else tensor

    def from_channels_first(self, tensor: Tensor) -> Tensor:
        """A view with the channels where the data format has them."""
        return tensor.movedim(1, -1) if self.is_channels_last else tensor

    def paddings(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
        """Rows before and after each spatial axis of these sizes."""
        if self.padding == "VALID":
            return [(0, 0)] * len(sizes)
        if self.padding == "EXPLICIT":
            return list(self.explicit)
        return [
            _same_padding(size, (width - 1) * dilation + 1, stride)
            for size, width, stride, dilation in zip(sizes, kernel, self.strides, self.dilations, strict=True)
        ]


def _same_padding(size: int, width: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + width - size, 0)
    return total // 2, total - total // 2


def read_window(call: Call, strides: Sequence[int], dilations: Sequence[int] = ()) -> Window:
    """The geometry in a node's attributes; strides and dilations of the batch or the channels are refused."""
    layout = str(call.get("data_format", "NHWC"))
    if not (layout.startswith("N") and ("C" in (layout[1], layout[-1])) and len(layout) == len(strides)):
        raise GraphError(f"data format {layout} is not one of those that are computed with")
    is_last = layout[-1] == "C"
    dilations = tuple(dilations) or (1,) * len(strides)
    explicit = call.integers("explicit_paddings")
    padding = str(call.get("padding", "VALID"))
    if padding not in ("SAME", "VALID", "EXPLICIT"):
        raise GraphError(f"padding {padding} is not one of SAME, VALID and EXPLICIT")
    pairs = tuple(zip(explicit[::2], explicit[1::2], strict=True))
    if padding == "EXPLICIT" and len(pairs) != len(strides):
        raise GraphError(f"explicit paddings are needed for {len(strides)} axes, and there are {len(explicit)} numbers")
    for numbers, what in ((strides, "strides"), (dilations, "dilations")):
        if any(number != 1 for number in _batch_and_channels(numbers, is_last=is_last)):
            raise GraphError(f"{what} {list(numbers)} go over the batch or the channels")
        if any(number < 1 for number in numbers):
            raise GraphError(f"{what} {list(numbers)} are not positive")
    return Window(
        strides=take_spatial(strides, is_last=is_last),
        dilations=take_spatial(dilations, is_last=is_last),
        is_channels_last=is_last,
        padding=padding,
        explicit=tuple(pairs[1:-1] if is_last else pairs[2:]),
    )


def take_spatial(numbers: Sequence[int], *, is_last: bool) -> tuple[int, ...]:
    """Of one number for each axis, those of the spatial axes."""
    return tuple(numbers[1:-1] if is_last else numbers[2:])


def _batch_and_channels(numbers: Sequence[int], *, is_last: bool) -> tuple[int, int]:
    return (numbers[0], numbers[-1]) if is_last else (numbers[0], numbers[1])


def pad_if_needed(
    tensor: Tensor, pairs: Sequence[tuple[int, int]], value: float = 0.0, *, symmetric: bool = True
) -> tuple[Tensor, tuple[int, ...]]:
    """The tensor (channels first), padded if PyTorch cannot pad it itself, and the padding that is left to PyTorch."""
    if symmetric and all(type(before) is int and before == after for before, after in pairs):
        return tensor, tuple(before for before, _ in pairs)
    flat = [number for pair in reversed(pairs) for number in pair]
    return F.pad(tensor, flat, value=value), (0,) * len(pairs)
