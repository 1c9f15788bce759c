"""`tf2torch revert`: a checkpoint of PyTorch weights, what is said about it, and exit codes."""

from __future__ import annotations

import pathlib

import pytest

import tfckpt
from converter.cli import main
from converter.formats.files import read_output
from converter.formats.safetensors import write_tensors

Capture = pytest.CaptureFixture[str]


def test_revert_writes_a_checkpoint_like_another(
    digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """Like the one it came from, and named by the state file when that is asked for."""
    target = str(tmp_path / "model.ckpt")

    assert main(["revert", str(output), "-o", target, "--like", str(digits), "--state", "new"]) == 0

    assert capsys.readouterr().err == ""
    with tfckpt.open(target) as reverted, tfckpt.open(digits) as original:
        assert list(reverted) == list(original)
    assert tfckpt.latest_checkpoint(tmp_path) == target


def test_revert_takes_a_family_and_a_scope(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Without another checkpoint; the output's own scope is that of other names, and not taken."""
    target = tmp_path / "keras"

    assert main(["revert", str(output), "-o", str(target), "--family", "keras-applications", "--scope", "net"]) == 0

    with tfckpt.open(target) as checkpoint:
        assert "net/stem_conv/kernel" in checkpoint


def test_revert_overwrites_only_with_force(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What stands there is a matter of usage, with 2."""
    command = ["revert", str(output), "-o", str(tmp_path / "model")]
    assert main(command) == 0

    assert main(command) == 2
    assert main([*command, "--force"]) == 0


@pytest.mark.parametrize(
    ("target", "options", "code"),
    [
        ("no-folder/model", [], 2),
        ("", [], 2),
        ("no-folder/", [], 2),
        ("x.index", [], 2),
        ("x.data-00000-of-00001", ["--scope", "net"], 2),
        ("model", ["--scope", "\ud800"], 2),
        ("model", ["--like", "nowhere"], 3),
        ("model", ["--head", "dense"], 2),
    ],
    ids=[
        "missing folder",
        "folder as prefix",
        "no name",
        "index file",
        "data shard",
        "scope that is not UTF-8",
        "missing checkpoint to be like",
        "head without a checkpoint",
    ],
)
def test_revert_that_cannot_be_exits_with_its_reason(  # noqa: PLR0917  # three of them are fixtures
    output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture, target: str, options: list[str], code: int
) -> None:
    """2 for usage and for what cannot be written, 3 for what is not there to be read; nothing is left behind."""
    before = sorted(tmp_path.iterdir())

    assert main(["revert", str(output), "-o", f"{tmp_path}/{target}", *options]) == code

    error = capsys.readouterr().err
    assert error.startswith("tf2torch: ")
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_revert_lists_what_does_not_fit(output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    """A file without two of its tensors is not this network's."""
    tensors, metadata = read_output(output)
    left = {name: array.copy() for name, array in tensors.items() if not name.startswith("classifier.")}
    with (tmp_path / "less.safetensors").open("wb") as file:
        write_tensors(left, metadata, file)

    assert main(["revert", str(tmp_path / "less.safetensors"), "-o", str(tmp_path / "model")]) == 5

    _, *findings = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in findings] == ["classifier.weight", "classifier.bias"]
