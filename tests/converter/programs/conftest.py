"""The digits network as programs, written once for all tests."""

from __future__ import annotations

import pathlib

import pytest

import converter
from converter.programs.report import ProgramReport
from tests.conftest import DATA
from tests.converter.conftest import DIGITS
from tests.in_process import run_programs_here

try:
    import torch  # noqa: F401
except ModuleNotFoundError:  # all tests here write or run programs of PyTorch
    collect_ignore_glob = ["test_*.py"]

PROBE = DATA / "digits" / "probe.npz"


def export_digits(folder: pathlib.Path, ending: str) -> ProgramReport:
    """Export the digits network at 32 pixels, compared with TensorFlow's recorded logits too."""
    return converter.export_program(DIGITS, folder / f"digits{ending}", size=32, expect=PROBE)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run programs in the process of the tests, which saves importing torch again for each.

    Session fixtures come before this one, so that the programs of the digits network run in a process of their own.
    """
    run_programs_here(monkeypatch)


@pytest.fixture(scope="session")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> ProgramReport:
    """The digits network as a `.pt2` file."""
    return export_digits(tmp_path_factory.mktemp("pt2"), ".pt2")


@pytest.fixture(scope="session")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> ProgramReport:
    """The digits network as a `.onnx` file."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="the extra onnx is not installed")
    return export_digits(tmp_path_factory.mktemp("onnx"), ".onnx")
