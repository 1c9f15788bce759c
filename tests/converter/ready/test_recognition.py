"""A ready network is recognized under any scope; what is missing, superfluous or contradictory is in one error."""

from __future__ import annotations

import json
import pathlib
import sys
import types
from typing import Any

import numpy as np
import pytest

import converter
import tfckpt
from converter.conversion import ConversionOptions, plan_conversion
from converter.errors import MappingError, UnknownModelError
from converter.networks.modules import build_module

from .cases import DATA

Arrays = dict[str, np.ndarray[Any, Any]]


def read(name: str) -> Arrays:
    """Return the tensors of a checkpoint."""
    with tfckpt.open(DATA / f"{name}.tar.xz") as checkpoint:
        return {key: np.array(checkpoint[key]) for key in checkpoint}


def save(folder: pathlib.Path, arrays: Arrays, **files: str) -> str:
    """Write a checkpoint with files in its folder, and return its prefix."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    tfckpt.save(arrays, folder / "model.ckpt")
    return str(folder / "model.ckpt")


CONFIG = {"hidden_size": 16, "num_attention_heads": 4, "hidden_act": "relu", "vocab_size": 30}


def test_settings_come_from_the_file_and_from_shapes(tmp_path: pathlib.Path) -> None:
    """Each has its origin in the report; a file may say more than is used."""
    path = save(tmp_path / "cased_bert", read("bert"), bert_config__json=json.dumps({**CONFIG, "more": 1}))

    result = converter.convert(path)

    settings = {setting.name: (setting.value, setting.origin) for setting in result.report.settings}
    assert settings["num_attention_heads"] == (4, "bert_config.json")
    assert settings["hidden_act"] == (("relu"), "bert_config.json")
    assert settings["hidden_size"] == (16, "shape of bert/embeddings/word_embeddings")
    assert settings["layer_norm_eps"][0] == 1e-12


def test_gin_file_of_the_authors_is_read() -> None:
    """Layers that do not use a setting say None, and do not override the general one."""
    result = converter.convert(DATA / "mt5.tar.xz")

    settings = {setting.name: (setting.value, setting.origin) for setting in result.report.settings}
    assert settings["dropout_rate"] == (0.0, "operative_config.gin")
    assert settings["relative_attention_max_distance"] == (128, "default of the code")
    assert result.report.title == "MT5ForConditionalGeneration"


def test_network_is_found_under_a_scope_next_to_other_tensors() -> None:
    """What is outside is left out; moving averages are used."""
    arrays = {f"student/{name}": array for name, array in read("t5").items()}
    shared = "student/shared/embedding"
    arrays |= {f"{shared}/ExponentialMovingAverage": arrays[shared] + 1, "other": np.zeros(2)}

    result = converter.convert(arrays)

    assert result.report.scope == "student/"
    assert np.array_equal(result.state_dict["lm_head.weight"], arrays[shared] + 1)
    assert {record.source: record.reason for record in result.report.ignored}["other"] == "outside the network"


def test_two_networks_need_a_scope() -> None:
    """Either is converted if it is named."""
    arrays = read("t5")
    both = {f"{scope}/{name}": array for scope in "ab" for name, array in arrays.items()}

    with pytest.raises(UnknownModelError, match="--scope"):
        converter.convert(both)
    assert converter.convert(both, scope="b").report.scope == "b/"


def test_models_in_one_checkpoint_need_a_part() -> None:
    """The error names them; a part that is not there is refused."""
    arrays = read("electra")

    with pytest.raises(UnknownModelError, match="discriminator, generator"):
        converter.convert(arrays)
    without = {name: array for name, array in arrays.items() if not name.startswith("generator")}
    assert converter.convert(without).report.part == "discriminator"
    with pytest.raises(UnknownModelError, match="generator"):
        converter.convert(without, part="generator")
    with pytest.raises(UnknownModelError, match="part"):
        converter.convert({"w": np.zeros(1)}, part="generator")


@pytest.mark.parametrize("name", ["electra", "electra-own"])
def test_file_about_the_discriminator_does_not_describe_a_generator_of_its_own(
    tmp_path: pathlib.Path, name: str
) -> None:
    """The authors' code makes the generator narrower, with a head for each 64 channels."""
    config = {"hidden_size": 128, "embedding_size": 16, "num_attention_heads": 4, "hidden_act": "relu"}
    path = save(tmp_path / "electra", read(name), electra_config__json=json.dumps(config))

    heads = {}
    for part in ("discriminator", "generator"):
        settings = {setting.name: setting.value for setting in converter.convert(path, part=part).report.settings}
        assert settings["hidden_act"] == "relu"
        heads[part] = (settings["hidden_size"], settings["num_attention_heads"])
    assert heads == {"discriminator": (128, 4), "generator": (64, 1)}


