"""Test what `tf2torch convert` writes and rejects, and that it leaves nothing behind if it fails."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from converter.cli import build_parser, main
from converter.cli.options import format_command
from converter.formats.files import FORMATS, read_output
from tests.conftest import DATA
from tests.converter.conftest import DIGITS

FAMILIES = DATA / "families"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    """A path for an output, in an empty folder."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "digits.safetensors"


def test_convert_writes_weights(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """The source may be a folder."""
    code = main(["convert", str(digits.parent), "-o", str(output)])

    shown = capsys.readouterr()
    assert code == 0
    assert shown.err == ""
    assert len(read_output(output).tensors) == 132
    assert os.listdir(output.parent) == ["digits.safetensors"]


def test_convert_takes_raw_values_on_request(digits: pathlib.Path, output: pathlib.Path) -> None:
    """They are different from the moving averages."""
    assert main(["convert", str(digits), "-o", str(output), "--no-proof"]) == 0
    averages = dict(read_output(output).tensors)
    assert main(["convert", str(digits), "-o", str(output), "--weights", "raw", "--force", "--no-proof"]) == 0
    raw = read_output(output).tensors

    assert not np.array_equal(raw["stem.conv.weight"], averages["stem.conv.weight"])


def test_convert_writes_a_pth_file(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The ending of OUT selects the format."""
    torch = pytest.importorskip("torch", reason="the output is PyTorch's")
    path = output.with_suffix(".pth")

    assert main(["convert", str(digits), "-o", str(path)]) == 0

    assert len(torch.load(path, weights_only=True)) == 132


def test_report_is_written_as_json(digits: pathlib.Path, output: pathlib.Path) -> None:
    """It has a record of every tensor."""
    path = output.with_name("report.json")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(path)]) == 0

    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["totals"]["used"] == len(report["tensors"]) == 113
    assert report["tensors"][0]["statistics"]["count"] == 216
    assert report["command"] == shlex.join(["tf2torch", "convert", str(digits), "-o", str(output)])
    assert sorted(os.listdir(output.parent)) == ["digits.safetensors", "report.json"]


def test_report_is_written_as_html(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """The ending of the report selects the format."""
    path = output.with_name("report.html")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(path)]) == 0

    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(path) in capsys.readouterr().out


def test_report_with_an_unknown_ending_is_rejected(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The check comes before the conversion."""
    path = output.with_name("report.txt")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(path)]) == 2

    assert os.listdir(output.parent) == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ck -o s.safetensors", "ck -o s.safetensors"),
        ("--weights raw ck --output=s.pth --force --report r.html", "ck -o s.pth --weights raw"),
        ("'my net' -o s.npz --strides 1,2,2", "'my net' -o s.npz --strides 1,2,2"),
        ("ck -o out --shard-size 2MB --fuse-bn", "ck -o out --fuse-bn --shard-size 2000000"),
        ("ck -o s.pth --drop-head --weights ema", "ck -o s.pth --drop-head"),
        ("ck -o s.pth --num-classes 5 --model auto", "ck -o s.pth --num-classes 5"),
        ("ck -o s.pth --scope=-x", "ck -o s.pth --scope=-x"),
        (
            "ck -o s.pth --limit max_entries=5 --limit max_shards=6",
            "ck -o s.pth --limit max_entries=5 --limit max_shards=6",
        ),
        ("-o-s.pth --scope '' -- -ck", "-o-s.pth --scope '' -- -ck"),
    ],
)
def test_command_in_a_report_leads_to_the_same_options(typed: str, expected: str) -> None:
    """It has all options that are not defaults, quoted for a shell."""
    options = build_parser().parse_args(["convert", *shlex.split(typed)])

    command = format_command(options, ("report", "force"))

    assert command == f"tf2torch convert {expected}"
    again = vars(build_parser().parse_args(shlex.split(command)[1:]))
    other = {"report", "force", "run", "parser"}
    assert {key: again[key] for key in again.keys() - other} == {
        key: value for key, value in vars(options).items() if key not in other
    }


