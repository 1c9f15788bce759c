"""Exported networks are right for every size, in onnxruntime and as programs of `torch.export`."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch module")

import converter  # noqa: E402
from converter.model import EfficientNet  # noqa: E402
from converter.model.layers import same_conv2d  # noqa: E402
from tests.conftest import slow  # noqa: E402
from tests.converter.exported import SIZES, check_sizes, export_to_onnx  # noqa: E402

from .test_efficientnet import SMALL  # noqa: E402

Dim = torch.export.Dim


def name_sizes(smallest: int = 32) -> dict[int, Any]:
    """Return named ranges for batch, height and width."""
    return {
        0: Dim("batch", min=1, max=64),
        2: Dim("height", min=smallest, max=512),
        3: Dim("width", min=smallest, max=512),
    }


def make_images(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    """Return a batch of random images for each size."""
    return [torch.randn(3, 3, *size) for size in sizes]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [name_sizes(), dict.fromkeys((0, 2, 3), Dim.DYNAMIC)], ids=["named", "dynamic"])
def test_network_in_onnx_is_right_for_every_size(sizes: dict[int, Any]) -> None:
    """ONNX rounds divisions toward zero, which must not change the padding of sizes that the stride does not divide.

    A convolution below, and the check of a program for any size, are quicker.
    """
    torch.manual_seed(0)
    model = EfficientNet(dataclasses.replace(SMALL, stages=SMALL.stages[:3])).eval()

    run = export_to_onnx(model, torch.randn(2, 3, 45, 38), {"x": sizes})

    check_sizes(model, run, make_images(*SIZES))


@pytest.mark.parametrize("children", [slow(3), slow(None)], ids=["features", "whole"])
def test_torchvision_with_same_padding_is_right_in_onnx(children: int | None) -> None:
    """The exported convolutions compute the padding for each size."""
    pytest.importorskip("tests.torchvision_operators")
    torchvision = pytest.importorskip("torchvision", reason="its models are exported")
    torch.manual_seed(0)
    network = converter.same_padding_(torchvision.models.efficientnet_b0(weights=None)).eval()
    model = network if children is None else network.features[:children]

    run = export_to_onnx(model, torch.randn(2, 3, 45, 38), (dict.fromkeys((0, 2, 3), Dim.DYNAMIC),))

    check_sizes(model, run, make_images(*SIZES))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (3, 2), slow(2, 3), slow(2, 2), slow(5, 3)])
def test_same_convolution_in_onnx_is_right_for_every_size(kernel: int, stride: int) -> None:
    """If the kernel is smaller than the stride, some rows are skipped, but none may be cropped."""
    torch.manual_seed(0)
    model = same_conv2d(3, 4, kernel, stride=stride)

    run = export_to_onnx(model, torch.randn(2, 3, 14, 13), ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC},))

    check_sizes(model, run, [torch.randn(2, 3, height, width) for height, width in ((6, 7), (8, 9), (10, 11), (12, 6))])


def test_exported_program_contains_no_maximum_of_sizes() -> None:
    """Some runtimes do not support it; kernels of EfficientNets are never smaller than their strides."""
    model = EfficientNet(dataclasses.replace(SMALL, stages=SMALL.stages[:2])).eval()

    program = torch.export.export(model, (torch.randn(2, 3, 45, 38),), dynamic_shapes={"x": name_sizes()})

    assert "sym_max" not in {getattr(node.target, "__name__", "") for node in program.graph.nodes}


@pytest.mark.slow
def test_named_sizes_keep_their_range_if_the_last_map_can_be_one_pixel() -> None:
    """With a reduction of 32, 32 pixels become one, and `torch.export` must not treat size 1 as a special case."""
    torch.manual_seed(0)
    halving = dataclasses.replace(SMALL.stages[3], stride=2, in_channels=8, out_channels=8)
    model = EfficientNet(dataclasses.replace(SMALL, stages=(halving,) * 4)).eval()
    example = (torch.randn(2, 3, 45, 38),)

    with torch.fx.experimental._config.patch(backed_size_oblivious=True):
        from_32 = torch.export.export(model, example, dynamic_shapes={"x": name_sizes()}).module()
    from_33 = torch.export.export(model, example, dynamic_shapes={"x": name_sizes(33)}).module()

    for x in make_images((32, 32), (33, 512), (47, 64)):
        programs = [from_32] if 32 in x.shape else [from_32, from_33]
        for program in programs:
            assert torch.allclose(program(x), model(x), rtol=1e-5, atol=1e-6)
