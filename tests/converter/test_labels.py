"""Labels that several classes have, and class folders that are named by labels, numbers or other words."""

from __future__ import annotations

import json
import pathlib

import pytest

from converter import convert, export
from converter.errors import FeedError
from converter.exporting import prepare
from converter.images.labels import find_duplicates, make_unique
from converter.images.recipes import get_recipe
from converter.verification.evaluation import ImageFolder, open_folder

from . import networks

LABELS = ("hen", "crane", "owl", "crane")


def open_classes(
    folder: pathlib.Path, names: list[str], labels: tuple[str, ...] | None, *, classes: int = 4
) -> ImageFolder:
    """Open a folder with an empty image file for each class; nothing is decoded."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "x.png").write_bytes(b"")
    return open_folder(str(folder), classes=classes, labels=labels, preprocessing=get_recipe("v2", 8))


def list_numbers(opened: ImageFolder) -> list[int]:
    """Return the class number of each file."""
    return [number for _, number in opened.files]


def test_duplicates_are_found_and_made_unique() -> None:
    """The number of the class follows the label, again if that is a label too."""
    assert find_duplicates(LABELS) == {"crane": [1, 3]}
    assert make_unique(LABELS) == ("hen", "crane (1)", "owl", "crane (3)")
    assert len(set(make_unique(("crane", "crane", "crane (0)")))) == 3
    assert make_unique(("a", "b")) == ("a", "b")


def test_folder_named_by_a_label_of_two_classes_is_refused(tmp_path: pathlib.Path) -> None:
    """Neither class can be meant; the error has both numbers, and other labels are used as ever."""
    with pytest.raises(FeedError, match=r"crane \(classes 1, 3\)"):
        open_classes(tmp_path / "a", ["hen", "crane"], LABELS)

    assert list_numbers(open_classes(tmp_path / "b", ["hen", "owl"], LABELS)) == [0, 2]


def test_folder_may_be_named_by_the_number_of_its_class(tmp_path: pathlib.Path) -> None:
    """Next to folders named by labels; a label that is a number is a label."""
    assert list_numbers(open_classes(tmp_path / "a", ["1", "3", "owl"], LABELS)) == [1, 3, 2]
    assert list_numbers(open_classes(tmp_path / "b", ["1", "3"], ("3", "2", "1", "0"))) == [2, 0]
    with pytest.raises(FeedError, match="swan"):
        open_classes(tmp_path / "c", ["swan"], LABELS)


def test_alphabetical_numbers_are_announced(tmp_path: pathlib.Path) -> None:
    """Only if neither labels nor numbers name the folders."""
    words = open_classes(tmp_path / "a", ["hen", "crane", "owl", "swan"], None)
    numbers = open_classes(tmp_path / "b", ["0", "2"], None)
    labelled = open_classes(tmp_path / "c", ["hen"], LABELS)

    assert list_numbers(words) == [0, 1, 2, 3]
    assert len(words.notes) == 1 and "crane as class 0" in words.notes[0]
    assert numbers.notes == labelled.notes == ()


def test_class_of_the_background_needs_no_folder(tmp_path: pathlib.Path) -> None:
    """EfficientNet-EdgeTPU has 1,001 classes, and ImageNet's begin with 1; a note says so."""
    opened = open_classes(tmp_path, [f"n{number:04}" for number in range(1000)], None, classes=1001)

    assert list_numbers(opened) == list(range(1, 1001))
    assert "n0000 as class 1" in opened.notes[0] and "background" in opened.notes[1]
    with pytest.raises(FeedError, match="class folders"):
        open_classes(tmp_path / "fewer", ["hen", "owl", "swan"], None)


def test_config_of_transformers_has_every_class(tmp_path: pathlib.Path) -> None:
    """Equal labels would be one entry of `label2id`; the note says what was changed, and the list of labels is not."""
    source = networks.arrays("efficientnet-b0", averages=False)
    result = convert(source)
    labels = [*(f"label {number}" for number in range(998)), "crane", "crane"]

    export(result, tmp_path / "b0", target="transformers", labels=labels)
    prepared = prepare(result, target="transformers", labels=labels)

    config = json.loads((tmp_path / "b0" / "config.json").read_text())
    assert len(config["label2id"]) == len(config["id2label"]) == 1000
    assert all(config["label2id"][label] == int(number) for number, label in config["id2label"].items())
    assert config["id2label"]["999"] == "crane (999)"
    assert (tmp_path / "b0" / "labels.txt").read_text().splitlines() == labels
    plain = prepare(result, target="transformers", labels=[str(number) for number in range(1000)])
    assert len(prepared.notes) == len(plain.notes) + 1
    assert "998, 999" in prepared.notes[-1]
