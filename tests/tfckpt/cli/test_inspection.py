"""Test the exit codes and output of `tfckpt info`, `diff`, `doctor` and `export`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from tfckpt.cli import main
from tfckpt.cli.render import parse_size


def test_info_counts_optimizer_tensors(data: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The training checkpoint has the same parameters and 150 slot variables."""
    assert main(["info", str(data / "digits-train"), "--json"]) == 0

    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] == 63_322
    assert facts["optimizer_tensors"] == 150
    assert facts["style"] == "name-based"


def test_diff_exits_with_1_when_something_differs(
    digits: pathlib.Path, data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training checkpoint has more tensors; a checkpoint does not differ from itself."""
    assert main(["diff", str(digits), str(data / "digits-train"), "--json"]) == 1
    comparison = json.loads(capsys.readouterr().out)
    assert (comparison["ok"], len(comparison["only_in_b"]), comparison["equal"]) == (False, 150, 227)

    assert main(["diff", str(digits), str(digits), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]


@pytest.mark.parametrize("number", ["-1", "x"])
def test_diff_rejects_an_invalid_number_of_rows(digits: pathlib.Path, number: str) -> None:
    """The smallest number of rows is 0."""
    with pytest.raises(SystemExit) as caught:
        main(["diff", str(digits), str(digits), "--most", number])

    assert caught.value.code == 2
    assert main(["diff", str(digits), str(digits), "--most", "0"]) == 0


@pytest.mark.parametrize(("size", "code"), [(None, 3), (1000, 4), (506_584, 0)], ids=["missing", "truncated", "whole"])
def test_doctor_checks_the_size_of_a_data_shard(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], size: int | None, code: int
) -> None:
    """A missing shard is a file that is not found; a truncated one is damage."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    content = shard.read_bytes()
    shard.unlink()
    if size is not None:
        shard.write_bytes(content[:size])

    assert main(["doctor", str(prefix)]) == code


def test_doctor_of_a_git_lfs_pointer_exits_with_3(tmp_path: pathlib.Path) -> None:
    """The pointer is not the file it points to."""
    path = tmp_path / "model.ckpt-1.index"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")

    assert main(["doctor", str(path)]) == 3


def test_export_of_a_damaged_checkpoint_writes_whole_tensors_with_salvage(
    digits: pathlib.Path,
    copied: Callable[[pathlib.Path], pathlib.Path],
    tmp_path: pathlib.Path,
) -> None:
    """Without --salvage nothing is written, with it all undamaged tensors; the exit code is 4 both times."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    arguments = ["export", str(prefix), "-o", str(tmp_path / "out.npz")]

    assert main(arguments) == 4
    assert not (tmp_path / "out.npz").exists()
    assert main([*arguments, "--salvage"]) == 4
    with np.load(tmp_path / "out.npz") as arrays:
        assert len(arrays.files) == 226


@pytest.mark.parametrize("name", ["out.npz", "out.safetensors", "out/"])
def test_export_of_a_missing_shard_exits_with_3(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], tmp_path: pathlib.Path, name: str
) -> None:
    """The error is about the source, not about writing."""
    prefix = copied(digits)
    prefix.with_name(prefix.name + ".data-00000-of-00001").unlink()

    assert main(["export", str(prefix), "-o", f"{tmp_path}/{name}"]) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-o", "out.h5"], id="unknown ending"),
        pytest.param(["-o", ""], id="empty name"),
        pytest.param(["-o", "out.npz", "--include", "nothing*"], id="glob without matches"),
        pytest.param(["-o", "out.npz", "--strip-prefix", "nowhere/"], id="prefix of no name"),
        pytest.param(["-o", "out.npz", "--dtype", "int8"], id="integer dtype"),
        pytest.param(["-o", "out.npz", "--shard-size", "1MB"], id="shards of an npz"),
        pytest.param(["-o", "out.npz", "--rename", "(=x"], id="invalid regular expression"),
    ],
)
def test_export_reports_wrong_usage_in_one_line(
    digits: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    """The exit code is 2 and nothing is written."""
    path = str(digits.resolve())
    monkeypatch.chdir(tmp_path)

    assert main(["export", path, *arguments]) == 2

    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "nbytes"), [("1", 1), ("5GB", 5 * 10**9), ("1.5KiB", 1536), ("200kb", 200_000)])
def test_sizes_have_units(text: str, nbytes: int) -> None:
    """Units are powers of 1000, or with an i powers of 1024."""
    assert parse_size(text) == nbytes


def test_limit_can_be_raised(digits: pathlib.Path) -> None:
    """An unknown limit is wrong usage."""
    assert main(["ls", str(digits), "--limit", "max_entries=100"]) == 5
    assert main(["ls", str(digits), "--limit", "max_entries=1000"]) == 0
    with pytest.raises(SystemExit) as exit_info:
        main(["ls", str(digits), "--limit", "max_hopes=1"])
    assert exit_info.value.code == 2
