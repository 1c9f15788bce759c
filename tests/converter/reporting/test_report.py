"""The report in both formats: complete, self-contained, reproducible, and safe with any name."""

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
from converter.reporting.record import FullReport, build_report
from converter.reporting.renderers import to_html, to_json
from converter.reporting.sizes import count_float32_bytes, list_variants
from converter.reporting.words import ALL_WELL
from tests.html_page import Page

from .. import networks

HOSTILE = "a|<script>alert(1)</script>\"'`*_x_[l](javascript:1)\x1b[31m\u202e\n</td></table>&amp;]]>"
RULES = '[[rule]]\nsource = "{name...}"\ntarget = "{name...}"\n'


def make_report(result: ConversionResult, *, command: str | None = None, **options: Any) -> FullReport:
    """Return the report of a conversion that is exported with these options."""
    return build_report(result, prepare(result, **options), "out/net.safetensors", command=command)


def convert_by_rules(arrays: dict[str, Any]) -> ConversionResult:
    """Convert arrays by rules that keep names and layouts."""
    return converter.convert({name: np.array(value) for name, value in arrays.items()}, rules=parse_rules(RULES))


def test_page_lists_every_tensor_once(result: ConversionResult) -> None:
    """The page lists 113 used, 19 constant and 114 ignored tensors with sources, checksums, reasons and counts."""
    page = Page(to_html(make_report(result)))

    rows = page.tensors()
    assert collections.Counter(kind for kind, _ in rows) == {"used": 113, "constant": 19, "ignored": 114}
    assert [label.split()[-1] for label in page.text("button")] == ["246", "113", "19", "114"]
    for (_, cells), record in zip(rows[:113], result.report.tensors, strict=True):
        assert record.target in cells[0] and record.source in cells[0]
        assert (cells[2], cells[4]) == (record.layout, f"{record.crc32c:08x}")
    assert rows[0][1][1] == "3×3×3×8 → 8×3×3×3"
    assert rows[-1][1][0].startswith("global_step")


