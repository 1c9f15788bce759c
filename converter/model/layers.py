"""The parts of the network: SAME padding, convolution with batch norm, SE, and the two MBConv blocks.

Tensors are NCHW. Module names are the native target names: `expand`, `depthwise`, `se.reduce`, `se.expand` and
`project`, the convolutions with `conv` and `bn` inside.

Sources: "EfficientNetV2" (arXiv 2104.00298), figure 2; the order of operations and the SAME rule as TensorFlow and the
released code (google/automl, folder efficientnetv2) have them.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .activations import make_activation, make_gate
from .config import Activation, BlockConfig, Gate


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Give the zeros TensorFlow's SAME puts before and after an axis of `size` pixels.

    The output has ceil(size / stride) pixels. The smaller half comes first, so at stride 2 an even size is padded
    differently from an odd one, and neither as torch's `padding=kernel // 2` does it.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME, for any input size."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int, groups: int = 1, bias: bool = False
    ) -> None:
        """Make a square kernel and stride; the padding is found from each input."""
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the base class's name)
        """Pad and convolve; symmetric padding is left to the convolution, which needs no copy of the input."""
        height, width = input.shape[-2:]
        top, bottom = same_padding(height, self.kernel_size[0], self.stride[0])
        left, right = same_padding(width, self.kernel_size[1], self.stride[1])
        # Under export with a dynamic size there is nothing to compare: a graph for every size has to pad.
        is_known = isinstance(height, int) and isinstance(width, int)
        if is_known and top == bottom and left == right:
            return F.conv2d(input, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
        padded = F.pad(input, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)


def same_conv2d(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Make a convolution with SAME padding: torch's own where its padding does not depend on the input's size."""
    if stride == 1 and kernel % 2 == 1:
        return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=bias)
    return SameConv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias)


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zero whole samples with probability `rate` and scale the others by 1 / (1 - rate): stochastic depth."""
    keep = 1.0 - rate
    mask = torch.empty((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)
    return x * mask


class NormConfig(NamedTuple):
    """A network's batch norms: `momentum` is torch's, the weight of the newest batch; `folded` for none at all."""

    epsilon: float
    momentum: float
    folded: bool = False


class ConvNorm(nn.Module):
    """Convolution, batch norm, and activation if any; with folded batch norms the convolution has a bias instead."""

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
        """Make the layers; `norm` says what follows the convolution, and `activation` is None for a linear layer."""
        super().__init__()
        self.folded = norm.folded
        self.conv = same_conv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=norm.folded)
        self.bn: nn.Module = nn.Identity()
        if not norm.folded:
            self.bn = nn.BatchNorm2d(out_channels, eps=norm.epsilon, momentum=norm.momentum)
        self.act: nn.Module = nn.Identity() if activation is None else make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise, activate."""
        y: Tensor = self.conv(x)
        if not self.folded:
            y = self.bn(y)
        activated: Tensor = self.act(y)
        return activated


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the channels' spatial means."""

    def __init__(
        self, channels: int, reduced_channels: int, *, activation: Activation = "silu", gate: Gate = "sigmoid"
    ) -> None:
        """Make the two 1×1 convolutions, both with bias; `activation` follows the first and `gate` the second."""
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced_channels, 1)
        self.act = make_activation(activation)
        self.expand = nn.Conv2d(reduced_channels, channels, 1)
        self.gate = make_gate(gate)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze to (N, C, 1, 1), excite, and scale."""
        squeezed = x.mean((2, 3), keepdim=True)
        factors: Tensor = self.gate(self.expand(self.act(self.reduce(squeezed))))
        return x * factors


class MBConv(nn.Module):
    """Expand 1×1, depthwise k×k with the stride, SE, project 1×1 (linear); no expand where the expansion is 1."""

    def __init__(self, config: BlockConfig, *, norm: NormConfig, drop_rate: float = 0.0) -> None:
        """Make the block; `drop_rate` is its own stochastic depth rate."""
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
        self.se = _squeeze_excite(config)
        self.project = ConvNorm(expanded, config.out_channels, norm=norm, activation=None)

    def expanded(self, x: Tensor) -> Tensor:
        """Give what goes into the projection: TensorFlow's endpoint `expansion_output`."""
        y: Tensor = self.se(self.depthwise(self.expand(x)))
        return y

    def projected(self, expanded: Tensor, shortcut: Tensor) -> Tensor:
        """Project, and add the block's input where there is a residual."""
        return _with_residual(
            self.project(expanded), shortcut, self.has_residual, self.drop_rate if self.training else 0.0
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        return self.projected(self.expanded(x), x)


class FusedMBConv(nn.Module):
    """Expand k×k with the stride, SE if any, project 1×1 (linear); if the expansion is 1, project k×k and activate."""

    def __init__(self, config: BlockConfig, *, norm: NormConfig, drop_rate: float = 0.0) -> None:
        """Make the block; `drop_rate` is its own stochastic depth rate."""
        super().__init__()
        channels, expanded = config.in_channels, config.expanded_channels
        self.has_residual = config.has_residual
        self.drop_rate = drop_rate
        self.expand: nn.Module = nn.Identity()
        self.se = _squeeze_excite(config)
        kernel, stride, activation = config.kernel, config.stride, config.activation
        if config.expansion > 1:
            self.expand = ConvNorm(channels, expanded, kernel, stride=stride, norm=norm, activation=activation)
            self.project = ConvNorm(expanded, config.out_channels, norm=norm, activation=None)
        else:
            self.project = ConvNorm(
                channels, config.out_channels, kernel, stride=stride, norm=norm, activation=activation
            )

    def expanded(self, x: Tensor) -> Tensor:
        """Give TensorFlow's endpoint `expansion_output`, which a fused block takes before SE."""
        y: Tensor = self.expand(x)
        return y

    def projected(self, expanded: Tensor, shortcut: Tensor) -> Tensor:
        """Apply SE, project, and add the block's input where there is a residual."""
        y: Tensor = self.project(self.se(expanded))
        return _with_residual(y, shortcut, self.has_residual, self.drop_rate if self.training else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        return self.projected(self.expanded(x), x)


def _squeeze_excite(config: BlockConfig) -> nn.Module:
    """Make a block's squeeze-and-excitation, which passes its input through if it has no channels."""
    if not config.se_channels:
        return nn.Identity()
    return SqueezeExcite(
        config.expanded_channels, config.se_channels, activation=config.gate_activation, gate=config.gate
    )


def _with_residual(x: Tensor, shortcut: Tensor, has_residual: bool, drop_rate: float) -> Tensor:
    """Add the shortcut; stochastic depth touches only blocks that have one."""
    if not has_residual:
        return x
    if drop_rate > 0.0:
        x = drop_path(x, drop_rate)
    return x + shortcut
