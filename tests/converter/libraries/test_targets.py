"""Weights exported for other libraries load strictly into their models, and the logits are the same."""

from __future__ import annotations

import dataclasses
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
from converter.libraries.recognition import identify_config
from converter.libraries.targets import find_model
from converter.model.architectures import CONFIGS
from tests.conftest import slow
from tests.converter.networks import arrays

torch = pytest.importorskip("torch", reason="the libraries are PyTorch's")

#: A small even size, at which SAME padding is asymmetric.
SIZE = 64


def convert_network(name: str) -> ConversionResult:
    """Convert a published network with random weights and batch norm statistics."""
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
    return convert_network("efficientnetv2-b0")


@pytest.fixture(scope="module")
def v1() -> ConversionResult:
    """EfficientNet-B0."""
    return convert_network("efficientnet-b0")


def make_images(size: int, count: int) -> Any:
    """Return random images, NCHW."""
    return torch.from_numpy(np.random.default_rng(1).standard_normal((count, 3, size, size), np.float32))


def load_own(result: ConversionResult) -> Any:
    """Return our network with strictly loaded weights."""
    from converter.model import EfficientNet

    with torch.device("meta"):  # nothing is drawn at random only to be replaced
        model = EfficientNet(result.config)
    state = {name: torch.tensor(array) for name, array in result.state_dict.items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model


def compute_own_logits(result: ConversionResult, size: int = SIZE, *, count: int = 2) -> Any:
    """Return the logits of our network in float64."""
    return compute_logits(load_own(result), size, count=count)


def compute_logits(model: Any, size: int = SIZE, *, count: int = 2) -> Any:
    """Return the logits of a model in float64, in which the order of additions is negligible."""
    with torch.inference_mode():
        out = model.double().eval()(make_images(size, count).double())
    return getattr(out, "logits", out).numpy()


def assert_same(actual: Any, expected: Any) -> None:
    """Check that logits differ by at most 1e-10 of the largest."""
    assert np.abs(actual - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("fixture", ["v2", "v1"])
def test_timm_directory_has_the_same_logits(
    fixture: str, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    """`timm.create_model("local-dir:...")` opens the directory."""
    pytest.importorskip("tests.torchvision_operators")
    timm = pytest.importorskip("timm", reason="timm is not installed")
    result: ConversionResult = request.getfixturevalue(fixture)

    export(result, tmp_path / "folder", target="timm")

    assert_same(
        compute_logits(timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True)),
        compute_own_logits(result),
    )


def test_timm_state_dict_loads_strictly(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """A single file has exactly the keys of timm."""
    pytest.importorskip("tests.torchvision_operators")
    timm = pytest.importorskip("timm", reason="timm is not installed")

    export(v2, tmp_path / "b0.pth", target="timm")

    model = timm.create_model("tf_efficientnetv2_b0")
    model.load_state_dict(torch.load(tmp_path / "b0.pth", weights_only=True), strict=True)
    assert_same(compute_logits(model), compute_own_logits(v2))


@pytest.mark.parametrize("target", ["timm", "torchvision", "transformers", "efficientnet-pytorch"])
def test_plain_state_dict_of_a_library_is_recognized(
    target: TargetName, v1: ConversionResult, tmp_path: pathlib.Path
) -> None:
    """A `.pth` has no metadata, so names decide; with one additional name the file is read unchanged."""
    path = tmp_path / "b0.pth"
    export(v1, path, target=target)

    native = read_native(path)
    state_dict = torch.load(path, weights_only=True)
    torch.save({**state_dict, "other": torch.zeros(1)}, path)

    assert list(native.tensors) == list(v1.state_dict)
    assert all(np.array_equal(native.tensors[name], array) for name, array in v1.state_dict.items())
    assert list(read_native(path).tensors) == [*state_dict, "other"]


def load_torchvision(name: str, result: ConversionResult, folder: pathlib.Path) -> Any:
    """Return torchvision's model with strictly loaded weights of a conversion."""
    pytest.importorskip("tests.torchvision_operators")
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    export(result, folder / "x.pth", target="torchvision")
    model = getattr(models, name)()
    model.load_state_dict(torch.load(folder / "x.pth", weights_only=True), strict=True)
    return model


@pytest.mark.parametrize("size", [224, slow(225), slow(384)])
def test_torchvision_is_exact_with_same_padding(size: int, v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """After `same_padding_` any size is exact; before it none is, because the epsilon differs."""
    model = load_torchvision("efficientnet_b0", v1, tmp_path)
    expected = compute_own_logits(v1, size, count=1)

    before = compute_logits(model, size, count=1)
    after = compute_logits(converter.same_padding_(model), size, count=1)

    assert np.abs(before - expected).max() > 1e-4 * np.abs(expected).max()
    assert_same(after, expected)


def test_unchanged_torchvision_is_exact_only_for_some_sizes(tmp_path: pathlib.Path, run_all: bool) -> None:
    """In version 2 only the padding differs, except for 32k + 1 pixels."""
    exact = {65: True, 96: False, 64: False, 97: True, 100: False}
    sizes = list(exact) if run_all else list(exact)[:2]
    result = convert_network("efficientnetv2-s")
    model = load_torchvision("efficientnet_v2_s", result, tmp_path)
    own = load_own(result)
    expected = {size: compute_logits(own, size, count=1) for size in sizes}

    before = {size: compute_logits(model, size, count=1) for size in sizes}
    converter.same_padding_(model)

    for size in sizes:
        scale = np.abs(expected[size]).max()
        assert (np.abs(before[size] - expected[size]).max() < 1e-10 * scale) == exact[size], size
        assert_same(compute_logits(model, size, count=1), expected[size])


def test_same_padding_keeps_weights_and_is_idempotent(v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The parameters are the same objects, their names do not change, and a second call has no effect."""
    model = load_torchvision("efficientnet_b0", v1, tmp_path)
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
    """The arguments are those in the note of the export; by default the padding is right only for one size."""
    library = pytest.importorskip("efficientnet_pytorch", reason="efficientnet-pytorch is not installed")
    export(v1, tmp_path / "b0.pth", target="efficientnet-pytorch")
    weights = torch.load(tmp_path / "b0.pth", weights_only=True)

    model = library.EfficientNet.from_name("efficientnet-b0", image_size=None, num_classes=1000)
    model.load_state_dict(weights, strict=True)
    fixed_size = library.EfficientNet.from_name("efficientnet-b0")
    fixed_size.load_state_dict(weights, strict=True)

    for size in (SIZE, SIZE + 1):
        assert_same(compute_logits(model, size), compute_own_logits(v1, size))
    assert_same(compute_logits(fixed_size, 224, count=1), compute_own_logits(v1, 224, count=1))
    assert np.abs(compute_logits(fixed_size, SIZE + 1) - compute_own_logits(v1, SIZE + 1)).max() > 1e-4


def test_transformers_directory_has_the_same_logits(v1: ConversionResult, tmp_path: pathlib.Path) -> None:
    """`from_pretrained` opens the directory, without missing or unexpected keys."""
    pytest.importorskip("tests.torchvision_operators")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    export(v1, tmp_path / "folder", target="transformers")

    model, info = transformers.EfficientNetForImageClassification.from_pretrained(
        tmp_path / "folder", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.inference_mode():
        actual = model.double().eval()(make_images(SIZE, 2).double()).logits.numpy()
    assert_same(actual, compute_own_logits(v1))


def test_target_without_the_network_is_rejected(
    v2: ConversionResult, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """transformers has only version 1, and no library has custom networks; nothing is written."""
    with pytest.raises(ExportError, match=r"transformers.*efficientnetv2-b0"):
        export(v2, tmp_path / "folder", target="transformers")
    with pytest.raises(ExportError, match="native"):
        export(convert(data / "digits" / "efficientnetv2-digits"), tmp_path / "folder", target="timm")

    assert list(tmp_path.iterdir()) == []


def test_network_with_folded_batch_norms_has_the_same_logits(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The file records the folding, and `load_model` builds a network without batch norms."""
    from converter.loading import load_model

    export(v2, tmp_path / "b0.safetensors", fuse_bn=True)

    actual, expected = compute_logits(load_model(tmp_path / "b0.safetensors")), compute_own_logits(v2)
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_only_floats_are_rounded(v2: ConversionResult, dtype: str, tmp_path: pathlib.Path) -> None:
    """Floating-point tensors get the dtype; the int64 counters do not change."""
    export(v2, tmp_path / "b0.safetensors", dtype=dtype)

    tensors = read_output(tmp_path / "b0.safetensors").tensors
    assert {array.dtype.name for array in tensors.values()} == {dtype, "int64"}
    kernel = tensors["stem.conv.weight"].astype(np.float32)
    np.testing.assert_allclose(kernel, v2.state_dict["stem.conv.weight"], rtol=2**-8, atol=1e-7)


def test_class_count_can_be_changed_on_export(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """A new classifier is written, or none for 0; other tensors do not change."""
    export(v2, tmp_path / "five.safetensors", num_classes=5)
    export(v2, tmp_path / "none.safetensors", num_classes=0)

    five = read_output(tmp_path / "five.safetensors").tensors
    none = read_output(tmp_path / "none.safetensors").tensors
    assert five["classifier.weight"].shape == (5, 1280)
    assert set(five) - set(none) == {"classifier.weight", "classifier.bias"}
    np.testing.assert_array_equal(none["stem.conv.weight"], v2.state_dict["stem.conv.weight"])


def test_sharded_directory_contains_every_tensor_once(v2: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The index contains the file of each tensor, and reading the directory returns all of them."""
    export(v2, tmp_path / "folder", shard_size=5_000_000)

    index = json.loads((tmp_path / "folder" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    tensors = read_output(tmp_path / "folder").tensors
    assert set(tensors) == set(index["weight_map"]) == set(v2.state_dict)
    for name, array in v2.state_dict.items():
        np.testing.assert_array_equal(tensors[name], array)


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet-lite0",
        *map(slow, ["efficientnet-lite1", "efficientnet-lite2", "efficientnet-lite3", "efficientnet-lite4"]),
        *map(slow, ["efficientnet-edgetpu-S", "efficientnet-edgetpu-L"]),
        "efficientnet-edgetpu-M",
    ],
)
def test_edge_networks_load_strictly_into_timm_with_the_same_logits(name: str, tmp_path: pathlib.Path) -> None:
    """Activations, additions and expansions are timm's too."""
    pytest.importorskip("tests.torchvision_operators")
    timm = pytest.importorskip("timm", reason="timm is not installed")
    result = convert_network(name)
    assert result.required_config().name == name

    export(result, tmp_path / "folder", target="timm")

    model = timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True)
    assert_same(compute_logits(model), compute_own_logits(result))


def test_state_dict_without_squeeze_and_excitation_is_recognized(tmp_path: pathlib.Path) -> None:
    """Every tensor of Lite0 has the shape of one of B0, which has more."""
    export(convert_network("efficientnet-lite0"), tmp_path / "lite0.pth", target="timm")

    tensors = read_output(tmp_path / "lite0.pth").tensors

    assert identify_config("timm", tensors).name == "efficientnet-lite0"


CHANGES: dict[str, dict[str, Any]] = {
    "activation": {"activation": "relu6"},
    "gate": {"gate": "hard_sigmoid"},
    "gate_activation": {"gate_activation": "relu"},
    "pooling": {"pooling": "max"},
    "stem_kernel": {"stem_kernel": 5},
    "head_channels": {"head_channels": 1408},
}
STAGE_CHANGES: dict[str, dict[str, Any]] = {
    "stage activation": {"activation": "relu"},
    "residual": {"residual": False},
    "expand_from": {"expand_from": 8},
}


@pytest.mark.parametrize("change", [*CHANGES, *STAGE_CHANGES])
@pytest.mark.parametrize("target", ["timm", "torchvision", "transformers", "efficientnet-pytorch"])
def test_network_that_computes_something_else_is_not_a_published_one(target: TargetName, change: str) -> None:
    """The name alone does not decide: any field that changes the logits does, and the unchanged network is accepted."""
    published = CONFIGS["efficientnet-b0"]
    if change in CHANGES:
        changed = dataclasses.replace(published, **CHANGES[change])
    else:
        stages = list(published.stages)
        stages[1] = dataclasses.replace(stages[1], **STAGE_CHANGES[change])
        changed = dataclasses.replace(published, stages=tuple(stages))

    assert find_model(target, dataclasses.replace(published, dropout=0.0, eval_size=256))
    with pytest.raises(ExportError, match=target):
        find_model(target, changed)
