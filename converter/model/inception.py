"""slim's Inception v3 (Szegedy et al., 2015) in PyTorch, with the names of torchvision's module, at any width.

Unlike torchvision's, averages over the border leave the padding out, as TensorFlow's do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Kind of block -> its branches, each a chain of layers; `average` or `maximum` is a pooling, and a tuple a fork.
_BRANCHES: dict[str, tuple[tuple[str | tuple[str, ...], ...], ...]] = {
    "A": (
        ("branch1x1",),
        ("branch5x5_1", "branch5x5_2"),
        ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        ("average", "branch_pool"),
    ),
    "B": (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), ("maximum",)),
    "C": (
        ("branch1x1",),
        ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
        tuple(f"branch7x7dbl_{number}" for number in range(1, 6)),
        ("average", "branch_pool"),
    ),
    "D": (("branch3x3_1", "branch3x3_2"), tuple(f"branch7x7x3_{number}" for number in range(1, 5)), ("maximum",)),
    "E": (
        ("branch1x1",),
        ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
        ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
        ("average", "branch_pool"),
    ),
}
_KINDS = {"5b": "A", "5c": "A", "5d": "A", "6a": "B", "6b": "C", "6c": "C", "6d": "C", "6e": "C"}
_KINDS |= {"7a": "D", "7b": "E", "7c": "E"}
#: Layers that halve the map, without padding; other layers of the blocks keep its size.
_STRIDED = {"Conv2d_1a_3x3", "Mixed_6a.branch3x3", "Mixed_6a.branch3x3dbl_3", "Mixed_7a.branch3x3_2"}
_STRIDED |= {"Mixed_7a.branch7x7x3_4"}
_UNPADDED = {"Conv2d_2a_3x3", "Conv2d_4a_3x3", "AuxLogits.conv1"} | _STRIDED


class InceptionV3(nn.Module):
    """Maps images (batch, channels, height, width) to logits (batch, classes)."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        kernels: Mapping[str, Sequence[int]],
        aux_logits: bool,
        bn_epsilon: float,
        bn_scale: bool,
    ) -> None:
        """Build a network from the shape of each kernel: height, width, inputs, outputs.

        `bn_scale` is False if the batch norms' scale is not trained, but 1.
        """
        super().__init__()
        for name, kernel in kernels.items():
            if name.startswith("AuxLogits") and not aux_logits:
                continue
            *scopes, last = name.split(".")
            owner: nn.Module = self
            for scope in scopes:
                if not hasattr(owner, scope):
                    owner.add_module(scope, _make_scope(scope))
                owner = owner.get_submodule(scope)
            owner.add_module(last, Layer(name, kernel, bn_epsilon))
        if aux_logits:
            self.get_submodule("AuxLogits").add_module("fc", nn.Linear(kernels["AuxLogits.conv1"][3], num_classes))
        features = sum(kernels[f"Mixed_7c.{name}"][3] for name in _list_ends("E"))
        self.fc = nn.Linear(features, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits of images, in training together with those of the auxiliary classifier if there is one."""
        for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"):
            x = self.get_submodule(name)(x)
        x = self.get_submodule("Conv2d_3b_1x1")(F.max_pool2d(x, 3, 2))
        x = F.max_pool2d(self.get_submodule("Conv2d_4a_3x3")(x), 3, 2)
        auxiliary = None
        for name in _KINDS:
            x = self.get_submodule(f"Mixed_{name}")(x)
            if name == "6e" and self.training and hasattr(self, "AuxLogits"):
                auxiliary = self.get_submodule("AuxLogits")(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits if auxiliary is None else (logits, auxiliary)


class Layer(nn.Module):
    """A convolution with batch norm and relu."""

    def __init__(self, name: str, kernel: Sequence[int], bn_epsilon: float) -> None:
        super().__init__()
        height, width, inputs, outputs = kernel
        padding = (0, 0) if name in _UNPADDED else (height // 2, width // 2)
        stride = 2 if name in _STRIDED else 1
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, bn_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Branches whose outputs are joined along the channels."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Return the joined outputs."""
        outputs: list[Tensor] = []
        for branch in _BRANCHES[self.kind]:
            outputs += self._run(branch, x)
        return torch.cat(outputs, 1)

    def _run(self, branch: tuple[str | tuple[str, ...], ...], x: Tensor) -> list[Tensor]:
        for name in branch:
            if isinstance(name, tuple):
                return [self.get_submodule(end)(x) for end in name]
            if name == "average":
                x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            elif name == "maximum":
                x = F.max_pool2d(x, 3, 2)
            else:
                x = self.get_submodule(name)(x)
        return [x]


class Auxiliary(nn.Module):
    """The classifier that helps training; it is not used afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of the features of Mixed_6e."""
        x = self.get_submodule("conv1")(self.get_submodule("conv0")(F.avg_pool2d(x, 5, 3)))
        logits: Tensor = self.get_submodule("fc")(x.mean((2, 3)))
        return logits


def _make_scope(name: str) -> nn.Module:
    return Auxiliary() if name == "AuxLogits" else Block(_KINDS[name.removeprefix("Mixed_")])


def _list_ends(kind: str) -> list[str]:
    """Return the layers whose outputs a block of a kind joins."""
    ends: list[str] = []
    for branch in _BRANCHES[kind]:
        last = branch[-1]
        ends += last if isinstance(last, tuple) else [last]
    return ends
