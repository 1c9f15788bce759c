"""The report for people, in both forms: complete, self-contained, the same each time, and safe with any name."""

from __future__ import annotations

import collections
import dataclasses
import html
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import converter
import tfckpt
from converter.conversion import ConversionResult
from converter.errors import ExportError
from converter.exporting import prepare
from converter.mapping.rules_file import parse_rules
from converter.releases.table import RELEASES
from converter.reporting.record import FullReport, full_report
from converter.reporting.renderers import to_html, to_json
from converter.reporting.sizes import float32_bytes, variants_of
from converter.reporting.words import ALL_WELL

from .. import networks
from .pages import Page

HOSTILE = "a|<script>alert(1)</script>\"'`*_x_[l](javascript:1)\x1b[31m\u202e\n</td></table>&amp;]]>"
RULES = '[[rule]]\nsource = "{name...}"\ntarget = "{name...}"\n'


def report_on(result: ConversionResult, *, command: str | None = None, **options: Any) -> FullReport:
    """The report of a conversion as it would be written with these options."""
    return full_report(result, prepare(result, **options), "out/net.safetensors", command=command)


def by_rules(arrays: dict[str, Any]) -> ConversionResult:
    """Arrays converted as they are, by rules."""
    return converter.convert({name: np.array(value) for name, value in arrays.items()}, rules=parse_rules(RULES))


def test_page_lists_every_tensor_once(result: ConversionResult) -> None:
    """113 used, 19 constant and 114 ignored, with sources, checksums and reasons; the buttons have their counts."""
    page = Page(to_html(report_on(result)))

    rows = page.tensors()
    assert collections.Counter(kind for kind, _ in rows) == {"used": 113, "constant": 19, "ignored": 114}
    assert page.text("button") == ["all 246", "used 113", "constant 19", "ignored 114"]
    for (_, cells), record in zip(rows[:113], result.report.tensors, strict=True):
        assert cells[0] == f"{record.target}← {record.source}"
        assert (cells[2], cells[4]) == (record.layout, f"{record.crc32c:08x}")
    assert rows[0][1][1] == "3×3×3×8 → 8×3×3×3"
    assert rows[-1][1] == ["global_stepignored: training step counter", ""]