def test_page_is_self_contained(result: ConversionResult) -> None:
    """The page has no addresses, files or event attributes, and one script that the list does not need."""
    source = to_html(make_report(result, command="tf2torch convert digits -o d.npz"))
    page = Page(source)

    assert not re.search(r"https?:|//[a-z]|url\(|@import", source)
    attributes = {name for _, element in page.elements for name in element}
    assert not {"src", "href", "action", "srcset"} & attributes
    assert not [name for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert ("div", {"class": "find", "id": "find", "hidden": None}) in page.elements
    assert not [row for row, _ in page.rows if "hidden" in row]


def test_page_draws_each_kind_of_tensor_along_the_network(result: ConversionResult) -> None:
    """Seven plots of tensors and two of the family; each used tensor has an area that shows its numbers."""
    page = Page(to_html(make_report(result)))

    assert [tag for tag, _ in page.elements].count("svg") == 9
    kernels = sum(record.layout != "identity" for record in result.report.tensors)
    tips = [tip.split("\n")[0] for tip in page.text("title")[1:]]
    targets = [tip for tip in tips if not tip.startswith("efficientnet")]
    assert len(targets) == 113 + kernels
    assert set(targets) == {record.target for record in result.report.tensors}
    dots = [element for tag, element in page.elements if tag == "path" and (element["class"] or "").startswith("dot")]
    dots = [element for element in dots if element["class"] not in ("dot published", "dot this")]
    places = [float((element["d"] or "")[1:].partition(",")[0]) for element in dots]
    assert len(places) == kernels
    assert places == sorted(places)


def test_json_has_the_record_of_the_conversion_with_statistics(result: ConversionResult) -> None:
    """The record of the conversion is complete, each tensor has the statistics of NumPy, and counts add up."""
    record = json.loads(to_json(make_report(result, command="c")))
    plain = result.report.to_dict()

    assert {key: record[key] for key in plain if key not in ("tensors", "constants")} == json.loads(
        json.dumps({key: value for key, value in plain.items() if key not in ("tensors", "constants")})
    )
    assert record["totals"]["source_tensors"] == len(record["tensors"]) + len(record["ignored"])
    assert record["totals"]["targets"] == len(record["tensors"]) + len(record["constants"])
    assert record["output"]["tensors"] == 132
    for tensor in record["tensors"]:
        array = result.state_dict[tensor["target"]].astype(np.float64)
        statistics = tensor["statistics"]
        assert statistics["count"] == array.size
        assert statistics["mean"] == pytest.approx(array.mean(), rel=1e-5, abs=1e-9)
        assert statistics["std"] == pytest.approx(array.std(), rel=1e-5, abs=1e-12)
        assert (statistics["minimum"], statistics["maximum"]) == pytest.approx((array.min(), array.max()), rel=1e-6)
        assert tensor["written_as"] == tensor["target"]


def test_report_is_the_same_for_the_same_conversion(digits: pathlib.Path) -> None:
    """Only the command may differ, in both formats."""
    first, second = (make_report(converter.convert(digits), command="one") for _ in range(2))

    assert to_json(first) == to_json(second)
    assert to_html(first) == to_html(second)
    without_command = dataclasses.replace(first, command=None)
    assert {**first.to_dict(), "command": None} == without_command.to_dict()


def test_conversion_from_python_has_no_command(result: ConversionResult) -> None:
    """The JSON has null, and the page shows no command."""
    report = make_report(result)

    assert report.to_dict()["command"] is None
    assert ("pre", {"class": "command"}) not in Page(to_html(report)).elements


def test_broken_values_are_remarked_on_and_marked(digits: pathlib.Path) -> None:
    """A NaN, a negative variance and a dead kernel appear as remarks, in the list of tensors, and in the plots."""
    with tfckpt.open(digits) as checkpoint:
        arrays = {name: np.array(checkpoint[name]) for name in checkpoint if not name.endswith("Average")}
    scope = "efficientnetv2-digits"
    arrays[f"{scope}/stem/conv2d/kernel"][0, 0, 0, 0] = np.nan
    arrays[f"{scope}/blocks_0/tpu_batch_normalization/moving_variance"][:2] = -1
    arrays[f"{scope}/head/dense/kernel"][:] = 0

    report = make_report(converter.convert(arrays, strides=(1, 2, 2, 1)))

    broken = ["stem.conv.weight", "stages.0.0.project.bn.running_var", "classifier.weight"]
    assert not report.ok
    page = Page(to_html(report))
    bad = [cells[0].partition("←")[0] for element, cells in page.rows if element.get("class") == "bad"]
    assert bad == broken
    assert all(target in remark for target, remark in zip(broken, page.text("li"), strict=False))
    assert [element.get("class") for tag, element in page.elements if tag == "path"].count("dot flag") == 6
    assert [remark["serious"] for remark in report.to_dict()["remarks"]] == [True] * 3


def test_trained_network_has_no_remarks(result: ConversionResult) -> None:
    """Instead of remarks, the page has a sentence that no problem was found."""
    report = make_report(result)

    assert report.ok
    assert report.remarks == ()
    assert ALL_WELL in to_html(report)


def test_remark_on_many_tensors_names_some_and_counts_the_others() -> None:
    """The text names six, JSON and the list of tensors name all."""
    report = make_report(convert_by_rules({f"k{number}": [[0.0, 0.0]] for number in range(9)}))

    assert "k0, k1, k2, k3, k4, k5 and 3 more" in to_html(report)
    assert len(report.to_dict()["remarks"][0]["targets"]) == 9
    assert sum(element.get("class") == "bad" for element, _ in Page(to_html(report)).rows) == 9


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[0.0, 0.0]], [[1e300, -1e-300]], [[np.nan, np.inf]], [[1j]], [[]]])
def test_hostile_names_and_values_are_only_text(values: Any) -> None:
    """A name with tags, quotes, escapes and line ends does not change the structure of a page, for any values."""
    report = make_report(convert_by_rules({HOSTILE: values, "plain": [1.0]}), command=HOSTILE.replace("\n", " "))

    page = Page(to_html(report))
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert len(page.tensors()) == 2
    assert [row[1][0].count("<script>alert(1)") for row in page.rows if HOSTILE[:3] in row[1][0]] == [2]
    assert all(character.isprintable() for character in "".join(to_html(report).splitlines()))
    names = [tensor["source"] for tensor in json.loads(to_json(report))["tensors"]]
    assert sorted(names) == sorted([HOSTILE, "plain"])


def test_name_that_is_not_utf8_is_escaped() -> None:
    """The invalid byte is escaped in both formats."""
    report = make_report(convert_by_rules({"w\udcff": [1.0]}))

    assert "w\\udcff" in to_html(report)
    assert "w\\\\udcff" in to_json(report) or '"w\\udcff"' in to_json(report)


def test_family_has_every_variant_of_the_version_and_marks_one() -> None:
    """Parameters are those of the config, bytes those of our file, and published sizes are included."""
    config = converter.CONFIGS["efficientnet-b3"]

    variants = list_variants(config, 123)

    assert [variant.name for variant in variants] == [
        *(f"efficientnet-b{number}" for number in range(9)),
        "efficientnet-l2",
    ]
    (marked,) = [variant for variant in variants if variant.converted]
    assert (marked.name, marked.parameters, marked.nbytes) == (config.name, config.parameter_count(), 123)
    assert marked.published == (12, 1.8, 81.6)
    assert variants[-1].published is None


def test_bytes_of_a_variant_are_the_size_of_its_tensors(result: ConversionResult) -> None:
    """The bytes are counted from shapes alone."""
    assert count_float32_bytes(result.required_config()) == prepare(result).nbytes


def test_custom_network_is_listed_with_the_version_of_its_blocks(result: ConversionResult) -> None:
    """A network with fused blocks counts as version 2."""
    report = make_report(result)

    assert [variant.name for variant in report.variants][:2] == ["custom", "efficientnetv2-b0"]
    (row,) = [element for element, cells in Page(to_html(report)).rows if "60,698" in cells]
    assert row.get("class") == "this"


