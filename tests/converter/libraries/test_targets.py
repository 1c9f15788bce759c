"""Weights under the names of other libraries load strictly into their models and give the same logits."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import converter
from converter.conversion import ConversionResult, convert
from converter.errors import ExportError
from converter.exporting import export
from converter.formats.files import read_native, read_output
from converter.libraries.models import TargetName
from tests.conftest import slow
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


@pytest.fixture(scope="module")
def small() -> ConversionResult:
    """EfficientNetV2-S."""
    return network("efficientnetv2-s")


def images(size: int, count: int) -> Any:
    """Images, NCHW."""
    return torch.from_numpy(np.random.default_rng(1).standard_normal((count, 3, size, size), np.float32))


def ours(result: ConversionResult, size: int = SIZE, *, count: int = 2) -> Any:
    """Our network's logits in float64."""
    from converter.model import EfficientNet

    model = EfficientNet(result.config)
    model.load_state_dict({name: torch.tensor(array) for name, array in result.state_dict.items()}, strict=True)
    return logits(model, size, count=count)


def logits(model: Any, size: int = SIZE, *, count: int = 2) -> Any:
    """A model's logits in float64, in which the order of additions does not show."""
    with torch.inference_mode():
        out = model.double().eval()(images(size, count).double())
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


@pytest.mark.parametrize("target", ["timm", "torchvision", "transformers", "efficientnet-pytorch"])
def test_plain_state_dict_of_a_library_is_known_by_its_names(
    target: TargetName, v1: ConversionResult, tmp_path: pathlib.Path
) -> None:
    """A `.pth` says nothing of itself; with one name more it is nobody's, and stays as it is."""
    path = tmp_path / "b0.pth"
    export(v1, path, target=target)

    found = read_native(path)
    state_dict = torch.load(path, weights_only=True)
    torch.save({**state_dict, "other": torch.zeros(1)}, path)

    assert list(found.tensors) == list(v1.state_dict)
    assert all(np.array_equal(found.tensors[name], array) for name, array in v1.state_dict.items())
    assert list(read_native(path).tensors) == [*state_dict, "other"]


def torchvision_model(name: str, result: ConversionResult, folder: pathlib.Path) -> Any:
    """Torchvision's model with the weights of a conversion, loaded strictly."""
    pytest.importorskip("tests.torchvision_operators")
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    export(result, folder / "x.pth", target="torchvision")
    model = getattr(models, name)()
    model.load_state_dict(torch.load(folder / "x.pth", weights_only=True), strict=True)
    return model


@pytest.mark.parametrize("size", [224, slow(225), slow(384)])
def test_torchvision_is_exact_with_its_padding_mended(size: int, v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """With the mend at any size; without it, by its epsilon, at none."""
    model = torchvision_model("efficientnet_b0", v1, tmp_path)
    expected = ours(v1, size, count=1)

    before = logits(model, size, count=1)
    after = logits(converter.same_padding_(model), size, count=1)

    assert np.abs(before - expected).max() > 1e-4 * np.abs(expected).max()
    assert_same(after, expected)


@pytest.mark.parametrize(
    ("size", "exact"), [slow(64, False), (65, True), (96, False), slow(97, True), slow(100, False)]
)
def test_torchvision_as_it_is_is_exact_at_32_k_and_1_pixels(
    size: int, exact: bool, small: ConversionResult, tmp_path: pathlib.Path
) -> None:
    """Of version 2, whose epsilon is TensorFlow's, only the padding differs."""
    model = torchvision_model("efficientnet_v2_s", small, tmp_path)
    expected = ours(small, size, count=1)

    before = logits(model, size, count=1)
    after = logits(converter.same_padding_(model), size, count=1)

    assert (np.abs(before - expected).max() < 1e-10 * np.abs(expected).max()) == exact
    assert_same(after, expected)


def test_mended_padding_changes_no_weight_and_only_once(v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """A state dict fits before and after, parameters are the same objects, and a second call does nothing."""
    model = torchvision_model("efficientnet_b0", v1, tmp_path)
    before = {name: id(parameter) for name, parameter in model.named_parameters()}

    once = converter.same_padding_(model)
    layers = list(map(type, once.modules()))
    twice = converter.same_padding_(once)

    assert once is twice is model
    assert list(map(type, twice.modules())) == layers
    assert {name: id(parameter) for name, parameter in twice.named_parameters()} == before
    assert all(module.training for module in twice.modules())
    twice.load_state_dict(torch.load(tmp_path / "x.pth", weights_only=True), strict=True)


def test_efficientnet_pytorch_loads_strictly_with_the_same_logits(v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Built as the note of the conversion says; by its own image size it pads for that size alone."""
    library = pytest.importorskip("efficientnet_pytorch", reason="efficientnet-pytorch is not installed")
    export(v1, tmp_path / "b0.pth", target="efficientnet-pytorch")
    weights = torch.load(tmp_path / "b0.pth", weights_only=True)

    model = library.EfficientNet.from_name("efficientnet-b0", image_size=None, num_classes=1000)
    model.load_state_dict(weights, strict=True)
    of_its_size = library.EfficientNet.from_name("efficientnet-b0")
    of_its_size.load_state_dict(weights, strict=True)

    for size in (SIZE, SIZE + 1):
        assert_same(logits(model, size), ours(v1, size))
    assert_same(logits(of_its_size, 224, count=1), ours(v1, 224, count=1))
    assert np.abs(logits(of_its_size, SIZE + 1) - ours(v1, SIZE + 1)).max() > 1e-4


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
        found = model.double().eval()(images(SIZE, 2).double()).logits.numpy()
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
