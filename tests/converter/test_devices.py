"""`--device`: the network runs on a GPU, and what is compared with it stays on the CPU."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import converter.cli
from converter.errors import ConversionError
from converter.verification.devices import check_device
from tests.conftest import DATA
from tests.converter.conftest import DIGITS

torch = pytest.importorskip("torch", reason="runs networks")


def has(device: str) -> bool:
    """Return whether this machine has such a device."""
    return bool(torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available())


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("verb", ["export", "verify", "evaluate", "bench"])
def test_network_runs_on_a_device_or_the_command_says_that_there_is_none(
    device: str, verb: str, output: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The results are those of the CPU within the same limits."""
    with np.load(DATA / "digits" / "digits-test.npz") as test:
        pixels = (test["images"][:20].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        np.savez(tmp_path / "digits.npz", images=pixels[..., None].repeat(3, axis=3), labels=test["labels"][:20])
    arguments = {
        "export": [str(output), "-o", str(tmp_path / "digits.pt2"), "--size", "32"],
        "verify": [str(DIGITS), str(output), "--brief"],
        "evaluate": [str(output), "--data", str(tmp_path / "digits.npz")],
        "bench": [str(output), "--size", "32", "--runs", "1"],
    }[verb]

    code = converter.cli.main([verb, *arguments, "--device", device])

    if has(device):
        assert code == 0
    else:
        assert code == 5
        assert device.upper() in capsys.readouterr().err


def test_device_of_another_name_is_refused() -> None:
    """The processor is always there."""
    check_device("cpu")
    with pytest.raises(ValueError, match="tpu"):
        check_device("tpu")
    if not has("cuda"):
        with pytest.raises(ConversionError):
            check_device("cuda")
