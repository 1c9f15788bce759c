"""Programs: written, run by their own runtime, and named only if they compute what the module computes."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import converter
from converter.cli import main
from converter.errors import (
    ExportError,
    FeedError,
    GraphError,
    GraphLimitError,
    ProgramError,
    TensorNameError,
    UnsupportedOpError,
    VerificationError,
)
from converter.model.config import EfficientNetConfig, StageConfig
from converter.programs import check
from converter.programs.graphs import GraphOptions, open_graph
from converter.programs.metadata import NODE_NAME_KEY, SOURCE_KEY, TENSORS_KEY
from converter.programs.report import ProgramReport
from tests.conftest import slow
from tests.converter.conftest import DIGITS
from tests.converter.engine.graphs import (
    PLACEHOLDER,
    call,
    constant,
    function,
    function_attribute,
    integers,
    node,
    placeholder,
    write_frozen,
)
from tests.tfckpt.jobs.helpers import counting_store
from tfckpt.errors import CheckpointNotFoundError, LimitExceededError

from .conftest import PROBE

pytestmark = pytest.mark.usefixtures("in_process")

SMALL = EfficientNetConfig(
    name="small",
    stem_channels=4,
    stages=(
        StageConfig(
            block="mbconv", repeats=1, kernel=3, stride=2, expansion=2, in_channels=4, out_channels=6, se_ratio=0.25
        ),
    ),
    head_channels=8,
    num_classes=3,
)


ELSE = function_attribute("else_branch", "f")
VARIABLE = 'attr { key: "dtype" value { type: 1 } } attr { key: "shape" value { shape { dim { size: 3 } } } }'


class Logarithm(nn.Module):
    """Values whose logarithm needs a small constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the positive part."""
        return torch.log(torch.relu(x) + 1e-10)


@pytest.fixture
def frozen(tmp_path: pathlib.Path) -> pathlib.Path:
    """A frozen graph with an NHWC image and a table of three rows, whose product is the output."""
    kernel = node("shape", "Identity", "w")
    return write_frozen(
        tmp_path / "frozen.pb",
        placeholder("picture", -1, 4, 5, 3),
        constant("w", 0.5, 3, 2),
        integers("axes", 1, 2),
        kernel,
        node("mean", "Mean", "picture", "axes", attributes='attr { key: "keep_dims" value { b: false } }'),
        node("probs", "MatMul", "mean", "w"),
        node("halves", "Mul", "picture", "scale"),
        constant("scale", 0.5),
    )


def test_pt2_of_a_checkpoint_runs_without_this_package_and_agrees_with_tensorflow(pt2: ProgramReport) -> None:
    """Compared at batch 1 and 3 with eager float32 and float64, and with recorded logits."""
    assert pt2.passes
    assert pt2.cases == 3
    assert pt2.worst_units <= 8
    assert pt2.inputs == ("image float32 [batch, 3, 32, 32]",)
    assert pt2.outputs == ("logits float32 [batch, 10]",)
    assert max(item.recorded for item in pt2.comparisons if item.recorded is not None) < 1e-6
    module = torch.export.load(pt2.path).module()
    with np.load(PROBE) as probe:
        logits = module(torch.from_numpy(probe["input"].transpose(0, 3, 1, 2).copy()))
        assert np.abs(logits.detach().numpy() - probe["logits"]).max() < 2e-5


def test_onnx_of_a_checkpoint_has_names_and_metadata_and_agrees_with_tensorflow(onnx: ProgramReport) -> None:
    """Input `image`, output `logits`, axis `batch`, and the SHA-256 of the source."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx.path, providers=["CPUExecutionProvider"])
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    metadata = session.get_modelmeta().custom_metadata_map

    assert onnx.passes
    assert (image.name, image.shape) == ("image", ["batch", 3, 32, 32])
    assert (logits.name, logits.shape) == ("logits", ["batch", 10])
    assert json.loads(metadata[SOURCE_KEY])["name"] == DIGITS.name
    assert len(json.loads(metadata[SOURCE_KEY])["sha256"][f"{DIGITS.name}.index"]) == 64
    assert str(pathlib.Path.cwd()) not in pathlib.Path(onnx.path).read_bytes().decode("latin-1")


