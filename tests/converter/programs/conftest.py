"""The digits network as programs, written once for all tests."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import converter
from converter.programs import runner
from converter.programs.report import ProgramReport
from tests.conftest import DATA
from tests.converter.conftest import DIGITS

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
    from converter.programs import exporting, judging

    def run_program(
        path: str, subject: Any, cases: Sequence[Any], *, destination: str, double: bool = False
    ) -> tuple[list[list[Any]], dict[str, str]]:
        assert not double, "the runtime of Python source changes the default dtype"
        names = [argument.name for argument in subject.arguments]
        job = {"program": path, "inputs": names, "outputs": list(subject.outputs), "by_name": subject.by_name}
        run, versions = runner.RUNTIMES[destination](job)
        return [[np.asarray(value) for value in run(list(case.inputs.values()))] for case in cases], versions

    for module in (exporting, judging):
        monkeypatch.setattr(module, "run_program", run_program)


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
