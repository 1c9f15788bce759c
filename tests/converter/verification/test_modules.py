"""The module of rules or of a ready family computes what the checkpoint's graph computes, or nothing is written."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import converter
import tfckpt
from converter.errors import GraphError, VerificationError
from converter.exporting import prepare
from converter.mapping.rules import RuleSet
from tests.conftest import slow

from ..ready.cases import DATA

torch = pytest.importorskip("torch", reason="modules are PyTorch's")
pytest.importorskip("tests.torchvision_operators")
pytest.importorskip("transformers", reason="its modules are compared")
from torch import nn  # noqa: E402

from converter.networks.modules import build_module  # noqa: E402
from converter.verification.modules import GUESSED, Interface, ModuleReport, prove_module  # noqa: E402
from converter.verification.oracle import build_oracle  # noqa: E402


def prove(name: str, module: Any, result: converter.ConversionResult, interface: Interface = GUESSED) -> ModuleReport:
    """Return the comparison of a module with the graph of a checkpoint."""
    with tfckpt.open(DATA / f"{name}.tar.xz") as checkpoint:
        graph = build_oracle(checkpoint)
        assert graph is not None
        variables = {record.variable: record.source_shape for record in result.report.tensors}
        return prove_module(graph, module, variables, interface, weights="raw")


def convert(name: str, part: str | None = None) -> converter.ConversionResult:
    """Return the conversion of a checkpoint."""
    return converter.convert(DATA / f"{name}.tar.xz", part=part)


@pytest.mark.parametrize(
    ("name", "part", "outputs"),
    [
        ("bert", None, 2),
        ("bert", "pretraining", 2),
        ("bert-training", "pretraining", 2),
        ("albert", "pretraining", 2),
        ("electra", "discriminator", 1),
        ("electra", "generator", 1),
        ("bert-questions", None, 2),
        ("gpt2", None, 1),
        ("resnet-v1", None, 1),
        ("resnet-v2", None, 1),
        slow("mobilenet-v1", None, 1),
        slow("mobilenet-v2", None, 1),
        slow("inception-v3", None, 1),
    ],
)
def test_outputs_of_a_ready_family_agree_with_the_graph(name: str, part: str | None, outputs: int) -> None:
    """What to feed and what to compare is found through variables, in graphs with iterators and dropout too."""
    result = convert(name, part)

    report = prove(name, converter.load_network(result), result)

    assert report.ok, report.summary()
    assert (len(report.records), report.not_compared) == (outputs, ())


def test_command_records_the_proof(tmp_path: pathlib.Path) -> None:
    """The line says how many outputs were compared, and the record can be shown again."""
    record = converter.export(convert("gpt2"), tmp_path / "gpt2", proof="require")

    assert record is not None
    assert record.line == "proved 1 of 1 output"


def test_another_gelu_is_found() -> None:
    """BERT computes the tanh approximation; the exact GELU differs by less than a thousandth and is refused."""
    result = convert("bert")
    assert result.network is not None
    module = build_module("BertModel", {**result.network.build_config("float32"), "hidden_act": "gelu"})
    module.load_state_dict({name: torch.tensor(array) for name, array in result.state_dict.items()})

    report = prove("bert", module, result)

    assert not report.ok
    assert max(record.difference for record in report.records) < 1e-3


def make_torchvision_resnet() -> Any:
    """torchvision's ResNet, as narrow as the checkpoint."""
    models = pytest.importorskip("torchvision.models.resnet", reason="torchvision is not installed")
    module = models.ResNet(models.Bottleneck, [1, 1, 1, 1], num_classes=7)
    module.inplanes = 64
    for number in range(1, 5):
        setattr(module, f"layer{number}", module._make_layer(models.Bottleneck, 4 * number, 2, stride=min(number, 2)))
    module.fc = nn.Linear(64, 7)
    return module


def make_torchvision_inception(result: converter.ConversionResult) -> Any:
    """torchvision's Inception v3 with the layers of ours, which are as narrow as the checkpoint."""
    models = pytest.importorskip("torchvision.models.inception", reason="torchvision is not installed")
    module = models.Inception3(transform_input=False, init_weights=False)
    ours = converter.load_network(result)
    for name, layer in ours.named_modules():
        if hasattr(layer, "conv") and hasattr(layer, "bn"):
            module.get_submodule(name).conv, module.get_submodule(name).bn = layer.conv, layer.bn
    module.fc, module.AuxLogits.fc = ours.fc, ours.get_submodule("AuxLogits.fc")
    return module