@pytest.mark.parametrize("more_stages", [0, slow(3)])
def test_program_for_any_size_is_checked_at_odd_even_and_unequal_sides(
    tmp_path: pathlib.Path, more_stages: int
) -> None:
    """A fine-tuned module in memory, whose size is not known, and whose last feature map may be a single pixel."""
    stage = dataclasses.replace(SMALL.stages[0], in_channels=6)
    model = converter.EfficientNet(dataclasses.replace(SMALL, stages=(*SMALL.stages, *[stage] * more_stages)))

    report = converter.export_program(model, tmp_path / "small.onnx", dynamic_size=True)

    assert report.inputs == ("image float32 [batch, 3, height, width]",)
    sizes = [comparison.sizes for comparison in report.comparisons]
    assert [json.loads(text.partition(" ")[2])[2:] for text in sizes] == [
        [64, 64],
        [64, 64],
        [65, 65],
        [96, 96],
        [66, 97],
        [32, 31],
    ]
    assert model.classifier.weight.dtype == torch.float32


def test_small_constants_survive_and_an_exporter_that_drops_them_writes_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The optimizer of onnxscript turns log(x + 1e-10) into log(x); only the check sees that."""
    module, example, path = Logarithm(), (torch.zeros(2, 3),), tmp_path / "log.onnx"

    assert converter.export_program(module, path, example=example).passes

    path.unlink()
    real = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **options: real(*args, **{**options, "optimize": True}))
    with pytest.raises(VerificationError) as caught:
        converter.export_program(module, path, example=example)
    report: Any = caught.value.report
    assert not report.passes
    assert math.isinf(report.worst_units)
    assert list(tmp_path.iterdir()) == []


def test_graph_becomes_a_program_with_its_own_names_and_weights(frozen: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Inputs by name, outputs by key, and TensorFlow's names in the metadata."""
    path = tmp_path / "graph.pt2"

    report = converter.export_program(frozen, path, outputs={"Probabilities": "probs"})

    assert report.inputs == ("picture float32 [batch, 4, 5, 3]",)
    assert report.outputs == ("Probabilities float32 [batch, 2]",)
    extra = {"tf2torch.json": ""}
    program = torch.export.load(path, extra_files=extra)
    result = program.module()(picture=torch.ones(1, 4, 5, 3))
    assert result["Probabilities"].tolist() == [[1.5, 1.5]]
    assert list(program.state_dict) == ["w"]
    assert json.loads(json.loads(extra["tf2torch.json"])[TENSORS_KEY])["outputs"] == {"Probabilities": "probs"}
    called = [node.meta["custom"] for node in program.graph.nodes if node.op == "call_function"]
    assert called == [{"tensorflow": "mean"}, {"tensorflow": "probs"}]


