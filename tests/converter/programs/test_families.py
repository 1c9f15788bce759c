"""Networks of ready families as programs, from their checkpoints and from converted weights."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest

import converter
from converter.cli import build_parser, export
from converter.errors import ExportError, UnknownModelError
from converter.mapping.rules_file import parse_rules
from converter.programs.opening import SourceOptions, open_subject
from converter.programs.shapes import ShapeOptions, checked_shapes, choose_shapes, traced_shapes
from converter.programs.subject import NamedAxis
from tests.conftest import DATA
from tests.converter.ready.cases import CASES, Case

FAMILIES = DATA / "families"
PAGE = DATA.parents[1] / "docs" / "families.md"
#: One checkpoint for each model of each family.
PROGRAMS = {(case.family, case.model): case for case in CASES}.values()
QUICK = {("gpt2", ".pt2"), ("resnet-v1", ".onnx")}


def test_images_network_takes_image_and_returns_logits(tmp_path: pathlib.Path) -> None:
    """The same from the checkpoint and from converted weights, whose SHA-256 is recorded."""
    folder = tmp_path / "resnet"
    converter.export(converter.convert(FAMILIES / "resnet-v1.tar.xz"), folder, proof="none")

    subjects = [open_subject(path, SourceOptions()) for path in (FAMILIES / "resnet-v1.tar.xz", folder)]

    for subject in subjects:
        (image,) = subject.arguments
        assert (image.name, image.shape, subject.outputs, subject.size) == (
            "image",
            (None, 3, None, None),
            ("logits",),
            224,
        )
    assert [subject.title for subject in subjects] == [
        "model.ckpt, checkpoint (ResNet)",
        "resnet, converted weights (ResNet)",
    ]
    assert '"model.safetensors": "' in subjects[1].metadata["tf2torch.source"]


def test_words_have_one_length_that_the_network_can_have() -> None:
    """Each input has the values that its table has, and no case is longer than the table of positions."""
    pytest.importorskip("tests.torchvision_operators")
    pytest.importorskip("transformers", reason="builds the network")

    subject = open_subject(FAMILIES / "bert.tar.xz", SourceOptions())
    shapes = choose_shapes(subject, ShapeOptions(), allows_dynamic=True)

    words, mask, segments = subject.arguments
    assert [argument.name for argument in subject.arguments] == ["input_ids", "attention_mask", "token_type_ids"]
    assert {argument.axes[1] for argument in subject.arguments} == {NamedAxis("length", 12)}
    assert (mask.bound, segments.bound) == (2, 2)
    assert words.bound is not None and words.bound > 2
    assert subject.outputs == ("last_hidden_state", "pooler_output")
    sizes = [sizes["input_ids"][1] for sizes in (traced_shapes(shapes), *checked_shapes(shapes))]
    assert max(sizes) == 12 and min(sizes) >= 1 and len(set(sizes)) > 2


@pytest.mark.parametrize(
    ("case", "ending"),
    [
        pytest.param(
            case,
            ending,
            id=f"{case.id}{ending}",
            marks=[] if (case.id, ending) in QUICK else [pytest.mark.slow],
        )
        for case in PROGRAMS
        for ending in (".pt2", ".onnx")
    ],
)
@pytest.mark.usefixtures("in_process")
def test_program_of_a_family_agrees_with_its_module(tmp_path: pathlib.Path, case: Case, ending: str) -> None:
    """At several lengths, or at the size of the recorded image; the page has its inputs and outputs."""
    pytest.importorskip("tests.torchvision_operators")
    pytest.importorskip("transformers", reason="builds the network")
    if ending == ".onnx":
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    image = case.golden.get("input/image")

    report = converter.export_program(
        converter.convert(case.path, part=case.part),
        tmp_path / f"program{ending}",
        size=None if image is None else image.shape[1],
    )

    assert report.worst_units <= 8
    assert not report.notes
    axes = [re.search(r"\[.*\]", text) for text in (*report.inputs, *report.outputs)]
    assert all(found is not None and found[0].startswith("[batch, ") for found in axes)
    inputs, outputs = (
        ", ".join(f"`{text.partition(' ')[0]}`" for text in texts) for texts in (report.inputs, report.outputs)
    )
    assert f"\n| `{case.model}` | {inputs} | {outputs} |\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_lengths_of_both_sides_are_apart(tmp_path: pathlib.Path) -> None:
    """What the decoder reads and what it attends to have axes of their own."""
    pytest.importorskip("tests.torchvision_operators")
    pytest.importorskip("transformers", reason="builds the network")

    report = converter.export_program(FAMILIES / "t5.tar.xz", tmp_path / "program.pt2")

    assert [text.partition("[")[2] for text in report.inputs] == [
        "batch, length]",
        "batch, length]",
        "batch, decoder_length]",
    ]
    assert [text.partition("[")[2] for text in report.outputs] == ["batch, decoder_length, 128]", "batch, length, 8]"]


def test_part_of_a_checkpoint_is_chosen_and_asked_for(tmp_path: pathlib.Path) -> None:
    """Without --part the error names the parts, instead of what is wrong with the graph."""
    with pytest.raises(UnknownModelError, match="--part") as caught:
        converter.export_program(FAMILIES / "electra.tar.xz", tmp_path / "program.pt2")

    assert caught.value.choices == ("discriminator", "generator", "model")
    options = build_parser("export").parse_args(
        ["export", str(FAMILIES / "electra.tar.xz"), "-o", "program.pt2", "--part", "generator"]
    )
    assert export._open(options).report.part == "generator"


def test_weights_by_rules_say_that_their_module_is_exported(tmp_path: pathlib.Path) -> None:
    """Nothing says what computes them."""
    rules = parse_rules('[[rule]]\nsource = "{name...}"\ntarget = "{name...}"\n')
    path = tmp_path / "weights.safetensors"
    converter.export(converter.convert({"w": np.zeros(2, np.float32)}, rules=rules), path, proof="none")

    with pytest.raises(ExportError, match="by rules"):
        converter.export_program(path, tmp_path / "program.pt2")
