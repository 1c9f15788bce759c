"""`tfckpt info`, `diff`, `doctor` and `export` as a person meets them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import pytest

from tfckpt.cli import main
from tfckpt.cli.render import parse_size


def test_info_says_what_a_checkpoint_is(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One fact a line."""
    assert main(["info", str(digits)]) == 0

    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    facts = {key: value.strip() for key, value in facts.items()}
    assert facts["format"] == "V2, name-based"
    assert facts["written as"] == "bundle version 1, graph by TensorFlow 2.21.0"
    assert facts["tensors"] == "227"
    assert facts["parameters"] == "63,322"
    assert facts["moving averages"] == "113 tensors, 247.4 KiB (50%)"
    assert facts["optimizer"] == "none"


def test_info_counts_the_optimizers_share(data: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The training checkpoint has the same parameters and 150 slots beside them."""
    assert main(["info", str(data / "digits-train"), "--json"]) == 0

    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] == 63_322
    assert facts["optimizer_tensors"] == 150
    assert facts["style"] == "name-based"


def test_diff_exits_with_1_when_something_differs(
    digits: pathlib.Path, data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training checkpoint has more tensors; a checkpoint does not differ from itself."""
    assert main(["diff", str(digits), str(data / "digits-train"), "--most", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "only in B: 150 tensors"
    assert lines[2:] == ["  and 149 more (--most N shows them)", "227 tensors equal"]

    assert main(["diff", str(digits), str(digits)]) == 0
    assert capsys.readouterr().out == "227 tensors equal, nothing differs\n"


def test_doctor_finds_nothing_wrong_with_a_whole_checkpoint(
    digits: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which member was given."""
    assert main(["doctor", f"{digits}.data-00000-of-00001"]) == 0

    out = capsys.readouterr().out
    assert f"a data shard of a V2 checkpoint, {digits}" in out
    assert out.endswith("nothing wrong was found\n")


def test_doctor_measures_a_shard_that_was_cut_short(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The size it has, the size it needs, and what to do."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    shard.write_bytes(shard.read_bytes()[:1000])

    assert main(["doctor", str(prefix)]) == 4

    out = capsys.readouterr().out
    assert f"PROBLEM  data shard 0  {shard} has 1,000 bytes, its tensors need 506,584" in out
    assert "do: it was cut short on the way here: fetch it again" in out


def test_doctor_says_what_a_missing_shard_costs(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3: something is not there."""
    prefix = copied(digits)
    prefix.with_name(prefix.name + ".data-00000-of-00001").unlink()

    assert main(["doctor", str(prefix)]) == 3

    assert "is missing; 227 tensors cannot be read" in capsys.readouterr().out


def test_doctor_names_a_file_of_another_kind(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Git LFS pointer comes with the command that fetches the file."""
    path = tmp_path / "model.ckpt-1.index"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")

    assert main(["doctor", str(path)]) == 3

    assert "a Git LFS pointer and not the file itself; fetch it with: git lfs pull" in capsys.readouterr().out


def test_export_reports_what_it_left_out(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is skipped silently."""
    out = tmp_path / "out.safetensors"

    assert main(["export", str(digits), "-o", str(out), "--ema"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"114 tensors, 247.4 KiB -> {out}",
        "left out: 113 tensors (raw values of variables whose averages are taken)",
    ]


def test_export_of_a_damaged_checkpoint_tells_of_salvage(
    digits: pathlib.Path,
    copied: Callable[[pathlib.Path], pathlib.Path],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error ends with what can be done, and doing it writes the other tensors."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    arguments = ["export", str(prefix), "-o", str(tmp_path / "out.npz")]

    assert main(arguments) == 4
    assert capsys.readouterr().err.endswith("; --salvage writes what is whole, tfckpt verify lists all damage\n")
    assert main([*arguments, "--salvage"]) == 4
    assert capsys.readouterr().out.startswith("226 tensors")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-o", "out.h5"], id="unknown ending"),
        pytest.param(["-o", "out.npz", "--include", "nothing*"], id="glob that matches nothing"),
        pytest.param(["-o", "out.npz", "--strip-prefix", "nowhere/"], id="prefix that no name has"),
        pytest.param(["-o", "out.npz", "--dtype", "int8"], id="type that is no float"),
        pytest.param(["-o", "out.npz", "--shard-size", "1MB"], id="shards of an npz"),
        pytest.param(["-o", "out.npz", "--rename", "(=x"], id="no regular expression"),
    ],
)
def test_export_refuses_wrong_usage_in_one_line(
    digits: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    """Exit code 2, nothing written."""
    path = str(digits.resolve())
    monkeypatch.chdir(tmp_path)

    assert main(["export", path, *arguments]) == 2

    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "nbytes"), [("1", 1), ("5GB", 5 * 10**9), ("1.5KiB", 1536), ("200kb", 200_000)])
def test_sizes_have_units(text: str, nbytes: int) -> None:
    """Powers of 1000, or of 1024 with an i."""
    assert parse_size(text) == nbytes


def test_a_limit_that_an_error_names_can_be_raised(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error says how on the command line; a limit that does not exist is wrong usage."""
    assert main(["ls", str(digits), "--limit", "max_entries=100"]) == 5
    assert "on the command line with --limit max_entries=..." in capsys.readouterr().err

    assert main(["ls", str(digits), "--limit", "max_entries=1000"]) == 0
    with pytest.raises(SystemExit) as exit_info:
        main(["ls", str(digits), "--limit", "max_hopes=1"])
    assert exit_info.value.code == 2
    assert "'max_hopes' is no limit" in capsys.readouterr().err
