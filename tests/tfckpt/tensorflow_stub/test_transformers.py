"""The checkpoint loaders of transformers give the same result with the stand-in and with TensorFlow."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from tests.transformers4 import FOLDER, find_reason_to_skip

MODELS = ["bert", "gpt2", "albert", "electra discriminator", "electra generator", "t5"]


_REASON = find_reason_to_skip()
pytestmark = pytest.mark.skipif(bool(_REASON), reason=_REASON or "can be tested")


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest) -> dict[str, dict[str, str]]:
    """The output of the script under `tfckpt run`, with release 4 of transformers."""
    pytest.importorskip("torch", reason="the loaders are PyTorch's")
    folder = request.path.parents[2] / "data" / "transformers"
    command = [sys.executable, "-m", "tfckpt", "run", str(folder / "digests.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}

    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert process.returncode == 0, process.stderr
    digests: dict[str, dict[str, str]] = json.loads(process.stdout)
    return digests


@pytest.fixture
def expected(data: pathlib.Path) -> dict[str, Any]:
    """The output of the script with TensorFlow."""
    record: dict[str, Any] = json.loads((data / "transformers" / "expected.json").read_text(encoding="utf-8"))
    return record["loaded"]


@pytest.mark.parametrize("model", MODELS)
def test_loader_returns_the_same_parameters_as_with_tensorflow(
    model: str, loaded: dict[str, dict[str, str]], expected: dict[str, Any]
) -> None:
    """Names, types, shapes and bits are equal, and every parameter is loaded."""
    assert loaded[model] == expected[model]
    assert len(loaded[model]) > 20
    assert not any(digest.endswith("zero") for digest in loaded[model].values())


def test_all_recorded_models_are_tested(expected: dict[str, Any]) -> None:
    """The record has no other models."""
    assert sorted(expected) == sorted(MODELS)
