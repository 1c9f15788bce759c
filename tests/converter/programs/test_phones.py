"""Programs for phones, ExecuTorch and LiteRT; `make export-check` runs these in environments of their own."""

from __future__ import annotations

import json
import pathlib
import zipfile

import numpy as np
import pytest

import converter
from converter.programs.metadata import SOURCE_KEY
from converter.programs.report import ProgramReport
from tests.conftest import DATA
from tests.converter.conftest import DIGITS
from tests.converter.engine.graphs import constant, integers, node, placeholder, write_frozen

from .conftest import export_digits


@pytest.fixture
def images(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Images of digits to calibrate with, and labelled ones to judge."""
    with np.load(DATA / "digits" / "digits-test.npz") as test:
        pixels = (test["images"].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        labels = test["labels"]
    pixels = pixels[..., None].repeat(3, axis=3)
    np.savez(tmp_path / "calibration.npz", images=pixels[:50])
    np.savez(tmp_path / "labelled.npz", images=pixels[50:], labels=labels[50:])
    return tmp_path / "calibration.npz", tmp_path / "labelled.npz"


@pytest.fixture
def frozen(tmp_path: pathlib.Path) -> pathlib.Path:
    """A frozen graph with two inputs."""
    return write_frozen(
        tmp_path / "frozen.pb",
        placeholder("picture", -1, 4, 5, 3),
        placeholder("weight", -1, 3),
        constant("w", 0.5, 3, 2),
        integers("axes", 1, 2),
        node("mean", "Mean", "picture", "axes", attributes='attr { key: "keep_dims" value { b: false } }'),
        node("weighted", "Mul", "mean", "weight"),
        node("probs", "MatMul", "weighted", "w"),
    )


ROUTES = pytest.mark.parametrize(("ending", "package"), [(".pte", "executorch"), (".tflite", "litert_torch")])


def require(package: str) -> None:
    """Skip a test if a package is not installed."""
    pytest.importorskip(package, reason=f"{package} is tested in an environment of its own: make export-check")


@pytest.fixture(scope="session")
def pte(tmp_path_factory: pytest.TempPathFactory) -> ProgramReport:
    """The digits network as a `.pte` file."""
    require("executorch")
    return export_digits(tmp_path_factory.mktemp("pte"), ".pte")


@pytest.fixture(scope="session")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> ProgramReport:
    """The digits network as a `.tflite` file."""
    require("litert_torch")
    return export_digits(tmp_path_factory.mktemp("tflite"), ".tflite")


@pytest.mark.parametrize("route", ["pte", "tflite"])
def test_program_of_fixed_size_agrees_with_the_network_and_with_tensorflow(
    route: str, request: pytest.FixtureRequest
) -> None:
    """The digits network, in the runtime of the destination."""
    report: ProgramReport = request.getfixturevalue(route)

    assert report.inputs == ("image float32 [1, 3, 32, 32]",)
    assert report.worst_units <= 8
    assert max(item.recorded for item in report.comparisons if item.recorded is not None) < 1e-6


def check_metadata(text: str) -> None:
    """Assert that metadata have the SHA-256 of the source, and the names of inputs and outputs."""
    metadata = json.loads(text)
    assert len(json.loads(metadata[SOURCE_KEY])["sha256"][f"{DIGITS.name}.index"]) == 64
    assert json.loads(metadata["tf2torch.names"]) == {"inputs": ["image"], "outputs": ["logits"]}


def test_method_of_executorch_returns_the_metadata(pte: ProgramReport) -> None:
    """Any program of ExecuTorch can call it."""
    from executorch.runtime import Runtime

    (text,) = Runtime.get().load_program(pte.path).load_method("tf2torch").execute([])

    check_metadata(text)


def test_litert_has_names_and_an_associated_file(tflite: ProgramReport) -> None:
    """The signature names input and output, and the file is an archive too."""
    from ai_edge_litert.interpreter import Interpreter

    (signature,) = Interpreter(model_path=tflite.path).get_signature_list().values()

    assert signature == {"inputs": ["image"], "outputs": ["logits"]}
    with zipfile.ZipFile(tflite.path) as archive:
        check_metadata(archive.read("tf2torch.json").decode())


@ROUTES
def test_inputs_of_a_graph_keep_their_order(
    frozen: pathlib.Path, tmp_path: pathlib.Path, ending: str, package: str
) -> None:
    """Formats without names take them in the order of the report."""
    require(package)

    report = converter.export_program(
        frozen, tmp_path / f"graph{ending}", inputs=["weight", "picture"], outputs=["probs", "mean"]
    )

    assert [text.partition(" ")[0] for text in report.inputs] == ["weight", "picture"]
    assert report.worst_units <= 8


def test_int8_of_executorch_keeps_the_accuracy(
    images: tuple[pathlib.Path, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """On images that did not calibrate it."""
    require("executorch")
    calibration, labelled = images

    report = converter.export_program(
        DIGITS, tmp_path / "digits.pte", size=32, quantize="int8", calibrate=calibration, data=labelled
    )

    assert report.losses is not None
    assert report.losses.accuracy_after is not None and report.losses.accuracy_after >= 0.98
    assert report.size < 150_000
