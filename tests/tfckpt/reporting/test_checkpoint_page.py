"""The pages of `tfckpt report` and `tfckpt diff --report`."""

from __future__ import annotations

import pathlib
import re

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tfckpt
from tests.html_page import Page
from tfckpt.checks.comparison import compare
from tfckpt.cli import main
from tfckpt.reporting import checkpoint_page, drift_page
from tfckpt.reporting.survey import survey
from tfckpt.reporting.treemap import group_by_scope, squarify


def make_page(folder: pathlib.Path, **arrays: object) -> Page:
    """Return the page of a checkpoint with these tensors."""
    with tfckpt.open(tfckpt.save(arrays, folder / "model")) as checkpoint:
        return Page(checkpoint_page.render_page(survey(checkpoint), "model"))


def test_the_page_lists_every_tensor_with_its_kind(data: pathlib.Path) -> None:
    """Those of the model, averages and the optimizer apart."""
    with tfckpt.open(data / "digits-train") as checkpoint:
        page = Page(checkpoint_page.render_page(survey(checkpoint), "model"))
        names = list(checkpoint)

    listed = page.tensors()
    assert [cells[0].split("\n")[0] for _, cells in listed] == names
    kinds = [kind for kind, _ in listed]
    assert {kind: kinds.count(kind) for kind in kinds} == {"model": 113, "average": 113, "optimizer": 150, "other": 1}


def test_what_is_damaged_or_unusual_is_said_and_marked(tmp_path: pathlib.Path) -> None:
    """A wrong checksum, NaN, and tensors that are all zero; the others are not mentioned."""
    arrays = {
        "a/broken": np.ones((300, 4), np.float32) * np.arange(4, dtype=np.float32),
        "b/nan": np.float32([[1, np.nan]]),
        "c/zero": np.zeros((2, 2), np.float32),
        "d/fine": np.float32([[1, 2]]),
    }
    prefix = tfckpt.save(arrays, tmp_path / "model")
    shard = pathlib.Path(tfckpt.open(prefix).files[1])
    damaged = bytearray(shard.read_bytes())
    damaged[100] ^= 1
    shard.write_bytes(damaged)

    with tfckpt.open(prefix) as checkpoint:
        page = Page(checkpoint_page.render_page(survey(checkpoint), "model"))

    items = page.text("li")
    assert ["a/broken" in items[0], "b/nan: 1 NaN", "c/zero: all zero"] == [True, *items[1:]]
    bad = [cells[0] for element, cells in page.rows if element.get("class") == "bad"]
    assert len(bad) == 1
    assert bad[0].startswith("a/broken")


def test_values_of_every_type_are_shown_or_left_out(tmp_path: pathlib.Path) -> None:
    """Strings, complex numbers, empty tensors, extreme values and bfloat16 do not stop a page."""
    import ml_dtypes

    page = make_page(
        tmp_path,
        text=np.array([b"<b>"], object),
        wave=np.complex64([1j, 2]),
        none=np.zeros((0, 3), np.float32),
        far=np.float64([[1e300, -1e300]]),
        infinite=np.float32([[np.inf, -np.inf]]),
        brain=np.ones((3, 3), ml_dtypes.bfloat16),
        flags=np.array([True, False]),
        large=np.int64([[2**62, -(2**62)]]),
    )

    assert len(page.tensors()) == 8


def test_names_from_the_file_are_escaped(tmp_path: pathlib.Path) -> None:
    """A name cannot become an element; the page has one script and loads nothing."""
    page = make_page(tmp_path, **{'<script>alert("x")</script>/w': np.ones((2, 2), np.float32)})

    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [attributes for _, attributes in page.elements if {"src", "href"} & set(attributes)]


def test_empty_pictures_are_left_out(tmp_path: pathlib.Path) -> None:
    """A checkpoint without values has no plot, and one of zeros none either."""
    page = make_page(tmp_path, a=np.zeros((3, 3), np.float32), b=np.array([b"x"], object))

    assert not [tag for tag, _ in page.elements if tag == "figure"]


@hypothesis.given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40))
@hypothesis.example([443353.0, 0.001953125])
def test_a_treemap_fills_its_area_without_overlaps(sizes: list[float]) -> None:
    """Each rectangle has its share, inside the whole."""
    ordered = sorted(sizes, reverse=True)

    places = squarify(ordered)

    for size, place in zip(ordered, places, strict=True):
        assert place.width * place.height == pytest.approx(10_000 * size / sum(ordered), rel=1e-6, abs=1e-6)
        assert min(place.x, place.y) >= 0
        assert max(place.x + place.width, place.y + place.height) <= 100 + 1e-6
    middles = [(each.x + each.width / 2, each.y + each.height / 2) for each in places]
    for at, (x, y) in enumerate(middles):
        inside = [
            number
            for number, each in enumerate(places)
            if each.x < x < each.x + each.width and each.y < y < each.y + each.height
        ]
        assert inside in ([at], [])


def test_scopes_are_divided_while_there_is_room() -> None:
    """The largest first; every byte is in one tile."""
    names = {f"net/block_{block}/layer_{layer}/w": ("model", block + 1) for block in range(9) for layer in range(4)}

    tiles = group_by_scope(names, most=12)

    assert 9 <= len(tiles) <= 12
    assert sum(tile.nbytes for tile in tiles) == sum(nbytes for _, nbytes in names.values())
    assert group_by_scope({"a": ("model", 1)}) == [("a", "model", 1)]


def test_drift_is_the_norm_of_the_difference(tmp_path: pathlib.Path) -> None:
    """Of tensors in both, where NaN does not differ from NaN; the page lists those that moved most first."""
    first = tfckpt.save({"w": np.float32([3, 4]), "same": np.float32([1, np.nan]), "gone": np.ones(2)}, tmp_path / "a")
    second = tfckpt.save({"w": np.float32([3, 5]), "same": np.float32([1, np.nan]), "new": np.ones(2)}, tmp_path / "b")

    with tfckpt.open(first) as a, tfckpt.open(second) as b:
        drifts = drift_page.measure_drifts(a, b)
        page = Page(drift_page.render_page(compare(a, b), drifts, ("a", "b")))

    assert [(drift.name, drift.relative, drift.largest, drift.changed) for drift in drifts] == [
        ("same", 0.0, 0.0, 0),
        ("w", pytest.approx(0.2), 1.0, 1),
    ]
    assert page.text("li") == ["gone", "new"]
    assert [cells[0] for _, cells in page.tensors()] == ["w", "same"]


def test_the_commands_write_a_page_or_nothing(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another ending and an existing file are refused before anything is read."""
    source = str(tfckpt.save({"w": np.ones((2, 2), np.float32)}, tmp_path / "a"))
    page = tmp_path / "x.html"

    assert main(["report", source, "-o", str(tmp_path / "x.txt")]) == 2
    assert main(["report", source, "-o", str(page)]) == 0
    assert main(["report", source, "-o", str(page)]) == 2
    assert main(["report", source, "-o", str(page), "--force"]) == 0
    assert main(["diff", source, source, "--report", str(tmp_path / "d.txt")]) == 2
    assert main(["diff", source, source, "--report", str(tmp_path / "d.html")]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["d.html", "x.html"]
    assert not re.search(re.escape(str(tmp_path)), page.read_text())
