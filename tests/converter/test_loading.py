"""Models loaded from converted weights and from checkpoints, and refused files."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a model is a PyTorch module")

import converter  # noqa: E402
from converter.conversion import ConversionResult, convert  # noqa: E402
from converter.errors import ConversionError, MappingError, UnknownModelError  # noqa: E402
from converter.exporting import export  # noqa: E402
from converter.families.averages import WeightsChoice  # noqa: E402
from converter.families.state_dict import ANATOMY, config_from_state_dict  # noqa: E402
from converter.formats.files import CONFIG_KEY, PROVENANCE_KEY, read_output  # noqa: E402
from converter.formats.safetensors import write_tensors  # noqa: E402
from converter.loading import load_model  # noqa: E402
from converter.model import CONFIGS, EfficientNet  # noqa: E402
from converter.model.names import native_targets  # noqa: E402
from tfckpt.errors import CheckpointNotFoundError, CorruptionError  # noqa: E402

STRIDES = (1, 2, 2, 1)


def rewrite(
    path: pathlib.Path, *, tensors: dict[str, Any] | None = None, metadata: dict[str, str | None] | None = None
) -> None:
    """Write an output again with some tensors or metadata replaced, or removed if the new value is None."""
    output = read_output(path)
    arrays = {
        name: np.array(array) for name, array in {**output.tensors, **(tensors or {})}.items() if array is not None
    }
    texts = {key: text for key, text in {**output.metadata, **(metadata or {})}.items() if text is not None}
    path.unlink()
    with path.open("wb") as file:
        write_tensors(arrays, texts, file)


def require_weights(model: EfficientNet, result: ConversionResult) -> None:
    """Assert that a model is in eval mode and has exactly the weights of a conversion."""
    state_dict = model.state_dict()
    assert list(state_dict) == list(result.state_dict)
    for name, array in result.state_dict.items():
        assert np.array_equal(state_dict[name].numpy(), array), name
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in model.parameters())
    assert model.config == result.config


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_model_loads_directly_from_a_checkpoint(digits: pathlib.Path, weights: WeightsChoice) -> None:
    """The weights are averages or raw values, and averages by default."""
    model = load_model(digits, weights=weights)

    require_weights(model, convert(digits, weights=weights))
    if weights == "ema":
        require_weights(load_model(digits), convert(digits, weights="ema"))


def test_model_loads_from_safetensors_by_its_own_config(result: ConversionResult, output: pathlib.Path) -> None:
    """The file's config is enough: no strides are needed, and name and sizes are restored."""
    require_weights(load_model(output), result)


