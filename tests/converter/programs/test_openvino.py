"""OpenVINO programs, from the ONNX file that was checked."""

from __future__ import annotations

import pathlib

import pytest

import converter
from converter.programs.report import ProgramReport
from tests.conftest import slow
from tests.converter.conftest import DIGITS

from .conftest import PROBE

pytest.importorskip("openvino", reason="the extra openvino is not installed")


@pytest.mark.parametrize("dtype", [None, slow("float16")])
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
