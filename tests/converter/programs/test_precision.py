"""Programs of less precision: measured on images that did not calibrate them, and refused past a limit."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import converter
from converter.errors import ExportError, FeedError, VerificationError
from converter.programs.calibration import check_disjoint, read_calibration
from converter.programs.opening import SourceOptions, open_subject
from converter.programs.report import ProgramReport
from converter.programs.shapes import ShapeOptions, choose_shapes

from .test_exporting import SMALL

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="the extra onnx is not installed")

pytestmark = pytest.mark.usefixtures("in_process")

SIZE = 16


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """A small network with random weights."""
    torch.manual_seed(0)
    return converter.EfficientNet(SMALL).eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray[Any, Any]:
    """Preprocessed images, NHWC."""
    return np.random.default_rng(1).standard_normal((120, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture
def labelled(model: torch.nn.Module, images: np.ndarray[Any, Any], tmp_path: pathlib.Path) -> pathlib.Path:
    """The last images, with the classes that the network gives them."""
    with torch.no_grad():
        logits = model(torch.from_numpy(images[60:].transpose(0, 3, 1, 2).copy()))
    np.savez(tmp_path / "labelled.npz", images=images[60:], labels=logits.argmax(1).numpy())
    return tmp_path / "labelled.npz"


@pytest.fixture
def export(model: torch.nn.Module, tmp_path: pathlib.Path) -> Callable[..., ProgramReport]:
    """Exports the network to a file in an empty folder."""
    (tmp_path / "out").mkdir()
    return lambda name, **options: converter.export_program(model, tmp_path / "out" / name, size=SIZE, **options)


def test_int8_is_measured_on_labelled_images_and_refused_past_the_allowed_drop(
    export: Callable[..., ProgramReport], images: np.ndarray[Any, Any], labelled: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The float32 program is checked first."""
    import onnxruntime

    int8 = functools.partial(export, "small.onnx", quantize="int8", calibrate=images[:60], data=labelled)

    with pytest.raises(VerificationError, match="accuracy"):
        int8(max_drop=-1.0)
    assert list((tmp_path / "out").iterdir()) == []

    report = int8(max_drop=0.5)
    assert report.losses is not None
    assert report.losses.images == 60
    assert report.losses.accuracy_before == 1.0
    assert report.losses.accuracy_after is not None and report.losses.accuracy_after >= 0.5
    assert 0 < report.losses.difference < 0.5
    assert report.worst_units <= 8
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    assert "tf2torch.config" in session.get_modelmeta().custom_metadata_map
    assert b"QuantizeLinear" in pathlib.Path(report.path).read_bytes()


@pytest.mark.slow
def test_float16_onnx_keeps_float32_inputs_and_outputs(export: Callable[..., ProgramReport]) -> None:
    """On random inputs, without images."""
    import onnxruntime

    report = export("small.onnx", dtype="float16")

    assert report.losses is not None
    assert 0 < report.losses.difference < 1e-2
    assert report.losses.accuracy_before is None
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    assert [item.type for item in (*session.get_inputs(), *session.get_outputs())] == ["tensor(float)"] * 2


@pytest.mark.slow
def test_float16_that_overflows_is_refused(tmp_path: pathlib.Path) -> None:
    """Although nobody gave labels: the program computes infinite values, and the module does not."""

    class Large(torch.nn.Module):
        """A module whose weight is beyond the largest float16."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((3,), 1e5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return the scaled input."""
            return x * self.weight

    example = (torch.ones(2, 3),)
    with pytest.raises(VerificationError, match="infinite values or NaN"):
        converter.export_program(Large(), tmp_path / "large.pt2", example=example, dtype="float16")
    assert not list(tmp_path.iterdir())
    assert converter.export_program(Large(), tmp_path / "large.pt2", example=example).passes


def test_float16_pt2_stores_half_of_every_weight(export: Callable[..., ProgramReport]) -> None:
    """It computes in float32."""
    report = export("small.pt2", dtype="float16")

    state = torch.export.load(report.path).state_dict
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
    assert report.losses is not None and 0 < report.losses.difference < 1e-2


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.onnx", {"quantize": "int8"}),
        ("a.onnx", {"calibrate": "images.npz"}),
        ("a.onnx", {"dtype": "float16", "quantize": "int8", "calibrate": "images.npz"}),
        ("a.onnx", {"dtype": "float64"}),
        ("a.xml", {"quantize": "int8", "calibrate": "images.npz"}),
        ("a.pte", {"dtype": "float16"}),
    ],
    ids=["no images", "no int8", "both", "float64", "OpenVINO", "ExecuTorch"],
)
def test_precision_that_a_destination_does_not_have_is_refused(
    export: Callable[..., ProgramReport], tmp_path: pathlib.Path, name: str, options: dict[str, Any]
) -> None:
    """Before anything is written."""
    with pytest.raises(ExportError):
        export(name, **options)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[:9],
        lambda images: images[:, :8],
        lambda images: images[..., :2],
        lambda images: (images * 100).astype(np.int16),
        lambda images: images * 100,
        lambda images: np.where(images > 2, np.nan, images),
        lambda images: images[0],
    ],
    ids=["too few", "wrong size", "wrong channels", "wrong type", "pixels", "not finite", "a single image"],
)
def test_images_that_cannot_calibrate_are_one_error(
    model: torch.nn.Module, images: np.ndarray[Any, Any], change: Callable[[Any], Any]
) -> None:
    """The images themselves can."""
    subject = open_subject(model, SourceOptions())
    shapes = choose_shapes(subject, ShapeOptions(size=(SIZE, SIZE)), allows_dynamic=True)

    used, others = read_calibration(images, subject, shapes, 50)
    assert used.shape == (50, 3, SIZE, SIZE)
    assert others.shape == (70, 3, SIZE, SIZE)
    used, others = read_calibration(images, subject, shapes, 200)
    assert (len(used), len(others)) == (96, 24)
    with pytest.raises(FeedError):
        read_calibration(change(images), subject, shapes, 50)


def test_images_that_calibrate_do_not_judge(images: np.ndarray[Any, Any]) -> None:
    """Not even one."""
    check_disjoint(images[:50], images[50:])
    with pytest.raises(FeedError):
        check_disjoint(images[:51], images[50:])
