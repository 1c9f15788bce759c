"""The layers of the network agree with values from TensorFlow 2.21 and with plain arithmetic."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the layers are PyTorch modules")

from converter.model.config import BlockConfig  # noqa: E402
from converter.model.layers import (  # noqa: E402
    FusedMBConv,
    MBConv,
    NormConfig,
    SameConv2d,
    SqueezeExcite,
    drop_path,
    same_conv2d,
    same_padding,
)

# Results of tf.nn.conv2d and tf.nn.depthwise_conv2d with padding "SAME". Input and kernel count 1, 2, 3 and so on.
# (height and width, kernel, stride, output)
TENSORFLOW_SAME: list[tuple[tuple[int, int], int, int, list[list[int]]]] = [
    ((5, 6), 3, 2, [[226, 304, 223], [744, 834, 546], [514, 556, 337]]),
    ((6, 5), 5, 2, [[2264, 3920, 2384], [4330, 7150, 4180], [1938, 3040, 1668]]),
    ((7, 4), 3, 2, [[178, 145], [528, 360], [888, 576], [526, 319]]),
    (
        (8, 8),
        5,
        2,
        [[4532, 6000, 6620, 3914], [8780, 11150, 11800, 6790], [13100, 16350, 17000, 9670], [5486, 6670, 6910, 3711]],
    ),
    ((1, 1), 3, 2, [[5]]),
    ((2, 3), 5, 2, [[268, 226]]),
    ((4, 5), 3, 3, [[202, 184], [331, 220]]),
    ((3, 4), 2, 1, [[44, 54, 64, 28], [84, 94, 104, 44], [29, 32, 35, 12]]),
    ((5, 7), 1, 2, [[1, 3, 5, 7], [15, 17, 19, 21], [29, 31, 33, 35]]),
    (
        (5, 4),
        3,
        1,
        [[111, 178, 217, 145], [231, 348, 393, 252], [363, 528, 573, 360], [495, 708, 753, 468], [261, 358, 379, 223]],
    ),
]


def count_up(height: int, width: int) -> torch.Tensor:
    """Return an image with one channel and the values 1, 2, 3 and so on."""
    return torch.arange(1.0, height * width + 1).reshape(1, 1, height, width)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    TENSORFLOW_SAME,
    ids=[f"{size[0]}x{size[1]} k{kernel} s{stride}" for size, kernel, stride, _ in TENSORFLOW_SAME],
)
def test_same_padding_matches_tensorflow(
    size: tuple[int, int], kernel: int, stride: int, expected: list[list[int]]
) -> None:
    """Results are exact for odd and even sizes, kernels larger than the input and strides larger than the kernel."""
    conv = same_conv2d(1, 1, kernel, stride=stride)
    with torch.no_grad():
        conv.weight.copy_(count_up(kernel, kernel))

    assert conv(count_up(*size)).tolist() == [[expected]]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(224, 3, 2, (0, 1)), (225, 3, 2, (1, 1)), (224, 5, 2, (1, 2)), (7, 3, 1, (1, 1)), (5, 1, 2, (0, 0))],
)
def test_same_padding_puts_the_smaller_half_first(
    size: int, kernel: int, stride: int, padding: tuple[int, int]
) -> None:
    """At stride 2 an even size gets one zero less, and the rest at the end."""
    assert same_padding(size, kernel, stride) == padding


def test_symmetric_padding_does_not_copy_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """The convolution does symmetric padding itself; only asymmetric padding needs a padded copy."""
    padded: list[object] = []
    pad = torch.nn.functional.pad
    monkeypatch.setattr(torch.nn.functional, "pad", lambda x, sides: padded.append(sides) or pad(x, sides))
    conv = SameConv2d(1, 1, 3, stride=2)

    conv(count_up(7, 9))
    symmetric = list(padded)
    conv(count_up(7, 8))

    assert symmetric == []
    assert padded == [(0, 1, 1, 1)]
    assert type(same_conv2d(1, 1, 3)) is torch.nn.Conv2d


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    """Each sample is either zero or scaled by 1 / (1 - rate)."""
    torch.manual_seed(0)
    x = torch.ones(1000, 2, 3, 3)

    dropped = drop_path(x, 0.2)

    values = dropped.flatten(1)
    assert set(values.unique().tolist()) == {0.0, 1.25}
    assert bool((values == values[:, :1]).all())
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)


def test_squeeze_excite_scales_channels_by_a_function_of_their_means() -> None:
    """All weights are 1: the means 2 and 4 add up to 6, followed by SiLU and the sigmoid."""
    se = SqueezeExcite(2, 1).double()
    with torch.no_grad():
        for parameter in se.parameters():
            parameter.fill_(1.0 if parameter.dim() == 4 else 0.0)
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 8.0]]]], dtype=torch.float64)

    scaled = se(x).detach()

    gate = torch.sigmoid(torch.tensor(6.0, dtype=torch.float64) * torch.sigmoid(torch.tensor(6.0, dtype=torch.float64)))
    assert torch.allclose(scaled, x * gate, rtol=1e-12)


def make_block_config(*, block: str, expansion: int, se_channels: int, stride: int = 1) -> BlockConfig:
    """Return the config of a block with 4 channels."""
    return BlockConfig(
        block="fused" if block == "fused" else "mbconv",
        kernel=3,
        stride=stride,
        expansion=expansion,
        in_channels=4,
        out_channels=4,
        se_channels=se_channels,
    )


@pytest.mark.parametrize(
    ("block", "expansion", "se_channels", "modules"),
    [
        ("fused", 1, 0, ["project"]),
        ("fused", 4, 0, ["expand", "project"]),
        ("fused", 4, 1, ["expand", "se", "project"]),
        ("mbconv", 1, 1, ["depthwise", "se", "project"]),
        ("mbconv", 6, 1, ["expand", "depthwise", "se", "project"]),
        ("mbconv", 6, 0, ["expand", "depthwise", "project"]),
    ],
)
def test_block_has_the_modules_of_its_form(block: str, expansion: int, se_channels: int, modules: list[str]) -> None:
    """The state dict has weights for exactly these modules."""
    config = make_block_config(block=block, expansion=expansion, se_channels=se_channels)
    kind = FusedMBConv if block == "fused" else MBConv

    state_dict = kind(config, norm=NormConfig(1e-3, 0.1)).state_dict()

    assert {name.partition(".")[0] for name in state_dict} == set(modules)


@pytest.mark.parametrize(("block", "expansion"), [("fused", 1), ("fused", 4), ("mbconv", 1), ("mbconv", 6)])
def test_block_adds_its_input_only_at_stride_one(block: str, expansion: int) -> None:
    """If the last batch norm is zero, the block is the identity at stride 1 and zero at stride 2."""
    kind = FusedMBConv if block == "fused" else MBConv
    x = torch.randn(2, 4, 6, 6)

    outputs = []
    for stride in (1, 2):
        config = make_block_config(block=block, expansion=expansion, se_channels=0, stride=stride)
        module = kind(config, norm=NormConfig(1e-3, 0.1)).eval()
        torch.nn.init.zeros_(module.project.bn.weight)
        outputs.append(module(x).detach())

    assert torch.equal(outputs[0], x)
    assert torch.equal(outputs[1], torch.zeros(2, 4, 3, 3))


def test_stochastic_depth_is_active_only_in_training() -> None:
    """With a rate near one a block passes its input through in training mode, but not in eval mode."""
    config = make_block_config(block="mbconv", expansion=1, se_channels=0)
    module = MBConv(config, norm=NormConfig(1e-3, 0.1), drop_rate=1 - 1e-7)
    x = torch.randn(2, 4, 5, 5)

    trained, evaluated = module.train()(x).detach(), module.eval()(x).detach()

    assert torch.equal(trained, x)
    assert not torch.equal(evaluated, x)


def test_only_the_projection_of_a_fused_block_without_expansion_is_activated() -> None:
    """SiLU follows the k×k convolution of a fused block with expansion 1; 1×1 projections are linear."""
    x = torch.full((1, 4, 1, 1), -1.0)
    lowest = []
    for expansion in (1, 4):
        config = make_block_config(block="fused", expansion=expansion, se_channels=0, stride=2)
        module = FusedMBConv(config, norm=NormConfig(0.0, 0.1)).eval()
        torch.nn.init.zeros_(module.project.bn.weight)
        torch.nn.init.constant_(module.project.bn.bias, -5.0)
        lowest.append(module(x).min().item())

    assert lowest[0] == pytest.approx(-5.0 / (1 + 2.718281828459045**5), rel=1e-5)
    assert lowest[1] == -5.0
