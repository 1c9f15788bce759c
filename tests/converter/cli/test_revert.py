"""Test that `tf2torch revert` writes a checkpoint from PyTorch weights, and its exit codes."""

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
    """It has the same names, and the state file names it with --state."""
    target = str(tmp_path / "model.ckpt")

    assert main(["revert", str(output), "-o", target, "--like", str(digits), "--state", "new"]) == 0

    assert capsys.readouterr().err == ""
    with tfckpt.open(target) as reverted, tfckpt.open(digits) as original:
        assert list(reverted) == list(original)
    assert tfckpt.latest_checkpoint(tmp_path) == target


def test_revert_writes_the_names_of_a_family_and_scope(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The scope of the original checkpoint is not used, because it belongs to different names."""
    target = tmp_path / "keras"

    assert main(["revert", str(output), "-o", str(target), "--family", "keras-applications", "--scope", "net"]) == 0

    with tfckpt.open(target) as checkpoint:
        assert "net/stem_conv/kernel" in checkpoint


def test_revert_overwrites_only_with_force(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """An existing checkpoint is wrong usage."""
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
def test_impossible_revert_is_reported_in_one_line(  # noqa: PLR0917  # three of them are fixtures
    output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture, target: str, options: list[str], code: int
) -> None:
    """The exit code is 2 for wrong usage and 3 for a missing source; nothing is left behind."""
    before = sorted(tmp_path.iterdir())

    assert main(["revert", str(output), "-o", f"{tmp_path}/{target}", *options]) == code

    error = capsys.readouterr().err
    assert error.startswith("tf2torch: ")
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_revert_lists_missing_tensors(output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    """Each has a line after the headline."""
    tensors, metadata = read_output(output)
    remaining = {name: array.copy() for name, array in tensors.items() if not name.startswith("classifier.")}
    with (tmp_path / "less.safetensors").open("wb") as file:
        write_tensors(remaining, metadata, file)

    assert main(["revert", str(tmp_path / "less.safetensors"), "-o", str(tmp_path / "model")]) == 5

    _, *findings = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in findings] == ["classifier.weight", "classifier.bias"]
