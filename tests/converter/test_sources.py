"""Every form a network comes in, beside TensorFlow: objects, SavedModels, Keras, and a backbone in a bigger network.

Tolerances: float64 on both sides agrees to rounding, float32 is held to 1e-5 of the largest logit.
"""

from __future__ import annotations

import pathlib
import shutil
from typing import Any, TypeAlias

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch module")

import tfckpt  # noqa: E402
from converter.cli import main  # noqa: E402
from converter.conversion import ConversionResult, convert  # noqa: E402
from converter.errors import UnknownModelError  # noqa: E402
from converter.mapping.reversal import reverse  # noqa: E402
from converter.model import EfficientNet  # noqa: E402
from tests.arrays import distance  # noqa: E402

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

V2_STRIDES = (1, 2, 2, 2, 1, 2)
V1_STRIDES = (1, 2, 2, 2, 1, 2, 1)


def require_agreement(result: ConversionResult, golden: pathlib.Path, images: Array | None = None) -> None:
    """Hold a conversion's network to TensorFlow's logits in both precisions."""
    with np.load(golden) as values:
        images = values["input"] if images is None else images
        logits, logits64 = values["logits"], values["logits64"]
    model = EfficientNet(result.required_config()).eval()
    model.load_state_dict({name: torch.tensor(np.array(array)) for name, array in result.state_dict.items()})
    with torch.inference_mode():
        found = model(torch.tensor(images).float().permute(0, 3, 1, 2)).numpy()
        exact = model.double()(torch.tensor(images).double().permute(0, 3, 1, 2)).numpy()
    assert distance(exact, logits64) < 1e-10
    assert distance(found, logits) < 1e-5


def test_objects_of_the_released_code_are_tensorflows(data: pathlib.Path) -> None:
    """`save_weights` of the released code: rules read paths, and strides are given, since no graph is saved with it."""
    result = convert(data / "objects", strides=(1, 2, 2, 1))

    assert result.report.rules == "automl-objects"
    assert result.config is not None
    assert result.config.num_classes == 7
    require_agreement(result, data / "objects" / "golden.npz")


def test_saved_model_of_the_released_code_is_tensorflows(data: pathlib.Path) -> None:
    """A SavedModel whose keys only count its variables: rules read full names, and the graph has the strides."""
    result = convert(data / "savedmodel")

    assert result.report.rules == "automl"
    assert result.report.scope == "efficientnetv2-b0/"
    assert result.report.evidence == ("described from names and shapes", "strides from the graph")
    assert result.report.tensors[0].source == "variables/101/.ATTRIBUTES/VARIABLE_VALUE"
    assert result.report.tensors[0].variable == "efficientnetv2-b0/stem/conv2d/kernel"
    require_agreement(result, data / "savedmodel" / "golden.npz")


@pytest.mark.parametrize("form", ["save_weights", "checkpoint", "saved_model"])
def test_keras_version_2_is_tensorflows_in_every_form(data: pathlib.Path, form: str) -> None:
    """One network saved in three ways gives the same logits; only the SavedModel has its strides with it."""
    strides = None if form == "saved_model" else V2_STRIDES

    result = convert(data / "keras" / "v2" / form, strides=strides)

    assert result.report.rules == "keras"
    assert len(result.report.tensors) == 94
    require_agreement(result, data / "keras" / "v2" / "golden.npz")


@pytest.mark.parametrize("form", ["checkpoint", "exported"])
def test_network_of_keras_3_is_tensorflows(data: pathlib.Path, form: str) -> None:
    """Keras 3 calls depthwise kernels kernels as well, and its `export` saves every variable twice."""
    strides = None if form == "exported" else V2_STRIDES

    result = convert(data / "keras" / "keras3" / form, strides=strides)

    reasons = [record.reason for record in result.report.ignored]
    copies = reasons.count("second copy of a variable, which Keras 3 exports twice")
    assert copies == (94 if form == "exported" else 0)
    require_agreement(result, data / "keras" / "v2" / "golden.npz")


@pytest.mark.parametrize("form", ["save_weights", "checkpoint", "saved_model"])
def test_keras_version_1_is_tensorflows_after_its_own_preprocessing(data: pathlib.Path, form: str) -> None:
    """Pixels are rescaled and normalized as the layers in front of the stem do; what they hold is reported."""
    strides = None if form == "saved_model" else V1_STRIDES
    with np.load(data / "keras" / "v1" / "golden.npz") as golden:
        pixels = golden["input"].astype(np.float64)
    scale = np.float64(np.float32(1 / 255))  # what Keras's Rescaling makes of a number, in any precision
    mean, variance = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])

    result = convert(data / "keras" / "v1" / form, strides=strides)

    (note,) = result.report.notes
    assert note.startswith("the network normalizes its own input: mean 0.485, 0.456, 0.406, variance 0.229, 0.224,")
    reasons = [record.reason for record in result.report.ignored]
    assert reasons.count("statistics of the input normalization, which is preprocessing") == 3
    images = (pixels * scale - mean) / np.sqrt(variance.astype(np.float64))
    require_agreement(result, data / "keras" / "v1" / "golden.npz", images)


