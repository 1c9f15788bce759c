"""Recurrent cells of TensorFlow become torch's by rules, and compute the same; cells that torch lacks are refused."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

import converter
from converter.errors import ConversionError
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet

torch = pytest.importorskip("torch", reason="the layers are PyTorch's")

LSTM = "G: i j f o -> i f j o"
BLOCK = "G: i c f o -> i f c o"
KERAS = "G: i f c o -> i f c o"


def joint(source: str, order: str, *, layer: str = "l0", bias: bool = True) -> RuleSet:
    """Return rules for a cell of TensorFlow 1: input and state have one kernel, and the forget gate gets 1 more."""
    weights = (f"weight_ih_{layer}", f"weight_hh_{layer}")
    constant = Constant(f"bias_hh_{layer}", (0, 1, 0, 0) if bias else 0, "float32", "forget_bias of the cell")
    return RuleSet(
        name="cell",
        version="1",
        rules=(
            Rule(f"{source}/kernel", weights, "IG -> GI", cut="I", order=order),
            Rule(f"{source}/bias", f"bias_ih_{layer}", "G -> G", order=order),
        ),
        constants=(constant,),
    )


def merge(*tables: RuleSet, **options: Any) -> RuleSet:
    """Return all rules in one table."""
    rules = tuple(rule for table in tables for rule in table.rules)
    constants = tuple(constant for table in tables for constant in table.constants)
    return RuleSet(name="cells", version="1", rules=rules, constants=constants, **options)


PROJECTION = RuleSet(name="", version="", rules=(Rule("rnn/lstm_cell/projection/kernel", "weight_hr_l0", "dense"),))
SEPARATE = (
    Rule("{layer}/{cell}/kernel", "weight_ih_l0", "IG -> GI", order=KERAS),
    Rule("{layer}/{cell}/recurrent_kernel", "weight_hh_l0", "IG -> GI", order=KERAS),
)
GRU = (
    Rule("gru/gru_cell/kernel", "weight_ih_l0", "IG -> GI", order="G: z r h -> r z h"),
    Rule("gru/gru_cell/recurrent_kernel", "weight_hh_l0", "IG -> GI", order="G: z r h -> r z h"),
)
ZERO = Constant("bias_hh_l0", 0, "float32", "Keras has one bias")
CASES: dict[str, tuple[RuleSet, Any]] = {
    "basic_lstm": (joint("rnn/basic_lstm_cell", LSTM), lambda: torch.nn.LSTM(3, 4, batch_first=True)),
    "projected_lstm": (
        merge(joint("rnn/lstm_cell", LSTM), PROJECTION),
        lambda: torch.nn.LSTM(3, 4, batch_first=True, proj_size=2),
    ),
    "stacked_lstm": (
        merge(*(joint(f"rnn/multi_rnn_cell/cell_{n}/lstm_cell", LSTM, layer=f"l{n}") for n in (0, 1))),
        lambda: torch.nn.LSTM(3, 4, 2, batch_first=True),
    ),
    "bidirectional_lstm": (
        merge(
            joint("bidirectional_rnn/fw/lstm_cell", LSTM),
            joint("bidirectional_rnn/bw/lstm_cell", LSTM, layer="l0_reverse"),
        ),
        lambda: torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True),
    ),
    "block_lstm": (joint("lstm_cell", BLOCK), lambda: torch.nn.LSTM(3, 4, batch_first=True)),
    "block_lstm_v2": (joint("lstm_cell", KERAS, bias=False), lambda: torch.nn.LSTM(3, 4, batch_first=True)),
    "keras_lstm": (
        RuleSet(
            name="keras",
            version="1",
            rules=(*SEPARATE, Rule("{layer}/{cell}/bias", "bias_ih_l0")),
            constants=(ZERO,),
        ),
        lambda: torch.nn.LSTM(3, 4, batch_first=True),
    ),
    "keras_lstm_no_bias": (
        RuleSet(name="keras", version="1", rules=SEPARATE),
        lambda: torch.nn.LSTM(3, 4, batch_first=True, bias=False),
    ),
    "keras_gru": (
        RuleSet(
            name="keras",
            version="1",
            rules=(
                *GRU,
                Rule("gru/gru_cell/bias", ("bias_ih_l0", "bias_hh_l0"), "BG -> G", cut="B", order="G: z r h -> r z h"),
            ),
        ),
        lambda: torch.nn.GRU(3, 4, batch_first=True),
    ),
}


@pytest.fixture
def folder(data: pathlib.Path) -> pathlib.Path:
    """The checkpoints that TensorFlow wrote."""
    return data / "recurrent"


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", CASES)
def test_cell_computes_what_tensorflow_computed(name: str, folder: pathlib.Path) -> None:
    """All tensors are filled, the output agrees, and the way back is exact."""
    rules, build = CASES[name]
    layer = build()

    result = converter.convert(folder / name, rules=rules, into=layer)

    layer.load_state_dict({key: torch.tensor(array) for key, array in result.state_dict.items()}, strict=True)
    with np.load(folder / "golden.npz") as golden:
        output = layer(torch.tensor(golden["input"]))[0].detach().numpy()
        assert np.abs(output - golden[name]).max() / np.abs(golden[name]).max() < 1e-6
    arrays = converter.reverse(result.state_dict, result.report)
    assert len(arrays) == result.report.used


@pytest.mark.parametrize("name", ["basic_lstm", "keras_gru"])
def test_graph_proves_the_cell(name: str, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The loop's stacked results are compared; gates in another order are refused. Keras keeps lists of lists."""
    rules, build = CASES[name]
    right = converter.convert(folder / name, rules=rules, into=build())
    unordered = tuple(dataclasses.replace(rule, order=None) for rule in rules.rules)
    wrong = converter.convert(folder / name, rules=dataclasses.replace(rules, rules=unordered), into=build())

    record = converter.export(right, tmp_path / "right.npz")

    assert record is not None
    assert record.line == "proved 1 of 1 output"
    with pytest.raises(converter.VerificationError):
        converter.export(wrong, tmp_path / "wrong.npz")


