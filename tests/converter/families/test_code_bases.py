"""EfficientNets of other code bases, each with a table of names of its own.

tests/data/codebases was written by the packages under real TensorFlow.
"""

from __future__ import annotations

import pathlib
import tarfile
from typing import Any

import numpy as np
import pytest

import tfckpt
from converter.conversion import ConversionResult, convert
from converter.errors import OtherNetworkError, UnknownModelError
from converter.families.averages import WeightsChoice
from converter.families.kecam import KECAM
from converter.families.keras_config import KerasLayers

torch = pytest.importorskip("torch", reason="the networks are PyTorch's")

#: Case -> family, and the strides of its stages, which a checkpoint without graph does not have.
CASES = {
    "garden-legacy": ("garden-legacy", (1, 2, 2)),
    "kecam": ("kecam", (1, 2, 2)),
    "kecam-v1": ("kecam", (1, 2)),
    "keras-efficientnet-v2": ("kecam", (1, 2, 2)),
}


def unpack(data: pathlib.Path, case: str, folder: pathlib.Path) -> pathlib.Path:
    """Unpack a case and return its folder."""
    with tarfile.open(data / "codebases" / f"{case}.tgz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def assert_logits(result: ConversionResult, path: pathlib.Path, *, name: str = "logits64") -> None:
    """Check that the logits in float64 differ from TensorFlow's by at most 1e-10 of the largest."""
    from converter.model import EfficientNet

    with np.load(path) as recorded:
        images, expected = recorded["input"], recorded[name]
    model: Any = EfficientNet(result.required_config())
    model.load_state_dict({key: torch.tensor(array) for key, array in result.state_dict.items()}, strict=True)
    with torch.inference_mode():
        actual = model.double().eval()(torch.from_numpy(images).double().permute(0, 3, 1, 2)).numpy()
    assert np.abs(actual - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
def test_checkpoint_has_the_logits_of_tensorflow(case: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The full names of the variables determine the family, and all are used."""
    family, strides = CASES[case]

    result = convert(unpack(data, case, tmp_path) / "checkpoint" / "weights", strides=strides)

    assert result.report.rules == family
    assert result.report.releases == ()
    assert_logits(result, data / "codebases" / f"{case}.npz")


@pytest.mark.parametrize("choice", ["ema", "raw"])
def test_training_of_model_garden_is_read_with_its_defaults(
    choice: WeightsChoice, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Strides and relu are those of the code, which the report says, and averages are in slots of its optimizer."""
    result = convert(unpack(data, "garden-vision", tmp_path) / "training" / "ckpt-1", weights=choice)

    name = "averaged64" if choice == "ema" else "logits64"
    assert_logits(result, data / "codebases" / "garden-vision.npz", name=name)
    assert result.report.averaged == (77 if choice == "ema" else 0)
    assert result.report.evidence[1:] == ("strides of this code", "activation relu, the default of this code")


def test_settings_of_model_garden_that_are_not_its_defaults_have_to_be_given(
    data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A checkpoint shows gates, but not that the activation is swish outside of them; a graph shows both."""
    folder = unpack(data, "garden-vision-gates", tmp_path)

    given = convert(folder / "checkpoint" / "weights", activation="silu")
    read = convert(folder / "saved_model")

    assert_logits(given, data / "codebases" / "garden-vision-gates.npz")
    assert given.config == read.config
    assert given.report.assumed == "batch norm epsilon 0.001, padding SAME: no graph shows them"
    assert convert(folder / "checkpoint" / "weights").required_config().activation == "relu"


def test_backbone_of_model_garden_is_a_network_without_its_classifier(
    data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Saved as `backbone`, its layers are numbered from 0 at the root."""
    folder = unpack(data, "garden-vision", tmp_path)
    with tfckpt.open(folder / "training" / "ckpt-1") as checkpoint:
        outer = "model/layer_with_weights-0/"
        arrays = {f"backbone/{key.removeprefix(outer)}": checkpoint[key] for key in checkpoint if key.startswith(outer)}

    result = convert(arrays, weights="raw")

    assert result.report.rules == "garden-vision"
    assert result.required_config().num_classes == 0
    assert (result.report.scope, len(result.report.tensors)) == ("backbone/", 125)


def test_other_layers_after_model_gardens_blocks_are_refused(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A batch norm before pooling, and layers that an EfficientNet does not have there."""
    folder = unpack(data, "garden-vision", tmp_path)
    with tfckpt.open(folder / "training" / "ckpt-1") as checkpoint:
        arrays = {key: checkpoint[key] for key in checkpoint if "OPTIMIZER_SLOT" not in key and key.startswith("model")}
    head = arrays.pop("model/layer_with_weights-0/layer_with_weights-10/kernel/.ATTRIBUTES/VARIABLE_VALUE")
    other = {**arrays, "model/layer_with_weights-0/layer_with_weights-10/conv/kernel": head}
    bias = np.ones(320, np.float32)

    with pytest.raises(UnknownModelError, match="after its blocks"):
        convert(other)
    with pytest.raises(UnknownModelError, match="before pooling"):
        convert({**arrays, "model/layer_with_weights-1/gamma": bias})


@pytest.mark.parametrize("case", ["garden-legacy", "garden-vision-gates", "kecam"])
def test_saved_model_has_the_logits_of_tensorflow(case: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The graph has the strides, and every operation is accounted for."""
    result = convert(unpack(data, case, tmp_path) / "saved_model")

    assert result.report.operations
    assert_logits(result, data / "codebases" / f"{case}.npz")


def test_pytorch_mode_is_refused_by_its_padding(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The graph pads a depthwise convolution symmetrically."""
    with pytest.raises(OtherNetworkError) as caught:
        convert(unpack(data, "kecam-torch", tmp_path) / "saved_model")

    assert caught.value.op == "DepthwiseConv2dNative"


def test_pytorch_mode_is_seen_in_the_object_graph(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its paddings are layers without variables; without an object graph a note says what is assumed."""
    weights = unpack(data, "kecam", tmp_path) / "checkpoint" / "weights"
    with tfckpt.open(weights) as checkpoint:
        arrays = {one.full_name: checkpoint[one.key] for one in checkpoint.variables()}

    with pytest.raises(UnknownModelError, match=r"is_torch_mode=True: 2 layers stand before stack_2_block0_MB_dw_"):
        convert(unpack(data, "kecam-torch", tmp_path / "torch") / "checkpoint" / "weights", strides=(1, 2, 2))

    assert not convert(weights, strides=(1, 2, 2)).report.notes
    assert any("is_torch_mode" in note for note in convert(arrays, strides=(1, 2, 2)).report.notes)


def test_pytorch_mode_is_seen_in_the_configuration_of_a_keras_file() -> None:
    """There the layers have their paddings; convolutions of one pixel have none."""
    arguments = {"stem_conv": ([3, 3], "same"), "stack_0_block0_MB_pw_conv": ([1, 1], "valid")}
    usual = {name: {"kernel_size": size, "padding": padding} for name, (size, padding) in arguments.items()}
    other = {**usual, "stack_2_block0_MB_dw_": {"kernel_size": [3, 3], "padding": "valid"}}
    assert KECAM.settings is not None

    assert KECAM.settings.are_shown({}, None, KerasLayers(usual))
    assert not KECAM.settings.are_shown({}, None, None)
    with pytest.raises(UnknownModelError, match="stack_2_block0_MB_dw_ has padding 'valid'"):
        KECAM.settings.are_shown({}, None, KerasLayers(other))
