"""EfficientNets of other code bases, each with a table of names of its own.

tests/data/codebases was written by the packages under real TensorFlow.
"""

from __future__ import annotations

import pathlib
import tarfile
from typing import Any

import numpy as np
import pytest

from converter.conversion import ConversionResult, convert
from converter.errors import OtherNetworkError

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


def assert_logits(result: ConversionResult, path: pathlib.Path) -> None:
    """Check that the logits in float64 differ from TensorFlow's by at most 1e-10 of the largest."""
    from converter.model import EfficientNet

    with np.load(path) as recorded:
        images, expected = recorded["input"], recorded["logits64"]
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


@pytest.mark.parametrize("case", ["garden-legacy", "kecam"])
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


def test_pytorch_mode_is_noted_without_a_graph(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Names and shapes are the same in both modes, so a note says what is assumed; with a graph there is none."""
    folder = unpack(data, "kecam", tmp_path)

    without = convert(folder / "checkpoint" / "weights", strides=(1, 2, 2)).report
    with_graph = convert(folder / "saved_model").report

    assert any("is_torch_mode" in note for note in without.notes)
    assert not with_graph.notes
