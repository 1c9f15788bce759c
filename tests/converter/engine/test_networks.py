"""Networks for which we have no PyTorch code, created and run by real TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from converter.engine import GraphModule, graph_module, load_graph
from tests.arrays import distance
from tests.conftest import slow

from .networks import NAMES, load_golden, make_saved_model

#: TensorFlow's own float32 results differ by up to 5e-7 from its float64 results. BERT's graph has constants, such as
#: the square root of 2, that were rounded to float32 when it was built; its float64 version has them exactly.
WIDE = {"mobilenetv2": 1e-13, "resnet50": 1e-13, "bert": 1e-8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a network's SavedModel, by the network's name; each is written once."""
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            folders[name] = make_saved_model(name, tmp_path_factory.mktemp(name))
        return folders[name]

    return make


def inputs_of(name: str, module: GraphModule) -> tuple[torch.Tensor, ...]:
    """Return TensorFlow's inputs in the order of the module's inputs."""
    values = load_golden(name)
    return tuple(torch.tensor(values[f"input:{key}"]) for key in input_keys(module))


def input_keys(module: GraphModule) -> list[str]:
    """Return the names of the signature's inputs, which the names of the placeholders contain."""
    return [name.removeprefix("serving_default_").removesuffix(":0") for name in module.input_names]


@pytest.mark.parametrize("name", NAMES)
def test_network_agrees_with_tensorflow(name: str, folder: Callable[[str], Path]) -> None:
    """The outputs of the signature equal TensorFlow's, in float32 and in float64."""
    graph = load_graph(folder(name))
    values, signature = load_golden(name), graph.signature()
    feeds = {tensor.name: values[f"input:{key}"] for key, tensor in signature.inputs.items()}
    outputs = {key: tensor.name for key, tensor in signature.outputs.items()}

    for dtype, suffix, tolerance in (("float32", "64", 1.5e-6), ("float64", "64", WIDE[name])):
        computed = graph.run(list(outputs.values()), feeds, dtype=dtype)

        for key, value in zip(outputs, computed, strict=True):
            assert distance(value, values[key + suffix]) < tolerance, (key, dtype)


@pytest.mark.parametrize("name", [slow("mobilenetv2"), slow("resnet50"), "bert"])
def test_module_exports_with_any_batch(name: str, folder: Callable[[str], Path]) -> None:
    """`torch.export` accepts the module with a symbolic batch, and the program is correct for other batch sizes."""
    module = graph_module(folder(name))
    inputs = inputs_of(name, module)
    batch = torch.export.Dim("batch", min=1, max=64)

    program = torch.export.export(module, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
    outputs = program.module()(*(value[:1] for value in inputs))

    expected = load_golden(name)
    for key, value in outputs.items():
        assert distance(value.detach().numpy(), expected[f"{key}64"][:1]) < 3e-6, key


@pytest.mark.parametrize("name", NAMES)
def test_module_trains(name: str, folder: Callable[[str], Path]) -> None:
    """Gradients reach the parameters, and training steps reduce the loss."""
    module = graph_module(folder(name))
    inputs = inputs_of(name, module)
    key = module.output_keys[-1]
    start = module(*inputs)[key].detach()
    target = start + torch.randn(start.shape, generator=torch.Generator().manual_seed(1)) * start.abs().mean()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    losses = []

    for _ in range(4):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(module(*inputs)[key], target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    with_gradient = sum(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())
    assert losses[-1] < 0.97 * losses[0], losses
    assert with_gradient > 0.8 * len(list(module.parameters()))


def test_scopes_are_submodules(folder: Callable[[str], Path]) -> None:
    """The name of a variable is the path of its parameter, and moving statistics are buffers."""
    module = graph_module(folder("mobilenetv2"))

    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())

    assert parameters["block_1_depthwise.depthwise_kernel"].shape == (3, 3, 48, 1)
    assert buffers["block_1_depthwise_BN.moving_mean"].shape == (48,)
    assert "bn_Conv1.gamma" in parameters
    assert isinstance(module.get_submodule("block_1_depthwise"), torch.nn.Module)


def test_state_dict_transfers_the_weights(folder: Callable[[str], Path]) -> None:
    """A module that loads the state dict of another one computes the same outputs."""
    source, target = graph_module(folder("mobilenetv2")), graph_module(folder("mobilenetv2"))
    inputs = inputs_of("mobilenetv2", source)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.zero_()

    target.load_state_dict(source.state_dict())

    assert torch.equal(target(*inputs)["logits"], source(*inputs)["logits"])