@pytest.mark.parametrize("name", ["resnet-v1", slow("inception-v3")])
def test_torchvisions_module_loads_strictly_and_is_refused(name: str, tmp_path: pathlib.Path) -> None:
    """Names and shapes are the same, but strides or averages differ; our own module is accepted."""
    result = convert(name)
    module = make_torchvision_resnet() if name == "resnet-v1" else make_torchvision_inception(result)
    tensors = {key: torch.tensor(array) for key, array in result.state_dict.items()}
    assert str(module.load_state_dict(tensors, strict=True)) == "<All keys matched successfully>"
    by_rules = converter.convert(DATA / f"{name}.tar.xz", rules=result.rules, into=module)

    with pytest.raises(VerificationError, match="does not compute what the graph computes"):
        converter.export(by_rules, tmp_path / "out.safetensors")

    assert not (tmp_path / "out.safetensors").exists()
    accepted = converter.convert(DATA / f"{name}.tar.xz", rules=result.rules, into=converter.load_network(result))
    record = converter.export(accepted, tmp_path / "out.safetensors")
    assert record is not None
    assert record.line == "proved 1 of 1 output"


@pytest.fixture
def two_inputs(tmp_path: pathlib.Path) -> Iterator[tuple[str, RuleSet]]:
    """A checkpoint whose graph is that of GPT-2, and rules for one layer of it."""
    from converter.mapping.rules import Ignore, Rule

    rules = RuleSet(
        name="mine",
        version="1",
        rules=(Rule("model/wte", "table.weight"),),
        ignores=tuple(Ignore(f"model/{rest}", "not used") for rest in ("wpe", "h{n}/{rest...}", "ln_f/{rest}")),
    )
    yield str(DATA / "gpt2.tar.xz"), rules


class Lookup(nn.Module):
    """Looks words up, and takes an argument that the graph does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(30, 16)

    def forward(self, words: Any, scale: Any) -> Any:
        """Return the rows."""
        return {"rows": self.table(words) * scale}


def test_what_cannot_be_guessed_is_not_proved_and_can_be_named(
    two_inputs: tuple[str, RuleSet], tmp_path: pathlib.Path
) -> None:
    """The module needs two inputs; with names the missing one is an error, and an unknown tensor has close names."""
    path, rules = two_inputs
    result = converter.convert(path, rules=rules, into=Lookup())

    record = converter.export(result, tmp_path / "a.safetensors")

    assert record is not None
    assert record.layers is None
    assert "--probe" in str(record.explanation)
    names = {"probe": {"words": "input_ids"}, "compare": {"rows": "model/Gather"}}
    with pytest.raises(GraphError, match="scale"):
        converter.export(result, tmp_path / "b.safetensors", **names)
    with pytest.raises(GraphError, match="close names: model/Gather"):
        converter.export(result, tmp_path / "b.safetensors", compare={"rows": "model/Gathers"})
    Lookup.forward = lambda self, words: {"rows": self.table(words)}  # type: ignore[method-assign,misc]  # one input
    assert converter.export(result, tmp_path / "b.safetensors", **names) is not None


def test_graph_without_a_module_is_not_compared(tmp_path: pathlib.Path) -> None:
    """Names and shapes as the target are enough to convert, and the record says that nothing was run."""
    result = convert("gpt2")
    targets = {name: array.shape for name, array in result.state_dict.items()}
    by_rules = converter.convert(DATA / "gpt2.tar.xz", rules=result.rules, into=targets)

    record = converter.export(by_rules, tmp_path / "gpt2.npz")

    assert record is not None
    assert record.line == "weights proved; layers not (converted by rules)"


def test_widened_weights_verify(tmp_path: pathlib.Path) -> None:
    """bfloat16 becomes float32 without a difference; another value is found."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    from converter.verification.weights import verify_weights

    tfckpt.save({"w": np.arange(6).astype(ml_dtypes.bfloat16)}, tmp_path / "model")
    rules = RuleSet(name="mine", version="1", rules=(converter.mapping.rules.Rule("w", "w"),))
    wide = np.arange(6, dtype=np.float32)

    for value, is_ok in ((wide, True), (wide + np.float32(2**-20), False)):
        np.savez(tmp_path / "out.npz", w=value)
        report = verify_weights(tmp_path / "model", tmp_path / "out.npz", rules=rules)
        assert report.ok is is_ok
        assert ("widened exactly" in report.summary()) is is_ok
    result = converter.convert(tmp_path / "model", rules=rules)
    for dtype, verb in (("float32", "widened"), ("float16", "rounded")):
        assert prepare(result, dtype=dtype).changes == (f"floating-point tensors {verb} to {dtype}",)
