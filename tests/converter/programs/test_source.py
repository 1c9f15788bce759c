"""Source: what is written for each pattern, and that it computes what the engine and TensorFlow compute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from converter.programs.source import Style, write_source

from .source_networks import arrays, export, load_exact, load_network, load_source, names, written

#: What the source of a network contains, and what it must not contain.
PATTERNS = {
    "convolutions": (
        [
            "F.pad(x, (0, 1, 0, 1))",
            "nn.Conv2d(3, 8, 3, stride=2)",
            "nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False)",
            "nn.Conv2d(16, 8, 1, bias=False)",
            "nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)",
        ],
        ["F.conv2d", "reshape"],
    ),
    "transposed": (["nn.ConvTranspose2d(3, 4, 3, stride=2"], ["F.conv_transpose2d"]),
    "fused_norm": (["nn.BatchNorm2d(4, eps=0.001)", "self.bn = "], ["F.batch_norm"]),
    "written_norm": (["nn.BatchNorm2d(4, eps=0.001)"], ["rsqrt"]),
    "old_norm": (["nn.BatchNorm2d(4, eps=1e-05)", "nn.Conv2d(3, 4, 3, padding=1)"], ["sqrt"]),
    "near_norm": (["torch.sqrt("], ["BatchNorm"]),
    "near_norm_of_columns": (["torch.rsqrt("], ["BatchNorm"]),
    "convolution_of_sequences": (["nn.Conv1d(3, 8, 3, padding=1)", "nn.BatchNorm1d(8"], ["Conv2d", "None", "squeeze"]),
    "squeeze_and_excitation": (["x.mean((2, 3), keepdim=True)", "F.silu(", "nn.Conv2d(8, 2, 1)"], ["reshape"]),
    "pools": (
        ["F.max_pool2d(x, 3, 2, ceil_mode=True)", "F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)"],
        ["F.pad", "new_ones"],
    ),
    "dense": (["nn.Linear(64, 5)", "nn.Linear(16, 6)", "x.flatten(1)"], ["F.linear", "@"]),
    "activations": (
        [
            "F.silu",
            "F.hardswish",
            "F.hardsigmoid",
            "F.gelu(inputs)",
            'F.gelu(inputs, approximate="tanh")',
            "F.mish",
            "F.relu6",
        ],
        ["torch.sigmoid(", "erf", "tanh(", "clamp"],
    ),
    "near_activations": (
        ["torch.sigmoid(", "torch.clamp(inputs, min=1e-07)", "max=6.5)", "/ 6.1", "+ 1e-07"],
        ["gelu", "hardswish", "F.relu6(inputs)"],
    ),
    "layer_norms": (["nn.LayerNorm(6, eps=1e-06)"], ["rsqrt", "mean("]),
    "near_layer_norm": (["rsqrt"], ["LayerNorm"]),
    "tied": (["F.linear("], ["nn.Linear"]),
    "shared": (["x = F.relu(self.conv2d(x), inplace=True)"], ["conv2d_1"]),
    "signal": (["= filter_signal(filter_signal(x, self.", ", 2, 31), self.", ", 4, 0)"], ["nn.Conv1d"]),
    "near_signal": (["nn.Conv1d(1, 1, 65, stride=2", "nn.Conv1d(1, 2, 64, stride=2"], ["filter_signal"]),
    "near_convolution": (["F.conv2d("], ["nn.Conv2d"]),
    "near_pools": (["F.pad(x, (1, 1, 1, 1))", "F.max_pool2d(x, 3, 2)", "F.avg_pool2d(x, 3, 2)"], ["padding=1", "ceil"]),
    "near_dense": (["x = F.relu(self.relu)", "x = inputs @ x"], ["nn.Linear"]),
    "near_squeeze_and_excitation": (["x.mean((1, 2), keepdim=True)"], ["x.mean((2, 3)"]),
    "embedding": (["= nn.Embedding(7, 3)"], ["reshape", "index_select"]),
    "near_embedding": (["F.embedding(", "torch.index_select("], ["nn.Embedding"]),
    "prelu": (["nn.PReLU(4)", "F.leaky_relu(self.conv2d_1(x), negative_slope="], ["F.relu", "where"]),
    "near_prelu": (["F.relu("], ["PReLU", "leaky_relu"]),
    "dropout": (["self.dropout = nn.Dropout(p=0.25)", "x = self.dropout(x)"], ["rand"]),
    "lstm": (["self.encoder = nn.LSTM(3, 4, batch_first=True)", "self.encoder(inputs)[0]"], ["sigmoid", "unbind"]),
    "lstm_without_bias": (["nn.LSTM(3, 4, bias=False, batch_first=True)", "x[:, -1]"], ["sigmoid"]),
    "lstm_of_both_directions": (["nn.LSTM(3, 4, batch_first=True, bidirectional=True)"], ["flip", "torch.cat"]),
    "gru": (["nn.GRU(3, 4, batch_first=True)", "x[:, -1]"], ["sigmoid"]),
    "old_lstm": (["nn.LSTM(3, 4, batch_first=True)", "[1]"], ["sigmoid"]),
    "stacked_lstm": (["nn.LSTM(3, 4, batch_first=True)", "nn.LSTM(4, 4, batch_first=True)"], ["sigmoid"]),
    "near_lstm": (["torch.tanh("], ["LSTM"]),
    "near_gru": (["torch.sigmoid("], ["GRU("]),
    "near_lstm_with_peepholes": (["torch.sigmoid("], ["LSTM("]),
    "near_shared": (["F.conv2d(x, self.conv2d, stride=2)"], ["nn.Conv2d"]),
}


@pytest.mark.parametrize("style", ["modules", "plain"])
@pytest.mark.parametrize("name", names())
def test_source_computes_what_the_engine_and_tensorflow_compute(
    name: str, style: Style, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In float32 and float64, at batches of one to three, and at a second size if it may have any."""
    folder = tmp_path_factory.getbasetemp()
    module, source = written(name, folder, style)
    model = load_source(source)
    x = torch.from_numpy(arrays()[f"{name}/x"])
    y = arrays()[f"{name}/y"]

    with torch.no_grad():
        np.testing.assert_allclose(model(x)["y"], y, rtol=2e-5, atol=2e-5)
        exact = load_exact(name, folder)
        for batch in (1, 3):
            sizes = (batch, 13, 16, 3) if name == "any_size" else (batch, *x.shape[1:])
            probe = torch.randn(sizes, generator=torch.Generator().manual_seed(batch))
            np.testing.assert_allclose(model(probe)["y"], module(probe)["y"], rtol=1e-5, atol=1e-5)
        torch.set_default_dtype(torch.float64)
        try:
            double = load_source(source).double()
            np.testing.assert_allclose(double(probe.double())["y"], exact(probe)["y"], rtol=1e-6, atol=1e-6)
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_is_written_as_a_person_would(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Layers and functions where they are, and plain calls where something only looks like them."""
    _, source = written(name, tmp_path_factory.getbasetemp())
    expected, unexpected = PATTERNS[name]

    assert [part for part in expected if part not in source.text] == []
    assert [part for part in unexpected if part in source.text] == []


@pytest.mark.parametrize("style", ["modules", "plain"])
def test_source_is_formatted(style: Style, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A formatter leaves it unchanged."""
    folder = tmp_path_factory.mktemp("formatted")
    for name in names():
        (folder / f"{name}.py").write_text(written(name, tmp_path_factory.getbasetemp(), style)[1].text)

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "--diff", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == ""
    assert all(len(line) <= 120 for path in folder.iterdir() for line in path.read_text().splitlines())


class Blocks(torch.nn.Module):
    """Four blocks: the first two differ in a number, the last two in an operation."""

    def __init__(self) -> None:
        super().__init__()
        for number, (hidden, kernel) in enumerate([(8, 1), (6, 1), (6, 1), (6, 3)], 1):
            self.add_module(f"block_{number}_expand", torch.nn.Conv2d(4, hidden, kernel, padding=kernel // 2))
            self.add_module(f"block_{number}_bn", torch.nn.BatchNorm2d(hidden))
            self.add_module(f"block_{number}_1_project", torch.nn.Conv2d(hidden, 4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number in range(1, 5):
            y = getattr(self, f"block_{number}_bn")(getattr(self, f"block_{number}_expand")(x))
            y = torch.tanh(y) if number == 3 else torch.relu(y)
            x = x + getattr(self, f"block_{number}_1_project")(y)
        return x


def test_scope_that_repeats_is_a_class() -> None:
    """Blocks that compute the same share a class, with the numbers that differ as arguments; others do not."""
    module = Blocks().eval()
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))

    source = write_source(export(module, x))

    assert [line for line in source.text.splitlines() if line.startswith("class")] == [
        "class Block(nn.Module):",
        "class Model(nn.Module):",
    ]
    assert "self.block_1 = Block(8)" in source.text
    assert "self.block_2 = Block(6)" in source.text
    assert "self.block_3_expand = nn.Conv2d(4, 6, 1)" in source.text
    assert "self.block_4_expand = nn.Conv2d(4, 6, 3, padding=1)" in source.text
    assert "self.project_1 = nn.Conv2d(out_channels, 4, 1)" in source.text
    with torch.no_grad():
        np.testing.assert_allclose(load_source(source)(x), module(x), rtol=1e-5, atol=1e-6)


def test_source_is_the_same_every_time(tmp_path: Path) -> None:
    """The text and the tensors depend on the graph only."""
    x = torch.from_numpy(arrays()["activations/x"])
    first, second = (write_source(export(load_network("activations", tmp_path), x)) for _ in range(2))

    assert first.text == second.text
    assert list(first.tensors) == list(second.tensors)
