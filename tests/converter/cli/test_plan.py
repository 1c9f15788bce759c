"""Test that `tf2torch plan` shows what a conversion would do, what rules leave over, and proposals."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import tfckpt
from converter.cli import main
from converter.mapping.rules_file import parse_rules

Capture = pytest.CaptureFixture[str]
EXAMPLE = pathlib.Path(__file__).parents[3] / "examples" / "bert"


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> str:
    """The example's module, with its folder as the current one."""
    pytest.importorskip("torch", reason="the example's module needs PyTorch")
    monkeypatch.chdir(EXAMPLE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return "encoder:build"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_plan_has_a_line_for_every_tensor(digits: pathlib.Path, capsys: Capture) -> None:
    """It has source, layout, target and both shapes; after the table comes the summary of a conversion."""
    assert main(["plan", str(digits)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["source", "layout", "target", "shape"]
    assert lines[1].split() == [
        "efficientnetv2-digits/stem/conv2d/kernel/ExponentialMovingAverage",
        "conv2d",
        "stem.conv.weight",
        *("[3,", "3,", "3,", "8]", "->", "[8,", "3,", "3,", "3]"),
    ]
    assert lines[114].split() == ["source", "model.ckpt-322"]


def test_plan_has_a_paragraph_for_every_tensor_on_a_narrow_terminal(
    digits: pathlib.Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of the line are below the name of the source."""
    monkeypatch.setenv("COLUMNS", "80")

    assert main(["plan", str(digits)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "efficientnetv2-digits/stem/conv2d/kernel/ExponentialMovingAverage",
        "  layout  conv2d",
        "  target  stem.conv.weight",
        "  shape   [3, 3, 3, 8] -> [8, 3, 3, 3]",
    ]
    assert lines[4 * 113] == "source    model.ckpt-322"


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_plan_lists_the_sources_of_a_conversion(
    weights: str, digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """The first column has the same names as the report of the conversion: averages or raw values."""
    path = tmp_path / "report.json"
    options = ["--weights", weights]
    output = ["-o", str(tmp_path / "x.npz"), "--no-proof", "--report", str(path)]
    assert main(["plan", str(digits), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["convert", str(digits), *output, *options]) == 0
    tensors = json.loads(path.read_text(encoding="utf-8"))["tensors"]

    assert [line.split()[0] for line in lines[1:114]] == [record["source"] for record in tensors]
    assert lines[1].split()[0].endswith("/ExponentialMovingAverage") == (weights == "ema")


def test_plan_shows_variables_if_keys_do_not_contain_their_names(data: pathlib.Path, capsys: Capture) -> None:
    """Keras numbers the layers in its keys; keys of the released code begin with the variable's path."""
    assert main(["plan", str(data / "keras" / "v2" / "saved_model")]) == 0
    keras = capsys.readouterr().out.splitlines()
    assert main(["plan", str(data / "objects"), "--strides", "1,2,2,1"]) == 0
    objects = capsys.readouterr().out.splitlines()

    assert keras[0].split() == ["source", "variable", "layout", "target", "shape"]
    assert keras[1].split()[:4] == [
        "layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE",
        "stem_conv/kernel",
        "conv2d",
        "stem.conv.weight",
    ]
    assert objects[0].split() == ["source", "layout", "target", "shape"]
    assert objects[1].split()[0] == "_stem/_conv_stem/kernel/.ATTRIBUTES/VARIABLE_VALUE"


def test_plan_as_json_is_the_conversion_report(digits: pathlib.Path, capsys: Capture) -> None:
    """It has the same totals and tensors."""
    assert main(["plan", str(digits), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["used"] == len(report["tensors"]) == 113


def test_plan_shows_built_in_rules_as_toml(digits: pathlib.Path, capsys: Capture) -> None:
    """The printed rules can be parsed again."""
    assert main(["plan", str(digits), "--show-rules"]) == 0
    text = capsys.readouterr().out

    rules = parse_rules(text)

    assert rules.name == "automl"
    assert rules.scope == "efficientnetv2-digits/"
    assert rules.words["mbconv"] == {"3": "2.0", "4": "2.1", "5": "3.0", "6": "3.1"}


def test_printed_rules_convert_the_checkpoint(digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    """The table of a family is an ordinary rule set."""
    main(["plan", str(digits), "--show-rules"])
    path = tmp_path / "automl.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")

    assert main(["plan", str(digits), "--rules", str(path), "--json"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert record["complete"]
    assert len(record["moves"]) == 113


def test_plan_writes_nothing_and_does_not_import_torch(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A plan reads only names and shapes."""
    program = (
        "import sys\n"
        "from converter.cli import main\n"
        f"code = main(['plan', {str(digits)!r}])\n"
        "print(code, 'torch' in sys.modules, file=sys.stderr)\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path)

    assert shown.stderr == "0 False\n"
    assert list(tmp_path.iterdir()) == []


def test_plan_for_a_module_proposes_rules(data: pathlib.Path, encoder: str, capsys: Capture) -> None:
    """The remaining tensors are listed with rules that would match them; the exit code is 1."""
    assert main(["plan", str(data / "bert"), "--into", encoder]) == 1

    out = capsys.readouterr().out
    assert "layers.0.query.weight [16, 16]" in out
    assert 'source = "bert/encoder/layer_{n}/attention/self/query/kernel"' in out


def test_proposals_are_a_valid_rules_file(
    data: pathlib.Path, encoder: str, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """For the example they leave one embedding, whose names have nothing in common."""
    main(["plan", str(data / "bert"), "--into", encoder, "--proposals"])
    text = capsys.readouterr().out
    path = tmp_path / "proposed.toml"
    path.write_text(text, encoding="utf-8")

    code = main(["plan", str(data / "bert"), "--into", encoder, "--rules", str(path), "--json"])

    record = json.loads(capsys.readouterr().out)
    assert text.startswith("# ")
    assert code == 1
    assert len(record["moves"]) == 38
    assert [item["target"] for item in record["missing"]] == ["sentences.weight"]
    assert [item["source"] for item in record["unmapped"]] == ["bert/embeddings/token_type_embeddings"]


PARTS = """\
import numpy as np

SHAPES = {"in_proj_weight": (12, 4), "weight_ih_l0": (9, 2), "weight_hh_l0": (9, 3), "bias_ih_l0": (9,)}


class Module:
    def state_dict(self):
        return {name: np.zeros(shape) for name, shape in {**SHAPES, "bias_hh_l0": (9,)}.items()}
"""


def test_proposals_are_complete_in_json(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Rules that cut, join and order say so, as the file of rules does."""
    arrays = {f"att/{part}/kernel": np.zeros((4, 4), np.float32) for part in ("query", "key", "value")}
    gru = {"kernel": (2, 9), "recurrent_kernel": (3, 9), "bias": (2, 9)}
    arrays |= {f"gru/gru_cell/{name}": np.zeros(shape, np.float32) for name, shape in gru.items()}
    tfckpt.save(arrays, tmp_path / "model")
    (tmp_path / "parts.py").write_text(PARTS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    command = ["plan", "model", "--into", "parts:Module"]

    assert main([*command, "--proposals"]) == 1
    rules = parse_rules(capsys.readouterr().out).rules
    assert main([*command, "--json"]) == 1
    proposals = json.loads(capsys.readouterr().out)["proposals"]

    assert {rule.cut or rule.join or rule.order for rule in rules} == {"O", "B", "G: z r h -> r z h"}
    for proposal, rule in zip(proposals, rules, strict=True):
        found = {key: proposal[key] for key in ("source", "target", "layout", "cut", "join", "order")}
        expected = {key: getattr(rule, key) for key in found}
        assert found == {key: list(value) if isinstance(value, tuple) else value for key, value in expected.items()}


def test_plan_with_complete_rules_exits_with_0(data: pathlib.Path, encoder: str, capsys: Capture) -> None:
    """Every tensor is assigned, and nothing is proposed."""
    command = ["plan", str(data / "bert"), "--into", encoder, "--rules", "bert.toml"]

    assert main(command) == 0
    assert "[[rule]]" not in capsys.readouterr().out

    assert main([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["complete"], len(record["moves"]), len(record["ignored"])) == (True, 39, 79)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--rules", "missing.toml"], 2),
        (["--into", "encoder"], 5),
        (["--rules", "bert.toml", "--strides", "1"], 2),
        (["--into", "encoder:build", "--model", "efficientnetv2-s", "--head", "x"], 2),
    ],
)
@pytest.mark.usefixtures("encoder")
def test_wrong_rules_are_rejected(data: pathlib.Path, options: list[str], code: int, capsys: Capture) -> None:
    """A missing file, an invalid module and options that do not fit rules are errors."""
    assert main(["plan", str(data / "bert"), *options]) == code

    assert capsys.readouterr().out == ""


def test_worked_example_agrees_with_tensorflow(data: pathlib.Path, encoder: str, tmp_path: pathlib.Path) -> None:
    """The commands in docs/conversion.md convert by rules and verify; the module computes TensorFlow's values."""
    import importlib

    import numpy as np
    import torch

    from converter.formats.files import read_output

    output = tmp_path / "bert.safetensors"
    rules = ["--rules", "bert.toml", "--into", encoder]

    converted = main(["convert", str(data / "bert"), *rules, "-o", str(output)])
    verified = main(["verify", str(data / "bert"), str(output), *rules])

    assert (converted, verified) == (0, 0)
    assert len(read_output(output).tensors) == 39
    model = importlib.import_module("encoder").build().eval()
    model.load_state_dict({name: torch.tensor(np.array(array)) for name, array in read_output(output).tensors.items()})
    with np.load(data / "bert" / "golden.npz") as golden, torch.inference_mode():
        ids = torch.tensor(golden["input"])
        float32 = [tensor.numpy() for tensor in model(ids)]
        float64 = [tensor.numpy() for tensor in model.double()(ids)]
        for name, single, double in zip(("output", "pooled"), float32, float64, strict=True):
            assert np.abs(double - golden[f"{name}64"]).max() < 1e-10
            assert np.abs(single - golden[name]).max() < 1e-5