def test_page_needs_nothing_beside_it(result: ConversionResult) -> None:
    """No address, no file, no event in an attribute; one script, which is not needed for the list."""
    source = to_html(report_on(result, command="tf2torch convert digits -o d.npz"))
    page = Page(source)

    assert not re.search(r"https?:|//[a-z]|url\(|@import", source)
    attributes = {name for _, found in page.elements for name in found}
    assert not {"src", "href", "action", "srcset"} & attributes
    assert not [name for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert ("div", {"class": "find", "id": "find", "hidden": None}) in page.elements
    assert not [row for row, _ in page.rows if "hidden" in row]


def test_page_draws_each_kind_of_tensor_along_the_network(result: ConversionResult) -> None:
    """Seven pictures; every tensor used has a place that tells its numbers."""
    page = Page(to_html(report_on(result)))

    drawn = [found["aria-label"] for tag, found in page.elements if tag == "svg"]
    assert drawn == [
        f"{title} along the network"
        for title in (
            *("Kernels, spread", "Kernels, values", "Norms, scale", "Norms, shift"),
            *("Norms, moving means", "Norms, moving variances", "Biases"),
        )
    ]
    kernels = sum(record.layout != "identity" for record in result.report.tensors)
    told = [tip.split("\n")[0] for tip in page.text("title")[1:]]
    assert len(told) == 113 + kernels
    assert set(told) == {record.target for record in result.report.tensors}
    places = [float(value or "nan") for tag, found in page.elements if tag == "circle" for value in [found["cx"]]]
    assert len(places) == kernels
    assert places == sorted(places)


def test_json_holds_the_record_and_what_is_new(result: ConversionResult) -> None:
    """All of the conversion's own record, with statistics that are NumPy's on each tensor; counts add up."""
    record = json.loads(to_json(report_on(result, command="c")))
    plain = result.report.to_dict()

    assert {key: record[key] for key in plain if key not in ("tensors", "constants")} == json.loads(
        json.dumps({key: value for key, value in plain.items() if key not in ("tensors", "constants")})
    )
    assert record["totals"]["source_tensors"] == len(record["tensors"]) + len(record["ignored"])
    assert record["totals"]["targets"] == len(record["tensors"]) + len(record["constants"])
    assert record["output"]["tensors"] == 132
    for tensor in record["tensors"]:
        array = result.state_dict[tensor["target"]].astype(np.float64)
        found = tensor["statistics"]
        assert found["count"] == array.size
        assert found["mean"] == pytest.approx(array.mean(), rel=1e-5, abs=1e-9)
        assert found["std"] == pytest.approx(array.std(), rel=1e-5, abs=1e-12)
        assert (found["minimum"], found["maximum"]) == pytest.approx((array.min(), array.max()), rel=1e-6)
        assert tensor["written_as"] == tensor["target"]


def test_report_is_the_same_for_the_same_conversion(digits: pathlib.Path) -> None:
    """Apart from the command, in every form."""
    one, other = (report_on(converter.convert(digits), command="one") for _ in range(2))

    assert to_json(one) == to_json(other)
    assert to_html(one) == to_html(other)
    again = dataclasses.replace(one, command=None)
    assert {**one.to_dict(), "command": None} == again.to_dict()


def test_conversion_from_python_has_no_command(result: ConversionResult) -> None:
    """And the report says so."""
    report = report_on(result)

    assert report.to_dict()["command"] is None
    assert "<p>From Python.</p>" in to_html(report)


def test_broken_numbers_are_said_and_marked(digits: pathlib.Path) -> None:
    """A NaN, a negative variance and a dead kernel: in words, in the list, and in the pictures."""
    with tfckpt.open(digits) as checkpoint:
        arrays = {name: np.array(checkpoint[name]) for name in checkpoint if not name.endswith("Average")}
    scope = "efficientnetv2-digits"
    arrays[f"{scope}/stem/conv2d/kernel"][0, 0, 0, 0] = np.nan
    arrays[f"{scope}/blocks_0/tpu_batch_normalization/moving_variance"][:2] = -1
    arrays[f"{scope}/head/dense/kernel"][:] = 0

    report = report_on(converter.convert(arrays, strides=(1, 2, 2, 1)))

    said = [
        "values that are not finite: stem.conv.weight (1 NaN of 216)",
        "negative variances, whose roots are no numbers: stages.0.0.project.bn.running_var (2 of 8)",
        "dead layers, whose every value is zero: classifier.weight",
    ]
    assert not report.ok
    page = Page(to_html(report))
    bad = [cells[0].partition("←")[0] for found, cells in page.rows if found.get("class") == "bad"]
    assert page.text("li")[: len(said)] == said
    assert bad == ["stem.conv.weight", "stages.0.0.project.bn.running_var", "classifier.weight"]
    assert [found.get("class") for tag, found in page.elements if tag == "path"].count("flag") == 5
    assert [remark["serious"] for remark in report.to_dict()["remarks"]] == [True] * 3


def test_whole_numbers_have_nothing_to_say(result: ConversionResult) -> None:
    """A trained network is well."""
    report = report_on(result)

    assert report.ok
    assert report.remarks == ()
    assert ALL_WELL in to_html(report)


def test_remark_on_many_tensors_names_some_and_counts_the_rest() -> None:
    """In words six; in JSON and in the list all."""
    report = report_on(by_rules({f"k{number}": [[0.0, 0.0]] for number in range(9)}))

    assert "zero: k0, k1, k2, k3, k4, k5 and 3 more" in to_html(report)
    assert len(report.to_dict()["remarks"][0]["targets"]) == 9
    assert sum(found.get("class") == "bad" for found, _ in Page(to_html(report)).rows) == 9


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[0.0, 0.0]], [[1e300, -1e-300]], [[np.nan, np.inf]], [[1j]], [[]]])
def test_names_and_numbers_of_strangers_are_only_shown(values: Any) -> None:
    """A name of tags, marks, escapes and line ends changes nothing but text, whatever its numbers are."""
    report = report_on(by_rules({HOSTILE: values, "plain": [1.0]}), command=HOSTILE.replace("\n", " "))

    page = Page(to_html(report))
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert len(page.tensors()) == 2
    assert [row[1][0].count("<script>alert(1)") for row in page.rows if HOSTILE[:3] in row[1][0]] == [2]
    shown = "".join(to_html(report).splitlines())
    assert all(character.isprintable() for character in shown)
    names = [tensor["source"] for tensor in json.loads(to_json(report))["tensors"]]
    assert sorted(names) == sorted([HOSTILE, "plain"])


