"""Conversions by rules, and those of ready families, go back to a checkpoint of TensorFlow."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

import converter
import tfckpt
from converter.cli import main
from converter.errors import ConversionError, ExportError
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet
from converter.mapping.rules_file import to_toml

from .ready.cases import CASES, Case

RULES = RuleSet(
    name="mine",
    version="1",
    rules=(
        Rule("cell/kernel", ("w_ih", "w_hh"), "IG -> GI", cut="I", order="G: i j -> j i"),
        Rule(("q", "k"), "qk", "1IO -> OI", join="O"),
    ),
    ignores=(Ignore("step", "counter"),),
    constants=(Constant("zero", (0, 1), "float32", "not stored"),),
)
TARGETS = {"w_ih": (4, 3), "w_hh": (4, 2), "qk": (5, 3), "zero": (2,)}


@pytest.fixture
def checkpoint(tmp_path: pathlib.Path) -> str:
    """A checkpoint in which a variable has a moving average."""
    generator = np.random.default_rng(1)
    arrays = {"cell/kernel": (5, 4), "q": (1, 3, 2), "k": (1, 3, 3)}
    tensors = {name: generator.normal(size=shape).astype(np.float32) for name, shape in arrays.items()}
    tensors["q/ExponentialMovingAverage"] = tensors["q"] + 1
    tfckpt.save({**tensors, "step": np.int64(7)}, tmp_path / "model")
    return str(tmp_path / "model")


@pytest.mark.parametrize("ending", ["safetensors", "npz", "pth"])
def test_output_of_rules_goes_back_byte_for_byte(checkpoint: str, tmp_path: pathlib.Path, ending: str) -> None:
    """The file records its rules; a .pth cannot, and needs them. Sizes of the joined sources come from the example."""
    if ending == "pth":
        pytest.importorskip("torch", reason="a .pth is PyTorch's")
    output = str(tmp_path / f"out.{ending}")
    (tmp_path / "mine.toml").write_text(to_toml(RULES), encoding="utf-8")
    converter.export(converter.convert(checkpoint, rules=RULES, into=TARGETS, weights="raw"), output)
    rules = ["--rules", str(tmp_path / "mine.toml")] if ending == "pth" else []

    code = main(["revert", output, "-o", str(tmp_path / "back"), "--like", checkpoint, *rules])

    assert code == 0
    with tfckpt.open(checkpoint) as before, tfckpt.open(tmp_path / "back") as after:
        for name in before:
            expected = before[name.removesuffix("/ExponentialMovingAverage")]
            assert np.asarray(after[name]).tobytes() == np.asarray(expected).tobytes()


class TiedModule:
    """A module whose output layer is its embedding."""

    def __init__(self) -> None:
        self.weight = np.zeros((4, 3), np.float32)

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the tensor under both of its names."""
        return {"embedding": self.weight, "output": self.weight}

    def named_parameters(self, *, remove_duplicate: bool) -> Iterable[tuple[str, np.ndarray[Any, Any]]]:
        """Return every name with its tensor."""
        assert not remove_duplicate
        return self.state_dict().items()


@pytest.mark.parametrize("ending", ["safetensors", "npz", "pth"])
@pytest.mark.parametrize("names", [["embedding"], ["embedding", "output"]], ids=["one rule", "two rules"])
def test_one_tensor_under_two_names_goes_back_once(tmp_path: pathlib.Path, names: list[str], ending: str) -> None:
    """With an example and without one; a tensor that no rule makes and that differs is refused."""
    if ending == "pth":
        pytest.importorskip("torch", reason="a .pth is PyTorch's")
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    checkpoint, output = tmp_path / "model", tmp_path / f"out.{ending}"
    tfckpt.save({"table": table}, checkpoint)
    rules = RuleSet(name="tied", version="1", rules=tuple(Rule("table", name) for name in names))
    result = converter.convert(checkpoint, rules=rules, into=TiedModule())
    converter.export(result, output, proof="none")

    for number, like in enumerate([None, checkpoint]):
        back = tmp_path / f"back-{number}"
        assert converter.revert(output, back, like=like, rules=rules).names == ("table",)
        with tfckpt.open(back) as after:
            assert np.array_equal(after["table"], table)
    other = {"embedding": table, "output": table + 1}
    with pytest.raises(ConversionError, match="output"):
        converter.revert(other, tmp_path / "other", rules=rules)
    zeros = {"embedding": table * 0, "bias": table * 0}
    with pytest.raises(ConversionError, match="bias"):
        converter.revert(zeros, tmp_path / "other", rules=rules)


def test_without_an_example_joined_sources_have_equal_sizes(checkpoint: str, tmp_path: pathlib.Path) -> None:
    """An axis that does not divide is an error; nothing is written."""
    result = converter.convert(checkpoint, rules=RULES, into=TARGETS)

    with pytest.raises(ConversionError, match="qk"):
        converter.revert(result.state_dict, tmp_path / "back", rules=RULES)
    even = {**result.state_dict, "qk": np.zeros((4, 3), np.float32)}
    assert converter.revert(even, tmp_path / "back", rules=RULES).names == ("cell/kernel", "q", "k")


def test_options_of_an_efficientnet_are_refused(checkpoint: str, tmp_path: pathlib.Path) -> None:
    """The names are those of the rules."""
    result = converter.convert(checkpoint, rules=RULES, into=TARGETS)

    with pytest.raises(ExportError, match="scope"):
        converter.revert(result.state_dict, tmp_path / "back", rules=RULES, scope="x")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_ready_family_goes_back(case: Case, tmp_path: pathlib.Path) -> None:
    """The folder has no tied names, and the checkpoint has every tensor that was converted, byte for byte."""
    result = converter.convert(case.path, part=case.part)
    converter.export(result, tmp_path / "out", proof="none")

    report = converter.revert(tmp_path / "out", tmp_path / "back")

    with tfckpt.open(case.path) as before, tfckpt.open(tmp_path / "back") as after:
        assert sorted(after) == sorted(report.names)
        for name in after:
            assert np.asarray(after[name]).tobytes() == np.asarray(before[name]).tobytes()
    assert set(report.names) >= {record.source for record in result.report.tensors}
