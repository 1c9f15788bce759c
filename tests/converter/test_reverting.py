"""Reverting to TensorFlow: conversions are restored byte for byte, and errors list everything that does not match."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import tfckpt
from converter import convert, export, revert, to_tensorflow_names
from converter.conversion import ConversionResult
from converter.errors import ConversionError, ExportError, UnknownModelError
from converter.libraries.models import TargetName
from converter.model.architectures import CONFIGS
from converter.model.names import native_targets
from converter.reverting import FamilyName
from tests.conftest import slow
from tfckpt.errors import CheckpointExistsError, CheckpointNotFoundError, CorruptionError
from tfckpt.graphs.object_graph import GRAPH_KEY

from . import networks

SCOPE = "efficientnetv2-digits/"
OBJECTS_STRIDES = (1, 2, 2, 1)


@pytest.fixture(scope="module")
def converted() -> ConversionResult:
    """The digits network, converted with its averages."""
    return convert(pathlib.Path(__file__).parents[1] / "data" / "digits" / "efficientnetv2-digits")


def require_same_bytes(written: pathlib.Path, expected: pathlib.Path, names: Mapping[str, str]) -> None:
    """Assert that tensors of two checkpoints are equal; `names` maps the written names to the expected ones."""
    with tfckpt.open(written) as checkpoint, tfckpt.open(expected) as source:
        for name, original in names.items():
            assert checkpoint.info(name).crc32c == source.info(original).crc32c, name
            assert (checkpoint[name].dtype, checkpoint[name].shape) == (
                source[original].dtype,
                source[original].shape,
            ), name


def test_converted_file_is_restored_under_the_released_names_byte_for_byte(
    converted: ConversionResult, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The file records its scope; the 113 averages that were converted become the raw values."""
    export(converted, tmp_path / "digits.safetensors")

    report = revert(tmp_path / "digits.safetensors", tmp_path / "model.ckpt")

    used = {record.variable: record.source for record in converted.report.tensors}
    assert report.names == tuple(used)
    assert not (tmp_path / "checkpoint").exists()
    with tfckpt.open(tmp_path / "model.ckpt") as checkpoint:
        assert set(checkpoint) == set(used)
    require_same_bytes(tmp_path / "model.ckpt", digits, used)


def test_arrays_under_tensorflows_names_are_in_c_order(converted: ConversionResult) -> None:
    """An average is still the same array as its variable."""
    arrays = to_tensorflow_names(converted.state_dict, scope="net", with_averages=True)

    assert all(array.flags.c_contiguous for array in arrays.values())
    averages = [name for name in arrays if name.endswith("/ExponentialMovingAverage")]
    assert averages
    assert all(arrays[name] is arrays[name.removesuffix("/ExponentialMovingAverage")] for name in averages)


