"""The source of PyTorch modules: their layers are found, and operations in place mean what they do there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import converter
from converter.programs.source import write_source

from .source_networks import export, load_source


def test_converted_network_is_written_with_its_layers(digits: Path) -> None:
    """Every layer of the network is one of the source, which names its sizes in the order of the axes."""
    model = converter.load_model(digits).eval()
    image = torch.randn(2, 3, 33, 47, generator=torch.Generator().manual_seed(0))

    source = write_source(export(model, image, axes=(0, 2, 3)))

    for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        count = sum(isinstance(module, kind) for module in model.modules())
        network = load_source(source)
        assert sum(isinstance(module, kind) for module in network.modules()) == count, kind
    assert "torch.ops" not in source.text
    assert "# image is [N, 3, H, W]" in re.sub(r"# \w+ is", "# image is", source.text)
    with torch.no_grad():
        torch.testing.assert_close(network(image), model(image), rtol=1e-5, atol=1e-5)


def _after_a_view(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    first = y[:1]
    y.add_(1)
    return first + y


def _of_a_view(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    y[:, 1].mul_(3)
    return y + 1


def _of_a_possible_view(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    y.reshape(-1).add_(1)
    return y


def _used_afterwards(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    z = y.relu_()
    return y + z


def _twice(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(x).neg_().sigmoid_()


def _last_use(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    mean = y.mean(0)
    return y.clamp_(min=0.5) + mean


class _Calls(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._function(x)


@pytest.mark.parametrize(
    "function",
    [_after_a_view, _of_a_view, _of_a_possible_view, _used_afterwards, _twice, _last_use],
    ids=lambda function: function.__name__.strip("_").replace("_", " "),
)
def test_operations_in_place_have_their_effect(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Also on what shares memory with the changed tensor, or uses it later."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

    source = write_source(export(_Calls(function), x))

    torch.testing.assert_close(load_source(source)(x), function(x))
