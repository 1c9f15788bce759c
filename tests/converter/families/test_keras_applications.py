"""Keras applications of all published sizes, with recorded names of real Keras."""

from __future__ import annotations

import functools
import gzip
import json
import math
import pathlib
import re
from typing import Any

import pytest

from converter.conversion import convert
from converter.errors import MappingError, UnknownModelError
from converter.families.keras_applications import KERAS
from converter.families.search import prepare
from converter.families.variables import Inventory, SourceVariable
from converter.mapping.planning import plan
from converter.model.architectures import CONFIGS
from converter.model.names import native_targets
from tests.conftest import slow
from tfckpt.graphs.object_graph import VALUE_SUFFIX

from .. import networks

FILE = pathlib.Path(__file__).parents[2] / "data" / "keras" / "published" / "published.json.gz"
#: The order in which a layer creates its variables.
ORDER = ("kernel", "depthwise_kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance")


@functools.cache
def published() -> dict[str, Any]:
    """Return the recorded names."""
    tables: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
    return tables


def get_config_name(keras_name: str) -> str:
    """Return our name of a Keras application: EfficientNetV2B0 is efficientnetv2-b0."""
    match = re.fullmatch(r"(EfficientNet(?:V2)?)(\w+)", keras_name)
    assert match is not None
    return f"{match[1]}-{match[2]}".lower()


def sort_in_network_order(rows: list[list[Any]]) -> list[list[Any]]:
    """Return the rows sorted by the layer's number in the key, then by the order of creation."""

    def position(row: list[Any]) -> tuple[int, int]:
        number = re.match(r"layer_with_weights-(\d+)/", row[0])
        assert number is not None
        return int(number[1]), ORDER.index(row[1].rpartition("/")[2])

    return sorted((row for row in rows if not row[1].startswith("normalization/")), key=position)


@pytest.mark.parametrize("name", sorted(published()))
def test_every_size_is_recognized_from_its_object_graph(name: str) -> None:
    """Keys, full names and shapes identify the network, and all variables except Normalization are used."""
    rows = published()[name]["variables"]
    variables = tuple(
        SourceVariable(key, tuple(shape), key.removesuffix(VALUE_SUFFIX), full_name) for key, full_name, shape in rows
    )

    prepared = prepare(Inventory(variables, (), True))
    planned = plan(prepared.selection.sources, prepared.rules, native_targets(prepared.config))

    assert prepared.family is KERAS
    assert prepared.config == CONFIGS[get_config_name(name)]
    used = sum(math.prod(move.source_shape) for move in planned.moves)
    assert used + (0 if "V2" in name else 7) == published()[name]["parameters"]  # mean, variance and a count


@pytest.mark.parametrize("name", [name if name.endswith("B0") else slow(name) for name in sorted(published())])
def test_every_variable_is_mapped_to_its_target(name: str) -> None:
    """The nth variable in network order contains the number n, and so does the nth target."""
    config = CONFIGS[get_config_name(name)]
    rows = sort_in_network_order(published()[name]["variables"])
    arrays = {row[1]: networks.number_array(number, tuple(row[2])) for number, row in enumerate(rows)}

    result = convert(arrays)

    assert result.config == config
    for number, variable in enumerate(networks.variables(config)):
        array = result.state_dict[variable.target]
        assert array.shape == variable.target_shape, variable.target
        assert array.flat[0] == number, variable.target


def test_classifier_of_the_package_efficientnet_is_recognized() -> None:
    """The package has the names of Keras applications, but calls the classifier `probs`; `--head` is not needed."""
    rows = published()["EfficientNetB0"]["variables"]
    arrays = {row[1].replace("predictions/", "probs/"): networks.number_array(0, tuple(row[2])) for row in rows}

    report = convert(arrays).report

    assert {tensor.target for tensor in report.tensors if tensor.variable.startswith("probs/")} == {
        "classifier.weight",
        "classifier.bias",
    }


@pytest.mark.parametrize(
    "name", ["block1a_dwconv_bn/gamma", "block1a_project/kernel", "block3a_/block3a_expand_conv/kernel"]
)
def test_network_of_keras_hub_is_refused_by_name(name: str) -> None:
    """Names as keras_hub gives them; without such a variable the network is converted."""
    rows = published()["EfficientNetB0"]["variables"]
    arrays = {row[1]: networks.number_array(0, tuple(row[2])) for row in rows}
    assert convert(arrays).config == CONFIGS["efficientnet-b0"]

    with pytest.raises(UnknownModelError, match="keras_hub"):
        convert({**arrays, name: networks.number_array(0, (3,))})


def test_two_backbones_in_one_model_need_a_scope() -> None:
    """Their full names occur twice, so the path of the object that contains the layers is the scope."""
    variables = []
    for number in range(2):
        for key, full_name, shape in published()["EfficientNetV2B0"]["variables"]:
            path = f"layer_with_weights-{number}/{key.removesuffix(VALUE_SUFFIX)}"
            variables.append(SourceVariable(path + VALUE_SUFFIX, tuple(shape), path, full_name))
    inventory = Inventory(tuple(variables), (), True)

    with pytest.raises(UnknownModelError, match="'layer_with_weights-0/', 'layer_with_weights-1/'"):
        prepare(inventory)
    prepared = prepare(inventory, scope="layer_with_weights-1")

    assert prepared.config.name == "efficientnetv2-b0"
    assert {source.name.split("/")[0] for source in prepared.selection.sources} == {"layer_with_weights-1"}
    assert prepared.others == {"layer_with_weights-0": len(variables) // 2}


def test_missing_block_of_a_stage_is_reported() -> None:
    """A gap in the letters is a missing block; a missing last letter would be a smaller network."""
    rows = published()["EfficientNetV2B0"]["variables"]
    arrays = {row[1]: networks.number_array(0, tuple(row[2])) for row in rows if not row[1].startswith("block2a_")}

    with pytest.raises(MappingError) as caught:
        convert(arrays)

    assert {missing.expected[0].split("_")[0] for missing in caught.value.missing} == {"block2a"}


def test_error_for_a_wrong_model_names_the_right_one() -> None:
    """The findings have Keras names, and the hint contains the model with these shapes."""
    arrays = {row[1]: networks.number_array(0, tuple(row[2])) for row in published()["EfficientNetV2B1"]["variables"]}
    assert convert(arrays, model="efficientnetv2-b1").config == CONFIGS["efficientnetv2-b1"]

    with pytest.raises(MappingError) as caught:
        convert(arrays, model="efficientnetv2-b2")

    assert caught.value.hint is not None
    assert "efficientnetv2-b1" in caught.value.hint
    assert "top_conv/kernel" in {mismatch.source for mismatch in caught.value.mismatched}


def test_characters_after_z_follow_in_long_stages() -> None:
    """A stage with more than 26 blocks continues with the ASCII characters after z, like the code of Keras."""
    assert KERAS.anatomy.block.fullmatch("block6{_bn/gamma")
    assert KERAS.anatomy.sort_ids(["1a", "2{"])[-2:] == ["2z", "2{"]
    assert not KERAS.anatomy.block.fullmatch("block6A_bn/gamma")
