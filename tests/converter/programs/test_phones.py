"""Programs for phones, ExecuTorch and LiteRT; `make export-check` runs these in environments of their own."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import converter
from tests.conftest import DATA
from tests.converter.conftest import DIGITS
from tests.converter.engine.graphs import constant, integers, node, placeholder, write_frozen

from .conftest import PROBE


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


@pytest.mark.parametrize(("ending", "package"), [(".pte", "executorch"), (".tflite", "litert_torch")])
def test_program_of_fixed_size_agrees_with_the_network_and_with_tensorflow(
    tmp_path: pathlib.Path, ending: str, package: str
) -> None:
    """The digits network, in the runtime of the destination."""
    pytest.importorskip(package, reason=f"{package} is tested in an environment of its own: make export-check")

    report = converter.export_program(DIGITS, tmp_path / f"digits{ending}", size=32, expect=PROBE)

    assert report.inputs == ("image float32 [1, 3, 32, 32]",)
    assert report.worst_units <= 8
    assert max(item.recorded for item in report.comparisons if item.recorded is not None) < 1e-6


@pytest.mark.parametrize(("ending", "package"), [(".pte", "executorch"), (".tflite", "litert_torch")])
def test_inputs_of_a_graph_keep_their_order(
    frozen: pathlib.Path, tmp_path: pathlib.Path, ending: str, package: str
) -> None:
    """Formats without names take them in the order of the report."""
    pytest.importorskip(package, reason=f"{package} is tested in an environment of its own: make export-check")

    report = converter.export_program(
        frozen, tmp_path / f"graph{ending}", inputs=["weight", "picture"], outputs=["probs", "mean"]
    )

    assert [text.partition(" ")[0] for text in report.inputs] == ["weight", "picture"]
    assert report.worst_units <= 8


def test_int8_of_executorch_keeps_the_accuracy(
    images: tuple[pathlib.Path, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """On images that did not calibrate it."""
    pytest.importorskip("executorch", reason="ExecuTorch is tested in an environment of its own: make export-check")
    calibration, labelled = images

    report = converter.export_program(
        DIGITS, tmp_path / "digits.pte", size=32, quantize="int8", calibrate=calibration, data=labelled
    )

    assert report.losses is not None
    assert report.losses.accuracy_after is not None and report.losses.accuracy_after >= 0.98
    assert report.size < 150_000