@pytest.mark.parametrize(
    ("name", "rules", "token"),
    [
        (
            "peephole_lstm",
            merge(joint("rnn/lstm_cell", LSTM), ignores=(Ignore("{cell...}/{part}_diag", "left out"),)),
            "peephole",
        ),
        (
            "keras_gru_before",
            RuleSet(
                name="x",
                version="1",
                rules=(*GRU, Rule("gru/gru_cell/bias", "bias_ih_l0", "G -> G", order="G: z r h -> r z h")),
                constants=(ZERO,),
            ),
            "before the product",
        ),
        (
            "gru",
            RuleSet(
                name="x",
                version="1",
                rules=(Rule("rnn/gru_cell/candidate/kernel", ("weight_ih_l0", "weight_hh_l0"), "IG -> GI", cut="I"),),
                ignores=(Ignore("rnn/{rest...}/bias", "left out"), Ignore("rnn/gru_cell/gates/kernel", "left out")),
            ),
            "before the product",
        ),
    ],
)
def test_cell_without_counterpart_is_refused(name: str, rules: RuleSet, token: str, folder: pathlib.Path) -> None:
    """Although the rules fill every tensor; the error names the alternative."""
    rows = 4 if name == "gru" else 16
    into: dict[str, tuple[int, ...]] = {"weight_ih_l0": (rows, 3), "weight_hh_l0": (rows, 4)}
    into |= {"bias_ih_l0": (16,), "bias_hh_l0": (16,)} if name == "peephole_lstm" else {}

    with pytest.raises(ConversionError, match=token) as caught:
        converter.convert(folder / name, rules=rules, into=None if name == "keras_gru_before" else into)

    assert "graph_module" in str(caught.value)