def test_uncertain_preprocessing_lists_that_of_the_other_release() -> None:
    """A network of 1,000 classes may be the 1k release or the fine-tuned one, which have different preprocessing."""
    result = converter.convert(networks.arrays("efficientnetv2-s", averages=False))
    settings = RELEASES["efficientnetv2-s"].preprocessing

    card = make_report(result, preprocessing=settings).preprocessing

    assert card is not None
    assert card.doubtful
    assert "efficientnetv2-s or efficientnetv2-s-21k-ft1k" in card.sentence
    other = RELEASES["efficientnetv2-s-21k-ft1k"].preprocessing
    assert card.others == (("efficientnetv2-s-21k-ft1k", other.describe()),)
    page = to_html(make_report(result, preprocessing=settings))
    assert settings.describe() in page
    assert json.loads("".join(Page(page).text("pre")[-1:])) == settings.to_dict()


@pytest.mark.parametrize(
    ("releases", "given", "named"),
    [
        ((), None, False),
        (("efficientnetv2-s",), None, True),
        (("efficientnetv2-s",), "efficientnetv2-s", True),
        (("efficientnetv2-s",), "efficientnetv2-m-21k", False),
        ((), "efficientnetv2-s", False),
    ],
    ids=["unknown", "not stored", "known", "different", "given"],
)
def test_preprocessing_has_its_origin(
    result: ConversionResult, releases: tuple[str, ...], given: str | None, named: bool
) -> None:
    """The sentence names the release if the settings are those of the release or if there are none."""
    result = dataclasses.replace(result, report=dataclasses.replace(result.report, releases=releases))
    settings = None if given is None else RELEASES[given].preprocessing

    report = make_report(result, preprocessing=settings)

    assert report.preprocessing is not None
    assert ("efficientnetv2-s" in report.preprocessing.sentence) == named
    assert not report.preprocessing.doubtful
    assert report.to_dict()["preprocessing"]["settings"] == (None if settings is None else settings.to_dict())
    assert report.preprocessing.sentence in html.unescape(to_html(report))


def test_conversion_by_rules_has_neither_family_nor_preprocessing() -> None:
    """The other parts of the report are the same."""
    report = make_report(convert_by_rules({"layer.weight": np.ones((2, 3)), "layer.bias": np.zeros(2)}))

    assert (report.variants, report.preprocessing) == ((), None)
    headings = Page(to_html(report)).text("h2")
    assert not {"Family", "Preprocessing"} & set(headings)
    assert report.to_dict()["tensors"][0]["statistics"]["count"] == 2


def test_changes_are_listed_and_removed_tensors_are_marked(result: ConversionResult) -> None:
    """Folded batch norms were used, but are not tensors of the output."""
    report = make_report(result, fuse_bn=True, labels=[str(digit) for digit in range(10)])

    written = {tensor["target"]: tensor["written_as"] for tensor in report.to_dict()["tensors"]}
    assert (written["stem.conv.weight"], written["stem.bn.weight"]) == ("stem.conv.weight", None)
    page = Page(to_html(report))
    assert report.output.changes[0] in page.text("li")
    assert report.output.labels == 10


def test_names_of_a_library_are_listed_with_ours() -> None:
    """For the target timm each tensor has the name under which it was written."""
    report = make_report(converter.convert(networks.arrays("efficientnetv2-b0", averages=False)), target="timm")

    written = {tensor["target"]: tensor["written_as"] for tensor in report.to_dict()["tensors"]}
    assert written["stem.conv.weight"] == "conv_stem.weight"
    assert "conv_stem.weight" in Page(to_html(report)).tensors()[0][1][0]


@pytest.mark.parametrize("ending", ["json", "html"])
def test_export_writes_a_report_with_the_output(result: ConversionResult, tmp_path: pathlib.Path, ending: str) -> None:
    """An existing report is not overwritten, and stops the export."""
    path = tmp_path / f"report.{ending}"

    converter.export(result, tmp_path / "d.safetensors", report=path, proof="none")

    assert "d.safetensors" in path.read_text(encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(ExportError) as caught:
        converter.export(result, tmp_path / "other.safetensors", report=path)
    assert caught.value.path == str(path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.safetensors", path.name]


@pytest.mark.parametrize("name", ["report.txt", "report", "missing/report.html"])
def test_report_that_cannot_be_written_stops_the_export(
    result: ConversionResult, tmp_path: pathlib.Path, name: str
) -> None:
    """The export fails before anything is written."""
    with pytest.raises(ExportError) as caught:
        converter.export(result, tmp_path / "d.safetensors", report=tmp_path / name)
    assert caught.value.path == str(tmp_path / name)

    assert list(tmp_path.iterdir()) == []


def test_report_does_not_load_torch(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The report needs only NumPy."""
    program = (
        "import sys, converter\n"
        f"converter.export(converter.convert({str(digits)!r}), {str(tmp_path / 'd.npz')!r}, "
        f"report={str(tmp_path / 'd.html')!r}, proof='none')\n"
        "print({'torch', 'matplotlib'} & set(sys.modules))\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert shown.stdout == "set()\n"
