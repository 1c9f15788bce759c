"""Test that `tf2torch evaluate` measures accuracy on arrays and folders, and compares it with the graph's."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the network is run")

from converter.cli import main
from converter.cli.evaluate import parse_recorded_labels
from converter.formats.files import read_output
from converter.formats.safetensors import write_tensors
from tfckpt.errors import CorruptionError

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def arrays(data: pathlib.Path) -> dict[str, Any]:
    """The first 100 test images as inputs of the network, and their labels."""
    with np.load(data / "digits" / "digits-test.npz") as test:
        pixels = (test["images"][:100].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        return {"images": pixels[..., None].repeat(3, axis=3), "labels": test["labels"][:100]}


@pytest.fixture
def npz(arrays: dict[str, Any], tmp_path: pathlib.Path) -> pathlib.Path:
    """A file with these arrays."""
    np.savez(tmp_path / "digits.npz", **arrays)
    return tmp_path / "digits.npz"


def write_class_folders(root: pathlib.Path, names: list[str]) -> pathlib.Path:
    """Write two images into a folder for each class, and return the root."""
    image = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    random = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (40, 44, 3), np.uint8)
            image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def test_predictions_on_arrays_agree_with_the_graph(
    digits: pathlib.Path,
    output: pathlib.Path,
    npz: pathlib.Path,
    arrays: dict[str, Any],
    data: pathlib.Path,
    *,
    capsys: Capture,
) -> None:
    """Top-1 accuracy is that of TensorFlow's recorded logits, and all predictions equal the graph's."""
    with np.load(data / "digits" / "digits-test.npz") as test:
        right = int((test["logits"][:100].argmax(1) == arrays["labels"]).sum())

    assert main(["evaluate", str(output), "--data", str(npz), "--against", str(digits), "--json"]) == 0

    result = json.loads(capsys.readouterr().out)
    assert (result["count"], result["classes"], result["top1"], result["oracle_top1"]) == (100, 10, right, right)
    assert result["top5"] == result["oracle_top5"] >= right
    assert result["differing"] == 0
    assert result["largest_difference"] < 1e-5


def test_different_predictions_exit_with_1(
    digits: pathlib.Path, output: pathlib.Path, npz: pathlib.Path, capsys: Capture
) -> None:
    """They are counted, and a message says that the weights are not the checkpoint's."""
    tensors, metadata = read_output(output)
    copies = {name: array.copy() for name, array in tensors.items()}
    copies["classifier.bias"][3] += 100
    with output.open("wb") as file:
        write_tensors(copies, metadata, file)

    assert main(["evaluate", str(output), "--data", str(npz), "--against", str(digits), "--json"]) == 1

    shown = capsys.readouterr()
    assert json.loads(shown.out)["differing"] > 50
    assert "model.ckpt-322" in shown.err


