"""`tf2torch verify`: proof of weights and of values, and exit codes."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from converter.cli import main
from converter.exporters import read_output
from converter.exporters.safetensors import write_tensors

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def output(digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> pathlib.Path:
    """The digits network, converted by the command."""
    path = tmp_path / "digits.safetensors"
    assert main(["convert", str(digits), "-o", str(path)]) == 0
    capsys.readouterr()
    return path


def disturb(path: pathlib.Path) -> None:
    """Change one weight of an output."""
    tensors, metadata = read_output(path)
    copies = {name: array.copy() for name, array in tensors.items()}
    copies["head.bn.weight"][5] *= 1.01
    with path.open("wb") as file:
        write_tensors(copies, metadata, file)


def test_verify_proves_an_output(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """An output that reproduces its source exits with 0 and says how much was compared."""
    assert main(["verify", str(digits), str(output)]) == 0

    shown = capsys.readouterr()
    assert shown.out == (
        "weights   113 of 113 source tensors reproduced byte for byte (253,288 bytes, moving averages)\n"
        "constants 19 of 19 as they should be\n"
    )
    assert shown.err == ""


def test_verify_finds_a_disturbed_weight(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """One changed weight exits with 1 and is named on standard error."""
    disturb(output)

    assert main(["verify", str(digits), str(output)]) == 1

    shown = capsys.readouterr()
    assert "weights   112 of 113 source tensors" in shown.out
    assert shown.err == (
        "tf2torch: the output does not reproduce its source: 1 finding\n"
        "  efficientnetv2-digits/head/tpu_batch_normalization/gamma/ExponentialMovingAverage (head.bn.weight): "
        "1 of 64 elements differ, the first at [5]\n"
    )


def test_verify_compares_values_with_tensorflows(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, capsys: Capture
) -> None:
    """With golden values every endpoint is compared with what TensorFlow computed."""
    pytest.importorskip("torch", reason="the network is run")

    assert main(["verify", str(digits), str(output), "--golden", str(data / "digits" / "probe.npz")]) == 0

    line = capsys.readouterr().out.splitlines()[2]
    assert line.startswith("layers    26 of 26 agree with TensorFlow's (float32): largest difference ")


def test_verify_finds_values_that_differ(
    digits: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """Right weights of the other choice give other values than TensorFlow's averages did, from the stem on."""
    pytest.importorskip("torch", reason="the network is run")
    output = tmp_path / "raw.pth"
    assert main(["convert", str(digits), "-o", str(output), "--weights", "raw"]) == 0

    golden = ["--golden", str(data / "digits" / "probe.npz")]
    code = main(["verify", str(digits), str(output), "--weights", "raw", *golden])

    shown = capsys.readouterr()
    assert code == 1
    assert "weights   113 of 113 source tensors reproduced" in shown.out
    assert shown.err.splitlines()[0] == "tf2torch: the layers do not agree with TensorFlow's: 26 of them"
    assert shown.err.splitlines()[1].startswith("  stem [1, 16, 16, 8]: ")


def test_tolerance_decides_what_agrees(
    digits: pathlib.Path, output: pathlib.Path, data: pathlib.Path, capsys: Capture
) -> None:
    """A tolerance of nothing is not met by float32, and the default is."""
    pytest.importorskip("torch", reason="the network is run")
    arguments = ["verify", str(digits), str(output), "--golden", str(data / "digits" / "probe.npz")]

    assert main([*arguments, "--tolerance", "0"]) == 1
    assert "allowed 0" in capsys.readouterr().err
    assert main(arguments) == 0


@pytest.mark.parametrize("tolerance", ["x", "-1", "nan", "1"])
def test_tolerance_that_is_none_is_wrong_usage(
    digits: pathlib.Path, output: pathlib.Path, tolerance: str, capsys: Capture
) -> None:
    """A tolerance is a small number."""
    with pytest.raises(SystemExit) as caught:
        main(["verify", str(digits), str(output), "--tolerance", tolerance])

    assert caught.value.code == 2
    assert "is no tolerance, a number from 0 to below 1 such as 1e-5" in capsys.readouterr().err


def test_missing_files_exit_with_three(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """Source, output and golden file are each looked for and named."""
    nothing = str(output.with_name("nothing"))

    assert main(["verify", nothing, str(output)]) == 3
    assert main(["verify", str(digits), nothing + ".safetensors"]) == 3
    assert main(["verify", str(digits), str(output), "--golden", nothing + ".npz"]) == 3

    assert [line.count("nothing") > 0 for line in capsys.readouterr().err.splitlines()] == [True] * 3


def test_output_that_is_damaged_exits_with_four(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """A truncated output is corrupt, in one line."""
    output.write_bytes(output.read_bytes()[:-1])

    assert main(["verify", str(digits), str(output)]) == 4

    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1


def test_golden_file_of_another_network_is_refused(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """Values without an input are no golden values."""
    pytest.importorskip("torch", reason="the network is run")
    np.savez(tmp_path / "golden.npz", logits=np.ones((1, 10)))

    assert main(["verify", str(digits), str(output), "--golden", str(tmp_path / "golden.npz")]) == 5

    assert "expected input (NHWC)" in capsys.readouterr().err