def test_name_that_is_no_utf8_is_reported() -> None:
    """Its odd byte is an escape in each form."""
    report = report_on(by_rules({"w\udcff": [1.0]}))

    assert "w\\udcff" in to_html(report)
    assert "w\\\\udcff" in to_json(report) or '"w\\udcff"' in to_json(report)


def test_family_has_every_variant_of_its_version_and_marks_one() -> None:
    """Parameters are the configs', bytes those of our files, published figures beside them."""
    config = converter.CONFIGS["efficientnet-b3"]

    variants = variants_of(config, 123)

    assert [variant.name for variant in variants] == [
        *(f"efficientnet-b{number}" for number in range(9)),
        "efficientnet-l2",
    ]
    (marked,) = [variant for variant in variants if variant.converted]
    assert (marked.name, marked.parameters, marked.nbytes) == (config.name, config.parameter_count(), 123)
    assert marked.published == (12, 1.8)
    assert variants[-1].published is None


def test_bytes_of_a_variant_are_those_of_its_file(result: ConversionResult) -> None:
    """Counted from shapes, without making the tensors."""
    assert float32_bytes(result.required_config()) == prepare(result).nbytes


def test_network_of_ones_own_stands_among_the_version_it_is_built_like(result: ConversionResult) -> None:
    """Fused blocks are version 2."""
    report = report_on(result)

    assert [variant.name for variant in report.variants][:2] == ["custom", "efficientnetv2-b0"]
    rows = [(found, cells) for found, cells in Page(to_html(report)).rows if "60,698" in cells]
    assert [(found.get("class"), cells[0]) for found, cells in rows] == [("this", "custom (this one)")]


def test_doubt_between_releases_is_said_with_what_either_does() -> None:
    """1,000 classes may be the 1k release or the fine-tuned one, which take other pixels."""
    result = converter.convert(networks.arrays("efficientnetv2-s", averages=False))
    settings = RELEASES["efficientnetv2-s"].preprocessing

    card = report_on(result, preprocessing=settings).preprocessing

    assert card is not None
    assert card.doubtful
    assert card.sentence.startswith("In doubt: the network may be efficientnetv2-s or efficientnetv2-s-21k-ft1k")
    assert card.others == (("efficientnetv2-s-21k-ft1k", "whole image, bilinear to 384, (x - 127.5) / 127.5"),)
    page = to_html(report_on(result, preprocessing=settings))
    assert "whole image, bilinear to 384, (x - 128) / 128" in page
    assert json.loads("".join(Page(page).text("pre")[-1:])) == settings.to_dict()


