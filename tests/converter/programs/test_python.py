"""Python source as a program file, its check, and names from strangers in it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import converter
from converter.errors import GraphError, VerificationError
from converter.programs import python
from converter.programs.source import Style, write_source
from converter.programs.source.checking import check_text
from tests.converter.engine.graphs import constant, node, placeholder, write_frozen

from .source_networks import arrays, export, load_network, load_source, written

LEGAL = """
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)

    def forward(self, x):
        return {"y": torch.relu(self.a(x)) + x.shape[0]}
"""
HOSTILE = {
    "module": ("import torch\n", "import os\n"),
    "part of a module": ("from torch import nn\n", "from torch import hub\n"),
    "builtin": ("torch.relu(", "open("),
    "alias": ("torch.relu(", "[open][0]("),
    "dunder": ("x.shape[0]", "x.__class__"),
    "private": ("x.shape[0]", "torch._C"),
    "file": ("torch.relu(", "torch.load("),
    "submodule": ("torch.relu(", "torch.utils.data.get_worker_info("),
    "decorator": ("    def forward", "    @torch.relu\n    def forward"),
    "lambda": ("x.shape[0]", "(lambda: 1)()"),
    "formatted string": ('"y"', 'f"{x}"'),
    "loop without end": ("        return", "        while True:\n            x = x\n        return"),
    "syntax": ("return {", "return {{"),
}


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """The graph of a network with convolutions."""
    path = tmp_path / "frozen.pb"
    path.write_bytes(arrays()["convolutions/graph"].tobytes())
    return path


def test_python_file_runs_without_this_package(frozen: Path, tmp_path: Path) -> None:
    """A user's own process needs torch and safetensors, and gets what TensorFlow recorded."""
    out = tmp_path / "net.py"
    np.save(tmp_path / "x.npy", arrays()["convolutions/x"])
    report = converter.export_program(frozen, out, inputs={"inputs": "inputs"}, outputs={"y": "y"})

    script = (
        "import sys; sys.modules['converter'] = sys.modules['tfckpt'] = None; sys.path.insert(0, '.')\n"
        "import net, numpy, torch\n"
        "model = net.load('net.safetensors')\n"
        "y = model(torch.from_numpy(numpy.load('x.npy')))['y']\n"
        "y.sum().backward()\n"
        "assert all(p.grad is not None for p in model.parameters()), 'a parameter without gradient'\n"
        "numpy.save('y.npy', y.detach())\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)

    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), arrays()["convolutions/y"], rtol=2e-5, atol=2e-5)
    assert report.passes
    assert any("4 layers recognized" in note for note in report.notes)


@pytest.mark.usefixtures("in_process")
def test_a_wrong_text_gets_no_name(frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file computes is compared, so that no fault of the writer reaches a user."""

    def write_wrong(*args: object, **kwargs: object) -> object:
        source = write_source(*args, **kwargs)  # type: ignore[arg-type]  # passed on
        return type(source)(source.text.replace("F.relu(", "F.silu("), source.tensors, 0, 0, 0)

    monkeypatch.setattr(python, "write_source", write_wrong)

    with pytest.raises(VerificationError):
        converter.export_program(frozen, tmp_path / "net.py", inputs={"inputs": "inputs"}, outputs={"y": "y"})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["frozen.pb"]


@pytest.mark.usefixtures("in_process")
def test_graph_source_is_the_text_of_the_file(frozen: Path) -> None:
    """In Python the text and tensors come without files."""
    module = converter.graph_module(frozen, inputs={"inputs": "inputs"}, outputs={"y": "y"})

    source = converter.graph_source(module, style="plain")

    assert "F.conv2d(" in source.text
    assert "nn.Conv2d" not in source.text
    x = torch.from_numpy(arrays()["convolutions/x"])
    np.testing.assert_allclose(load_source(source)(x)["y"].detach(), module(x)["y"].detach(), rtol=1e-5, atol=1e-5)


def test_only_definitions_and_calls_of_torch_are_legal() -> None:
    """The check itself: text that reaches outside torch is refused, and its nearest twin is not."""
    check_text(LEGAL)
    for name, (old, new) in HOSTILE.items():
        assert old in LEGAL, name
        with pytest.raises(GraphError):
            check_text(LEGAL.replace(old, new))


NAMES = [
    'x\\"); __import__(\\"os\\").abort() #',
    "class",
    "super",
    "torch",
    "self",
    "forward",
    "training",
    "\\316\\273/\\316\\262",
    "a\\nimport os",
    "__init__",
    "1/2",
    "n" * 500,
]


@pytest.mark.parametrize("style", ["modules", "plain"])
def test_names_of_strangers_are_never_code(style: str, tmp_path: Path) -> None:
    """Names of nodes and outputs that would be code, keywords or names of ours become plain identifiers and strings."""
    weights = [constant(f"{name}/kernel", 0.1 * number, 3, 3) for number, name in enumerate(NAMES, 1)]
    products = [
        node(f"product{number}", "MatMul", f"product{number - 1}" if number else "input", f"{name}/kernel")
        for number, name in enumerate(NAMES)
    ]
    path = write_frozen(tmp_path / "hostile.pb", placeholder("input", -1, 3), *weights, *products)
    key = 'y"}; import os; {"\n'
    module = converter.graph_module(path, inputs={"input": "input"}, outputs={key: f"product{len(NAMES) - 1}"})
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))

    source = write_source(export(module, x), style=style)  # type: ignore[arg-type]  # one of the two

    check_text(source.text)
    assert source.text.isascii()
    assert "os" not in {node.id for node in ast.walk(ast.parse(source.text)) if isinstance(node, ast.Name)}
    np.testing.assert_allclose(load_source(source)(x)[key].detach(), module(x)[key].detach(), rtol=1e-5, atol=1e-7)


def test_moving_statistics_move_in_training(tmp_path: Path) -> None:
    """A batch norm is one in training too, unlike the graph's, whose statistics are constants."""
    _, source = written("fused_norm", tmp_path)
    model = load_source(source)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    model.train()(torch.from_numpy(arrays()["fused_norm/x"]))

    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}


@pytest.mark.parametrize("name", ["convolutions", "fused_norm", "lstm"])
@pytest.mark.parametrize("style", ["modules", "plain"])
def test_written_source_trains(name: str, style: Style, tmp_path: Path) -> None:
    """Every parameter can be trained and changes, and the loss falls."""
    model = load_source(written(name, tmp_path, style)[1]).train()
    before = {key: value.clone() for key, value in model.named_parameters()}
    x = torch.from_numpy(arrays()[f"{name}/x"])
    wanted = torch.randn(model(x)["y"].shape, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    losses = []
    for _ in range(10):
        loss = torch.nn.functional.mse_loss(model(x)["y"], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert before and all(value.requires_grad for value in model.parameters())
    assert [key for key, value in model.named_parameters() if torch.equal(value, before[key])] == []
    assert losses[-1] < 0.95 * losses[0]


def test_tied_parameter_stays_one(tmp_path: Path) -> None:
    """A matrix that is used twice is one parameter, whose gradient is that of both uses."""
    module, source = load_network("tied", tmp_path), written("tied", tmp_path)[1]
    model = load_source(source)
    x = torch.from_numpy(arrays()["tied/x"])

    module(x)["y"].sum().backward()
    model(x)["y"].sum().backward()

    (expected,) = (parameter.grad for parameter in module.parameters())
    (found,) = (parameter.grad for parameter in model.parameters())
    assert expected is not None
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