@pytest.mark.parametrize(
    "arguments",
    [["convert", "-o", "OUT"], ["plan"], ["verify", "OUT"], ["revert", "OUT", "--like"]],
    ids=lambda a: a[0],
)
def test_limit_can_be_raised(
    arguments: list[str], digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Every verb that opens a checkpoint has --limit."""
    verb, *rest = [str(output) if argument == "OUT" else argument for argument in arguments]
    if verb != "convert":
        assert main(["convert", str(digits), "-o", str(output), "--no-proof"]) == 0
    more = ["-o", str(tmp_path / "reverted")] if verb == "revert" else []
    typed = [verb, *rest, str(digits), *more] if verb in ("convert", "revert") else [verb, str(digits), *rest]

    assert main([*typed, "--limit", "max_entries=10"]) == 5
    assert main([*typed, "--limit", "max_entries=1000"]) == 0


@pytest.mark.parametrize(
    ("source", "options"),
    [(DIGITS, ["--no-proof"]), (FAMILIES / "bert.tar.xz", ["--no-proof"]), (FAMILIES / "t5.tar.xz", [])],
    ids=["digits", "a ready family", "a ready family without a graph"],
)
def test_conversion_to_safetensors_does_not_import_torch(
    source: pathlib.Path, options: list[str], output: pathlib.Path
) -> None:
    """Without a proof of layers it runs without PyTorch, and starts faster."""
    program = (
        "import sys\n"
        "from converter.cli import main\n"
        f"code = main(['convert', {str(source)!r}, '-o', {str(output)!r}, *{options!r}])\n"
        "print(code, {'torch', 'transformers'} & set(sys.modules), file=sys.stderr)\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert shown.stderr.splitlines()[-1] == "0 set()"
    assert output.exists()


def test_existing_output_is_not_overwritten_without_force(
    digits: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """The check comes before the conversion."""
    output.write_bytes(b"precious")

    assert main(["convert", str(digits), "-o", str(output)]) == 2
    assert output.read_bytes() == b"precious"
    assert capsys.readouterr().out == ""
    assert main(["convert", str(digits), "-o", str(output), "--force", "--no-proof"]) == 0
    assert len(read_output(output).tensors) == 132


def test_existing_report_is_not_overwritten_without_force(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The output is not written either."""
    report = output.with_name("report.json")
    report.write_bytes(b"precious")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(report)]) == 2

    assert report.read_bytes() == b"precious"
    assert not output.exists()


