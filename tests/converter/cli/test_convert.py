"""`tf2torch convert`: what it writes, says and refuses, and that nothing is left behind when it fails."""

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

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where an output goes; its folder is empty."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "digits.safetensors"


def test_convert_writes_weights(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """A folder, a prefix or a member file is converted."""
    code = main(["convert", str(digits.parent), "-o", str(output)])

    shown = capsys.readouterr()
    assert code == 0
    assert shown.err == ""
    assert len(read_output(output).tensors) == 132
    assert os.listdir(output.parent) == ["digits.safetensors"]


def test_convert_takes_raw_values_on_request(digits: pathlib.Path, output: pathlib.Path) -> None:
    """`--weights raw` writes the other set."""
    assert main(["convert", str(digits), "-o", str(output)]) == 0
    averages = dict(read_output(output).tensors)
    assert main(["convert", str(digits), "-o", str(output), "--weights", "raw", "--force"]) == 0
    raw = read_output(output).tensors

    assert not np.array_equal(raw["stem.conv.weight"], averages["stem.conv.weight"])


def test_convert_writes_a_pth_by_its_ending(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The ending of OUT chooses the format."""
    torch = pytest.importorskip("torch", reason="the output is PyTorch's")
    path = output.with_suffix(".pth")

    assert main(["convert", str(digits), "-o", str(path)]) == 0

    assert len(torch.load(path, weights_only=True)) == 132


def test_report_is_written_as_json(digits: pathlib.Path, output: pathlib.Path) -> None:
    """`--report` keeps what became of every tensor."""
    path = output.with_name("report.json")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(path)]) == 0

    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["totals"]["used"] == len(report["tensors"]) == 113
    assert report["tensors"][0]["statistics"]["count"] == 216
    assert report["command"] == shlex.join(["tf2torch", "convert", str(digits), "-o", str(output)])
    assert sorted(os.listdir(output.parent)) == ["digits.safetensors", "report.json"]


def test_report_is_written_for_people(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """The ending of the report chooses its form."""
    path = output.with_name("report.html")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(path)]) == 0

    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(path) in capsys.readouterr().out


def test_report_of_another_ending_is_refused(digits: pathlib.Path, output: pathlib.Path) -> None:
    """As `verify` does, and before any work."""
    path = output.with_name("report.txt")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(path)]) == 2

    assert os.listdir(output.parent) == []


@pytest.mark.parametrize(
    ("typed", "said"),
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
def test_command_of_a_report_repeats_what_was_typed(typed: str, said: str) -> None:
    """What is not the default is said, quoted for a shell, and read back as the same options."""
    options = build_parser().parse_args(["convert", *shlex.split(typed)])

    command = format_command(options, ("report", "force"))

    assert command == f"tf2torch convert {said}"
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
def test_limit_that_an_error_names_can_be_raised(
    arguments: list[str], digits: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """By the option that the error names, for every verb that opens a checkpoint."""
    verb, *rest = [str(output) if argument == "OUT" else argument for argument in arguments]
    if verb != "convert":
        assert main(["convert", str(digits), "-o", str(output)]) == 0
    more = ["-o", str(tmp_path / "reverted")] if verb == "revert" else []
    typed = [verb, *rest, str(digits), *more] if verb in ("convert", "revert") else [verb, str(digits), *rest]

    assert main([*typed, "--limit", "max_entries=10"]) == 5
    assert main([*typed, "--limit", "max_entries=1000"]) == 0


def test_conversion_to_safetensors_leaves_torch_out(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The whole command runs without loading PyTorch."""
    program = (
        "import sys\n"
        "from converter.cli import main\n"
        f"code = main(['convert', {str(digits)!r}, '-o', {str(output)!r}])\n"
        "print(code, 'torch' in sys.modules, file=sys.stderr)\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert shown.stderr == "0 False\n"
    assert output.exists()


def test_existing_output_is_refused_without_force(digits: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """A file is overwritten only when asked, and the refusal comes before any work."""
    output.write_bytes(b"precious")

    assert main(["convert", str(digits), "-o", str(output)]) == 2
    assert output.read_bytes() == b"precious"
    assert capsys.readouterr().out == ""
    assert main(["convert", str(digits), "-o", str(output), "--force"]) == 0
    assert len(read_output(output).tensors) == 132


def test_existing_report_is_refused_without_force(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The report is a file like the output, and nothing is written when it is in the way."""
    report = output.with_name("report.json")
    report.write_bytes(b"precious")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(report)]) == 2

    assert report.read_bytes() == b"precious"
    assert not output.exists()


def test_report_cannot_be_the_output(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Two files need two names."""
    assert main(["convert", str(digits), "-o", str(output), "--report", str(output), "--force"]) == 2

    assert not output.exists()


@pytest.mark.parametrize(
    "options", [["--strides", "1,2,2"], ["--scope", "other"], ["--model", "efficientnetv2-b0"]], ids=" ".join
)
def test_what_does_not_fit_writes_nothing(
    digits: pathlib.Path, output: pathlib.Path, options: list[str], capsys: Capture
) -> None:
    """A network that is not understood exits with 5 and one error on standard error, without traceback or file."""
    assert main(["convert", str(digits), "-o", str(output), *options]) == 5

    shown = capsys.readouterr()
    assert shown.err.startswith("tf2torch: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert os.listdir(output.parent) == []


@pytest.mark.parametrize(
    "options", [["--strides", "1,x"], ["--strides", "0"], ["--model", "resnet"], ["--weights", "x"]]
)
def test_wrong_usage_exits_with_two(
    digits: pathlib.Path, output: pathlib.Path, options: list[str], capsys: Capture
) -> None:
    """The parser says what an option takes."""
    with pytest.raises(SystemExit) as caught:
        main(["convert", str(digits), "-o", str(output), *options])

    assert caught.value.code == 2
    assert f"error: argument {options[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["digits.bin", "missing/digits.safetensors"])
def test_output_that_cannot_be_written_exits_with_two(
    digits: pathlib.Path, output: pathlib.Path, name: str, capsys: Capture
) -> None:
    """An unknown ending or a folder that is not there is wrong usage."""
    assert main(["convert", str(digits), "-o", str(output.parent / name)]) == 2

    assert name in capsys.readouterr().err
    assert os.listdir(output.parent) == []


def test_missing_checkpoint_exits_with_three(output: pathlib.Path, capsys: Capture) -> None:
    """A path that is nothing is not found."""
    assert main(["convert", str(output.with_name("nothing")), "-o", str(output)]) == 3

    assert "nothing" in capsys.readouterr().err
    assert os.listdir(output.parent) == []


def test_damaged_checkpoint_exits_with_four(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], output: pathlib.Path, capsys: Capture
) -> None:
    """A shard of other bytes fails its checksums, and leaves nothing."""
    prefix = copied(digits)
    shard = prefix.with_name("model.ckpt-322.data-00000-of-00001")
    shard.write_bytes(bytes(shard.stat().st_size))

    assert main(["convert", str(prefix), "-o", str(output)]) == 4

    shown = capsys.readouterr()
    assert str(shard) in shown.err
    assert len(shown.err.splitlines()) == 1
    assert os.listdir(output.parent) == []


def test_missing_shard_exits_with_three(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], output: pathlib.Path, capsys: Capture
) -> None:
    """The error names the shard that is not there."""
    prefix = copied(digits)
    prefix.with_name("model.ckpt-322.data-00000-of-00001").unlink()

    assert main(["convert", str(prefix), "-o", str(output)]) == 3

    assert "model.ckpt-322.data-00000-of-00001" in capsys.readouterr().err
    assert os.listdir(output.parent) == []


def test_missing_torch_exits_with_five(
    digits: pathlib.Path, output: pathlib.Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PyTorch a `.pth` cannot be written; the error names the extra, and a `.safetensors` still can."""
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
    """Half a file is removed, and so is the report, whatever stopped the writing."""

    def failing(result: object, file: object, *, progress: object = None) -> None:
        file.write(b"half")  # type: ignore[attr-defined]  # a binary file, by the contract
        raise failure

    monkeypatch.setitem(FORMATS, ".safetensors", FORMATS[".safetensors"]._replace(write=failing))
    report = output.with_name("report.json")

    assert main(["convert", str(digits), "-o", str(output), "--report", str(report)]) == code

    assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(output.parent) == []


def test_convert_writes_folders_shards_and_other_types(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A name without an ending is a folder."""
    folder = tmp_path / "folder"

    assert main(["convert", str(digits), "-o", str(folder), "--shard-size", "100KB", "--dtype", "float16"]) == 0

    assert (folder / "model.safetensors.index.json").is_file()
    assert {array.dtype.name for array in read_output(folder).tensors.values()} == {"float16", "int64"}


def test_convert_refuses_a_target_that_a_network_does_not_have(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A network of one's own is in no library; it is written for our own module."""
    assert main(["convert", str(digits), "-o", str(tmp_path / "t.npz"), "--target", "timm"]) == 2
    assert list(tmp_path.iterdir()) == []

    assert main(["convert", str(digits), "-o", str(tmp_path / "t.npz"), "--target", "native"]) == 0


def test_convert_refuses_labels_that_do_not_fit(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """No file, a folder, and nine labels for ten classes are errors; ten are written beside the weights."""
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
    assert main(arguments) == 0
    assert (tmp_path / "folder" / "labels.txt").read_text().split() == list("0123456789")