def test_model_loads_from_pth_with_strides(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """A plain state dict shows everything except the strides of an unpublished network."""
    export(result, tmp_path / "digits.pth", proof="none")

    model = load_model(tmp_path / "digits.pth", strides=STRIDES)

    require_weights(model, result)


def test_model_from_a_file_outlives_it(output: pathlib.Path) -> None:
    """Weights are copies that can be trained, even if the file changes."""
    model = load_model(output)
    output.write_bytes(b"")

    with torch.no_grad():
        model.stem.conv.weight.add_(1.0)

    assert bool(model(torch.zeros(1, 3, 32, 32)).isfinite().all())


def test_weights_in_other_float_types_become_float32(result: ConversionResult, output: pathlib.Path) -> None:
    """A tensor in float64 loads as float32; counters stay integers."""
    name = "stem.conv.weight"
    rewrite(output, tensors={name: result.state_dict[name].astype(np.float64)})

    require_weights(load_model(output), result)


def test_different_class_count_gives_a_new_classifier(output: pathlib.Path) -> None:
    """The other layers keep their weights; 0 gives pooled features, and the file's own count changes nothing."""
    images = torch.zeros(2, 3, 32, 32)
    whole, bare, other, same = (load_model(output, num_classes=number) for number in (None, 0, 3, 10))

    assert torch.equal(bare(images), whole.forward_features(images).mean((2, 3)))
    assert other(images).shape == (2, 3)
    assert torch.equal(other.forward_features(images), whole.forward_features(images))
    assert torch.equal(same(images), whole(images))


@pytest.mark.parametrize("name", ["efficientnetv2-b0", "efficientnet-b3", "efficientnetv2-xl"])
def test_published_network_is_recognised_from_its_shapes(name: str) -> None:
    """Names and shapes determine the network with strides and sizes, for any number of classes and input channels."""
    config = dataclasses.replace(CONFIGS[name], num_classes=7, in_channels=1)
    shapes = {target: np.broadcast_to(np.float32(0), shape) for target, shape in native_targets(config).items()}

    assert config_from_state_dict(shapes) == config
    assert config_from_state_dict(shapes, strides=[stage.stride for stage in config.stages]) == config


def test_different_strides_make_a_published_network_a_custom_one() -> None:
    """A published network with different strides is not that network."""
    published = CONFIGS["efficientnetv2-b0"]
    shapes = {target: np.broadcast_to(np.float32(0), shape) for target, shape in native_targets(published).items()}

    config = config_from_state_dict(shapes, strides=(1, 1, 2, 2, 1, 2))

    assert config.name == "custom"
    assert [stage.stride for stage in config.stages] == [1, 1, 2, 2, 1, 2]
    assert [stage.out_channels for stage in config.stages] == [stage.out_channels for stage in published.stages]


def test_error_about_unknown_strides_describes_the_network(result: ConversionResult) -> None:
    """The message lists the stages, and suggests no strides: a guess would give a network that computes otherwise."""
    with pytest.raises(UnknownModelError) as caught:
        config_from_state_dict(result.state_dict)

    assert "stage 3: " in str(caught.value)
    assert "1, 2, 2, 2" not in str(caught.value) and "1,2,2,2" not in str(caught.value)
    assert config_from_state_dict(result.state_dict, strides=STRIDES) == result.config


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stem.conv.weight": None}, "stem.conv.weight"),
        ({"head.conv.weight": (64, 32)}, "head.conv.weight"),
        ({"stem.conv.weight": (8, 3, 3, 1)}, "stem.conv.weight"),
        ({"stages.1.0.project.conv.weight": None}, "stages.1.0"),
        ({"stages.1.0.expand.conv.weight": (33, 8, 3, 3)}, "stage 1: "),
        ({"stages.0.0.project.conv.weight": None}, "stages.0.0 "),
        ({"stages.1.0.expand.conv.weight": None, "stages.1.0.project.conv.weight": None}, "stages.1.0 "),
        ({"stages.0.0.project.conv.weight": (8, 9, 3, 3)}, "stages.0.0 "),
        ({"stages.2.0.se.reduce.weight": (17, 64, 1, 1)}, "17"),
    ],
)
def test_state_dict_of_an_impossible_network_is_refused(
    result: ConversionResult, changes: dict[str, tuple[int, ...] | None], named: str
) -> None:
    """The error names the kernel or the block; only the kernels that determine the network are checked."""
    changed = {name: None if shape is None else np.zeros(shape) for name, shape in changes.items()}
    state_dict = {name: array for name, array in {**result.state_dict, **changed}.items() if array is not None}

    with pytest.raises(UnknownModelError) as caught:
        config_from_state_dict(state_dict, strides=STRIDES)

    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("ids", "order"),
    [
        (["1.0", "0.0", "0.1", "0.10", "0.2"], ["0.0", "0.1", "0.2", "0.9", "0.10", "1.0"]),
        (["1.1"], ["1.0", "1.1"]),
        (["0.0", "2.0"], ["0.0", "1.0", "2.0"]),
        (["9999.9999"], ["9999.9998", "9999.9999"]),
    ],
    ids=["within a stage", "first of a stage", "a stage", "a hostile number"],
)
def test_gap_between_blocks_is_one_missing_block(ids: list[str], order: list[str]) -> None:
    """The number of blocks is therefore at most twice the number of names in a file."""
    assert ANATOMY.sort_ids(ids) == order


def test_network_with_the_published_blocks_in_other_stages_is_a_custom_one() -> None:
    """Here the last block of a stage is a separate stage, which names show and shapes do not."""
    published = CONFIGS["efficientnetv2-b0"]
    first, *rest = reversed(published.stages)
    alone = dataclasses.replace(first, repeats=1, stride=1, in_channels=first.out_channels)
    split = dataclasses.replace(
        published, stages=(*reversed(rest), dataclasses.replace(first, repeats=first.repeats - 1), alone)
    )
    shapes = {target: np.broadcast_to(np.float32(0), shape) for target, shape in native_targets(split).items()}

    config = config_from_state_dict(shapes, strides=[stage.stride for stage in split.stages])

    assert config.name == "custom"
    assert len(native_targets(config)) == len(shapes)
    assert all(native_targets(config)[name] == array.shape for name, array in shapes.items())


def test_folded_batch_norms_are_recognised() -> None:
    """A plain state dict without batch norms belongs to the published network with folded batch norms."""
    config = dataclasses.replace(CONFIGS["efficientnet-b0"], folded_bn=True)
    shapes = {target: np.broadcast_to(np.float32(0), shape) for target, shape in native_targets(config).items()}

    assert config_from_state_dict(shapes) == config


def test_number_of_strides_has_to_be_the_number_of_stages(result: ConversionResult) -> None:
    """Three strides for four stages are refused."""
    with pytest.raises(UnknownModelError):
        config_from_state_dict(result.state_dict, strides=(1, 2, 2))


def test_strides_have_to_agree_with_the_config_of_a_file(output: pathlib.Path, result: ConversionResult) -> None:
    """Strides that differ from the file's are refused; equal ones are accepted."""
    with pytest.raises(UnknownModelError, match=r"\(1, 2, 2, 1\)"):
        load_model(output, strides=(1, 2, 2, 2))

    require_weights(load_model(output, strides=STRIDES), result)


def test_file_of_averages_is_refused_as_raw_values(output: pathlib.Path, result: ConversionResult) -> None:
    """The choice of weights was made at the conversion."""
    with pytest.raises(ConversionError):
        load_model(output, weights="raw")

    require_weights(load_model(output, weights="ema"), result)


