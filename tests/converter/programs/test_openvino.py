"""OpenVINO programs, from the ONNX file that was checked."""

from __future__ import annotations

import pathlib

import pytest

import converter
from converter.programs.check import compare_outputs, judge, run_program
from converter.programs.expected import read_expected
from converter.programs.opening import SourceOptions, open_subject
from converter.programs.openvino import convert
from converter.programs.report import ProgramReport
from tests.converter.conftest import DIGITS

from .conftest import PROBE

pytest.importorskip("openvino", reason="the extra openvino is not installed")


def test_openvino_program_computes_what_the_network_computes(
    tmp_path: pathlib.Path, onnx: ProgramReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the ONNX file that was checked, with the same names; its makers are not told."""
    sent: list[object] = []
    backend = pytest.importorskip("openvino_telemetry.backend.backend_ga4", reason="has no telemetry")
    monkeypatch.setattr(backend.GA4Backend, "send", lambda self, message: sent.append(message))
    subject = open_subject(DIGITS, SourceOptions())
    expected = read_expected(PROBE, subject)
    path = tmp_path / "digits.xml"

    convert({"tf2torch.source": "digits"}, onnx.path, str(path))
    (case,) = judge(subject, [expected], device="cpu")
    (outputs,), versions = run_program(str(path), subject, [case], destination=".xml")

    assert [comparison.problem for comparison in compare_outputs(subject, case, outputs)] == [None]
    assert list(versions) == ["openvino"]
    assert "tf2torch" in path.read_text("utf-8")
    assert sent == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, "float16"])
def test_openvino_program_has_its_weights_in_a_second_file(
    tmp_path: pathlib.Path, onnx: ProgramReport, dtype: str | None
) -> None:
    """Checked in float32; float16 halves the weights."""
    report = converter.export_program(DIGITS, tmp_path / "digits.xml", size=32, expect=PROBE, dtype=dtype)

    weights = (tmp_path / "digits.bin").stat().st_size
    assert sorted(item.name for item in tmp_path.iterdir()) == ["digits.bin", "digits.xml"]
    assert report.passes
    assert report.inputs == onnx.inputs
    assert report.size == weights + (tmp_path / "digits.xml").stat().st_size
    assert weights < (250_000 if dtype is None else 125_000)
    assert "tf2torch" in (tmp_path / "digits.xml").read_text("utf-8")
