"""Test that `tfckpt verify` checks every checksum and lists all damage."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import pytest

import tfckpt
from tfckpt.cli import main


def test_verify_of_a_whole_checkpoint_exits_with_0(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All 227 tensors are undamaged."""
    assert main(["verify", str(digits), "--json"]) == 0

    result = json.loads(capsys.readouterr().out)
    assert (result["ok"], len(result["whole"]), result["nbytes"]) == (True, 227, 506_584)


def test_verify_lists_every_damaged_tensor(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two changed bytes damage two tensors; the other 225 are undamaged."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    with tfckpt.open(prefix) as checkpoint:
        names = ["global_step", "efficientnetv2-digits/stem/conv2d/kernel"]
        offsets = [checkpoint.info(name).offset or 0 for name in names]
    content = bytearray(shard.read_bytes())
    for offset in offsets:
        content[offset] ^= 1
    shard.write_bytes(content)

    code = main(["verify", str(prefix), "--json"])

    result = json.loads(capsys.readouterr().out)
    assert code == 4
    assert sorted(error["tensor"] for error in result["errors"]) == sorted(names)
    assert {error["kind"] for error in result["errors"]} == {"ChecksumError"}
    assert {error["path"] for error in result["errors"]} == {str(shard)}
    assert len(result["whole"]) == 225


def test_verify_of_a_missing_shard_exits_with_3(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file is one finding, however many tensors it contains."""
    prefix = copied(digits)
    prefix.with_name(prefix.name + ".data-00000-of-00001").unlink()

    assert main(["verify", str(prefix), "--json"]) == 3

    result = json.loads(capsys.readouterr().out)
    assert [error["kind"] for error in result["errors"]] == ["CheckpointNotFoundError"]
    assert result["whole"] == []


@pytest.mark.parametrize("arguments", [["ls"], ["show", "--stats"], ["verify"]])
def test_every_verb_explains_a_file_of_a_different_kind_in_one_line(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """There is no traceback and nothing on standard output, and the exit code is 3."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    verb, *options = arguments
    names = ["a"] if verb == "show" else []

    code = main([verb, str(path), *names, *options])

    captured = capsys.readouterr()
    assert code == 3
    assert captured.out == ""
    assert captured.err.startswith(f"tfckpt: {path}: ")
    assert captured.err.count("\n") == 1


def test_names_with_control_characters_are_escaped(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message must not send control sequences to the terminal."""
    assert main(["ls", str(tmp_path / "a\x1b[2Jb")]) == 3

    assert "\x1b" not in capsys.readouterr().err