def test_unknown_weights_choice_is_refused(output: pathlib.Path) -> None:
    """The only choices are `ema` and `raw`."""
    with pytest.raises(ValueError, match="'average'"):
        load_model(output, weights="average")  # type: ignore[arg-type]  # the mistake is the test


def test_error_lists_every_tensor_that_does_not_match_the_config(output: pathlib.Path) -> None:
    """One error lists missing, unexpected and mismatched tensors, before the network is built."""
    rewrite(output, tensors={"head.bn.bias": None, "extra": np.zeros(3), "stem.bn.weight": np.zeros(9)})

    with pytest.raises(MappingError) as caught:
        load_model(output)

    assert [finding.target for finding in caught.value.missing] == ["head.bn.bias"]
    assert [finding.name for finding in caught.value.unmapped] == ["extra"]
    assert [(finding.found, finding.expected) for finding in caught.value.mismatched] == [((9,), (8,))]


def huge(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with more blocks than any file has."""
    return {**config, "stages": [{**config["stages"][0], "repeats": 10**9}]}


@pytest.mark.parametrize(
    ("key", "edit"),
    [
        (CONFIG_KEY, lambda text: text[:-1]),
        (CONFIG_KEY, lambda text: "[" * 100_000),
        (CONFIG_KEY, lambda text: text.replace("head_channels", "heads")),
        (CONFIG_KEY, lambda text: json.dumps(huge(json.loads(text)))),
        (CONFIG_KEY, lambda text: text.replace('"stem_channels": ', f'"stem_channels": 1{"0" * 400}')),
        (CONFIG_KEY, lambda text: text.replace('"repeats": ', f'"repeats": {"9" * 4000}')),
        (CONFIG_KEY, lambda text: f"[{'[],' * 1_000_000}[]]"),
        (PROVENANCE_KEY, lambda text: "{}"),
    ],
    ids=[
        *("not JSON", "deep JSON", "other keys", "more blocks than tensors", "channels beyond all floats"),
        *("more digits than are printed", "small JSON that is large", "no weights choice"),
    ],
)
def test_invalid_metadata_is_refused(output: pathlib.Path, key: str, edit: Any) -> None:
    """The error has the path of the file."""
    rewrite(output, metadata={key: edit(read_output(output).metadata[key])})

    with pytest.raises(CorruptionError) as caught:
        load_model(output, weights="ema")

    assert caught.value.path == str(output)


def test_file_without_our_metadata_is_recognised_from_its_shapes(
    output: pathlib.Path, result: ConversionResult
) -> None:
    """A safetensors file of another program is treated as a plain state dict."""
    rewrite(output, metadata={CONFIG_KEY: None, PROVENANCE_KEY: None})

    require_weights(load_model(output, strides=STRIDES, weights="ema"), result)


@pytest.mark.parametrize(
    ("name", "array"),
    [("stem.bn.bias", np.zeros(8, np.uint8)), ("stem.bn.num_batches_tracked", np.array(3, np.int32))],
    ids=["integer weights", "shorter counter"],
)
def test_integers_are_converted_to_the_dtype_of_the_module(output: pathlib.Path, name: str, array: Any) -> None:
    """Unlike in the refusal below, the kind of number allows the conversion."""
    rewrite(output, tensors={name: array})

    assert load_model(output).state_dict()[name].numpy().tolist() == array.tolist()


def test_floating_point_counter_is_refused(output: pathlib.Path) -> None:
    """A batch counter has to be an integer; the error names the tensor."""
    name = "stem.bn.num_batches_tracked"
    rewrite(output, tensors={name: np.array(3.5, np.float32)})

    with pytest.raises(CorruptionError) as caught:
        load_model(output)

    assert caught.value.tensor == name


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_missing_file_is_not_found(tmp_path: pathlib.Path, ending: str) -> None:
    """The error is a `FileNotFoundError` too."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        load_model(tmp_path / f"missing{ending}")

    assert isinstance(caught.value, FileNotFoundError)


def test_folder_is_a_checkpoint_whatever_its_name(
    digits: pathlib.Path, result: ConversionResult, tmp_path: pathlib.Path
) -> None:
    """A folder whose name ends like a file of weights is read as a checkpoint."""
    folder = tmp_path / "digits.pth"
    shutil.copytree(digits.parent, folder)

    require_weights(load_model(folder), result)


def test_load_model_is_public() -> None:
    """`load_model` is an attribute of the package, and importing the package does not import torch."""
    program = "import sys, converter; sys.exit('torch' in sys.modules)"

    assert converter.load_model is load_model
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_missing_torch_names_the_extra(digits: pathlib.Path) -> None:
    """Without torch the error has the command that installs it."""
    program = f"import sys; sys.modules['torch'] = None; import converter; converter.load_model({str(digits)!r})"

    run = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert "MissingDependencyError" in run.stderr
    assert "pip install 'tfckpt[torch]'" in run.stderr
