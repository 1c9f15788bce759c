"""Test that `tfckpt ls` lists tensors for people and for programs."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.builders import INT32
from tests.tfckpt.v1.v1_files import V1File
from tfckpt.cli import main


def test_ls_counts_every_tensor_of_the_checkpoint(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a pattern there is a row for each of the 227 tensors, between a heading and the totals."""
    assert main(["ls", str(digits.parent)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 227 + 2

    assert main(["ls", str(digits.parent), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tensors"]) == 227


def test_ls_gives_the_offset_of_the_payload(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The 8 bytes at this offset in shard 0 are the value of global_step."""
    main(["ls", str(digits), "global_step", "--json"])

    offset = json.loads(capsys.readouterr().out)["tensors"][0]["offset"]
    data = digits.with_name(digits.name + ".data-00000-of-00001").read_bytes()
    assert int.from_bytes(data[offset : offset + 8], "little") == 322


def test_ls_sorts_by_size_with_the_largest_first(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --sort size the sizes never increase."""
    main(["ls", str(digits), "--sort", "size", "--json"])

    sizes = [row["nbytes"] for row in json.loads(capsys.readouterr().out)["tensors"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_ls_json_is_complete(digits: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program gets the same facts as from `TensorInfo`."""
    main(["ls", str(digits), "global_step", "--json"])

    listing = json.loads(capsys.readouterr().out)
    assert listing["format"] == "V2"
    assert listing["missing_files"] == {}
    (row,) = listing["tensors"]
    assert (row["name"], row["dtype"], row["shape"], row["nbytes"]) == ("global_step", "int64", [], 8)


def test_ls_of_a_pattern_that_matches_nothing_exits_with_3(
    digits: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The glob `stem*` must match whole names, which begin with the scope; the text `stem` may occur anywhere."""
    assert main(["ls", str(digits), "stem*"]) == 3
    assert capsys.readouterr().out == ""

    assert main(["ls", str(digits), "stem", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tensors"]) == 10


def test_ls_with_a_missing_shard_lists_all_tensors_and_warns(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The index alone is enough for the list; standard error says what cannot be read."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    shard.unlink()

    code = main(["ls", str(prefix), "--json"])

    captured = capsys.readouterr()
    listing = json.loads(captured.out)
    assert code == 0
    assert len(listing["tensors"]) == 227
    assert {path: len(names) for path, names in listing["missing_files"].items()} == {str(shard): 227}
    assert captured.err.startswith(f"tfckpt: {shard}: ")
    assert captured.err.count("\n") == 1


def test_ls_notes_a_moved_checkpoint(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """If the state file names a folder of another machine, `ls` reads the checkpoint next to it and says so."""
    prefix = copied(digits)
    prefix.with_name("checkpoint").write_text(f'model_checkpoint_path: "/gone/{prefix.name}"\n')

    code = main(["ls", str(prefix.parent)])

    assert code == 0
    assert f"/gone/{prefix.name}" in capsys.readouterr().err


def test_ls_of_v1_leaves_out_the_tensors_of_a_missing_shard(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A V1 checkpoint has no index file, so the tensors of a missing shard are unknown."""
    for number in (0, 2):
        V1File().add(b"v%d" % number, INT32, [], [1]).write(tmp_path / f"model-{number:05d}-of-00003")

    code = main(["ls", str(tmp_path / "model"), "--json"])

    captured = capsys.readouterr()
    listing = json.loads(captured.out)
    assert code == 0
    assert ([row["name"] for row in listing["tensors"]], len(listing["files"])) == (["v0", "v2"], 3)
    assert listing["missing_files"] == {str(tmp_path / "model-00001-of-00003"): []}
    assert "model-00001-of-00003" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [["{}", "global_step", "--sort", "size"], ["{}", "--sort", "size", "global_step"]],
    ids=["before", "after"],
)
def test_ls_takes_the_pattern_before_and_after_options(
    arguments: list[str], digits: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ls PATH --long PATTERN` works as well as `ls PATH PATTERN --long`."""
    code = main(["ls", *(argument.format(digits) for argument in arguments), "--json"])

    assert code == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["tensors"]] == ["global_step"]


@pytest.mark.parametrize("rest", [["stem", "--long", "head"], ["--long", "stem", "head"], ["--bogus", "stem"]])
def test_ls_rejects_extra_arguments(rest: list[str], digits: pathlib.Path) -> None:
    """A second pattern and an unknown option are wrong usage."""
    with pytest.raises(SystemExit) as caught:
        main(["ls", str(digits), *rest])

    assert caught.value.code == 2


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_reported_in_one_line(digits: pathlib.Path) -> None:
    """If standard output cannot be written, there is no traceback."""
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "tfckpt", "ls", str(digits)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert process.returncode == 2
    assert process.stderr.startswith("tfckpt: ")
    assert process.stderr.count("\n") == 1
