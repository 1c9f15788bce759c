"""Networks of ready families as programs, from their checkpoints and from converted weights."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import converter
from converter.errors import ExportError
from converter.mapping.rules_file import parse_rules
from converter.programs.opening import SourceOptions, open_subject
from converter.programs.shapes import ShapeOptions, checked_shapes, choose_shapes, traced_shapes
from converter.programs.subject import NamedAxis
from tests.conftest import DATA

FAMILIES = DATA / "families"


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ending", "inputs"),
    [
        ("bert", ".pt2", ["input_ids", "attention_mask", "token_type_ids"]),
        ("bert", ".onnx", ["input_ids", "attention_mask", "token_type_ids"]),
        ("gpt2", ".pt2", ["input_ids", "attention_mask"]),
        ("t5", ".pt2", ["input_ids", "attention_mask", "decoder_input_ids"]),
        ("mobilenet-v2", ".pt2", ["image"]),
        ("resnet-v1", ".onnx", ["image"]),
    ],
)
def test_program_of_a_family_agrees_with_its_module(
    tmp_path: pathlib.Path, name: str, ending: str, inputs: list[str]
) -> None:
    """At several lengths, or at the size of slim's images."""
    pytest.importorskip("tests.torchvision_operators")
    pytest.importorskip("transformers", reason="builds the network")
    if ending == ".onnx":
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

    report = converter.export_program(FAMILIES / f"{name}.tar.xz", tmp_path / f"program{ending}")

    assert [text.partition(" ")[0] for text in report.inputs] == inputs
    assert report.worst_units <= 8
    if name == "bert":
        assert report.outputs[0] == "last_hidden_state float32 [batch, length, 16]"


def test_weights_by_rules_say_that_their_module_is_exported(tmp_path: pathlib.Path) -> None:
    """Nothing says what computes them."""
    rules = parse_rules('[[rule]]\nsource = "{name...}"\ntarget = "{name...}"\n')
    path = tmp_path / "weights.safetensors"
    converter.export(converter.convert({"w": np.zeros(2, np.float32)}, rules=rules), path, proof="none")

    with pytest.raises(ExportError, match="by rules"):
        converter.export_program(path, tmp_path / "program.pt2")
