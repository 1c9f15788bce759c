"""The layers of the network: SAME padding, convolution with batch norm, squeeze-excite and the two MBConv blocks.

Tensors are NCHW. Module names are our own target names: `expand`, `depthwise` and `project`, each with `conv` and `bn`,
and `se.reduce` and `se.expand`.

Sources: "EfficientNetV2" (arXiv 2104.00298), figure 2; TensorFlow and the released code (google/automl,
directory efficientnetv2) for the order of operations and the SAME rule.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .activations import make_activation, make_gate
from .config import Activation, BlockConfig, Gate


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the number of zeros that TensorFlow's SAME adds before and after an axis of `size` pixels.

    The output has ceil(size / stride) pixels. The smaller half comes first, so at stride 2 even and odd sizes are
    padded differently, and torch's `padding=kernel // 2` is right only for odd ones.

    During an export `size` may be a symbol. So no dividend is negative (ONNX divides toward zero), and there is no
    `max` unless the kernel is smaller than the stride: some runtimes cannot take the larger of two sizes.
    """
    total = ((size + stride - 1) // stride - 1) * stride + kernel - size
    if kernel < stride:
        total = max(total, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding for any input size."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int, groups: int = 1, bias: bool = False
    ) -> None:
        """Create a square kernel and stride; the padding is computed for each input."""
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the base class's name)
        """Pad and convolve; symmetric padding is done by the convolution, which does not copy the input."""
        height, width = input.shape[-2:]
        top, bottom = same_padding(height, self.kernel_size[0], self.stride[0])
        left, right = same_padding(width, self.kernel_size[1], self.stride[1])
        # During export, dynamic sizes are symbols, and a graph for every size must pad.
        is_known = isinstance(height, int) and isinstance(width, int)
        if is_known and top == bottom and left == right:
            return F.conv2d(input, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
        padded = F.pad(input, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)


def same_conv2d(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Return a convolution with SAME padding: torch's own class if the padding does not depend on the input size."""
    if stride == 1 and kernel % 2 == 1:
        return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=bias)
    return SameConv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias)


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Return samples zeroed with probability `rate`, the others scaled by 1 / (1 - rate): stochastic depth."""
    keep = 1.0 - rate
    mask = torch.empty((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)
    return x * mask


class NormConfig(NamedTuple):
    """The settings of batch norms; `momentum` is torch's, the weight of the newest batch; `folded` omits them."""

    epsilon: float
    momentum: float
    folded: bool = False


class ConvNorm(nn.Module):
    """Convolution, batch norm and activation; with folded batch norms the convolution has a bias instead."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        norm: NormConfig,
        stride: int = 1,
        groups: int = 1,
        activation: Activation | None,
    ) -> None:
        """Create the layers; `activation` is None for a linear layer."""
        super().__init__()
        self.folded = norm.folded
        self.conv = same_conv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=norm.folded)
        self.bn: nn.Module = nn.Identity()
        if not norm.folded:
            self.bn = nn.BatchNorm2d(out_channels, eps=norm.epsilon, momentum=norm.momentum)
        self.act: nn.Module = nn.Identity() if activation is None else make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated, normalized convolution."""
        y: Tensor = self.conv(x)
        if not self.folded:
            y = self.bn(y)
        activated: Tensor = self.act(y)
        return activated


class SqueezeExcite(nn.Module):
    """Scaling of each channel by a factor computed from the spatial means of all channels."""

    def __init__(
        self, channels: int, reduced_channels: int, *, activation: Activation = "silu", gate: Gate = "sigmoid"
    ) -> None:
        """Create the two 1×1 convolutions with bias; `activation` follows the first and `gate` the second."""
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced_channels, 1)
        self.act = make_activation(activation)
        self.expand = nn.Conv2d(reduced_channels, channels, 1)
        self.gate = make_gate(gate)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled input; the factors have shape (N, C, 1, 1)."""
        squeezed = x.mean((2, 3), keepdim=True)
        factors: Tensor = self.gate(self.expand(self.act(self.reduce(squeezed))))
        return x * factors


class MBConv(nn.Module):
    """Expand 1×1, depthwise k×k with the stride, SE, project 1×1 (linear); no expand if the expansion is 1."""

    def __init__(self, config: BlockConfig, *, norm: NormConfig, drop_rate: float = 0.0) -> None:
        """Create the block; `drop_rate` is its stochastic depth rate."""
        super().__init__()
        channels, expanded = config.in_channels, config.expanded_channels
        self.has_residual = config.has_residual
        self.drop_rate = drop_rate
        self.expand: nn.Module = nn.Identity()
        if config.expansion > 1:
            self.expand = ConvNorm(channels, expanded, norm=norm, activation=config.activation)
        self.depthwise = ConvNorm(
            expanded,
            expanded,
            config.kernel,
            stride=config.stride,
            groups=expanded,
            norm=norm,
            activation=config.activation,
        )
        self.se = _make_squeeze_excite(config)
        self.project = ConvNorm(expanded, config.out_channels, norm=norm, activation=None)

    def expanded(self, x: Tensor) -> Tensor:
        """Return the input of the projection, TensorFlow's endpoint `expansion_output`."""
        y: Tensor = self.se(self.depthwise(self.expand(x)))
        return y

    def projected(self, expanded: Tensor, shortcut: Tensor) -> Tensor:
        """Return the projection, plus the block's input if there is a residual."""
        return _add_residual(
            self.project(expanded), shortcut, self.has_residual, self.drop_rate if self.training else 0.0
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the block."""
        return self.projected(self.expanded(x), x)


class FusedMBConv(nn.Module):
    """Expand k×k with the stride, SE if any, project 1×1 (linear); if the expansion is 1, project k×k and activate."""

    def __init__(self, config: BlockConfig, *, norm: NormConfig, drop_rate: float = 0.0) -> None:
        """Create the block; `drop_rate` is its stochastic depth rate."""
        super().__init__()
        channels, expanded = config.in_channels, config.expanded_channels
        self.has_residual = config.has_residual
        self.drop_rate = drop_rate
        self.expand: nn.Module = nn.Identity()
        self.se = _make_squeeze_excite(config)
        kernel, stride, activation = config.kernel, config.stride, config.activation
        if config.expansion > 1:
            self.expand = ConvNorm(channels, expanded, kernel, stride=stride, norm=norm, activation=activation)
            self.project = ConvNorm(expanded, config.out_channels, norm=norm, activation=None)
        else:
            self.project = ConvNorm(
                channels, config.out_channels, kernel, stride=stride, norm=norm, activation=activation
            )

    def expanded(self, x: Tensor) -> Tensor:
        """Return TensorFlow's endpoint `expansion_output`, which precedes SE in a fused block."""
        y: Tensor = self.expand(x)
        return y

    def projected(self, expanded: Tensor, shortcut: Tensor) -> Tensor:
        """Return SE and projection, plus the block's input if there is a residual."""
        y: Tensor = self.project(self.se(expanded))
        return _add_residual(y, shortcut, self.has_residual, self.drop_rate if self.training else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the block."""
        return self.projected(self.expanded(x), x)


def _make_squeeze_excite(config: BlockConfig) -> nn.Module:
    """Return the squeeze-excite of a block, the identity if it has no channels."""
    if not config.se_channels:
        return nn.Identity()
    return SqueezeExcite(
        config.expanded_channels, config.se_channels, activation=config.gate_activation, gate=config.gate
    )


def _add_residual(x: Tensor, shortcut: Tensor, has_residual: bool, drop_rate: float) -> Tensor:
    """Return `x` plus the shortcut if there is a residual; stochastic depth applies only to such blocks."""
    if not has_residual:
        return x
    if drop_rate > 0.0:
        x = drop_path(x, drop_rate)
    return x + shortcut
