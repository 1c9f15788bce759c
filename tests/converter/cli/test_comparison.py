"""Test what `tf2torch bench A B …` compares; the times depend on the machine."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime", reason="runs an exported network")
pytest.importorskip("onnxscript", reason="exports a network")

import converter  # noqa: E402
from converter.cli import main  # noqa: E402
from tests.html_page import Page  # noqa: E402
from tests.in_process import run_programs_here  # noqa: E402

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: pathlib.Path) -> pathlib.Path:
    """The digits network as weights, the same with a changed classifier, as .onnx, and 40 labelled images."""
    folder = tmp_path_factory.mktemp("compared")
    converter.export(converter.convert(digits), folder / "d.safetensors", proof="none")
    model = converter.load_model(folder / "d.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        run_programs_here(patch)
        converter.export_program(model, folder / "d.onnx", size=32)
    with torch.no_grad():
        model.classifier.bias[3] += 100
    converter.save_model(model, folder / "wrong.safetensors")
    with np.load(pathlib.Path(__file__).parents[3] / "examples" / "digits-test.npz") as arrays:
        pixels = (arrays["images"][:40].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        np.savez(folder / "d.npz", images=np.repeat(pixels[..., None], 3, -1), labels=arrays["labels"][:40])
    return folder


@pytest.fixture(scope="module")
def digits(request: pytest.FixtureRequest) -> pathlib.Path:
    """Prefix of the digits checkpoint."""
    return pathlib.Path(__file__).parents[2] / "data" / "digits" / "efficientnetv2-digits" / "model.ckpt-322"


def test_weights_and_programs_are_compared_on_the_same_images(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A program that computes the same agrees; weights that do not are apart, with other predictions."""
    run_programs_here(monkeypatch)
    outputs = [str(folder / name) for name in ("d.safetensors", "d.onnx", "wrong.safetensors")]
    page = tmp_path / "x.html"

    code = main(["bench", *outputs, "--data", str(folder / "d.npz"), "--runs", "2", "--report", str(page), "--json"])

    first, program, wrong = json.loads(capsys.readouterr().out)["outputs"]
    assert code == 0
    assert first["accuracy"] == program["accuracy"] > 0.9
    assert (first["difference"], first["changed"], program["changed"]) == (0, 0, 0)
    assert program["difference"] < 1e-5
    assert wrong["accuracy"] < 0.2
    assert wrong["changed"] > 30
    for output in (first, program, wrong):
        assert output["median_ms"].keys() == output["p90_ms"].keys() == {"1", "8"}
        assert all(0 < output["median_ms"][batch] <= output["p90_ms"][batch] for batch in ("1", "8"))
        assert output["nbytes"] == (folder / output["name"]).stat().st_size
    elements = Page(page.read_text()).elements
    assert sum((attributes.get("class") or "").startswith("dot") for _, attributes in elements) == 3


def test_without_images_the_outputs_get_random_ones(folder: pathlib.Path, capsys: Capture) -> None:
    """Each is measured in a process of its own; the table has a column for each, and no accuracy."""
    code = main(["bench", str(folder / "d.safetensors"), str(folder / "d.onnx"), "--size", "32", "--runs", "1"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[1].split() == ["d.safetensors", "d.onnx"]
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["d.safetensors", "missing.onnx", "--size", "32"], 3),
        (["d.safetensors", "missing.safetensors", "--size", "32"], 3),
        (["d.safetensors", "d.onnx"], 5),
        (["d.safetensors", "d.onnx", "--size", "32", "--against", "timm"], 5),
        (["d.safetensors", "d.onnx", "--size", "32", "--report", "x.pdf"], 2),
        (["d.safetensors", "--data", "d.npz", "--size", "32"], 5),
        (["d.onnx", "d.onnx", "--data", "d.npz"], 5),
    ],
)
def test_what_cannot_be_compared_is_said(
    arguments: list[str], code: int, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """In one line, before anything is measured."""
    monkeypatch.chdir(folder)

    assert main(["bench", *arguments]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