def test_program_at_an_address_is_reported_there_without_secrets(
    frozen: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the JSON, in the report and in the summary; nothing is overwritten unasked."""
    report = tmp_path / "report.json"
    arguments = ["export", str(frozen), "--outputs", "probs", "-o", "counted://user:password@bucket/out/net.pt2"]
    with counting_store() as store:
        assert main([*arguments, "--report", str(report), "--json"]) == 0
        assert store.list("bucket/out") == ["net.pt2"]
        assert main(arguments) == 2
        printed = capsys.readouterr()
        assert main([*arguments, "--force"]) == 0
        summary = capsys.readouterr().out

    for record in (json.loads(printed.out), json.loads(report.read_text(encoding="utf-8"))):
        assert record["path"] == "counted://bucket/out/net.pt2"
        assert list(record["files"]) == ["net.pt2"]
    assert "output    counted://bucket/out/net.pt2, " in summary
    assert "password" not in printed.out + printed.err + report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_parameters_without_gradient_are_listed(tmp_path: pathlib.Path) -> None:
    """A weight that only a comparison uses cannot be trained."""
    graph = write_frozen(
        tmp_path / "frozen.pb",
        placeholder("x", -1, 3),
        constant("used", 0.5, 3),
        constant("lost", 0.5, 3),
        node("y", "Mul", "x", "used"),
        node("z", "Mul", "x", "lost"),
        node("flags", "Greater", "z", "x"),
    )

    report = converter.export_program(graph, tmp_path / "graph.pt2", outputs=["y", "flags"])

    assert [note for note in report.notes if "gradient" in note] == ["1 of 2 parameters get no gradient: lost"]


def test_unsupported_operations_are_all_listed_with_the_parts_that_can_be_run(tmp_path: pathlib.Path) -> None:
    """Each with its node, and the options to name."""
    graph = write_frozen(
        tmp_path / "frozen.pb",
        placeholder("x", -1, 3),
        node("before", "Neg", "x"),
        node("odd", "Unheard", "before"),
        node("strange", "Unseen", "odd"),
        node("after", "Neg", "strange"),
    )

    with pytest.raises(UnsupportedOpError) as caught:
        converter.export_program(graph, tmp_path / "graph.pt2", outputs="after")

    assert caught.value.ops == (("odd", "Unheard"), ("strange", "Unseen"))
    assert "--inputs strange" in str(caught.value)
    assert "--outputs before" in str(caught.value)


def test_images_of_a_graph_are_nchw_on_request(frozen: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Inputs and outputs of four axes; everything else keeps its axes. Nodes have TensorFlow's names as metadata."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    path = tmp_path / "graph.onnx"

    report = converter.export_program(frozen, path, outputs=["probs", "halves"], nchw=True, constants={"scale": 2.0})

    assert report.inputs == ("picture float32 [batch, 3, 4, 5]",)
    assert report.outputs == ("probs float32 [batch, 2]", "halves float32 [batch, 3, 4, 5]")
    named = [
        one.value for made in onnx.load(path).graph.node for one in made.metadata_props if one.key == NODE_NAME_KEY
    ]
    assert sorted(set(named)) == ["halves", "mean", "probs"]


def test_recorded_values_that_differ_leave_no_file(frozen: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The nearest twin, the right values, is exported."""
    inputs = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
    right = inputs.mean((1, 2)) @ np.full((3, 2), 0.5, np.float32)
    export = functools.partial(converter.export_program, frozen, outputs="probs", expect=tmp_path / "tf.npz")

    np.savez(tmp_path / "tf.npz", picture=inputs, probs=right)
    assert export(tmp_path / "right.pt2").passes
    np.savez(tmp_path / "tf.npz", picture=inputs, probs=right + 1e-3)
    with pytest.raises(VerificationError):
        export(tmp_path / "wrong.pt2")
    np.savez(tmp_path / "tf.npz", picture=inputs[:, :3], probs=right)
    with pytest.raises(FeedError):
        export(tmp_path / "wrong.pt2")
    assert not (tmp_path / "wrong.pt2").exists()


def test_input_of_unknown_rank_has_the_axes_of_recorded_values(tmp_path: pathlib.Path) -> None:
    """Its batch is open and its other sizes are those of the values; without values the error says what to give."""
    graph = write_frozen(
        tmp_path / "frozen.pb",
        node("x", "Placeholder", attributes=PLACEHOLDER),
        constant("w", 0.5, 3, 2),
        node("y", "MatMul", "x", "w"),
    )

    subject = open_graph(graph, GraphOptions(outputs="y", shapes={"x": (2, 3)}), None)

    assert [argument.shape for argument in subject.arguments] == [(None, 3)]
    with pytest.raises(GraphError, match=r"how many axes the input x has.*--expect"):
        converter.export_program(graph, tmp_path / "n.pt2", outputs="y")


BAD_GRAPHS: dict[str, tuple[list[str], dict[str, Any], type[Exception], str]] = {
    "cycle": (
        [placeholder("x", -1, 3), node("a", "Add", "x", "b"), node("b", "Neg", "a")],
        {"outputs": "b"},
        GraphError,
        "cycle: a -> b -> a",
    ),
    "function that calls itself": (
        [placeholder("x", -1, 3), call("a", "f", "x"), function("f", call("again", "f", "x"), returns="again:out_0:0")],
        {"outputs": "a"},
        GraphLimitError,
        "max_call_depth",
    ),
    "branch that calls itself": (
        [
            placeholder("x", -1, 3),
            placeholder("p"),
            node("a", "If", "p", "x", attributes=f"{function_attribute('then_branch', 'f')} {ELSE}"),
            function("f", node("i", "If", "p", "x", attributes=f"{function_attribute('then_branch', 'f')} {ELSE}"))
            .replace("input_arg", 'input_arg { name: "p" type: 1 } input_arg', 1)
            .replace('value: "y"', 'value: "i:output:0"'),
        ],
        {"outputs": "a"},
        GraphError,
        "the function f calls itself without end",
    ),
    "constant of terabytes": (
        [placeholder("x", -1, 3), constant("huge", 1.0, 1 << 20, 1 << 20), node("y", "Add", "x", "huge")],
        {"outputs": "y"},
        LimitExceededError,
        "max_constant_bytes",
    ),
    "filled tensor of terabytes": (
        [
            placeholder("x", -1, 3),
            integers("sizes", 1 << 20, 1 << 20),
            constant("one", 1.0),
            node("huge", "Fill", "sizes", "one"),
            node("y", "Add", "x", "huge"),
        ],
        {"outputs": "y"},
        GraphLimitError,
        "max_tensor_bytes",
    ),
    "values of another shape": (
        [placeholder("x", -1, 3), node("y", "Neg", "x")],
        {"outputs": "y", "expect": "other.npz"},
        FeedError,
        r"x in .* is float32 \[2, 4\], expected float32 \[any, 3\]",
    ),
    "absent signature": (
        [placeholder("x", -1, 3), node("y", "Neg", "x")],
        {"signature": "predict"},
        TensorNameError,
        "no signature predict",
    ),
    "absent checkpoint": (
        [placeholder("x", 3), node("v", "VariableV2", attributes=VARIABLE), node("y", "Add", "x", "v")],
        {"outputs": "y", "checkpoint": "absent.ckpt"},
        CheckpointNotFoundError,
        "absent.ckpt",
    ),
    "variable without a checkpoint": (
        [placeholder("x", 3), node("v", "VariableV2", attributes=VARIABLE), node("y", "Add", "x", "v")],
        {"outputs": "y"},
        GraphError,
        "checkpoint",
    ),
}


@pytest.mark.parametrize("name", BAD_GRAPHS)
def test_graph_that_cannot_run_is_one_error_and_no_file(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hostile or damaged graph claims is refused within the limits, before anything of its size is made."""
    parts, options, error, words = BAD_GRAPHS[name]
    monkeypatch.chdir(tmp_path)
    np.savez("other.npz", x=np.zeros((2, 4), np.float32), y=np.zeros((2, 4), np.float32))
    graph = write_frozen(tmp_path / "frozen.pb", *parts)

    with pytest.raises(error, match=words):
        converter.export_program(graph, "a.pt2", **options)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["frozen.pb", "other.npz"]


def test_graph_of_a_million_nodes_is_refused_before_it_is_planned(tmp_path: pathlib.Path) -> None:
    """A node takes two bytes of the file here, and a thousand times as much to plan a run."""
    graph = tmp_path / "frozen.pb"
    graph.write_bytes(b"\n\0" * 1_000_000)

    with pytest.raises(LimitExceededError) as caught:
        converter.export_program(graph, tmp_path / "a.pt2", outputs="y")

    assert (caught.value.limit, caught.value.claimed) == ("max_graph_nodes", 1_000_000)


def test_module_with_indices_and_several_outputs_is_exported(tmp_path: pathlib.Path) -> None:
    """Whole numbers that are too large for its table are not used."""

    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)

        def forward(self, tokens: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
            rows = self.table(tokens) * scale[:, None, None]
            return {"rows": rows, "best": rows.argmax(-1)}

    example = {"tokens": torch.zeros(1, 6, dtype=torch.int64), "scale": torch.ones(1)}
    report = converter.export_program(Lookup(), tmp_path / "lookup.onnx", example=example, static=True)

    assert report.inputs == ("tokens int64 [1, 6]", "scale float32 [1]")
    assert report.outputs == ("rows float32 [1, 6, 4]", "best int64 [1, 6]")


def test_axis_that_cannot_have_any_size_is_fixed_unless_it_is_required(tmp_path: pathlib.Path) -> None:
    """The report says so."""

    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.shape[0] == 1 else x * float(x.shape[0])

    export = functools.partial(converter.export_program, Fixed(), tmp_path / "fixed.pt2", example=[torch.ones(1, 2)])

    with pytest.raises(ProgramError):
        export(dynamic_batch=True)
    report = export()
    assert report.inputs == ("x float32 [1, 2]",)
    assert any("batch" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.xyz", {}),
        ("a.onnx", {"opset": 17}),
        ("a.onnx", {"batch": 0}),
        ("a.onnx", {"batch": 2, "dynamic_batch": True}),
        ("a.onnx", {"size": 64, "dynamic_size": True}),
        ("a.onnx", {"static": True, "dynamic_batch": True}),
        ("a.onnx", {"size": 1 << 20}),
        ("a.pte", {"dynamic_batch": True}),
        ("missing/a.onnx", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value)) or "nothing",
)
def test_options_that_cannot_be_met_write_nothing(tmp_path: pathlib.Path, name: str, options: dict[str, Any]) -> None:
    """Before anything is loaded."""
    with pytest.raises(ExportError):
        converter.export_program(DIGITS, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"outputs": "probs", "batch": 4, "size": 9}, FeedError),
        ({"outputs": "probs", "dynamic": {"image": (1,)}}, FeedError),
        ({"outputs": "probs", "dynamic": {"picture": (4,)}}, FeedError),
        ({"outputs": "probs", "dynamic": {"picture": (1,)}}, FeedError),
        ({"outputs": "absent"}, GraphError),
        ({"outputs": "w"}, GraphError),
        ({"as_graph": True}, GraphError),
    ],
    ids=["size", "input", "axis", "fixed axis", "tensor", "no input", "no outputs"],
)
def test_graph_that_does_not_have_what_is_named_is_refused(
    frozen: pathlib.Path, tmp_path: pathlib.Path, options: dict[str, Any], error: type[Exception]
) -> None:
    """Each in one error."""
    with pytest.raises(error):
        converter.export_program(frozen, tmp_path / "a.pt2", **options)
    assert not (tmp_path / "a.pt2").exists()


def test_runtime_that_refuses_a_program_is_one_error_with_its_own_words(tmp_path: pathlib.Path) -> None:
    """And so is a runtime that crashes."""
    from converter.programs.opening import SourceOptions, open_subject

    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"\x08\x01damaged")
    subject = open_subject(Logarithm(), SourceOptions(example=[torch.zeros(1, 1)]))
    case = check.Case({"x": np.zeros((1, 1), np.float32)}, [], [])

    with pytest.raises(ProgramError, match=r"(?i)protobuf") as caught:
        check.run_program(str(path), subject, [case], destination=".onnx")
    assert caught.value.destination == ".onnx"


def test_output_that_exists_is_kept_without_force(tmp_path: pathlib.Path) -> None:
    """With force it is replaced by a program that passed its check, and by no other."""
    path = tmp_path / "log.pt2"
    path.write_text("before")
    export = functools.partial(converter.export_program, Logarithm(), path)

    with pytest.raises(ExportError):
        export(example=[torch.zeros(1, 3)])
    with pytest.raises(ExportError):
        export(force=True)  # the module does not say what it takes
    assert path.read_text() == "before"
    assert export(example=[torch.zeros(1, 3)], force=True).passes
    assert [item.name for item in tmp_path.iterdir()] == ["log.pt2"]


def test_first_of_equal_entries_comes_first_in_onnx(tmp_path: pathlib.Path) -> None:
    """TensorFlow's TopK is stable, and so is what is written for onnxruntime."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    graph = write_frozen(
        tmp_path / "frozen.pb", placeholder("x", -1, 6), integers("k", 4), node("best", "TopKV2", "x", "k")
    )
    path = tmp_path / "best.onnx"
    converter.export_program(graph, path, inputs={"x": "x"}, outputs={"value": "best:0", "index": "best:1"})
    x = np.array([[1, 3, 2, 3, 1, 3], [0, 0, 0, 0, 0, 0]], np.float32)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values, indices = session.run(["value", "index"], {"x": x})

    assert values.tolist() == [[3, 3, 3, 2], [0, 0, 0, 0]]
    assert indices.tolist() == [[1, 3, 5, 2], [0, 1, 2, 3]]
