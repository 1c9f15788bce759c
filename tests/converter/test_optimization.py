"""A network prepared for inference."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

import converter  # noqa: E402
from converter.model import CONFIGS, EfficientNet  # noqa: E402


def network(name: str = "efficientnetv2-b0") -> EfficientNet:
    """A network with statistics of its own data, as a trained one has them."""
    torch.manual_seed(0)
    model = EfficientNet(dataclasses.replace(CONFIGS[name], dropout=0.0, drop_path=0.0, num_classes=10))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
            torch.nn.init.uniform_(module.weight, 0.9, 1.1)
            torch.nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        model.train()(torch.randn(2, 3, 128, 128))
    return model.eval()


@pytest.mark.parametrize("name", ["efficientnetv2-b0", "efficientnet-b0"])
def test_logits_are_those_of_the_network(name: str) -> None:
    """In float64 no rounding hides a difference of the networks."""
    model = network(name).double()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)

    with torch.inference_mode():
        expected, found = model(x), converter.optimize(model)(x)

    assert (found - expected).abs().max() <= 1e-11 * expected.abs().max()


def test_logits_in_float32_are_those_of_the_network_to_rounding() -> None:
    """Folding changes the order of roundings: 1e-5 of the largest logit is some hundred of them."""
    model = network()
    x = torch.randn(1, 3, 128, 128)

    with torch.inference_mode():
        expected, found = model(x), converter.optimize(model)(x)

    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_no_batch_norm_is_left_and_kernels_are_channels_last() -> None:
    """Counts, since times are not for a test."""
    optimized = converter.optimize(network())

    kinds = [type(module) for module in optimized.modules()]
    kernels = [parameter for parameter in optimized.parameters() if parameter.dim() == 4]

    assert torch.nn.BatchNorm2d not in kinds
    assert optimized.config.folded_bn
    assert not optimized.training
    assert all(
        kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels if kernel.shape[2:] != (1, 1)
    )
    assert all(kernel.flatten(1).t().is_contiguous() for kernel in kernels if kernel.shape[2:] == (1, 1))
    assert not any(parameter.requires_grad for parameter in optimized.parameters())


def test_memory_format_of_the_images_does_not_matter() -> None:
    """1×1 convolutions are dense layers for channels-last images only."""
    optimized = converter.optimize(network().double())
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)

    with torch.inference_mode():
        last = optimized(x.contiguous(memory_format=torch.channels_last))
        first = optimized.to(memory_format=torch.contiguous_format)(x)

    assert (last - first).abs().max() <= 1e-11 * first.abs().max()


def test_network_itself_is_left_as_it_was() -> None:
    """Values, mode and layout; the copy shares no memory with it."""
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    optimized = converter.optimize(model)
    with torch.no_grad():
        for parameter in optimized.parameters():
            parameter.zero_()

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.is_contiguous() for p in model.parameters())


def test_optimizing_twice_changes_nothing() -> None:
    """A network without batch norms has nothing to fold."""
    once = converter.optimize(network())

    twice = converter.optimize(once)

    assert all(torch.equal(tensor, once.state_dict()[name]) for name, tensor in twice.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_dtype_of_the_network_is_kept(dtype: torch.dtype) -> None:
    """Also those that NumPy lacks."""
    optimized = converter.optimize(network().to(dtype))

    assert {parameter.dtype for parameter in optimized.parameters()} == {dtype}
