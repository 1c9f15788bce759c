"""Every form of a saved network, compared with TensorFlow: objects, SavedModels, Keras, and a nested backbone.

Tolerances: float64 on both sides agrees up to rounding, float32 up to 1e-5 of the largest logit.
"""

from __future__ import annotations

import pathlib
import shutil
import tarfile
from typing import Any, TypeAlias

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch module")

import tfckpt  # noqa: E402
from converter.cli import main  # noqa: E402
from converter.conversion import ConversionResult, convert  # noqa: E402
from converter.errors import UnknownModelError  # noqa: E402
from converter.exporting import export  # noqa: E402
from converter.families.averages import WeightsChoice  # noqa: E402
from converter.families.keras_applications import NORMALIZATION  # noqa: E402
from converter.mapping.reversal import reverse  # noqa: E402
from converter.mapping.rules import Rule, RuleSet  # noqa: E402
from converter.model import EfficientNet  # noqa: E402
from tests.arrays import distance  # noqa: E402
from tfckpt import protos  # noqa: E402

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

V2_STRIDES = (1, 2, 2, 2, 1, 2)
V1_STRIDES = (1, 2, 2, 2, 1, 2, 1)


def require_agreement(result: ConversionResult, golden: pathlib.Path, images: Array | None = None) -> None:
    """Assert that a converted network computes TensorFlow's logits in float32 and in float64."""
    with np.load(golden) as values:
        images = values["input"] if images is None else images
        logits, logits64 = values["logits"], values["logits64"]
    model = EfficientNet(result.required_config()).eval()
    model.load_state_dict({name: torch.tensor(np.array(array)) for name, array in result.state_dict.items()})
    with torch.inference_mode():
        values = model(torch.tensor(images).float().permute(0, 3, 1, 2)).numpy()
        exact = model.double()(torch.tensor(images).double().permute(0, 3, 1, 2)).numpy()
    assert distance(exact, logits64) < 1e-10
    assert distance(values, logits) < 1e-5


def test_objects_of_the_released_code_agree_with_tensorflow(data: pathlib.Path) -> None:
    """The rules match object paths for `save_weights`, which needs strides, since it saves no graph."""
    result = convert(data / "objects", strides=(1, 2, 2, 1))

    assert result.report.rules == "automl-objects"
    assert result.config is not None
    assert result.config.num_classes == 7
    require_agreement(result, data / "objects" / "golden.npz")


def test_saved_model_of_the_released_code_agrees_with_tensorflow(data: pathlib.Path) -> None:
    """This SavedModel only numbers its variables, so the rules match full names; the graph has the strides."""
    result = convert(data / "savedmodel")

    assert result.report.rules == "automl"
    assert result.report.scope == "efficientnetv2-b0/"
    assert result.report.evidence == ("described from names and shapes", "strides from the graph")
    assert result.report.tensors[0].source == "variables/101/.ATTRIBUTES/VARIABLE_VALUE"
    assert result.report.tensors[0].variable == "efficientnetv2-b0/stem/conv2d/kernel"
    require_agreement(result, data / "savedmodel" / "golden.npz")


@pytest.mark.parametrize("form", ["save_weights", "checkpoint", "saved_model"])
def test_keras_version_2_agrees_with_tensorflow_in_every_form(data: pathlib.Path, form: str) -> None:
    """One network saved in three ways computes the same logits; only the SavedModel records its strides."""
    strides = None if form == "saved_model" else V2_STRIDES

    result = convert(data / "keras" / "v2" / form, strides=strides)

    assert result.report.rules == "keras"
    assert len(result.report.tensors) == 94
    require_agreement(result, data / "keras" / "v2" / "golden.npz")


@pytest.mark.parametrize("form", ["checkpoint", "exported"])
def test_network_of_keras_3_agrees_with_tensorflow(data: pathlib.Path, form: str) -> None:
    """Keras 3 names depthwise kernels `kernel` too, and its `export` saves every variable twice."""
    strides = None if form == "exported" else V2_STRIDES

    result = convert(data / "keras" / "keras3" / form, strides=strides)

    copies = [record for record in result.report.ignored if "copy" in record.reason]
    assert len(copies) == (94 if form == "exported" else 0)
    require_agreement(result, data / "keras" / "v2" / "golden.npz")


