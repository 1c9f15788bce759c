"""Weights under the names of other libraries load strictly into their models and give the same logits."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from converter.conversion import ConversionResult, convert
from converter.errors import ExportError
from converter.exporters import export, read_output
from tests.converter.networks import arrays

torch = pytest.importorskip("torch", reason="the libraries are PyTorch's")

#: Small enough to compute quickly, and even, so that padding at stride 2 shows.
SIZE = 64


def network(name: str) -> ConversionResult:
    """A published network with random weights and batch norms that hold statistics, from TensorFlow's names."""
    random = np.random.default_rng(0)
    source: dict[str, Any] = {}
    for key, array in arrays(name, averages=False).items():
        if key == "global_step":
            source[key] = array
            continue
        scale = np.sqrt(2.0 / np.prod(array.shape[:-1])) if array.ndim > 1 else 0.1
        value = random.standard_normal(array.shape, np.float32) * np.float32(scale)
        positive = key.endswith(("gamma", "moving_variance"))
        source[key] = np.float32(0.8) + np.abs(value) if positive else value
    return convert(source)


@pytest.fixture(scope="module")
def v2() -> ConversionResult:
    """EfficientNetV2-B0."""
    return network("efficientnetv2-b0")


@pytest.fixture(scope="module")
def v1() -> ConversionResult:
    """EfficientNet-B0."""
    return network("efficientnet-b0")


def images() -> Any:
    """Two images, NCHW."""
    return torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, SIZE, SIZE), np.float32))


def ours(result: ConversionResult) -> Any:
    """Our network's logits in float64."""
    from converter.model import EfficientNet

    model = EfficientNet(result.config)
    model.load_state_dict({name: torch.tensor(array) for name, array in result.state_dict.items()}, strict=True)
    return logits(model)


def logits(model: Any) -> Any:
    """A model's logits in float64, in which the order of additions does not show."""
    with torch.inference_mode():
        out = model.double().eval()(images().double())
    return getattr(out, "logits", out).numpy()


def assert_same(found: Any, expected: Any) -> None:
    """Equal to 1e-10 of the largest logit."""
    assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("fixture", ["v2", "v1"])
def test_timm_folder_opens_with_the_same_logits(
    fixture: str, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    """`timm.create_model("local-dir:...")` finds config and weights."""
    pytest.importorskip("tests.torchvision_operators")
    timm = pytest.importorskip("timm", reason="timm is not installed")
    result: ConversionResult = request.getfixturevalue(fixture)

    export(result, tmp_path / "folder", target="timm")

    assert_same(logits(timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True)), ours(result))


def test_timm_state_dict_loads_strictly(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """A single file has timm's keys and no others."""
    pytest.importorskip("tests.torchvision_operators")
    timm = pytest.importorskip("timm", reason="timm is not installed")

    export(v2, tmp_path / "b0.pth", target="timm")

    model = timm.create_model("tf_efficientnetv2_b0")
    model.load_state_dict(torch.load(tmp_path / "b0.pth", weights_only=True), strict=True)
    assert_same(logits(model), ours(v2))


def test_torchvision_is_exact_with_its_padding_mended(v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Without the mend its logits differ at even sizes; with it they are the same."""
    pytest.importorskip("tests.torchvision_operators")
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    from converter.model.same_padding import same_padding_

    export(v1, tmp_path / "b0.pth", target="torchvision")

    model = models.efficientnet_b0()
    model.load_state_dict(torch.load(tmp_path / "b0.pth", weights_only=True), strict=True)
    expected = ours(v1)
    assert np.abs(logits(model) - expected).max() > 1e-4 * np.abs(expected).max()
    assert_same(logits(same_padding_(model)), expected)


def test_transformers_folder_opens_with_the_same_logits(v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """`from_pretrained` finds config and weights, and misses and adds none."""
    pytest.importorskip("tests.torchvision_operators")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    export(v1, tmp_path / "folder", target="transformers")

    model, info = transformers.EfficientNetForImageClassification.from_pretrained(
        tmp_path / "folder", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.inference_mode():
        found = model.double().eval()(images().double()).logits.numpy()
    assert_same(found, ours(v1))


def test_target_that_has_no_such_network_is_refused(
    v2: ConversionResult, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """transformers has version 1 only, and no library has a network of one's own; nothing is written."""
    with pytest.raises(ExportError, match="transformers has no model"):
        export(v2, tmp_path / "folder", target="transformers")
    with pytest.raises(ExportError, match="targets for it: native"):
        export(convert(data / "digits" / "efficientnetv2-digits"), tmp_path / "folder", target="timm")

    assert list(tmp_path.iterdir()) == []


def test_folded_batch_norms_load_back_with_the_same_logits(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The file says that they are folded, and `load_model` builds the network without them."""
    from converter.loading import load_model

    export(v2, tmp_path / "b0.safetensors", fuse_bn=True)

    found, expected = logits(load_model(tmp_path / "b0.safetensors")), ours(v2)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_floats_are_rounded_and_counters_kept(v2: ConversionResult, dtype: str, tmp_path: pathlib.Path) -> None:
    """A quarter of a thousandth of each value may go, the int64 counters stay."""
    export(v2, tmp_path / "b0.safetensors", dtype=dtype)

    tensors = read_output(tmp_path / "b0.safetensors").tensors
    assert {array.dtype.name for array in tensors.values()} == {dtype, "int64"}
    kernel = tensors["stem.conv.weight"].astype(np.float32)
    np.testing.assert_allclose(kernel, v2.state_dict["stem.conv.weight"], rtol=2**-8, atol=1e-7)


def test_another_class_count_gives_a_new_classifier_or_none(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The rest of the network is what it was."""
    export(v2, tmp_path / "five.safetensors", num_classes=5)
    export(v2, tmp_path / "none.safetensors", num_classes=0)

    five = read_output(tmp_path / "five.safetensors").tensors
    none = read_output(tmp_path / "none.safetensors").tensors
    assert five["classifier.weight"].shape == (5, 1280)
    assert set(five) - set(none) == {"classifier.weight", "classifier.bias"}
    np.testing.assert_array_equal(none["stem.conv.weight"], v2.state_dict["stem.conv.weight"])


def test_sharded_folder_has_every_tensor_once(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The index names the file of each, and the folder is read back whole."""
    export(v2, tmp_path / "folder", shard_size=5_000_000)

    index = json.loads((tmp_path / "folder" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    found = read_output(tmp_path / "folder").tensors
    assert set(found) == set(index["weight_map"]) == set(v2.state_dict)
    for name, array in v2.state_dict.items():
        np.testing.assert_array_equal(found[name], array)