def test_averages_are_added_as_copies_on_request(converted: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Code that restores averages reads the same values as code that does not."""
    report = revert(converted.state_dict, tmp_path / "model", scope="net", with_averages=True, checkpoint_state=True)

    assert (len(report.names), len(report.averages), report.copied) == (113, 113, ())
    assert tfckpt.latest_checkpoint(tmp_path) == str(tmp_path / "model")
    pairs = {name + networks.AVERAGE: name for name in report.names}
    assert report.averages == tuple(pairs)
    require_same_bytes(tmp_path / "model", tmp_path / "model", pairs)


def test_checkpoint_like_another_has_all_of_its_tensors(
    converted: ConversionResult, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Averages are restored byte for byte, raw values get the same values, and `global_step` is copied."""
    report = revert(converted.state_dict, tmp_path / "model", like=digits)

    assert (len(report.names), len(report.averages), report.copied) == (113, 113, ("global_step",))
    used = {record.source: record.source for record in converted.report.tensors}
    raw = {record.variable: record.source for record in converted.report.tensors}
    require_same_bytes(tmp_path / "model", digits, used | raw | {"global_step": "global_step"})
    with tfckpt.open(digits) as source, tfckpt.open(tmp_path / "model") as written:
        assert set(written) == set(source)


def test_optimizer_slots_are_copied_from_a_training_checkpoint(
    converted: ConversionResult, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Tensors that do not belong to the network do not change."""
    report = revert(converted.state_dict, tmp_path / "model", like=data / "digits-train")

    slots = {name: name for name in report.copied}
    assert len(slots) == 151
    assert {name.rpartition("/")[2] for name in slots} == {"RMSProp", "RMSProp_1", "global_step"}
    require_same_bytes(tmp_path / "model", data / "digits-train", slots)


def test_averages_are_added_to_a_checkpoint_without_them(converted: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Averages are added only on request."""
    revert(converted.state_dict, tmp_path / "plain", scope="net")

    without = revert(converted.state_dict, tmp_path / "again", like=tmp_path / "plain")
    report = revert(converted.state_dict, tmp_path / "model", like=tmp_path / "plain", with_averages=True)

    assert (len(without.averages), len(report.averages)) == (0, 113)
    require_same_bytes(tmp_path / "model", tmp_path / "plain", {name + networks.AVERAGE: name for name in report.names})


@pytest.mark.parametrize(
    ("source", "strides"),
    [("objects", OBJECTS_STRIDES), ("savedmodel", None), ("keras/v2/saved_model", None)],
    ids=["save_weights", "SavedModel", "Keras"],
)
def test_object_based_checkpoint_is_restored_with_its_object_graph(
    data: pathlib.Path, tmp_path: pathlib.Path, source: str, strides: tuple[int, ...] | None
) -> None:
    """All tensors and the graph are those of the source, although a state dict does not show strides."""
    state_dict = convert(data / source, strides=strides).state_dict

    revert(state_dict, tmp_path / "model", like=data / source)

    with tfckpt.open(data / source) as original:
        names = {name: name for name in original}
    assert GRAPH_KEY in names
    require_same_bytes(tmp_path / "model", data / source, names)


@pytest.mark.parametrize(
    "model", ["efficientnetv2-b0", "efficientnet-b0", slow("efficientnet-b7"), slow("efficientnetv2-xl")]
)
def test_published_network_gets_the_names_of_the_released_code(model: str) -> None:
    """Every name and every value match names that were copied from the released code."""
    source = networks.arrays(model, scope=f"{model}/", averages=False)
    state_dict = convert(source).state_dict

    arrays = to_tensorflow_names(state_dict)

    del source["global_step"]
    assert {name: array.shape for name, array in arrays.items()} == {name: a.shape for name, a in source.items()}
    assert all(array.flat[0] == source[name].flat[0] for name, array in arrays.items())


def test_both_copies_of_variables_exported_by_keras_3_get_the_new_values(
    data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """`tf.saved_model.load` reads one copy and a session the other; no other tensor changes."""
    source = data / "keras" / "keras3" / "exported"
    result = convert(source)
    tuned = {
        name: array + 1 if array.dtype.kind == "f" else np.array(array) for name, array in result.state_dict.items()
    }
    np.savez(tmp_path / "tuned.npz", **tuned)

    report = revert(tmp_path / "tuned.npz", tmp_path / "variables", like=source)

    with tfckpt.open(tmp_path / "variables") as after, tfckpt.open(source) as before:
        for folder, count in (("_all_variables/", 94), ("variables/", 94)):
            changed = [name for name in report.names if name.startswith(folder)]
            assert len(changed) == count
            assert all(np.array_equal(after[name], before[name] + 1) for name in changed)
        assert len(report.names) == 188 and len(after) == 191


@pytest.mark.parametrize(
    ("model", "depthwise"),
    [("efficientnetv2-b0", "block4a_dwconv2/depthwise_kernel"), ("efficientnet-b0", "block1a_dwconv/depthwise_kernel")],
)
def test_published_network_gets_the_names_of_keras(model: str, depthwise: str) -> None:
    """The two versions name one layer differently."""
    state_dict = convert(networks.arrays(model, averages=False)).state_dict

    arrays = to_tensorflow_names(state_dict, family="keras-applications")

    again = convert(arrays)
    assert depthwise in arrays
    assert arrays["predictions/kernel"].shape[1] == 1000
    assert again.required_config() == CONFIGS[model]
    assert all(np.array_equal(array, again.state_dict[name]) for name, array in state_dict.items())


def timm() -> Any:
    """Build the model of timm."""
    _declare_operators()
    return pytest.importorskip("timm", reason="timm is not installed").create_model(
        "tf_efficientnet_b0", num_classes=10
    )


def timm_v2() -> Any:
    """Build the model of timm with fused blocks."""
    _declare_operators()
    return pytest.importorskip("timm", reason="timm is not installed").create_model(
        "tf_efficientnetv2_b0", num_classes=10
    )


def torchvision() -> Any:
    """Build the model of torchvision."""
    _declare_operators()
    return pytest.importorskip("torchvision", reason="torchvision is not installed").models.efficientnet_b0(
        num_classes=10
    )


def transformers() -> Any:
    """Build the model of transformers, which has the defaults of B7."""
    _declare_operators()
    library = pytest.importorskip("transformers", reason="transformers is not installed")
    config = library.EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, num_labels=10, depthwise_padding=[]
    )
    return library.EfficientNetForImageClassification(config)


def efficientnet_pytorch() -> Any:
    """Build the model of efficientnet-pytorch."""
    library = pytest.importorskip("efficientnet_pytorch", reason="efficientnet-pytorch is not installed")
    return library.EfficientNet.from_name("efficientnet-b0", num_classes=10)


def _declare_operators() -> None:
    """Declare torchvision's compiled operators, which may not match the installed PyTorch."""
    pytest.importorskip("torch", reason="the libraries are PyTorch's")
    importlib.import_module("tests.torchvision_operators")


@pytest.mark.parametrize(
    ("build", "model"),
    [
        (timm, "efficientnet-b0"),
        (timm_v2, "efficientnetv2-b0"),
        (torchvision, "efficientnet-b0"),
        (transformers, "efficientnet-b0"),
        (efficientnet_pytorch, "efficientnet-b0"),
    ],
)
def test_state_dict_of_a_librarys_own_model_gets_tensorflows_names(build: Callable[[], Any], model: str) -> None:
    """The libraries have their tensors in the order in which the released code creates them."""
    torch = pytest.importorskip("torch", reason="the libraries are PyTorch's")
    with torch.device("meta"):
        module = build()
    state_dict = {
        name: torch.full(tensor.shape, number, dtype=torch.float32)
        if tensor.shape
        else torch.zeros((), dtype=torch.int64)
        for number, (name, tensor) in enumerate(module.state_dict().items())
    }

    arrays = to_tensorflow_names(state_dict, as_is=build is torchvision)

    expected = list(networks.variables(dataclasses.replace(CONFIGS[model], num_classes=10)))
    numbers = [int(tensor.flatten()[0]) for tensor in state_dict.values() if tensor.shape]
    assert {name: array.shape for name, array in arrays.items()} == {f"{model}/{v.name}": v.shape for v in expected}
    assert [int(arrays[f"{model}/{v.name}"].flat[0]) for v in expected] == numbers


def test_pytorch_dtypes_and_tensors_with_gradients_are_accepted(converted: ConversionResult) -> None:
    """A state dict with `keep_vars`, in bfloat16, becomes arrays of the same bits without the batch counters."""
    torch = pytest.importorskip("torch", reason="the state dict is PyTorch's")
    state_dict = {
        name: torch.tensor(array).bfloat16().requires_grad_()
        for name, array in converted.state_dict.items()
        if array.dtype.kind == "f"
    }

    arrays = to_tensorflow_names(state_dict, scope="net")

    kernel = arrays["net/stem/conv2d/kernel"]
    assert kernel.dtype.name == "bfloat16"
    assert np.array_equal(
        kernel.astype(np.float32), state_dict["stem.conv.weight"].detach().float().permute(2, 3, 1, 0).numpy()
    )


def test_dtypes_are_those_of_the_example_checkpoint(converted: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Weights are rounded to float16 for a checkpoint in float16; a value beyond its range is refused."""
    revert(converted.state_dict, tmp_path / "wide", scope="net")
    tfckpt.copy(tmp_path / "wide", tmp_path / "half", dtype="float16")
    large = {**converted.state_dict, "classifier.bias": np.full(10, 1e6, np.float32)}

    arrays = to_tensorflow_names(converted.state_dict, like=tmp_path / "half")
    with pytest.raises(ConversionError, match="net/head/dense/bias"):
        to_tensorflow_names(large, like=tmp_path / "half")

    assert {array.dtype.name for array in arrays.values()} == {"float16"}
    assert "float32" in {array.dtype.name for array in to_tensorflow_names(large, like=tmp_path / "wide").values()}


def test_error_lists_everything_that_does_not_match_and_nothing_is_written(
    converted: ConversionResult, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A tensor is missing, one is unexpected, one has a wrong shape and one a wrong dtype; counters may be missing."""
    state_dict: dict[str, Any] = dict(converted.state_dict)
    del state_dict["head.bn.bias"]
    del state_dict["head.bn.num_batches_tracked"]
    state_dict["extra.weight"] = np.zeros((2, 3), np.float32)
    state_dict["stem.bn.weight"] = np.zeros(9, np.float32)
    state_dict["classifier.bias"] = np.zeros(10, np.int64)

    with pytest.raises(ConversionError) as caught:
        revert(state_dict, tmp_path / "model", like=digits)

    _, *findings = str(caught.value).splitlines()
    for finding, name in zip(
        findings, ("stem.bn.weight", "head.bn.bias", "classifier.bias", "extra.weight"), strict=True
    ):
        assert name in finding
    assert not list(tmp_path.iterdir())


def test_error_has_the_names_of_the_library() -> None:
    """A missing tensor of timm is listed under timm's name."""
    config = CONFIGS["efficientnet-b0"]
    from converter.libraries.tables import TIMM, map_to_library

    names = map_to_library(TIMM, config, "timm")
    state_dict = {names[n]: np.broadcast_to(np.float32(0), shape) for n, shape in native_targets(config).items()}
    del state_dict["conv_stem.weight"]

    with pytest.raises(ConversionError, match=r"conv_stem\.weight"):
        to_tensorflow_names(state_dict)


def test_checkpoint_of_another_network_is_refused(
    converted: ConversionResult, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The error names a tensor of another shape."""
    with pytest.raises(ConversionError, match=r"classifier\.weight"):
        revert(converted.state_dict, tmp_path / "model", like=data / "objects" / "ckpt")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [{"family": "flax"}, {"family": "automl", "like": {}}, {"head": "dense"}],
    ids=["unknown family", "family and like", "head without like"],
)
def test_options_that_cannot_be_combined_are_refused(converted: ConversionResult, options: dict[str, Any]) -> None:
    """The family has to exist, and the names come from a family or a checkpoint."""
    with pytest.raises(ExportError):
        to_tensorflow_names(converted.state_dict, **options)


def test_network_that_is_not_published_needs_a_scope(converted: ConversionResult) -> None:
    """The error names the option; an empty scope is accepted."""
    family: FamilyName = "automl"

    with pytest.raises(UnknownModelError, match="--scope"):
        to_tensorflow_names(converted.state_dict, family=family)

    assert "stem/conv2d/kernel" in to_tensorflow_names(converted.state_dict, family=family, scope="")


def test_other_files_and_state_dicts_are_refused(tmp_path: pathlib.Path) -> None:
    """State dicts of other networks or with values that are not tensors, unsupported files, and missing files."""
    with pytest.raises(UnknownModelError, match=r"layer1\.0\.conv1\.weight"):
        to_tensorflow_names({"layer1.0.conv1.weight": np.zeros(3, np.float32)})
    with pytest.raises(UnknownModelError):
        to_tensorflow_names({"blocks.0.0.conv_dw.weight": np.zeros((32, 1, 3, 3), np.float32)})
    with pytest.raises(ConversionError, match="epoch"):
        to_tensorflow_names({"epoch": 3})
    with pytest.raises(ConversionError, match=r"model\.onnx"):
        revert(tmp_path / "model.onnx", tmp_path / "model")
    with pytest.raises(CheckpointNotFoundError) as caught:
        revert(tmp_path / "model.safetensors", tmp_path / "model")
    assert caught.value.path == str(tmp_path / "model.safetensors")


def test_averages_are_not_added_to_an_object_based_checkpoint(data: pathlib.Path) -> None:
    """TensorFlow restores averages by name, and objects have no such names."""
    objects = data / "objects" / "ckpt"
    state_dict = convert(objects, strides=OBJECTS_STRIDES).state_dict

    with pytest.raises(ExportError):
        to_tensorflow_names(state_dict, like=objects, with_averages=True)


def test_existing_target_is_only_overwritten_on_request(
    converted: ConversionResult, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A checkpoint is not replaced by default, and a folder never is."""
    revert(converted.state_dict, tmp_path / "model", scope="first")
    (tmp_path / "folder").mkdir()

    for like, scope in ((None, "second"), (digits, None)):
        with pytest.raises(CheckpointExistsError):
            revert(converted.state_dict, tmp_path / "model", like=like, scope=scope)
    with pytest.raises(ExportError, match=r"folder/model\.ckpt"):
        revert(converted.state_dict, tmp_path / "folder", scope="second")

    with tfckpt.open(tmp_path / "model") as checkpoint:
        assert "first/stem/conv2d/kernel" in checkpoint
    revert(converted.state_dict, tmp_path / "model", scope="second", overwrite=True)
    with tfckpt.open(tmp_path / "model") as checkpoint:
        assert "second/stem/conv2d/kernel" in checkpoint


def test_folded_batch_norms_cannot_be_reverted(converted: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The same network can be reverted if it was exported without folding."""
    export(converted, tmp_path / "folded.safetensors", fuse_bn=True, proof="none")
    export(converted, tmp_path / "whole.safetensors", proof="none")

    with pytest.raises(ConversionError):
        revert(tmp_path / "folded.safetensors", tmp_path / "model")

    assert len(revert(tmp_path / "whole.safetensors", tmp_path / "model").names) == 113


def test_network_finetuned_in_pytorch_computes_the_logits_of_tensorflow(
    data: pathlib.Path, digits: pathlib.Path
) -> None:
    """The logits were recorded when TensorFlow restored the reverted checkpoint into the graph of the digits network.

    `test_tensorflow_check` tests that today's reverted checkpoint equals the one that TensorFlow restored.
    """
    torch = pytest.importorskip("torch", reason="the network is a PyTorch module")
    from converter import load_model

    with np.load(data / "digits" / "digits-test.npz") as test:
        pixels = -(test["images"][:20].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
    with np.load(data / "reverted" / "logits.npz") as recorded:
        expected = recorded["logits"]
    images = torch.from_numpy(pixels)[:, None].repeat(1, 3, 1, 1)
    model = load_model(digits)
    with torch.inference_mode():
        before = model(images).numpy()
        model.load_state_dict(torch.load(data / "reverted" / "finetuned.pth", weights_only=True))
        logits = model(images).numpy()

    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(before - expected).max() > 1


def test_classifier_next_to_the_network_is_restored_in_its_place(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The file records which dense layer was its classifier; optimizer slots and other tensors are copied."""
    source = data / "keras" / "nested" / "weights"
    export(convert(source, strides=(1, 2, 2, 2, 1, 2), head="breeds"), tmp_path / "breeds.safetensors", proof="none")

    report = revert(tmp_path / "breeds.safetensors", tmp_path / "model", like=source)

    assert "layer_with_weights-1/kernel/.ATTRIBUTES/VARIABLE_VALUE" in report.names
    with tfckpt.open(source) as original:
        names = {name: name for name in original}
    require_same_bytes(tmp_path / "model", source, names)


def test_partitioned_variable_is_written_as_one_tensor(
    converted: ConversionResult, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The new values replace the slices; the number of shards does not change."""
    name = f"{SCOPE}head/dense/kernel"
    with tfckpt.open(digits) as source, tfckpt.Writer(tmp_path / "sliced", shards=2) as writer:
        for other in source:
            if other != name:
                writer.add(other, source[other])
        writer.add_slice(name, source[name][:32], (64, 10), "0,32:-")
        writer.add_slice(name, source[name][32:], (64, 10), "32,32:-")

    revert(converted.state_dict, tmp_path / "model", like=tmp_path / "sliced")

    with tfckpt.open(tmp_path / "model") as written:
        assert not written.info(name).slices
        assert np.array_equal(written[name].T, converted.state_dict["classifier.weight"])
        assert tfckpt.verify(written).ok
        assert len(written.files) == 3


def test_integer_checkpoint_is_refused_as_the_example(converted: ConversionResult) -> None:
    """Weights cannot be rounded to int8; float16 is accepted."""
    like = {name: array.astype(np.int8) for name, array in to_tensorflow_names(converted.state_dict, scope="").items()}

    with pytest.raises(ConversionError, match="stem/conv2d/kernel"):
        to_tensorflow_names(converted.state_dict, like=like)

    half = {name: array.astype(np.float16) for name, array in like.items()}
    assert len(to_tensorflow_names(converted.state_dict, like=half)) == 113


def test_file_that_claims_a_huge_network_is_refused(converted: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The config is compared with the number of tensors before its names are built; the right config is accepted."""
    export(converted, tmp_path / "right.safetensors", proof="none")
    text = (tmp_path / "right.safetensors").read_bytes()
    assert text.count(rb"\"repeats\": 2") == 3
    huge = text.replace(rb"\"repeats\": 2", rb"\"repeats\":99")
    (tmp_path / "huge.safetensors").write_bytes(huge)

    with pytest.raises(CorruptionError) as caught:
        revert(tmp_path / "huge.safetensors", tmp_path / "model")
    assert caught.value.path == str(tmp_path / "huge.safetensors")

    assert len(revert(tmp_path / "right.safetensors", tmp_path / "model").names) == 113


@pytest.mark.parametrize(
    ("target", "output"),
    [("timm", "b0.safetensors"), ("torchvision", "b0.npz"), ("transformers", "b0"), ("efficientnet-pytorch", "b0.pth")],
)
def test_output_for_a_library_is_restored_byte_for_byte(
    target: TargetName, output: str, tmp_path: pathlib.Path
) -> None:
    """Files and folders are reverted, whether or not their format records the library and the scope."""
    if output.endswith(".pth"):
        pytest.importorskip("torch", reason="the format is PyTorch's")
    source = networks.arrays("efficientnet-b0", scope="efficientnet-b0/", averages=False)
    export(convert(source), tmp_path / output, target=target)

    report = revert(tmp_path / output, tmp_path / "model")

    del source["global_step"]
    assert report.network == "efficientnet-b0"
    with tfckpt.open(tmp_path / "model") as checkpoint:
        assert set(checkpoint) == set(source)
        assert all(np.array_equal(checkpoint[name], array) for name, array in source.items())
