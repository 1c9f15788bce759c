"""`tf2torch verify`: proof of weights, of layers and of recorded values, reports, and exit codes."""

from __future__ import annotations

import io
import json
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from converter.cli import main
from converter.formats.files import read_output
from converter.formats.safetensors import write_tensors

Capture = pytest.CaptureFixture[str]


def disturb(path: pathlib.Path) -> None:
    """Change one weight of an output."""
    tensors, metadata = read_output(path)
    copies = {name: array.copy() for name, array in tensors.items()}
    copies["head.bn.weight"][5] *= 1.01
    with path.open("wb") as file:
        write_tensors(copies, metadata, file)


def proof(arguments: list[str], folder: pathlib.Path, *, code: int = 0) -> dict[str, Any]:
    """Run `verify` and return its report."""
    path = folder / "proof.json"
    assert main(["verify", *arguments, "--brief", "--report", str(path)]) == code
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def test_verify_proves_an_output(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """An output that reproduces its source exits with 0."""
    assert main(["verify", str(digits), str(output), "--weights-only"]) == 0

    assert capsys.readouterr().err == ""


def test_verify_finds_a_disturbed_weight(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """One changed weight exits with 1 and is named on standard error."""
    disturb(output)

    assert main(["verify", str(digits), str(output), "--weights-only"]) == 1

    _, finding = capsys.readouterr().err.splitlines()
    assert "(head.bn.weight)" in finding


def test_verify_compares_values_with_tensorflows(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """With golden values every endpoint is compared with what TensorFlow computed."""
    pytest.importorskip("torch", reason="the network is run")

    record = proof([str(digits), str(output), "--golden", str(data / "digits" / "probe.npz")], tmp_path)

    assert [layer["agrees"] for layer in record["golden"]["layers"]] == [True] * 26


def test_verify_finds_values_that_differ(digits: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Right weights of the other choice give other values than TensorFlow's averages did, from the stem on."""
    pytest.importorskip("torch", reason="the network is run")
    output = tmp_path / "raw.pth"
    assert main(["convert", str(digits), "-o", str(output), "--weights", "raw"]) == 0

    golden = ["--golden", str(data / "digits" / "probe.npz"), "--weights-only"]
    record = proof([str(digits), str(output), "--weights", "raw", *golden], tmp_path, code=1)

    assert record["weights"]["equal"] == 113
    assert [layer["agrees"] for layer in record["golden"]["layers"]] == [False] * 26


def test_tolerance_decides_what_agrees(digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path) -> None:
    """A tolerance of nothing is not met by float32, and the default is."""
    pytest.importorskip("torch", reason="the network is run")
    golden = ["--golden", str(data / "digits" / "probe.npz"), "--weights-only"]
    arguments = ["verify", str(digits), str(output), *golden]

    assert main([*arguments, "--tolerance", "0"]) == 1
    assert main(arguments) == 0


@pytest.mark.parametrize("tolerance", ["x", "-1", "nan", "1"])
def test_tolerance_that_is_none_is_wrong_usage(digits: pathlib.Path, output: pathlib.Path, tolerance: str) -> None:
    """A tolerance is a small number."""
    with pytest.raises(SystemExit) as caught:
        main(["verify", str(digits), str(output), "--tolerance", tolerance])

    assert caught.value.code == 2


def test_missing_files_exit_with_three(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """Source, output and golden file are each looked for and named."""
    nothing = str(output.with_name("nothing"))

    assert main(["verify", nothing, str(output)]) == 3
    assert main(["verify", str(digits), nothing + ".safetensors"]) == 3
    assert main(["verify", str(digits), str(output), "--golden", nothing + ".npz"]) == 3

    assert [line.count("nothing") > 0 for line in capsys.readouterr().err.splitlines()] == [True] * 3


def test_output_that_is_damaged_exits_with_four(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """A truncated output is corrupt, in one line."""
    output.write_bytes(output.read_bytes()[:-1])

    assert main(["verify", str(digits), str(output)]) == 4

    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1


def test_golden_file_of_another_network_is_refused(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Values without an input are no golden values."""
    pytest.importorskip("torch", reason="the network is run")
    np.savez(tmp_path / "golden.npz", logits=np.ones((1, 10)))

    assert main(["verify", str(digits), str(output), "--golden", str(tmp_path / "golden.npz")]) == 5


def test_verify_proves_every_layer_against_the_graph(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """The graph beside the checkpoint is found and run, and each layer has its line."""
    pytest.importorskip("torch", reason="both networks are run")

    path = tmp_path / "proof.json"
    assert main(["verify", str(digits), str(output), "--report", str(path)]) == 0

    layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
    assert (layers["graph"], layers["dtype"]) == ("model.ckpt-322.meta", "float32")
    assert [layer["agrees"] for layer in layers["layers"]] == [True] * 37
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.endswith("  ok")]) == 37


def test_float64_is_judged_in_float64(digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """All layers agree in it too."""
    pytest.importorskip("torch", reason="both networks are run")

    record = proof([str(digits), str(output), "--float64"], tmp_path)

    assert (record["ok"], record["layers"]["dtype"]) == (True, "float64")


def test_saved_model_is_proved_against_its_graph(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A SavedModel's graph is a witness too."""
    pytest.importorskip("torch", reason="both networks are run")
    output = tmp_path / "saved.safetensors"
    assert main(["convert", str(data / "savedmodel"), "-o", str(output)]) == 0

    record = proof([str(data / "savedmodel"), str(output), "--float64"], tmp_path)

    assert (record["weights"]["equal"], record["layers"]["graph"]) == (113, "saved_model.pb")


def test_report_counts_averages_and_raw_values(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A checkpoint without moving averages gives raw values, whatever was chosen."""
    saved = tmp_path / "saved.npz"
    assert main(["convert", str(data / "savedmodel"), "-o", str(saved)]) == 0

    averages = proof([str(digits), str(output), "--weights-only"], tmp_path)["weights"]
    raw = proof([str(data / "savedmodel"), str(saved), "--weights-only", "--force"], tmp_path)["weights"]

    assert (averages["choice"], averages["averaged"], averages["raw"]) == ("ema", 113, 0)
    assert (raw["choice"], raw["averaged"], raw["raw"]) == ("ema", 0, 113)


def test_fault_is_named_with_tensor_and_layer(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """Tensor and layer of a disturbed output are named on standard error."""
    pytest.importorskip("torch", reason="both networks are run")
    disturb(output)

    assert main(["verify", str(digits), str(output)]) == 1

    error = capsys.readouterr().err
    assert "(head.bn.weight)" in error
    assert "  head [1, 4, 4, 64]" in error


@pytest.mark.parametrize("ending", [".json", ".html"])
def test_report_has_every_layer(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, ending: str, capsys: Capture
) -> None:
    """Each form of the report names all 37 layers, and needs nothing beside it."""
    pytest.importorskip("torch", reason="both networks are run")
    report = tmp_path / f"proof{ending}"

    assert main(["verify", str(digits), str(output), "--report", str(report)]) == 0

    text = report.read_text(encoding="utf-8")
    assert text.count("stages.2.0.se.reduce") >= 1
    if ending == ".json":
        record = json.loads(text)
        assert record["ok"] is True
        assert len(record["layers"]["layers"]) == 37
        assert record["weights"]["equal"] == 113
    else:
        assert text.count("<svg") == 1
        assert "://" not in text and "<script" not in text
    assert str(report) in capsys.readouterr().out


def test_report_of_a_failure_is_written_too(digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What is not proved is what a report is needed for."""
    pytest.importorskip("torch", reason="both networks are run")
    disturb(output)

    assert main(["verify", str(digits), str(output), "--report", str(tmp_path / "proof.json")]) == 1

    record = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert (record["ok"], record["layers"]["first_beyond_tolerance"]) == (False, "head")


def test_report_is_not_overwritten_without_force(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A file that stands there stays, and one with another ending is no report."""
    report = tmp_path / "proof.html"
    report.write_text("mine")
    arguments = ["verify", str(digits), str(output), "--weights-only", "--report"]

    assert main([*arguments, str(report)]) == 2
    assert main([*arguments, str(tmp_path / "proof.txt")]) == 2
    assert report.read_text() == "mine"
    assert main([*arguments, str(report), "--force"]) == 0

    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_without_a_graph_the_weights_are_proved_and_the_rest_said(
    copied: Callable[[pathlib.Path], pathlib.Path], digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A checkpoint whose graph is gone gives a proof of weights; asking for more is an error."""
    pytest.importorskip("torch", reason="the network would be run")
    prefix = copied(digits)
    prefix.with_name(f"{prefix.name}.meta").unlink()

    record = proof([str(prefix), str(output)], tmp_path)
    assert (record["weights"]["equal"], len(record["not_proved"])) == (113, 1)

    assert main(["verify", str(prefix), str(output), "--float64"]) == 5


def test_graph_of_another_checkpoint_lists_its_variables(
    copied: Callable[[pathlib.Path], pathlib.Path],
    digits: pathlib.Path,
    output: pathlib.Path,
    data: pathlib.Path,
    capsys: Capture,
) -> None:
    """A graph that was put beside a checkpoint and is not its own is refused with what does not fit."""
    pytest.importorskip("torch", reason="the graph is read for running it")
    prefix = copied(digits)
    other = data / "tensorflow" / "partitioned" / "model.ckpt-12.meta"
    shutil.copy(other, prefix.with_name(f"{prefix.name}.meta"))

    code = main(["verify", str(prefix), str(output), "--strides", "1,2,2,1"])

    assert code == 5
    assert capsys.readouterr().err.count("\n  efficientnetv2-digits/") == 113


def save(path: pathlib.Path, **arrays: object) -> str:
    """Write a probe."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_probe_of_arrays_is_fed(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A golden file is a probe as well: its input is taken."""
    pytest.importorskip("torch", reason="both networks are run")

    record = proof([str(digits), str(output), "--probe", str(data / "digits" / "probe.npz")], tmp_path)

    assert "probe.npz" in record["layers"]["probe"]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((1, 3, 32, 32), np.float32),
        np.zeros((1, 33, 33, 3), np.float32),
        np.zeros((0, 32, 32, 3), np.float32),
        np.full((1, 32, 32, 3), np.nan, np.float32),
    ],
    ids=["type", "axes", "size", "nothing", "not numbers"],
)
def test_probe_that_does_not_fit_is_refused(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, array: object
) -> None:
    """Wrong type, axes, size, nothing at all, and no numbers."""
    pytest.importorskip("torch", reason="both networks are run")

    assert main(["verify", str(digits), str(output), "--probe", save(tmp_path / "probe.npz", input=array)]) == 5


def test_size_the_graph_does_not_take_is_refused(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The graph was built for 32 pixels, and says so."""
    pytest.importorskip("torch", reason="both networks are run")

    assert main(["verify", str(digits), str(output), "--size", "48"]) == 5
    assert main(["verify", str(digits), str(output), "--size", "32", "--brief", "--seed", "3"]) == 0


def test_image_is_a_probe(digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """An image file is preprocessed to the size the graph takes."""
    pytest.importorskip("torch", reason="both networks are run")
    image = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "probe.png")

    record = proof([str(digits), str(output), "--probe", str(tmp_path / "probe.png")], tmp_path)

    assert "probe.png" in record["layers"]["probe"]


def test_verify_lists_what_an_output_without_any_weights_lacks(
    digits: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """No network can be made of it, and still it is a difference with all its findings; only layers stay unproved."""
    pytest.importorskip("torch", reason="the network would be run")
    output = tmp_path / "nothing.safetensors"
    with output.open("wb") as file:
        write_tensors({}, {}, file)

    record = proof([str(digits), str(output), "--golden", str(data / "digits" / "probe.npz")], tmp_path, code=1)

    assert (record["weights"]["equal"], len(record["not_proved"])) == (0, 2)
    assert "(stem.conv.weight)" in capsys.readouterr().err


def test_verify_escapes_what_the_output_cannot_show(
    digits: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signs of shapes and differences need no UTF-8."""
    pytest.importorskip("torch", reason="both networks are run")
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii"))

    code = main(["verify", str(digits), str(output)])
    sys.stdout.flush()

    assert code == 0
    assert b"1\\xd732\\xd732\\xd73" in shown.getvalue()