def test_report_cannot_be_the_output(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Not even with --force."""
    assert main(["convert", str(digits), "-o", str(output), "--report", str(output), "--force"]) == 2

    assert not output.exists()


@pytest.mark.parametrize(
    "options", [["--strides", "1,2,2"], ["--scope", "other"], ["--model", "efficientnetv2-b0"]], ids=" ".join
)
def test_network_that_does_not_fit_exits_with_5(
    digits: pathlib.Path, output: pathlib.Path, options: list[str], capsys: Capture
) -> None:
    """There is one error without a traceback, and no file is written."""
    assert main(["convert", str(digits), "-o", str(output), *options]) == 5

    shown = capsys.readouterr()
    assert shown.err.startswith("tf2torch: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert os.listdir(output.parent) == []


@pytest.mark.parametrize(
    "options", [["--strides", "1,x"], ["--strides", "0"], ["--model", "resnet"], ["--weights", "x"]]
)
def test_wrong_usage_exits_with_2(
    digits: pathlib.Path, output: pathlib.Path, options: list[str], capsys: Capture
) -> None:
    """The parser names the option."""
    with pytest.raises(SystemExit) as caught:
        main(["convert", str(digits), "-o", str(output), *options])

    assert caught.value.code == 2
    assert f"error: argument {options[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["digits.bin", "missing/digits.safetensors"])
def test_output_that_cannot_be_written_exits_with_2(
    digits: pathlib.Path, output: pathlib.Path, name: str, capsys: Capture
) -> None:
    """An unknown ending or a missing folder is wrong usage."""
    assert main(["convert", str(digits), "-o", str(output.parent / name)]) == 2

    assert name in capsys.readouterr().err
    assert os.listdir(output.parent) == []


def test_missing_checkpoint_exits_with_3(output: pathlib.Path, capsys: Capture) -> None:
    """The error has the path."""
    assert main(["convert", str(output.with_name("nothing")), "-o", str(output)]) == 3

    assert "nothing" in capsys.readouterr().err
    assert os.listdir(output.parent) == []


def test_damaged_checkpoint_exits_with_4(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], output: pathlib.Path, capsys: Capture
) -> None:
    """The checksums do not match, and nothing is written."""
    prefix = copied(digits)
    shard = prefix.with_name("model.ckpt-322.data-00000-of-00001")
    shard.write_bytes(bytes(shard.stat().st_size))

    assert main(["convert", str(prefix), "-o", str(output)]) == 4

    shown = capsys.readouterr()
    assert str(shard) in shown.err
    assert len(shown.err.splitlines()) == 1
    assert os.listdir(output.parent) == []


def test_missing_shard_exits_with_3(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], output: pathlib.Path, capsys: Capture
) -> None:
    """The error has the name of the shard."""
    prefix = copied(digits)
    prefix.with_name("model.ckpt-322.data-00000-of-00001").unlink()

    assert main(["convert", str(prefix), "-o", str(output)]) == 3

    assert "model.ckpt-322.data-00000-of-00001" in capsys.readouterr().err
    assert os.listdir(output.parent) == []


def test_missing_torch_exits_with_5(
    digits: pathlib.Path, output: pathlib.Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the extra that .pth needs; a .safetensors file does not need it."""
    monkeypatch.setitem(sys.modules, "torch", None)

    assert main(["convert", str(digits), "-o", str(output.with_suffix(".pth"))]) == 5
    assert "tfckpt[torch]" in capsys.readouterr().err
    assert os.listdir(output.parent) == []
    assert main(["convert", str(digits), "-o", str(output)]) == 0


@pytest.mark.parametrize(
    ("failure", "code"),
    [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 2)],
    ids=["interrupted", "disk full"],
)
def test_failure_while_writing_leaves_nothing(
    *,
    digits: pathlib.Path,
    output: pathlib.Path,
    failure: BaseException,
    code: int,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The incomplete file and the report are removed, whatever stopped the writing."""

    def write_half(result: object, file: object, *, seal: object = None, progress: object = None) -> None:
        file.write(b"half")  # type: ignore[attr-defined]  # a binary file, by the contract
        raise failure

    monkeypatch.setitem(FORMATS, ".safetensors", FORMATS[".safetensors"]._replace(write=write_half))
    report = output.with_name("report.json")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(report)]) == code

    assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(output.parent) == []


def test_convert_writes_folders_shards_and_other_dtypes(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A name without an ending is a folder."""
    folder = tmp_path / "folder"

    assert main(["convert", str(digits), "-o", str(folder), "--shard-size", "100KB", "--dtype", "float16"]) == 0

    assert (folder / "model.safetensors.index.json").is_file()
    assert {array.dtype.name for array in read_output(folder).tensors.values()} == {"float16", "int64"}


def test_convert_rejects_a_library_without_this_network(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A user's own network is in no library; the target native works for it."""
    assert main(["convert", str(digits), "-o", str(tmp_path / "t.npz"), "--target", "timm"]) == 2
    assert list(tmp_path.iterdir()) == []

    assert main(["convert", str(digits), "-o", str(tmp_path / "t.npz"), "--target", "native", "--no-proof"]) == 0


def test_convert_rejects_unsuitable_labels(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A missing file, a folder, nine labels for ten classes and labels of two lines are errors."""
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{digit}\n" for digit in range(9)))
    arguments = ["convert", str(digits), "-o", str(tmp_path / "folder"), "--labels", str(labels)]

    assert main([*arguments[:-1], str(tmp_path / "none.txt")]) == 3
    assert main([*arguments[:-1], str(tmp_path)]) == 3
    assert main(arguments) == 2
    assert not (tmp_path / "folder").exists()
    for odd in ("two\nlines", "half a pair \ud800", "a line\u2028separated"):
        (tmp_path / "labels.json").write_text(json.dumps([odd, *map(str, range(9))]))
        assert main([*arguments[:-1], str(tmp_path / "labels.json")]) == 2
        assert not (tmp_path / "folder").exists()

    labels.write_text("".join(f"{digit}\n" for digit in range(10)))
    assert main([*arguments, "--no-proof"]) == 0
    assert (tmp_path / "folder" / "labels.txt").read_text().split() == list("0123456789")
