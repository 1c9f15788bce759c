"""The conversion of the digits network, shared by most tests of the converter."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from converter.conversion import ConversionResult, convert
from converter.exporting import export
from tests.conftest import DATA

DIGITS = DATA / "digits" / "efficientnetv2-digits" / "model.ckpt-322"


@pytest.fixture(scope="session")
def converted_once() -> ConversionResult:
    """The digits network, converted with its averages; no test changes it."""
    return convert(DIGITS)


@pytest.fixture
def result(converted_once: ConversionResult) -> ConversionResult:
    """The digits network, converted with its averages, in a state dict that a test may change."""
    return dataclasses.replace(converted_once, state_dict=dict(converted_once.state_dict))


@pytest.fixture(scope="session")
def output_bytes(tmp_path_factory: pytest.TempPathFactory, converted_once: ConversionResult) -> bytes:
    """The digits network as a safetensors file."""
    path = tmp_path_factory.mktemp("output") / "digits.safetensors"
    export(converted_once, path)
    return path.read_bytes()


@pytest.fixture
def output(output_bytes: bytes, tmp_path: pathlib.Path) -> pathlib.Path:
    """A converted file that a test may change."""
    path = tmp_path / "digits.safetensors"
    path.write_bytes(output_bytes)
    return path