def test_folders_are_classes_in_alphabetical_order(
    output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """Ten folders are ten classes, whatever their names are."""
    folder = write_class_folders(tmp_path / "data", [f"class-{number}" for number in range(10)])
    settings = ["--preprocessing", "efficientnetv2-b0", "--size", "32"]

    assert main(["evaluate", str(output), "--data", str(folder), *settings, "--json"]) == 0

    result = json.loads(capsys.readouterr().out)
    assert (result["count"], result["classes"]) == (20, 10)


def test_labels_name_the_folders(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """With labels not every class needs a folder, and a folder that is not a label is an error."""
    folder = write_class_folders(tmp_path / "data", ["seven", "two"])
    labels = tmp_path / "labels.txt"
    labels.write_text("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    arguments = ["evaluate", str(output), "--data", str(folder), "--preprocessing", "efficientnetv2-b0", "--size", "32"]

    assert main([*arguments, "--labels", str(labels)]) == 0
    (folder / "two").rename(folder / "ten")
    assert main([*arguments, "--labels", str(labels)]) == 5
    assert main(arguments) == 5


@pytest.mark.parametrize("text", ["{", "3", '"0123456789"', "[1]", "[" * 10_000])
def test_invalid_labels_in_an_output_are_corruption(text: str) -> None:
    """Metadata is checked like any other input."""
    with pytest.raises(CorruptionError) as caught:
        parse_recorded_labels(text, "x.safetensors")

    assert caught.value.path == "x.safetensors"
    assert parse_recorded_labels('["a", "b"]', "x.safetensors") == ("a", "b")


def test_folders_named_by_numbers_are_these_classes(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A number above the last class is an error."""
    folder = write_class_folders(tmp_path / "data", ["3", "9"])
    arguments = ["evaluate", str(output), "--data", str(folder), "--preprocessing", "efficientnetv2-b0", "--size", "32"]

    assert main(arguments) == 0
    (folder / "9").rename(folder / "10")
    assert main(arguments) == 5


def test_folder_without_images_is_rejected(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """So are a missing folder and one without class folders."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow" / "3").mkdir(parents=True)
    arguments = ["evaluate", str(output), "--preprocessing", "efficientnetv2-b0", "--data"]

    assert main([*arguments, str(tmp_path / "missing")]) == 3
    assert main([*arguments, str(tmp_path / "empty")]) == 5
    assert main([*arguments, str(tmp_path / "hollow")]) == 5


def test_pixels_without_known_preprocessing_are_rejected(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The digits network is not a release, and the preprocessing is not guessed."""
    np.savez(tmp_path / "pixels.npz", images=np.zeros((2, 40, 40, 3), np.uint8), labels=np.arange(2))
    arguments = ["evaluate", str(output), "--data", str(tmp_path / "pixels.npz")]

    assert main(arguments) == 5
    assert main([*arguments, "--preprocessing", "efficientnetv2-b0", "--size", "32"]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"images": None},
        {"images": np.zeros((100, 8, 8), np.float32)},
        {"images": np.zeros((100, 8, 8, 3), np.int16)},
        {"labels": np.zeros(99, np.int64)},
        {"labels": np.zeros(100, np.float32)},
        {"labels": np.full(100, 10)},
        {"labels": np.full(100, -1)},
    ],
    ids=["no images", "rank", "dtype of images", "count", "dtype of labels", "high label", "negative label"],
)
def test_arrays_that_are_not_labelled_images_are_rejected(
    output: pathlib.Path,
    arrays: dict[str, Any],
    tmp_path: pathlib.Path,
    change: dict[str, Any],
) -> None:
    """Each case changes one array of a file that is accepted."""
    changed = {name: value for name, value in (arrays | change).items() if value is not None}
    np.savez(tmp_path / "bad.npz", **changed)

    assert main(["evaluate", str(output), "--data", str(tmp_path / "bad.npz")]) == 5


def test_error_about_a_too_narrow_image_names_it(output: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    """The crop leaves nothing of a single row of pixels, in a folder or in an array."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    (tmp_path / "data" / "3").mkdir(parents=True)
    row = np.zeros((1, 50, 3), np.uint8)
    pillow.fromarray(row).save(tmp_path / "data" / "3" / "row.png")
    np.savez(tmp_path / "row.npz", images=row[None], labels=np.array([3]))
    arguments = ["evaluate", str(output), "--preprocessing", "efficientnetv2-b0", "--size", "32", "--data"]

    assert main([*arguments, str(tmp_path / "data")]) == 5
    assert main([*arguments, str(tmp_path / "row.npz")]) == 5

    in_folder, in_array = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "data" / "3" / "row.png") in in_folder
    assert "[1, 50, 3]" in in_array


@pytest.mark.parametrize("size", ["0", "16385"])
def test_invalid_input_size_is_wrong_usage(output: pathlib.Path, size: str) -> None:
    """No image of that size is allocated first."""
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", str(output), "--data", "x.npz", "--size", size])

    assert caught.value.code == 2


def test_comparison_needs_a_graph(data: pathlib.Path, tmp_path: pathlib.Path, npz: pathlib.Path) -> None:
    """A checkpoint without one cannot classify images."""
    output = tmp_path / "objects.safetensors"
    assert main(["convert", str(data / "objects"), "-o", str(output), "--strides", "1,2,2,1"]) == 0

    assert main(["evaluate", str(output), "--data", str(npz), "--against", str(data / "objects")]) == 5


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_invalid_batch_size_is_wrong_usage(output: pathlib.Path, number: str) -> None:
    """A batch has at least one image."""
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", str(output), "--data", "x.npz", "--batch-size", number])

    assert caught.value.code == 2
