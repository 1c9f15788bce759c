"""Test that `tf2torch verify` proves weights, layers and recorded values, and its reports and exit codes."""

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

import converter
from converter.cli import main
from converter.formats.files import PROOF_KEY, read_output
from converter.formats.proof import hash_tensors, read_proof
from converter.formats.safetensors import write_tensors
from tests.conftest import DATA

Capture = pytest.CaptureFixture[str]


def change_weight(path: pathlib.Path) -> None:
    """Change one weight of an output."""
    tensors, metadata = read_output(path)
    copies = {name: array.copy() for name, array in tensors.items()}
    copies["head.bn.weight"][5] *= 1.01
    with path.open("wb") as file:
        write_tensors(copies, metadata, file)


def run_verify(arguments: list[str], folder: pathlib.Path, *, code: int = 0) -> dict[str, Any]:
    """Run `verify` and return its report."""
    path = folder / "proof.json"
    assert main(["verify", *arguments, "--brief", "--report", str(path)]) == code
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def test_verify_of_a_correct_output_exits_with_0(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """There is nothing on standard error."""
    assert main(["verify", str(digits), str(output), "--weights-only"]) == 0

    assert capsys.readouterr().err == ""


def test_verify_finds_a_changed_weight(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """The exit code is 1, and standard error has the name of the tensor."""
    change_weight(output)

    assert main(["verify", str(digits), str(output), "--weights-only"]) == 1

    _, finding = capsys.readouterr().err.splitlines()
    assert "(head.bn.weight)" in finding


def test_verify_compares_with_values_recorded_by_tensorflow(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """With --golden, every endpoint is compared."""
    pytest.importorskip("torch", reason="the test runs the network")

    record = run_verify([str(digits), str(output), "--golden", str(data / "digits" / "probe.npz")], tmp_path)

    assert [layer["agrees"] for layer in record["golden"]["layers"]] == [True] * 26


def test_verify_finds_different_values(digits: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Correct raw weights differ from TensorFlow's values, which were computed with averages, in every layer."""
    pytest.importorskip("torch", reason="the test runs the network")
    output = tmp_path / "raw.pth"
    assert main(["convert", str(digits), "-o", str(output), "--weights", "raw", "--no-proof"]) == 0

    golden = ["--golden", str(data / "digits" / "probe.npz"), "--weights-only"]
    record = run_verify([str(digits), str(output), "--weights", "raw", *golden], tmp_path, code=1)

    assert record["weights"]["equal"] == 113
    assert [layer["agrees"] for layer in record["golden"]["layers"]] == [False] * 26


def test_tolerance_option_is_applied(digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path) -> None:
    """Float32 results do not agree exactly, but within the default tolerance."""
    pytest.importorskip("torch", reason="the test runs the network")
    golden = ["--golden", str(data / "digits" / "probe.npz"), "--weights-only"]
    arguments = ["verify", str(digits), str(output), *golden]

    assert main([*arguments, "--tolerance", "0"]) == 1
    assert main(arguments) == 0


@pytest.mark.parametrize("tolerance", ["x", "-1", "nan", "1"])
def test_invalid_tolerance_is_wrong_usage(digits: pathlib.Path, output: pathlib.Path, tolerance: str) -> None:
    """A tolerance is a number from 0 to below 1."""
    with pytest.raises(SystemExit) as caught:
        main(["verify", str(digits), str(output), "--tolerance", tolerance])

    assert caught.value.code == 2


def test_missing_files_exit_with_3(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """The error has the name of the missing source, output or golden file."""
    nothing = str(output.with_name("nothing"))

    assert main(["verify", nothing, str(output)]) == 3
    assert main(["verify", str(digits), nothing + ".safetensors"]) == 3
    assert main(["verify", str(digits), str(output), "--golden", nothing + ".npz"]) == 3

    assert [line.count("nothing") > 0 for line in capsys.readouterr().err.splitlines()] == [True] * 3


def test_truncated_output_exits_with_4(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """It is reported in one line."""
    output.write_bytes(output.read_bytes()[:-1])

    assert main(["verify", str(digits), str(output)]) == 4

    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1


def test_golden_file_without_an_input_is_rejected(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Recorded logits cannot be compared without the input."""
    pytest.importorskip("torch", reason="the test runs the network")
    np.savez(tmp_path / "golden.npz", logits=np.ones((1, 10)))

    assert main(["verify", str(digits), str(output), "--golden", str(tmp_path / "golden.npz")]) == 5


def test_verify_proves_every_layer_against_the_graph(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """It runs the graph saved with the checkpoint, and prints a line for each layer."""
    pytest.importorskip("torch", reason="the test runs both networks")

    path = tmp_path / "proof.json"
    assert main(["verify", str(digits), str(output), "--report", str(path)]) == 0

    layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
    assert (layers["graph"], layers["dtype"]) == ("model.ckpt-322.meta", "float32")
    assert [layer["agrees"] for layer in layers["layers"]] == [True] * 37
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.endswith("  ok")]) == 37


def test_graph_of_another_name_is_used_by_every_command(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """`plan` and `convert` read it, the record of the proof has its SHA-256, and `verify` compares with it."""
    pytest.importorskip("torch", reason="the test runs both networks")
    for ending in (".index", ".data-00000-of-00001"):
        shutil.copy(f"{digits}{ending}", tmp_path / f"mine{ending}")
    graph = shutil.copy(f"{digits}.meta", tmp_path / "eval.meta")
    source, output = str(tmp_path / "mine"), str(tmp_path / "mine.safetensors")
    given = ["--graph", str(graph)]

    assert main(["plan", source, *given]) == 0
    assert main(["convert", source, "-o", output, *given]) == 0
    assert "proved 37 of 37 layers" in capsys.readouterr().out
    assert main(["verify", source, output, "--brief", *given]) == 0
    assert "the graph eval.meta" in capsys.readouterr().out
    record = read_proof(read_output(output), output)
    assert record is not None and set(record.files) == {"mine.index", "eval.meta"}


def test_float64_option_is_applied(digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """All layers agree in float64 too."""
    pytest.importorskip("torch", reason="the test runs both networks")

    record = run_verify([str(digits), str(output), "--float64"], tmp_path)

    assert (record["ok"], record["layers"]["dtype"]) == (True, "float64")


def test_saved_model_is_proved_against_its_graph(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The graph is in saved_model.pb."""
    pytest.importorskip("torch", reason="the test runs both networks")
    output = tmp_path / "saved.safetensors"
    assert main(["convert", str(data / "savedmodel"), "-o", str(output), "--no-proof"]) == 0

    record = run_verify([str(data / "savedmodel"), str(output), "--float64"], tmp_path)

    assert (record["weights"]["equal"], record["layers"]["graph"]) == (113, "saved_model.pb")


def test_report_counts_averages_and_raw_values(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A checkpoint without moving averages gives raw values, whatever was chosen."""
    saved = tmp_path / "saved.npz"
    assert main(["convert", str(data / "savedmodel"), "-o", str(saved), "--no-proof"]) == 0

    averages = run_verify([str(digits), str(output), "--weights-only"], tmp_path)["weights"]
    raw = run_verify([str(data / "savedmodel"), str(saved), "--weights-only", "--force"], tmp_path)["weights"]

    assert (averages["choice"], averages["averaged"], averages["raw"]) == ("ema", 113, 0)
    assert (raw["choice"], raw["averaged"], raw["raw"]) == ("ema", 0, 113)


def test_error_names_the_changed_tensor_and_the_layer(
    digits: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """The comparison of layers runs even if the weights differ."""
    pytest.importorskip("torch", reason="the test runs both networks")
    change_weight(output)

    assert main(["verify", str(digits), str(output)]) == 1

    error = capsys.readouterr().err
    assert "(head.bn.weight)" in error
    assert "  head [1, 4, 4, 64]" in error


@pytest.mark.parametrize("ending", [".json", ".html"])
def test_report_has_every_layer(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, ending: str, capsys: Capture
) -> None:
    """Both formats have all 37 layers, and the HTML page loads no other files."""
    pytest.importorskip("torch", reason="the test runs both networks")
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


def test_report_is_written_if_the_proof_fails(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """It names the first layer that differs."""
    pytest.importorskip("torch", reason="the test runs both networks")
    change_weight(output)

    assert main(["verify", str(digits), str(output), "--report", str(tmp_path / "proof.json")]) == 1

    record = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert (record["ok"], record["layers"]["first_beyond_tolerance"]) == (False, "head")


def test_report_is_not_overwritten_without_force(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """An unknown ending is wrong usage as well."""
    report = tmp_path / "proof.html"
    report.write_text("mine")
    arguments = ["verify", str(digits), str(output), "--weights-only", "--report"]

    assert main([*arguments, str(report)]) == 2
    assert main([*arguments, str(tmp_path / "proof.txt")]) == 2
    assert report.read_text() == "mine"
    assert main([*arguments, str(report), "--force"]) == 0

    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_verify_without_a_graph_proves_the_weights(
    copied: Callable[[pathlib.Path], pathlib.Path], digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The report says what is not proved; an option that needs a graph is an error."""
    pytest.importorskip("torch", reason="verify would run the network")
    prefix = copied(digits)
    prefix.with_name(f"{prefix.name}.meta").unlink()

    record = run_verify([str(prefix), str(output)], tmp_path)
    assert (record["weights"]["equal"], len(record["not_proved"])) == (113, 1)

    assert main(["verify", str(prefix), str(output), "--float64"]) == 5


def test_graph_of_a_different_checkpoint_is_rejected(
    copied: Callable[[pathlib.Path], pathlib.Path],
    digits: pathlib.Path,
    output: pathlib.Path,
    data: pathlib.Path,
    capsys: Capture,
) -> None:
    """The error lists the variables that are not in the graph."""
    pytest.importorskip("torch", reason="the graph is prepared for running")
    prefix = copied(digits)
    other = data / "tensorflow" / "partitioned" / "model.ckpt-12.meta"
    shutil.copy(other, prefix.with_name(f"{prefix.name}.meta"))

    code = main(["verify", str(prefix), str(output), "--strides", "1,2,2,1"])

    assert code == 5
    assert capsys.readouterr().err.count("\n  efficientnetv2-digits/") == 113


def save_npz(path: pathlib.Path, **arrays: object) -> str:
    """Write arrays and return the path."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_probe_can_be_an_npz_file(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The probe is the array `input`, so a golden file works too."""
    pytest.importorskip("torch", reason="the test runs both networks")

    record = run_verify([str(digits), str(output), "--probe", str(data / "digits" / "probe.npz")], tmp_path)

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
    ids=["dtype", "channels first", "size", "empty batch", "not finite"],
)
def test_unsuitable_probe_is_rejected(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, array: object
) -> None:
    """The graph takes finite NHWC floats of 32 by 32 pixels."""
    pytest.importorskip("torch", reason="the test runs both networks")

    assert main(["verify", str(digits), str(output), "--probe", save_npz(tmp_path / "probe.npz", input=array)]) == 5


def test_size_must_fit_the_graph(digits: pathlib.Path, output: pathlib.Path) -> None:
    """This graph takes only images of 32 by 32 pixels."""
    pytest.importorskip("torch", reason="the test runs both networks")

    assert main(["verify", str(digits), str(output), "--size", "48"]) == 5
    assert main(["verify", str(digits), str(output), "--size", "32", "--brief", "--seed", "3"]) == 0


def test_probe_can_be_an_image(digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The image is preprocessed to the size of the graph's input."""
    pytest.importorskip("torch", reason="the test runs both networks")
    image = pytest.importorskip("PIL.Image", reason="Pillow opens the image")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "probe.png")

    record = run_verify([str(digits), str(output), "--probe", str(tmp_path / "probe.png")], tmp_path)

    assert "probe.png" in record["layers"]["probe"]


def test_verify_lists_all_weights_missing_from_an_empty_output(
    digits: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """The layers cannot be compared, but the weights are, and the exit code is 1."""
    pytest.importorskip("torch", reason="verify would run the network")
    output = tmp_path / "nothing.safetensors"
    with output.open("wb") as file:
        write_tensors({}, {}, file)

    record = run_verify([str(digits), str(output), "--golden", str(data / "digits" / "probe.npz")], tmp_path, code=1)

    assert (record["weights"]["equal"], len(record["not_proved"])) == (0, 2)
    assert "(stem.conv.weight)" in capsys.readouterr().err


def test_verify_escapes_characters_the_output_encoding_lacks(
    digits: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output has characters such as × and Δ."""
    pytest.importorskip("torch", reason="the test runs both networks")
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii"))

    code = main(["verify", str(digits), str(output)])
    sys.stdout.flush()

    assert code == 0
    assert b"1\\xd732\\xd732\\xd73" in shown.getvalue()


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Outputs with a recorded proof, by name."""
    folder = tmp_path_factory.mktemp("proved")
    result = converter.convert(DATA / "digits" / "efficientnetv2-digits")
    paths = {name: folder / name for name in ("d.safetensors", "d.npz", "folder", "shards")}
    for name, path in paths.items():
        converter.export(result, path, shard_size=100_000 if name == "shards" else None)
    return paths


@pytest.mark.parametrize("name", ["d.safetensors", "d.npz", "folder", "shards"])
def test_output_alone_shows_its_recorded_proof(
    name: str, proved: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The hash of the tensors is computed again, without PyTorch; an index of shards finds the file of its folder."""
    monkeypatch.setitem(sys.modules, "torch", None)
    path = proved[name]
    record = read_proof(read_output(path), path)
    assert record is not None

    assert main(["verify", str(path)]) == 0

    shown = capsys.readouterr().out
    assert all(text in shown for text in (record.line, record.tensors_sha256, *record.files, *record.files.values()))
    if name == "shards":
        assert main(["verify", str(path / "model.safetensors.index.json")]) == 0


def test_output_alone_with_a_changed_weight_is_not_what_was_proved(
    proved: dict[str, pathlib.Path], tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """The record is kept, and the exit code is 1."""
    path = tmp_path / "d.safetensors"
    shutil.copy(proved["d.safetensors"], path)
    change_weight(path)

    assert main(["verify", str(path)]) == 1

    assert hash_tensors(read_output(path).tensors) in capsys.readouterr().err


def test_output_alone_without_a_record_proves_nothing(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A file without a record, and a `.pth`, which has no place for one; a damaged record is corruption."""
    tensors, metadata = read_output(output)
    without = {name: text for name, text in metadata.items() if name != PROOF_KEY}
    for name, values in (("none", without), ("damaged", {**without, PROOF_KEY: "{}"})):
        with (tmp_path / f"{name}.safetensors").open("wb") as file:
            write_tensors(tensors, values, file)
    (tmp_path / "state.pth").write_bytes(bytes(10))

    codes = {path.stem: main(["verify", str(path)]) for path in tmp_path.iterdir() if path != output}

    assert codes == {"none": 5, "damaged": 4, "state": 5}


def test_options_of_the_comparison_need_both_arguments(output: pathlib.Path) -> None:
    """They would be ignored with OUT alone."""
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(output), "--float64"])

    assert stopped.value.code == 2
