"""What several test modules share: the committed test data and copies of it that a test may damage."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable

import hypothesis
import pytest

# The networks of the tests are small: handing their parts to several threads takes longer than computing them.
# Set before anything imports torch, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no defect, so examples have no deadline; continuous integration tries the same ones every time.
hypothesis.settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("project")

DATA = pathlib.Path(__file__).parent / "data"


@pytest.fixture
def data() -> pathlib.Path:
    """The folder of committed test data."""
    return DATA


@pytest.fixture
def digits() -> pathlib.Path:
    """Prefix of the small EfficientNetV2 that was trained on digits, as a release is saved."""
    return DATA / "digits" / "efficientnetv2-digits" / "model.ckpt-322"


@pytest.fixture
def copied(tmp_path: pathlib.Path) -> Callable[[pathlib.Path], pathlib.Path]:
    """Copy the files of a prefix into a folder of the test's own; gives the prefix of the copy."""

    def copy(prefix: pathlib.Path) -> pathlib.Path:
        for path in prefix.parent.glob(prefix.name + ".*"):
            shutil.copy(path, tmp_path)
        return tmp_path / prefix.name

    return copy