def test_keras_checkpoint_without_graph_shows_the_stages_its_names_tell(data: pathlib.Path) -> None:
    """Six stages of which some have equal widths are told apart by the layers' names when strides are asked for."""
    with pytest.raises(UnknownModelError) as caught:
        convert(data / "keras" / "v2" / "save_weights")

    assert "Give one for each stage, for example --strides 1,2,2,2,2,2" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 7


@pytest.mark.parametrize("head", ["breeds", "layer_with_weights-1"], ids=["by name", "by path"])
@pytest.mark.parametrize("case", ["nested", "nested-newer"], ids=["legacy optimizer", "newer optimizer"])
def test_nested_backbone_with_its_head_is_tensorflows(data: pathlib.Path, case: str, head: str) -> None:
    """A Keras backbone nested in a classifier of 151 classes, saved with its optimizer, is the whole classifier."""
    result = convert(data / "keras" / case, strides=V2_STRIDES, head=head)

    assert result.config is not None
    assert result.config.num_classes == 151
    assert "classifier: the dense layer breeds of 151 classes, asked for" in result.report.evidence
    if case == "nested":
        require_agreement(result, data / "keras" / "nested" / "golden.npz")


def test_nested_backbone_is_found_and_what_stands_beside_it_is_listed(data: pathlib.Path) -> None:
    """Without `head` the backbone alone is converted; the dense layer is a group beside it, and a note offers it."""
    report = convert(data / "keras" / "nested", strides=V2_STRIDES).report

    assert report.config is not None
    assert report.config["num_classes"] == 0
    beside = {record.source: record.reason for record in report.ignored if record.reason.startswith("beside")}
    assert beside == {
        f"layer_with_weights-1/{part}/.ATTRIBUTES/VARIABLE_VALUE": "beside the network, in breeds"
        for part in ("bias", "kernel")
    }
    reasons = [record.reason for record in report.ignored]
    assert reasons.count("slot m of the optimizer optimizer") == 62
    assert reasons.count("state of the optimizer optimizer") == 5
    assert report.notes == (
        "beside the network stands the dense layer breeds of 151 classes, which fits it; "
        "--head breeds makes it the classifier",
    )


def test_slots_of_a_newer_optimizer_are_no_second_network(data: pathlib.Path) -> None:
    """Full names such as `Adam/m/stem_conv/kernel` look like a network of another scope; their path tells."""
    report = convert(data / "keras" / "nested-newer", strides=V2_STRIDES).report

    assert report.scope == ""
    assert [record.reason for record in report.ignored].count("state of the optimizer optimizer") == 126


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("dogs", r"no dense layer 'dogs' beside the network; there are breeds \(160 to 151\)"),
        ("", r"no dense layer '' beside the network"),
    ],
)
def test_head_that_is_not_there_is_answered_with_those_that_are(data: pathlib.Path, head: str, message: str) -> None:
    """A wrong name lists the dense layers with their widths."""
    with pytest.raises(UnknownModelError, match=message):
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
def test_reverse_gives_back_the_checkpoints_own_tensors(
    data: pathlib.Path, source: str, strides: tuple[int, ...] | None
) -> None:
    """By the report names are keys and every byte is TensorFlow's; by the rules names are those the rules read."""
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


def test_graph_in_a_form_that_is_not_read_is_a_note(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Variables beside a SavedModel in text form convert with strides that are given, and the note says why."""
    shutil.copytree(data / "savedmodel", tmp_path / "model")
    (tmp_path / "model" / "saved_model.pb").rename(tmp_path / "model" / "saved_model.pbtxt")

    report = convert(tmp_path / "model" / "variables" / "variables", strides=(1, 2, 2, 1)).report

    assert len(report.notes) == 1
    assert report.notes[0].startswith("the graph beside the checkpoint tells nothing: ")
    assert "strides as given" in report.evidence


def test_output_of_every_source_is_verified_without_being_told_anything_again(
    data: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scope, strides, head and choice of weights are recorded with the output."""
    sources = {"objects": ["--strides", "1,2,2,1"], "savedmodel": [], "keras/v1/saved_model": []}
    strides = ["--strides", ",".join(map(str, V2_STRIDES))]
    sources |= {"keras/v2/checkpoint": strides, "keras/nested-newer": [*strides, "--head", "breeds"]}
    for number, (source, options) in enumerate(sources.items()):
        output = str(tmp_path / f"{number}.safetensors")

        assert main(["convert", str(data / source), "-o", output, *options]) == 0
        assert main(["verify", str(data / source), output]) == 0

    assert "94 of 94 source tensors reproduced byte for byte" in capsys.readouterr().out
