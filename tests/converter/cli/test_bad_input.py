"""What a stranger gets wrong with `tf2torch convert`: one error that says what to do, an exit code, and no output.

Each case has its nearest neighbour that converts, in the same test or in `test_convert`.
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
    """Where an output goes; its folder is empty."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "x.safetensors"


def saved(arrays: networks.Arrays, folder: pathlib.Path) -> str:
    """Write arrays as a checkpoint; its prefix."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return tfckpt.save(whole, folder / "model.ckpt", durable=False, overwrite=True)


def refused(arguments: list[str], code: int, output: pathlib.Path, capsys: Capture) -> str:
    """Run a conversion that cannot be; its error, after what every such error has to be."""
    assert main(["convert", *arguments, "-o", str(output)]) == code

    shown = capsys.readouterr()
    assert shown.err.startswith("tf2torch: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert list(output.parent.iterdir()) == []
    return shown.err


# Another network


@pytest.mark.parametrize(
    ("name", "other"),
    [("net/stem/conv2d/kernel", "net/entry/conv2d/kernel"), ("net/blocks_3/conv2d/kernel", "net/blocks_3/x/kernel")],
    ids=["stem", "block"],
)
def test_network_with_a_renamed_variable_is_not_converted(
    name: str, other: str, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """The error shows both names."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays[other] = arrays.pop(name)

    error = refused([saved(arrays, tmp_path)], 5, output, capsys)

    assert name.removeprefix("net/") in error
    assert other in error


def test_network_of_another_kind_is_not_converted(data: pathlib.Path, output: pathlib.Path, capsys: Capture) -> None:
    """It needs rules."""
    refused([str(data / "bert")], 5, output, capsys)


