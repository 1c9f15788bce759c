"""EfficientNet and EfficientNetV2 as a PyTorch module, built from a config.

The input is NCHW, the output are logits. Other PyTorch implementations differ from the released TensorFlow code in the
padding (SAME, asymmetric at stride 2 and even sizes), the batch norm epsilon (1e-3) and the initial weights.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import EfficientNetConfig
from .layers import ConvNorm, FusedMBConv, MBConv, NormConfig


class FeatureInfo(NamedTuple):
    """The output of a stage: its channels, and its reduction, the input pixels per output pixel along each axis."""

    stage: int
    channels: int
    reduction: int


class EfficientNet(nn.Module):
    """The network of a config.

    Submodules: `stem`, `stages.{stage}.{position}`, `head`, `classifier`. Stochastic depth and dropout are active
    only in training mode. Without classes there is no classifier, and the output is the pooled features (N, head
    channels). Without head channels there is no head either, and they are the features of the last stage.
    """

    # Otherwise torch.jit.script would try to compile these properties.
    __jit_unused_properties__ = ("feature_info", "pyramid_stages")

    def __init__(self, config: EfficientNetConfig, num_classes: int | None = None) -> None:
        """Create the network with random weights; `num_classes` overrides the config's."""
        super().__init__()
        if num_classes is not None:
            config = dataclasses.replace(config, num_classes=num_classes)
        self.config = config
        self.in_channels = config.in_channels
        self.dropout = config.dropout
        self.pools_maximum = config.pooling == "max"
        norm = NormConfig(config.bn_epsilon, config.bn_momentum, config.folded_bn)

        self.stem = ConvNorm(
            config.in_channels,
            config.stem_channels,
            config.stem_kernel,
            stride=config.stem_stride,
            norm=norm,
            activation=config.activation,
        )
        block_count = sum(stage.repeats for stage in config.stages)
        stages: list[list[nn.Module]] = [[] for _ in config.stages]
        for block in config.blocks():
            kind = FusedMBConv if block.config.block == "fused" else MBConv
            # The rate grows linearly from 0 at the first block and stays below `drop_path` at the last.
            drop_rate = config.drop_path * block.flat_index / block_count
            stages[block.stage].append(kind(block.config, norm=norm, drop_rate=drop_rate))
        self.stages = nn.Sequential(*(nn.Sequential(*blocks) for blocks in stages))
        self.head = _make_head(config, norm)
        self.classifier = _make_classifier(config)
        self.reset_parameters()

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """Channels and reduction of each stage's output."""
        reduction = self.config.stem_stride
        info = []
        for number, stage in enumerate(self.config.stages):
            reduction *= stage.stride
            info.append(FeatureInfo(number, stage.out_channels, reduction))
        return tuple(info)

    @property
    def pyramid_stages(self) -> tuple[int, ...]:
        """The last stage of each reduction, whose features detection and segmentation heads use."""
        stages = self.config.stages
        following = [*(stage.stride for stage in stages[1:]), 2]
        return tuple(number for number, stride in enumerate(following) if stride > 1)

    def reset_parameters(self) -> None:
        """Set random weights as the released code does.

        Convolutions: normal, variance 2 / fan-out; the fan-out of a depthwise kernel is its area.
        Classifier: uniform within 1 / sqrt(classes), bias 0. Biases of SE: 0. Batch norm: weight 1, bias 0.
        """
        if not self.stem.conv.weight.is_meta:  # without memory; drawing numbers there imports all of PyTorch's compiler
            self.apply(_initialize)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new one with random weights, or by none for 0 classes."""
        self.config = dataclasses.replace(self.config, num_classes=num_classes)
        like = self.stem.conv.weight
        self.classifier = _make_classifier(self.config).to(like.device, like.dtype).train(self.training)
        self.classifier.apply(_initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, C, H, W); without classes the pooled features."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the output of the head's convolution (N, head channels, H', W'), before pooling."""
        self._check_input(x)
        y: Tensor = self.head(self.stages(self.stem(x)))
        return y

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits of `forward_features`' output; with `pre_logits`, the input of the classifier."""
        x = self._pool(x)
        x = F.dropout(x, self.dropout, self.training)
        if not pre_logits:
            x = self.classifier(x)
        return x

    def _pool(self, x: Tensor) -> Tensor:
        """Return the pooled map, (N, C)."""
        return x.amax((2, 3)) if self.pools_maximum else x.mean((2, 3))

    def stage_features(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Tensor]:
        """Return the outputs of `stages`, NCHW, in this order; by default those of `pyramid_stages`.

        Stages count from 0; those after the last requested one are not computed. `feature_info` has the channels and
        reductions.
        """
        requested = self.pyramid_stages if stages is None else tuple(stages)
        unknown = [number for number in requested if not 0 <= number < len(self.stages)]
        if unknown:
            raise ValueError(f"stage is {unknown[0]}, expected 0 to {len(self.stages) - 1}")
        self._check_input(x)
        x = self.stem(x)
        outputs = {}
        for number in range(max(requested, default=-1) + 1):
            x = self.stages[number](x)
            outputs[number] = x
        return [outputs[number] for number in requested]

    def endpoints(self, x: Tensor) -> dict[str, Tensor]:
        """Return the intermediate values in network order, by the names in the released code.

        `stem`; `block_I/expansion_output` and `block_I` for every block from 0; the same two as `reduction_R`, from 1,
        for the last block of each of the `pyramid_stages`; `features`, `head_1x1`, `pooled_features`, `head`; and, with
        classes, `logits`. NCHW, or NC after pooling.
        """
        self._check_input(x)
        x = self.stem(x)
        points = {"stem": x}
        for stage, position, flat_index, _ in self.config.blocks():
            blocks = cast("list[MBConv | FusedMBConv]", self.stages[stage])
            expanded = blocks[position].expanded(x)
            x = blocks[position].projected(expanded, x)
            names = [f"block_{flat_index}"]
            if stage in self.pyramid_stages and position == len(blocks) - 1:
                names.append(f"reduction_{self.pyramid_stages.index(stage) + 1}")
            for name in names:
                points[f"{name}/expansion_output"] = expanded
                points[name] = x
        points["features"] = x
        points["head_1x1"] = x = self.head(x)
        points["pooled_features"] = self._pool(x)
        points["head"] = self.forward_head(x, pre_logits=True)
        if self.config.num_classes:
            points["logits"] = self.classifier(points["head"])
        return points

    def _check_input(self, x: Tensor) -> None:
        """Raise unless the input is a batch of NCHW images; the message suggests a fix."""
        channels = self.in_channels
        if not torch.is_floating_point(x):
            raise ValueError(f"input has dtype {x.dtype}, expected floating point: preprocess the pixels first")
        if x.dim() != 4:
            raise ValueError(
                f"input has {x.dim()} axes, expected 4 (N, C, H, W): a single image needs a leading axis, x[None]"
            )
        if x.shape[1] != channels:
            hint = ": looks like NHWC, use x.permute(0, 3, 1, 2)" if x.shape[3] == channels else ""
            raise ValueError(f"input has {x.shape[1]} channels, expected {channels} (N, C, H, W){hint}")


def _make_head(config: EfficientNetConfig, norm: NormConfig) -> nn.Module:
    """Return the convolution of the head, the identity if it has no channels."""
    if not config.head_channels:
        return nn.Identity()
    return ConvNorm(config.stages[-1].out_channels, config.head_channels, norm=norm, activation=config.activation)


def _make_classifier(config: EfficientNetConfig) -> nn.Module:
    """Return the last layer, the identity if there are no classes."""
    return nn.Linear(config.head_channels, config.num_classes) if config.num_classes else nn.Identity()


def _initialize(module: nn.Module) -> None:
    """Set the weights of a layer as described by `EfficientNet.reset_parameters`."""
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
    elif isinstance(module, nn.Linear):
        bound = 1.0 / math.sqrt(module.out_features)
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)
