"""The conversion of the digits network, shared by most tests of the converter."""

from __future__ import annotations

import pathlib

import pytest

from converter.conversion import ConversionResult, convert
from converter.exporting import export
from tests.conftest import DATA

DIGITS = DATA / "digits" / "efficientnetv2-digits" / "model.ckpt-322"


@pytest.fixture
def result(digits: pathlib.Path) -> ConversionResult:
    """The digits network, converted with its averages."""
    return convert(digits)


@pytest.fixture(scope="session")
def output_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The digits network as a safetensors file."""
    path = tmp_path_factory.mktemp("output") / "digits.safetensors"
    export(convert(DIGITS), path)
    return path.read_bytes()


@pytest.fixture
def output(output_bytes: bytes, tmp_path: pathlib.Path) -> pathlib.Path:
    """A converted file that a test may change."""
    path = tmp_path / "digits.safetensors"
    path.write_bytes(output_bytes)
    return path
