"""The report of an export: complete, self-contained, without secrets, and written if the program differs."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
import shlex

import pytest

from converter.cli import build_parser
from converter.cli.options import format_command
from converter.errors import ExportError, VerificationError
from converter.images.recipes import RECIPES, get_recipe
from converter.programs.page import render_page
from converter.programs.quality import Losses
from converter.programs.renderers import to_json, writing_report
from converter.programs.report import Comparison, Origin, ProgramReport
from tests.html_page import Page

REPORT = ProgramReport(
    path="folder/net.onnx",
    destination=".onnx",
    taken_as="<b>net</b>",
    origin=Origin(name="net.pth", sha256={"net.pth": "ab" * 32}, versions={"torch": "2.13.0"}),
    inputs=("image float32 [batch, 3, 32, 32]",),
    outputs=("logits float32 [batch, 10]",),
    parameters=60_698,
    cases=2,
    device="cpu",
    comparisons=(
        Comparison("logits", "image [1, 3, 32, 32]", None, 2e-6, 1.5, 9.0, 1.06e-5, 3e-7),
        Comparison("logits", "image [3, 3, 32, 32]", None, 1e-6, 0.75, 9.0, 1.06e-5),
    ),
    allowed_units=8.0,
    versions={"onnxruntime": "1.32.0"},
    files={"net.onnx": 1000},
    preprocessing=get_recipe(next(iter(RECIPES)), 32),
    labels=10,
    losses=Losses(
        precision="int8",
        images=200,
        judges="on 200 labelled images",
        difference=0.14,
        cosine=0.999,
        changed=3,
        accuracy_before=0.985,
        accuracy_after=0.98,
    ),
    max_drop=0.01,
    notes=("a <note>",),
    command="tf2torch export net.pth -o net.onnx",
)


def test_page_has_everything_and_loads_nothing() -> None:
    """Differences with their limits, losses, preprocessing, the command, and SHA-256 sums, with all names escaped."""
    source = render_page(REPORT)
    page = Page(source)

    assert not re.search(r"https?:|//[a-z]|url\(|@import|<b>net|<note>", source)
    assert "Exported" in page.text("span")
    cells = [cells for _, cells in page.rows[1:]]
    assert [row[:2] for row in cells] == [[each.output, each.sizes] for each in REPORT.comparisons]
    assert [row[2:] for row in cells] == [
        ["2e-06", "1.06e-05", "× 1.5", "9", "3e-07"],
        ["1e-06", "1.06e-05", "× 0.75", "9", ""],
    ]
    texts = "\n".join(page.text("dd"))
    for shown in ("1,000 bytes", "3 of 200", "98.50%", "98.00%; a loss of 1.00%", "ab" * 32, "10 names of classes"):
        assert shown in texts
    assert REPORT.preprocessing is not None and REPORT.preprocessing.describe() in texts
    assert REPORT.command in page.text("pre")
    dots = [element for tag, element in page.elements if tag == "path" and "dot" in (element["class"] or "")]
    assert len(dots) == 2


def test_page_of_a_program_that_differs_says_so() -> None:
    """The comparison is marked, in the table and in the picture, also if the difference is infinite."""
    wrong = Comparison("logits", "image [1, 3, 32, 32]", "differs by inf", math.inf, math.inf, 9.0, 1e-5)
    report = dataclasses.replace(REPORT, comparisons=(wrong, *REPORT.comparisons[1:]), files={}, losses=None)

    page = Page(render_page(report))

    assert "Not exported" in page.text("span")
    assert [row.get("class") for row, _ in page.rows] == [None, "bad", None]
    assert [element.get("class") for tag, element in page.elements if tag == "path"].count("dot flag") == 1
    assert "none was written" in page.text("dd")


def test_json_is_the_record() -> None:
    """With the settings of preprocessing, and null for what is infinite."""
    wrong = dataclasses.replace(REPORT, comparisons=(Comparison("logits", "", "is missing"),))

    record = json.loads(to_json(wrong))

    assert record["schema_version"] == 1
    assert record["origin"]["sha256"] == {"net.pth": "ab" * 32}
    assert record["preprocessing"]["settings"]["exact"]["size"] == 32
    assert (record["size"], record["files"]) == (1000, {"net.onnx": 1000})
    assert record["comparisons"][0]["difference"] is None
    assert record["passes"] is False


def test_report_is_written_if_the_program_differs_and_not_after_an_error(tmp_path: pathlib.Path) -> None:
    """The last record counts, and nothing is overwritten without force."""
    path = tmp_path / "report.json"
    difference = VerificationError("it differs", report=REPORT)

    with pytest.raises(ExportError), writing_report(path, force=False) as record:
        record(REPORT)
        raise ExportError("no space")
    assert not path.exists()
    with pytest.raises(VerificationError) as caught, writing_report(path, force=False) as record:
        record(dataclasses.replace(REPORT, parameters=1))
        record(REPORT)
        raise difference
    assert caught.value is difference
    assert json.loads(path.read_text())["parameters"] == REPORT.parameters
    with pytest.raises(ExportError), writing_report(path, force=False):
        pass
    with pytest.raises(ExportError), writing_report(tmp_path / "report.pdf", force=False):
        pass


def test_command_of_a_report_repeats_the_export_without_secrets() -> None:
    """Sizes, names of tensors, axes and values are written as they were given."""
    words = (
        "https://me:secret@host/m.meta?key=1 -o m.onnx --inputs x=a:0,y=b:0 --outputs p,q --set train=false "
        "--set 'rate=[0.5, 1]' --size 48x64 --dynamic x:1,2 --batch 2 --nchw --max-drop 0.1"
    )
    parser = build_parser("export")
    options = parser.parse_args(["export", *shlex.split(words)])

    command = shlex.split(format_command(options, ("report", "json", "force")))

    assert command[:3] == ["tf2torch", "export", "https://host/m.meta"]
    again = parser.parse_args(command[1:])
    given, repeated = vars(options), vars(again)
    assert {**repeated, "source": given["source"]} == given
    assert " --size 48x64 " in f" {shlex.join(command)} "