@pytest.mark.parametrize(
    ("releases", "given", "sentence"),
    [
        ((), None, "Not known: the network is nobody's release"),
        (("efficientnetv2-s",), None, "Nothing is kept with the output. The network may be the release efficien"),
        (("efficientnetv2-s",), "efficientnetv2-s", "That of the release efficientnetv2-s."),
        (("efficientnetv2-s",), "efficientnetv2-m-21k", "As it was given with the conversion."),
        ((), "efficientnetv2-s", "As it was given with the conversion."),
    ],
    ids=["unknown", "not kept", "known", "another", "given"],
)
def test_preprocessing_says_where_it_comes_from(
    result: ConversionResult, releases: tuple[str, ...], given: str | None, sentence: str
) -> None:
    """Known, given, or not known at all, in each form."""
    result = dataclasses.replace(result, report=dataclasses.replace(result.report, releases=releases))
    settings = None if given is None else RELEASES[given].preprocessing

    report = report_on(result, preprocessing=settings)

    assert report.preprocessing is not None
    assert report.preprocessing.sentence.startswith(sentence)
    assert not report.preprocessing.doubtful
    assert report.to_dict()["preprocessing"]["settings"] == (None if settings is None else settings.to_dict())
    assert sentence in html.unescape(to_html(report))


def test_rules_of_ones_own_have_neither_family_nor_preprocessing() -> None:
    """The rest of the report is the same."""
    report = report_on(by_rules({"layer.weight": np.ones((2, 3)), "layer.bias": np.zeros(2)}))

    assert (report.variants, report.preprocessing) == ((), None)
    assert "Among its family" not in to_html(report)
    assert "Preprocessing" not in to_html(report)
    assert report.to_dict()["tensors"][0]["statistics"]["count"] == 2


def test_changes_are_said_and_what_was_left_out_is_marked(result: ConversionResult) -> None:
    """Folded batch norms are no longer tensors of the output, though they were used."""
    report = report_on(result, fuse_bn=True, labels=[str(digit) for digit in range(10)])

    written = {tensor["target"]: tensor["written_as"] for tensor in report.to_dict()["tensors"]}
    assert (written["stem.conv.weight"], written["stem.bn.weight"]) == ("stem.conv.weight", None)
    page = Page(to_html(report))
    assert "19 batch norms folded into their convolutions, for inference" in page.text("li")
    assert "10 names of classes" in page.text("dd")
    assert page.tensors()[1][1][0].startswith("stem.bn.weightnot written")


def test_names_of_a_library_stand_beside_ours() -> None:
    """With the target timm every tensor has the name it was written under."""
    report = report_on(converter.convert(networks.arrays("efficientnetv2-b0", averages=False)), target="timm")

    written = {tensor["target"]: tensor["written_as"] for tensor in report.to_dict()["tensors"]}
    assert written["stem.conv.weight"] == "conv_stem.weight"
    assert "stem.conv.weightwritten as conv_stem.weight← net/stem" in Page(to_html(report)).tensors()[0][1][0]


@pytest.mark.parametrize("ending", ["json", "html"])
def test_export_writes_a_report_beside_the_output(
    result: ConversionResult, tmp_path: pathlib.Path, ending: str
) -> None:
    """From Python too, whole, and not over another file."""
    path = tmp_path / f"report.{ending}"

    converter.export(result, tmp_path / "d.safetensors", report=path)

    assert "d.safetensors" in path.read_text(encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(ExportError, match="exists already"):
        converter.export(result, tmp_path / "other.safetensors", report=path)
    assert path.read_bytes() == before
    assert sorted(found.name for found in tmp_path.iterdir()) == ["d.safetensors", path.name]


@pytest.mark.parametrize("name", ["report.txt", "report", "missing/report.html"])
def test_report_that_cannot_be_written_stops_the_export(
    result: ConversionResult, tmp_path: pathlib.Path, name: str
) -> None:
    """Before anything is written."""
    with pytest.raises(ExportError, match=name):
        converter.export(result, tmp_path / "d.safetensors", report=tmp_path / name)

    assert list(tmp_path.iterdir()) == []


def test_report_loads_no_torch(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """NumPy is enough for all of it."""
    program = (
        "import sys, converter\n"
        f"converter.export(converter.convert({str(digits)!r}), {str(tmp_path / 'd.npz')!r}, "
        f"report={str(tmp_path / 'd.html')!r})\n"
        "print({'torch', 'matplotlib'} & set(sys.modules))\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert shown.stdout == "set()\n"