def test_relu_of_keras_3_is_read_from_its_graph_and_proved(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Names and shapes are those of the network with SiLU; the graph has another activation."""
    with tarfile.open(data / "keras" / "keras3-relu" / "exported.tgz") as archive:
        archive.extractall(tmp_path, filter="data")

    result = convert(tmp_path / "exported")

    assert result.required_config().activation == "relu"
    require_agreement(result, data / "keras" / "keras3-relu" / "golden.npz")
    record = export(result, tmp_path / "out.safetensors", proof="require")
    assert record is not None and record.layers is not None and record.layers.count == 29


@pytest.mark.parametrize(("number", "value"), [(0, 1), (1, 2)])
def test_one_of_two_networks_in_a_model_is_chosen(data: pathlib.Path, number: int, value: int) -> None:
    """Without a choice one sentence names both; the object path of one, as the scope, chooses it."""
    path = data / "keras" / "two" / "weights.tgz"

    with pytest.raises(UnknownModelError) as caught:
        convert(path, strides=V2_STRIDES)
    result = convert(path, strides=V2_STRIDES, scope=f"layer_with_weights-{number}")

    assert "\n" not in str(caught.value)
    assert all(f"'layer_with_weights-{one}/'" in str(caught.value) for one in (0, 1))
    assert {float(array.flat[0]) for name, array in result.state_dict.items() if "num_batches" not in name} == {value}


@pytest.mark.parametrize(("case", "averaged"), [("averages-keras3", 62), ("averages-slots", 94)])
@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_averages_in_an_optimizer_agree_with_tensorflow(
    data: pathlib.Path, case: str, averaged: int, weights: WeightsChoice
) -> None:
    """The raw values are those of the network without an optimizer, although the optimizer of Keras 3 lists them."""
    result = convert(data / "keras" / case, strides=V2_STRIDES, weights=weights)

    assert result.report.averaged == (averaged if weights == "ema" else 0)
    assert len(result.report.tensors) == 94
    golden = data / "keras" / "v2" / "golden.npz"
    if weights == "raw":
        require_agreement(result, golden)
        return
    model = EfficientNet(result.required_config()).eval()
    model.load_state_dict({name: torch.tensor(np.array(array)) for name, array in result.state_dict.items()})
    with np.load(golden) as values, np.load(data / "keras" / case / "averages.npz") as averages:
        with torch.inference_mode():
            logits = model(torch.tensor(values["input"]).permute(0, 3, 1, 2)).numpy()
        assert distance(logits, averages["logits"]) < 1e-5
        assert distance(logits, values["logits"]) > 1e-2


def test_rules_for_paths_reach_every_variable_of_a_model_that_an_optimizer_lists(data: pathlib.Path) -> None:
    """A pattern for everything below the model takes the same variables with and without an optimizer."""
    rules = RuleSet(
        name="all",
        version="1",
        names="path",
        scope="",
        rules=(Rule("model/{path...}", "{path}"),),
        ignores=(),
        constants=(),
        words={},
    )

    raw = convert(data / "keras" / "averages-keras3", rules=rules, weights="raw")
    alone = convert(data / "keras" / "keras3" / "checkpoint", rules=rules)
    averages = convert(data / "keras" / "averages-keras3", rules=rules)

    assert len(raw.state_dict) == 94
    pairs = zip(sorted(raw.state_dict.items()), sorted(alone.state_dict.items()), strict=True)
    for (name, array), (other, expected) in pairs:
        assert name.removeprefix("_functional/") == other.removeprefix("_functional/")
        assert np.array_equal(array, expected)
    assert averages.report.averaged == 62


@pytest.mark.parametrize("form", ["save_weights", "checkpoint", "saved_model"])
def test_keras_version_1_agrees_with_tensorflow_after_its_own_preprocessing(data: pathlib.Path, form: str) -> None:
    """The layers before the stem rescale and normalize pixels; a note reports their statistics."""
    strides = None if form == "saved_model" else V1_STRIDES
    with np.load(data / "keras" / "v1" / "golden.npz") as golden:
        pixels = golden["input"].astype(np.float64)
    scale = np.float64(np.float32(1 / 255))  # Keras's Rescaling rounds its factor to float32 in any precision
    mean, variance = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])

    result = convert(data / "keras" / "v1" / form, strides=strides)

    (note,) = result.report.notes
    assert "mean 0.485, 0.456, 0.406, variance 0.229, 0.224, 0.225" in note
    reasons = [record.reason for record in result.report.ignored]
    assert reasons.count(NORMALIZATION) == 3
    images = (pixels * scale - mean) / np.sqrt(variance.astype(np.float64))
    require_agreement(result, data / "keras" / "v1" / "golden.npz", images)


def test_keras_checkpoint_without_graph_has_the_stages_of_its_names(data: pathlib.Path) -> None:
    """Stages of equal widths are distinguished by the names of their layers, so the error lists six."""
    with pytest.raises(UnknownModelError) as caught:
        convert(data / "keras" / "v2" / "save_weights")

    assert "stage 5: MBConv" in str(caught.value)
    assert "stage 6" not in str(caught.value)


@pytest.mark.parametrize("head", ["breeds", "layer_with_weights-1"], ids=["by name", "by path"])
@pytest.mark.parametrize("case", ["nested", "nested-newer"], ids=["legacy optimizer", "newer optimizer"])
def test_nested_backbone_with_its_head_agrees_with_tensorflow(data: pathlib.Path, case: str, head: str) -> None:
    """A Keras backbone nested in a classifier of 151 classes, saved with an optimizer, converts as the classifier."""
    result = convert(data / "keras" / case, strides=V2_STRIDES, head=head)

    assert result.config is not None
    assert result.config.num_classes == 151
    assert "breeds" in result.report.evidence[-1]
    if case == "nested":
        require_agreement(result, data / "keras" / "nested" / "golden.npz")


def test_nested_backbone_converts_alone_and_other_layers_are_listed(data: pathlib.Path) -> None:
    """Without `head` only the backbone is converted, and a note offers the dense layer as the classifier."""
    report = convert(data / "keras" / "nested", strides=V2_STRIDES).report

    assert report.config is not None
    assert report.config["num_classes"] == 0
    outside = {record.source for record in report.ignored if record.reason.endswith(" in breeds")}
    assert outside == {f"layer_with_weights-1/{part}/.ATTRIBUTES/VARIABLE_VALUE" for part in ("bias", "kernel")}
    reasons = [record.reason for record in report.ignored]
    assert reasons.count("slot m of the optimizer optimizer") == 62
    assert reasons.count("state of the optimizer optimizer") == 5
    (note,) = report.notes
    assert "--head breeds" in note


def test_slots_of_a_newer_optimizer_are_not_a_second_network(data: pathlib.Path) -> None:
    """Full names such as `Adam/m/stem_conv/kernel` look like a network of another scope; their paths differ."""
    report = convert(data / "keras" / "nested-newer", strides=V2_STRIDES).report

    assert report.scope == ""
    assert [record.reason for record in report.ignored].count("state of the optimizer optimizer") == 126


@pytest.mark.parametrize("head", ["dogs", ""])
def test_unknown_head_is_refused_with_the_existing_ones(data: pathlib.Path, head: str) -> None:
    """The error names the dense layers of the checkpoint."""
    with pytest.raises(UnknownModelError, match="breeds"):
        convert(data / "keras" / "nested", strides=V2_STRIDES, head=head)


@pytest.mark.parametrize(
    ("source", "strides"),
    [
        ("objects", (1, 2, 2, 1)),
        ("savedmodel", None),
        ("keras/v2/checkpoint", V2_STRIDES),
        ("keras/nested", V2_STRIDES),
    ],
)
def test_reverse_returns_the_checkpoints_own_tensors(
    data: pathlib.Path, source: str, strides: tuple[int, ...] | None
) -> None:
    """A report gives checkpoint keys and TensorFlow's bytes; rules give the names that they match."""
    result = convert(data / source, strides=strides)

    by_key = reverse(result.state_dict, result.report)
    by_name = reverse(result.state_dict, result.rules)

    with tfckpt.open(data / source) as checkpoint:
        assert set(by_key) == {record.source for record in result.report.tensors}
        for key, array in by_key.items():
            assert array.tobytes() == checkpoint[key].tobytes(), key
    assert set(by_name) == {record.variable for record in result.report.tensors}
    for record in result.report.tensors:
        assert np.array_equal(by_name[record.variable], by_key[record.source])


def test_graph_in_text_form_is_converted(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The same tensors as with the binary form, and no option is needed."""
    shutil.copytree(data / "keras" / "v2" / "saved_model", tmp_path / "model")
    binary = tmp_path / "model" / "saved_model.pb"
    text = protos.format_text(protos.parse("SavedModel", binary.read_bytes()))
    (tmp_path / "model" / "saved_model.pbtxt").write_text(text, encoding="utf-8")
    binary.unlink()

    from_text, from_binary = convert(tmp_path / "model"), convert(data / "keras" / "v2" / "saved_model")

    assert from_text.report.notes == from_binary.report.notes
    assert from_text.state_dict.keys() == from_binary.state_dict.keys()
    for name, array in from_text.state_dict.items():
        assert np.array_equal(array, from_binary.state_dict[name])


def test_output_of_every_source_is_verified_without_repeating_options(
    data: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], run_all: bool
) -> None:
    """The output records scope, strides, head and the choice of weights."""
    sources = {"objects": ["--strides", "1,2,2,1"], "savedmodel": [], "keras/v1/saved_model": []}
    strides = ["--strides", ",".join(map(str, V2_STRIDES))]
    sources |= {"keras/averages-keras3": strides, "keras/averages-slots": strides}
    sources |= {"keras/v2/checkpoint": strides, "keras/nested-newer": [*strides, "--head", "breeds"]}
    quick = ("objects", "keras/averages-keras3", "keras/nested-newer")
    for number, (source, options) in enumerate(sources.items()):
        if not (run_all or source in quick):
            continue
        output = str(tmp_path / f"{number}.safetensors")

        assert main(["convert", str(data / source), "-o", output, "--no-proof", *options]) == 0
        assert main(["verify", str(data / source), output]) == 0

    assert "94 of 94 source tensors reproduced byte for byte" in capsys.readouterr().out
