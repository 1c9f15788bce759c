"""Test that wrong input to `tf2torch convert` gives one error that says what to do, an exit code and no output.

Each rejected case has a similar one that converts, in the same test or in `test_convert`.
"""

from __future__ import annotations

import pathlib
import re
import sys
import zipfile

import numpy as np
import pytest

import tfckpt
from converter.cli import main
from converter.formats.files import read_output
from tests.converter import networks

ROOT = pathlib.Path(__file__).parents[3]
ARCHIVE = ROOT / "examples" / "efficientnetv2-digits.tgz"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    """A path for an output, in an empty folder."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "x.safetensors"


def save_checkpoint(arrays: networks.Arrays, folder: pathlib.Path) -> str:
    """Write arrays as a checkpoint and return its prefix."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return tfckpt.save(whole, folder / "model.ckpt", durable=False, overwrite=True)


def failed_conversion(arguments: list[str], code: int, output: pathlib.Path, capsys: Capture) -> str:
    """Run a conversion that must fail, check that it wrote nothing, and return the error message."""
    assert main(["convert", *arguments, "-o", str(output)]) == code

    shown = capsys.readouterr()
    assert shown.err.startswith("tf2torch: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert list(output.parent.iterdir()) == []
    return shown.err


# Unknown networks


@pytest.mark.parametrize(
    ("name", "other"),
    [("net/stem/conv2d/kernel", "net/entry/conv2d/kernel"), ("net/blocks_3/conv2d/kernel", "net/blocks_3/x/kernel")],
    ids=["stem", "block"],
)
def test_error_about_a_renamed_variable_has_both_names(
    name: str, other: str, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """It has the expected name and a similar one from the checkpoint."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays[other] = arrays.pop(name)

    error = failed_conversion([save_checkpoint(arrays, tmp_path)], 5, output, capsys)

    assert name.removeprefix("net/") in error
    assert other in error


def test_network_of_a_different_kind_is_rejected(data: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """It needs --rules."""
    failed_conversion([str(data / "bert")], 5, output, capsys)


def test_error_about_a_wrong_model_names_the_right_one(
    tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """The last line, which is still visible after a long list, names the variant that fits."""
    prefix = save_checkpoint(networks.arrays("efficientnetv2-b0", averages=False), tmp_path)

    error = failed_conversion([prefix, "--model", "efficientnetv2-b2"], 5, output, capsys).splitlines()

    assert "efficientnetv2-b0" in error[-1]
    assert main(["convert", prefix, "-o", str(output), "--model", "efficientnetv2-b0"]) == 0


# Damaged archives


@pytest.mark.parametrize("length", [100, 200_000])
def test_truncated_archive_is_corrupt(
    length: int, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """The error has the file and the offset where its data ends."""
    path = tmp_path / "cut.tgz"
    path.write_bytes(ARCHIVE.read_bytes()[:length])

    error = failed_conversion([str(path)], 4, output, capsys)

    assert error.startswith(f"tf2torch: {path}, byte {length}: ")
    assert error.count("\n") == 1
    assert main(["convert", str(ARCHIVE), "-o", str(output), "--no-proof"]) == 0


def test_truncated_zip_is_corrupt(
    digits: pathlib.Path, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """A zip archive has its directory at its end."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member in digits.parent.iterdir():
            archive.write(member, member.name)
    whole = path.read_bytes()
    assert main(["convert", str(path), "-o", str(output), "--no-proof"]) == 0
    output.unlink()
    path.write_bytes(whole[:-100])
    capsys.readouterr()

    failed_conversion([str(path)], 4, output, capsys)


# Rules


def arguments_for_rules(rules: str, *, tmp_path: pathlib.Path) -> list[str]:
    """Write a checkpoint of three tensors and a rules file, and return the arguments that convert by them."""
    arrays = {"a/kernel": np.ones((3, 2), np.float32), "a/bias": np.ones(2, np.float32), "step": np.array(1)}
    (tmp_path / "r.toml").write_text(rules, encoding="utf-8")
    return [save_checkpoint(arrays, tmp_path), "--rules", str(tmp_path / "r.toml")]


GOOD = """
[[rule]]
source = "a/kernel"
target = "a.weight"
layout = "dense"

[[rule]]
source = "a/{n}"
target = "a.{n}"

[words.n]
bias = "bias"

[[ignore]]
source = "step"
reason = "counter"
"""


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        (('bias = "bias"', 'bias = "bias"\nkernel = "weight"'), 5, "a/kernel"),
        (('bias = "bias"', 'biass = "bias"'), 5, "a/bias"),
        (('layout = "dense"', 'layout = "conv2d"'), 5, "a/kernel"),
        (('layout = "dense"', 'layout = "matrix"'), 2, "r.toml, line 2: "),
        (('target = "a.{n}"', 'target = "a.{m}"'), 2, "r.toml, line 7: "),
        (("[[ignore]]", "[[ignore]"), 2, "r.toml, line 14: "),
    ],
    ids=["two matches", "no match", "layout of other rank", "unknown layout", "unknown group", "invalid TOML"],
)
def test_error_about_rules_says_which_tensor_or_line(  # noqa: PLR0917  # three of them are fixtures
    change: tuple[str, str], code: int, place: str, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """An invalid file is wrong usage; rules that do not fit the checkpoint are not supported."""
    assert change[0] in GOOD

    error = failed_conversion(arguments_for_rules(GOOD.replace(*change), tmp_path=tmp_path), code, output, capsys)

    assert place in error
    assert main(["convert", *arguments_for_rules(GOOD, tmp_path=tmp_path), "-o", str(output), "--force"]) == 0


def test_rules_that_convert_nothing_write_nothing(
    tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """Here no tensor matches the rule, and all match `ignore`."""
    rules = '[[rule]]\nsource = "b/{n}"\ntarget = "b.{n}"\n[[ignore]]\nsource = "{x...}"\nreason = "rest"\n'

    failed_conversion(arguments_for_rules(rules, tmp_path=tmp_path), 5, output, capsys)


# Classes


@pytest.mark.parametrize(
    ("options", "count"),
    [([], 10), (["--num-classes", "5"], 5), (["--drop-head"], 0)],
    ids=["own classifier", "new classifier", "no classifier"],
)
def test_wrong_number_of_labels_is_rejected(  # noqa: PLR0917  # four of them are fixtures
    options: list[str],
    count: int,
    digits: pathlib.Path,
    tmp_path: pathlib.Path,
    output: pathlib.Path,
    capsys: Capture,
) -> None:
    """The error has both numbers; the number of classes is that of the output."""
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")

    error = failed_conversion([str(digits), "--labels", str(labels), *options], 2, output, capsys)

    assert re.findall(r"\d+", error.removeprefix("tf2torch: ")) == ["3", str(count)]
    right = ["--labels", str(labels), "--num-classes", "3", "--no-proof"]
    assert main(["convert", str(digits), "-o", str(output), *right]) == 0


@pytest.mark.parametrize("number", ["-1", "1000001", "9" * 30])
def test_invalid_number_of_classes_is_rejected(
    number: str, digits: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """Nothing of that size is allocated first."""
    failed_conversion([str(digits), "--num-classes", number], 2, output, capsys)


@pytest.mark.parametrize("options", [["--num-classes", "5"], ["--target", "timm"]])
def test_backbone_without_head_cannot_get_a_classifier_or_a_library_target(
    options: list[str], tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """A detector has such a backbone; on its own it is converted, without a classifier."""
    whole = networks.arrays("efficientnet-b0", averages=False)
    prefix = save_checkpoint({name: array for name, array in whole.items() if "/head/" not in name}, tmp_path)

    failed_conversion([prefix, *options], 2, output, capsys)

    assert main(["convert", prefix, "-o", str(output)]) == 0
    assert not any(name.startswith("classifier.") for name in read_output(output).tensors)


def test_output_without_a_name_is_rejected(digits: pathlib.Path) -> None:
    """An empty shell variable leads to one."""
    assert main(["convert", str(digits), "-o", ""]) == 2


def test_error_about_an_invalid_npz_does_not_mention_pickle(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """NumPy would take arbitrary bytes for a pickle and explain how to load it."""
    path = tmp_path / "x.npz"
    path.write_bytes(bytes(range(100)))

    assert main(["verify", str(digits), str(path)]) == 4

    assert "pickle" not in capsys.readouterr().err


def test_missing_output_exits_with_3(digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    """A name without an ending may be a folder."""
    for name in ("none.safetensors", "none"):
        assert main(["verify", str(digits), str(tmp_path / name)]) == 3

        assert capsys.readouterr().err.startswith(f"tf2torch: {tmp_path / name}: ")


# Missing packages


def test_pth_without_torch_names_the_extra(
    digits: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Only PyTorch can write its format."""
    monkeypatch.setitem(sys.modules, "torch", None)

    error = failed_conversion([str(digits)], 5, output.with_suffix(".pth"), capsys)

    assert "tfckpt[torch]" in error


def test_module_to_fill_without_torch_names_the_extra(
    data: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The user's module imports torch; any other import error is passed on in Python's words."""
    monkeypatch.chdir(ROOT / "examples" / "bert")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "encoder", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    arguments = [str(data / "bert"), "--rules", "bert.toml", "--into"]

    error = failed_conversion([*arguments, "encoder:build"], 5, output, capsys)
    other = failed_conversion([*arguments, "nothing_of_this_name:build"], 5, output, capsys)

    assert "tfckpt[torch]" in error
    assert "ModuleNotFoundError" in other


@pytest.mark.parametrize("target", ["timm", "torchvision"])
def test_names_of_another_library_do_not_need_that_library(
    target: str, tmp_path: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We have our own tables of names; the library is needed only to load the output."""
    for package in ("torch", "timm", "torchvision", "transformers", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    prefix = save_checkpoint(networks.arrays("efficientnet-b0", averages=False), tmp_path)

    assert main(["convert", prefix, "-o", str(output), "--target", target]) == 0


def test_comparison_with_a_missing_library_names_the_extra(
    tmp_path: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Only `tf2torch bench --against timm` runs another library's model."""
    pytest.importorskip("torch", reason="networks run in PyTorch")
    monkeypatch.setitem(sys.modules, "timm", None)
    prefix = save_checkpoint(networks.arrays("efficientnetv2-b0", averages=False), tmp_path)
    assert main(["convert", prefix, "-o", str(output)]) == 0
    capsys.readouterr()

    assert main(["bench", str(output), "--against", "timm", "--runs", "1", "--size", "32"]) == 5

    assert "tfckpt[bench]" in capsys.readouterr().err