def test_all_findings_about_a_damaged_network_are_in_one_error(tmp_path: pathlib.Path) -> None:
    """A missing layer, another width, an extra tensor, and a file that contradicts the shapes; nothing is written."""
    arrays = read("bert")
    for name in [name for name in arrays if "layer_1/output" in name]:
        del arrays[name]
    arrays["bert/encoder/layer_0/output/dense/kernel"] = np.zeros((30, 16), np.float32)
    arrays["bert/adapter/kernel"] = np.zeros((2, 2), np.float32)
    wrong = {"hidden_size": 32, "num_attention_heads": 3}
    path = save(tmp_path / "bert", arrays, bert_config__json=json.dumps(wrong))

    with pytest.raises(MappingError) as caught:
        converter.convert(path)

    error = caught.value
    assert [finding.name for finding in error.unmapped] == ["bert/adapter/kernel"]
    assert {finding.target.partition("output")[0] for finding in error.missing} == {"encoder.layer.1."}
    assert [finding.source for finding in error.mismatched] == ["bert/encoder/layer_0/output/dense/kernel"]
    assert [finding.name for finding in error.contradicted] == ["bert_config.json: hidden_size", "num_attention_heads"]
    assert "BertModel" in str(error)


@pytest.mark.parametrize("text", ["[", "[]", '{"hidden_size": "16"}', '{"num_attention_heads": "2"}'])
def test_invalid_file_of_settings_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    """With an error of ours; a valid file is accepted."""
    path = save(tmp_path / "bert", read("bert"), bert_config__json=text)

    with pytest.raises((MappingError, tfckpt.CorruptionError)):
        converter.convert(path)
    (tmp_path / "bert" / "bert_config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    assert converter.convert(path)


def test_width_that_needs_a_file_is_refused_without_one() -> None:
    """The published networks have a head for 64 channels; 16 channels could have any number of heads."""
    with pytest.raises(MappingError, match="num_attention_heads"):
        converter.convert(read("bert"))


def test_library_that_is_installed_and_broken_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installing it again would not help; what the import of another package says does."""

    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            try:
                raise RuntimeError("operator torchvision::nms does not exist")
            except RuntimeError as error:
                raise ModuleNotFoundError(f"Could not import module {name!r}") from error

    monkeypatch.setitem(sys.modules, "transformers", Broken("transformers"))

    with pytest.raises(tfckpt.MissingDependencyError) as caught:
        build_module("BertModel", {"model_type": "bert"})
    assert "cannot be imported (operator torchvision::nms does not exist)" in str(caught.value)
    assert "pip install" not in str(caught.value)


def test_mobilenet_too_narrow_for_the_model_of_transformers_is_refused() -> None:
    """Its first block adds its input, which the library's model does not."""
    arrays = read("mobilenet-v2")
    narrow = dict(arrays)
    narrow["MobilenetV2/expanded_conv/project/weights"] = np.zeros((1, 1, 16, 16), np.float32)

    with pytest.raises(MappingError, match="narrow"):
        converter.convert(narrow)
    assert converter.convert(arrays)


@pytest.mark.parametrize("name", ["bert", "electra", "resnet-v1", "inception-v3", "mobilenet-v1", "t5"])
def test_damage_of_any_tensor_is_an_error_of_ours(name: str) -> None:
    """Without it or with another shape, the network is refused, or is not recognized."""
    with tfckpt.open(DATA / f"{name}.tar.xz") as checkpoint:
        shapes = {info.name: info.shape for info in checkpoint.infos()}
    part = "discriminator" if name == "electra" else None
    ignored = ("global_step", "generator", "_slot_")
    for damaged in list(shapes)[:: max(len(shapes) // 12, 1)]:
        if any(word in damaged for word in ignored):
            continue
        for shape in (None, (), (1, 2, 3, 4, 5, 6)):
            changed = {**shapes, damaged: shape}
            arrays = {key: np.broadcast_to(np.float32(0), size) for key, size in changed.items() if size is not None}
            with pytest.raises((MappingError, UnknownModelError)):
                plan_conversion(arrays, ConversionOptions(part=part))
