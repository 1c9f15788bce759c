"""Windows that slide over an image, for convolution and pooling: their data formats and padding.

Source: the documentation of `tf.nn.convolution`.
With SAME padding the output has ceil(size / stride) positions; if the number of padding rows is odd, the extra row is
added at the end.
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
    """The geometry of a window along the spatial axes, for any data format."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    is_channels_last: bool
    padding: str
    explicit: tuple[tuple[int, int], ...]

    def to_channels_first(self, tensor: Tensor) -> Tensor:
        """Return a view with the channels after the batch, as in PyTorch."""
        return tensor.movedim(-1, 1) if self.is_channels_last else tensor

    def from_channels_first(self, tensor: Tensor) -> Tensor:
        """Return a view with the channels where the data format places them."""
        return tensor.movedim(1, -1) if self.is_channels_last else tensor

    def paddings(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
        """Return the number of padding rows before and after each spatial axis, for an image of these sizes."""
        if self.padding == "VALID":
            return [(0, 0)] * len(sizes)
        if self.padding == "EXPLICIT":
            return list(self.explicit)
        return [
            same_padding(size, (width - 1) * dilation + 1, stride)
            for size, width, stride, dilation in zip(sizes, kernel, self.strides, self.dilations, strict=True)
        ]


def same_padding(size: int, width: int, stride: int) -> tuple[int, int]:
    """Return the number of padding rows before and after an axis of `size` rows, for a window of `width` rows.

    During an export `size` may be a symbol. So no dividend is negative (ONNX divides toward zero), and there is no
    `max` unless the window is smaller than the stride: some runtimes cannot take the larger of two sizes.
    """
    total = ((size + stride - 1) // stride - 1) * stride + width - size
    if width < stride:
        total = max(total, 0)
    return total // 2, total - total // 2


def read_window(call: Call, strides: Sequence[int], dilations: Sequence[int] = ()) -> Window:
    """Read the geometry from a node's attributes; raise `GraphError` if the window moves over the batch or channels."""
    layout = str(call.get("data_format", "NHWC"))
    if not (layout.startswith("N") and ("C" in (layout[1], layout[-1])) and len(layout) == len(strides)):
        raise GraphError(f"data format {layout} is not supported with {len(strides)} axes")
    is_last = layout[-1] == "C"
    dilations = tuple(dilations) or (1,) * len(strides)
    explicit = call.integers("explicit_paddings")
    padding = str(call.get("padding", "VALID"))
    if padding not in ("SAME", "VALID", "EXPLICIT"):
        raise GraphError(f"unknown padding {padding}, expected SAME, VALID or EXPLICIT")
    pairs = tuple(zip(explicit[::2], explicit[1::2], strict=True))
    if padding == "EXPLICIT" and len(pairs) != len(strides):
        raise GraphError(f"{len(explicit)} explicit paddings, expected {2 * len(strides)} for {len(strides)} axes")
    for numbers, name in ((strides, "strides"), (dilations, "dilations")):
        if any(number != 1 for number in _batch_and_channels(numbers, is_last=is_last)):
            raise GraphError(f"{name} over the batch or the channels are not supported: {list(numbers)}")
        if any(number < 1 for number in numbers):
            raise GraphError(f"{name} must be positive: {list(numbers)}")
    return Window(
        strides=take_spatial(strides, is_last=is_last),
        dilations=take_spatial(dilations, is_last=is_last),
        is_channels_last=is_last,
        padding=padding,
        explicit=tuple(pairs[1:-1] if is_last else pairs[2:]),
    )


def has_no_place(sizes: Sequence[int], kernel: Sequence[int], dilations: Sequence[int]) -> bool:
    """Return whether a window is larger than a padded image along some axis, so that the result has no pixels.

    TensorFlow returns an empty tensor then, and PyTorch's operations raise an error. Symbols of an export are assumed
    to be large enough.
    """
    return any(
        type(size) is int and size < (width - 1) * dilation + 1
        for size, width, dilation in zip(sizes, kernel, dilations, strict=True)
    )


def count_places(size: int, width: int, stride: int, dilation: int = 1) -> int:
    """Return the number of positions of a window along an axis of a padded image."""
    return max((size - (width - 1) * dilation - 1 + stride) // stride, 0)


def take_spatial(numbers: Sequence[int], *, is_last: bool) -> tuple[int, ...]:
    """Return the numbers of the spatial axes, from one number for each axis."""
    return tuple(numbers[1:-1] if is_last else numbers[2:])


def _batch_and_channels(numbers: Sequence[int], *, is_last: bool) -> tuple[int, int]:
    return (numbers[0], numbers[-1]) if is_last else (numbers[0], numbers[1])


def pad_if_needed(
    tensor: Tensor, pairs: Sequence[tuple[int, int]], value: float = 0.0, *, symmetric: bool = True
) -> tuple[Tensor, tuple[int, ...]]:
    """Pad a channels-first tensor if PyTorch's operation cannot; return it with the padding for that operation."""
    if symmetric and all(type(before) is int and before == after for before, after in pairs):
        return tensor, tuple(before for before, _ in pairs)
    flat = [number for pair in reversed(pairs) for number in pair]
    return F.pad(tensor, flat, value=value), (0,) * len(pairs)
