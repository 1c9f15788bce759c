"""The loaders of transformers read checkpoints of TensorFlow through the stand-in as they do through TensorFlow."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

MODELS = ["bert", "gpt2", "albert", "electra discriminator", "electra generator", "t5"]


def _reason_to_skip() -> str:
    """Why the loaders cannot be tried here; empty if they can."""
    try:
        version = importlib.metadata.version("transformers")
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError as error:
        return f"{error.name} is not installed"
    return "" if version.startswith("4.") else f"transformers {version} has no loaders for TensorFlow's checkpoints"


pytestmark = pytest.mark.skipif(bool(_reason_to_skip()), reason=_reason_to_skip() or "it can be tried")


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest) -> dict[str, dict[str, str]]:
    """What the script prints under `tfckpt run`."""
    folder = request.path.parents[2] / "data" / "transformers"
    command = [sys.executable, "-m", "tfckpt", "run", str(folder / "digests.py"), str(folder)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.fixture
def expected(data: pathlib.Path) -> dict[str, Any]:
    """What it printed with real TensorFlow."""
    record: dict[str, Any] = json.loads((data / "transformers" / "expected.json").read_text(encoding="utf-8"))
    return record["loaded"]


@pytest.mark.parametrize("model", MODELS)
def test_loader_gives_the_parameters_it_gives_with_tensorflow(
    model: str, loaded: dict[str, dict[str, str]], expected: dict[str, Any]
) -> None:
    """Name, type, shape and every bit of each; none is left as it was before loading."""
    assert loaded[model] == expected[model]
    assert len(loaded[model]) > 20
    assert not any(digest.endswith("zero") for digest in loaded[model].values())


def test_models_are_all_that_are_recorded(expected: dict[str, Any]) -> None:
    """None of the record goes unused."""
    assert sorted(expected) == sorted(MODELS)