def test_model_given_by_hand_that_does_not_fit_is_told_which_would(
    tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """The last line, which a terminal shows, names the variant that fits."""
    prefix = saved(networks.arrays("efficientnetv2-b0", averages=False), tmp_path)

    error = refused([prefix, "--model", "efficientnetv2-b2"], 5, output, capsys).splitlines()

    assert "efficientnetv2-b0" in error[-1]
    assert main(["convert", prefix, "-o", str(output), "--model", "efficientnetv2-b0"]) == 0


# Damaged archives


@pytest.mark.parametrize("length", [100, 200_000])
def test_truncated_archive_is_corrupt(
    length: int, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """A download may end early; the error has the file and the place."""
    path = tmp_path / "cut.tgz"
    path.write_bytes(ARCHIVE.read_bytes()[:length])

    error = refused([str(path)], 4, output, capsys)

    assert error.startswith(f"tf2torch: {path}, byte {length}: ")
    assert error.count("\n") == 1
    assert main(["convert", str(ARCHIVE), "-o", str(output)]) == 0


def test_truncated_zip_is_corrupt(
    digits: pathlib.Path, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """Its directory stands at its end."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member in digits.parent.iterdir():
            archive.write(member, member.name)
    whole = path.read_bytes()
    assert main(["convert", str(path), "-o", str(output)]) == 0
    output.unlink()
    path.write_bytes(whole[:-100])
    capsys.readouterr()

    refused([str(path)], 4, output, capsys)


# Rules


def converted_by(rules: str, *, tmp_path: pathlib.Path) -> list[str]:
    """Arguments that convert a checkpoint of three tensors by these rules."""
    arrays = {"a/kernel": np.ones((3, 2), np.float32), "a/bias": np.ones(2, np.float32), "step": np.array(1)}
    (tmp_path / "r.toml").write_text(rules, encoding="utf-8")
    return [saved(arrays, tmp_path), "--rules", str(tmp_path / "r.toml")]


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
    ids=["two matches", "no match", "layout of other axes", "unknown layout", "unknown group", "no TOML"],
)
def test_wrong_rules_say_which_and_where(  # noqa: PLR0917  # three of them are fixtures
    change: tuple[str, str], code: int, place: str, tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """A file that cannot be meant is wrong usage; one that does not fit the checkpoint lists all that is left."""
    assert change[0] in GOOD

    error = refused(converted_by(GOOD.replace(*change), tmp_path=tmp_path), code, output, capsys)

    assert place in error
    assert main(["convert", *converted_by(GOOD, tmp_path=tmp_path), "-o", str(output), "--force"]) == 0


def test_rules_that_convert_nothing_write_nothing(
    tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """Here the rule takes nothing, and `ignore` takes everything."""
    rules = '[[rule]]\nsource = "b/{n}"\ntarget = "b.{n}"\n[[ignore]]\nsource = "{x...}"\nreason = "rest"\n'

    refused(converted_by(rules, tmp_path=tmp_path), 5, output, capsys)


# Classes


@pytest.mark.parametrize(
    ("options", "count"),
    [([], 10), (["--num-classes", "5"], 5), (["--drop-head"], 0)],
    ids=["as it is", "new classifier", "none"],
)
def test_labels_of_another_count_are_refused(  # noqa: PLR0917  # four of them are fixtures
    options: list[str],
    count: int,
    digits: pathlib.Path,
    tmp_path: pathlib.Path,
    output: pathlib.Path,
    capsys: Capture,
) -> None:
    """The error has both numbers; the count is that of what is written."""
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")

    error = refused([str(digits), "--labels", str(labels), *options], 2, output, capsys)

    assert re.findall(r"\d+", error.removeprefix("tf2torch: ")) == ["3", str(count)]
    assert main(["convert", str(digits), "-o", str(output), "--labels", str(labels), "--num-classes", "3"]) == 0


@pytest.mark.parametrize("number", ["-1", "1000001", "9" * 30])
def test_number_of_classes_that_no_classifier_has_is_refused(
    number: str, digits: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """Before anything of that size is made."""
    refused([str(digits), "--num-classes", number], 2, output, capsys)


@pytest.mark.parametrize("options", [["--num-classes", "5"], ["--target", "timm"]])
def test_backbone_without_head_takes_neither_classifier_nor_library(
    options: list[str], tmp_path: pathlib.Path, output: pathlib.Path, capsys: Capture
) -> None:
    """As a detector has it; by itself it is converted, and has no classifier."""
    whole = networks.arrays("efficientnet-b0", averages=False)
    prefix = saved({name: array for name, array in whole.items() if "/head/" not in name}, tmp_path)

    refused([prefix, *options], 2, output, capsys)

    assert main(["convert", prefix, "-o", str(output)]) == 0
    assert not any(name.startswith("classifier.") for name in read_output(output).tensors)


def test_output_without_a_name_is_refused(digits: pathlib.Path) -> None:
    """As an empty variable of a shell gives it."""
    assert main(["convert", str(digits), "-o", ""]) == 2


def test_npz_that_is_none_is_refused_without_advice_to_unpickle_it(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """NumPy would take arbitrary bytes for a pickle, and say how to load it all the same."""
    path = tmp_path / "x.npz"
    path.write_bytes(bytes(range(100)))

    assert main(["verify", str(digits), str(path)]) == 4

    assert "pickle" not in capsys.readouterr().err


def test_output_that_is_not_there_is_said_to_be_missing(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """A file by its ending, and what may have been a folder."""
    for name in ("none.safetensors", "none"):
        assert main(["verify", str(digits), str(tmp_path / name)]) == 3

        assert capsys.readouterr().err.startswith(f"tf2torch: {tmp_path / name}: ")


# Packages that are not there


def test_pth_without_torch_names_the_extra(
    digits: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """PyTorch writes its own format."""
    monkeypatch.setitem(sys.modules, "torch", None)

    error = refused([str(digits)], 5, output.with_suffix(".pth"), capsys)

    assert "tfckpt[torch]" in error


def test_module_to_convert_into_without_torch_names_the_extra(
    data: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The user's own module says `import torch`; what else it lacks is said as Python says it."""
    monkeypatch.chdir(ROOT / "examples" / "bert")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "encoder", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    arguments = [str(data / "bert"), "--rules", "bert.toml", "--into"]

    error = refused([*arguments, "encoder:build"], 5, output, capsys)
    other = refused([*arguments, "nothing_of_this_name:build"], 5, output, capsys)

    assert "tfckpt[torch]" in error
    assert "ModuleNotFoundError" in other


@pytest.mark.parametrize("target", ["timm", "torchvision"])
def test_names_of_another_library_need_none_of_it(
    target: str, tmp_path: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables of names are our own; the library is needed only to open the output."""
    for package in ("torch", "timm", "torchvision", "transformers", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    prefix = saved(networks.arrays("efficientnet-b0", averages=False), tmp_path)

    assert main(["convert", prefix, "-o", str(output), "--target", target]) == 0


def test_comparison_with_a_library_that_is_not_there_names_the_extra(
    tmp_path: pathlib.Path, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """`tf2torch bench --against timm` is the one command that runs another library's model."""
    pytest.importorskip("torch", reason="networks run in PyTorch")
    monkeypatch.setitem(sys.modules, "timm", None)
    prefix = saved(networks.arrays("efficientnetv2-b0", averages=False), tmp_path)
    assert main(["convert", prefix, "-o", str(output)]) == 0
    capsys.readouterr()

    assert main(["bench", str(output), "--against", "timm", "--runs", "1", "--size", "32"]) == 5

    assert "tfckpt[bench]" in capsys.readouterr().err
