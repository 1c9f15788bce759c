"""Networks of Keras applications in Keras's own files: what converts from a checkpoint converts from them."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import re
import zipfile
from typing import Any

import numpy as np
import pytest

import converter
import tfckpt
from converter.cli import main
from tests.keras_files import NETWORKS, files_of, network_files, network_records

STRIDES = {"v1": (1, 2, 2, 2, 1, 2, 1), "v2": (1, 2, 2, 2, 1, 2), "nested": (1, 2, 2, 2, 1, 2)}
FILES = [name for name in network_records() if "_00000" not in name] + ["v2-keras3.weights.json"]
#: Files of tf_keras that only number layers.
UNNAMED = [name for name in FILES if name.endswith("tf_keras.weights.h5")]
NAMED = [name for name in FILES if name not in UNNAMED]
WHOLE = [name for name in NAMED if name.endswith((".h5", ".keras")) and "weights" not in name]


def convert(files: Any, **options: Any) -> converter.ConversionResult:
    """Convert Keras files in memory."""
    with tfckpt.open(files) as checkpoint:
        return converter.convert(checkpoint, **options)


def change_config(name: str, changes: dict[str, Any], pattern: str) -> dict[str, bytes]:
    """Return a `.keras` file with other arguments for the layers whose names contain a pattern."""

    def change(item: Any) -> None:
        if isinstance(item, dict):
            inner = item.get("config")
            if isinstance(inner, dict) and re.search(pattern, str(inner.get("name"))) and "layers" not in inner:
                inner.update({key: value for key, value in changes.items() if key in inner})
            for value in item.values():
                change(value)
        elif isinstance(item, list):
            for value in item:
                change(value)

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(network_files(name)[name])) as archive, zipfile.ZipFile(out, "w") as changed:
        for member in archive.namelist():
            data = archive.read(member)
            if member == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            changed.writestr(member, data)
    return {name: out.getvalue()}


@pytest.mark.parametrize("name", NAMED)
def test_keras_file_gives_the_same_bytes_as_the_checkpoint(name: str) -> None:
    """Of Keras 2 and 3, alone and nested, with an optimizer; strides are needed if there are only weights."""
    case = name.partition("-")[0]
    head = {"head": "breeds"} if case == "nested" else {}
    strides = {} if name in WHOLE else {"strides": STRIDES[case]}
    place = {"v1": "v1/save_weights", "v2": "v2/save_weights", "nested": "nested"}[case]

    result = convert(network_files(name), **head, **strides)
    reference = converter.convert(NETWORKS / place, strides=STRIDES[case], **head)

    assert list(result.state_dict) == list(reference.state_dict)
    for key, array in reference.state_dict.items():
        assert result.state_dict[key].tobytes() == array.tobytes(), key
        assert result.state_dict[key].dtype == array.dtype
    assert result.config == reference.config


@pytest.mark.parametrize("name", UNNAMED)
def test_file_that_only_numbers_layers_is_refused_with_the_alternative(name: str) -> None:
    """Names of layers are nowhere in it, and the order of layers alone could be that of another network."""
    with pytest.raises(converter.UnknownModelError, match=r"\.keras or \.h5"):
        convert(network_files(name), strides=STRIDES["v2"])


@pytest.mark.parametrize("name", ["v2-tf_keras.keras", "v2-keras3.keras"])
def test_configuration_decides_strides_epsilon_and_activation(name: str) -> None:
    """What it says is taken over, in place of what published networks have."""
    usual = convert(network_files(name)).required_config()

    epsilon = convert(change_config(name, {"epsilon": 1e-5}, "_bn")).required_config()
    relu = convert(change_config(name, {"activation": "relu"}, "_activation|_se_reduce")).required_config()
    strided = convert(change_config(name, {"strides": [1, 1]}, "block6a_dwconv2")).required_config()

    assert [stage.stride for stage in usual.stages] == list(STRIDES["v2"])
    assert epsilon == dataclasses.replace(usual, bn_epsilon=1e-5)
    report = convert(network_files(name)).report
    assert report.assumed is None
    assert "padding SAME, from the configuration" in report.evidence
    assert relu == dataclasses.replace(usual, activation="relu")
    assert [stage.stride for stage in strided.stages] == [1, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("name", ["v2-tf_keras.keras", "v2-keras3.keras"])
def test_configuration_that_no_network_has_is_refused(name: str) -> None:
    """Unknown or different activations, gates that are no sigmoid, different epsilons, and strides against it."""
    for pattern, changes in (
        ("_activation|_se_reduce", {"activation": "tanh"}),
        ("_se_expand", {"activation": "relu"}),
        ("block4a_activation", {"activation": "relu"}),
        ("block4a_activation", {"activation": {"class_name": "function", "config": "mine"}}),
        ("stem_bn", {"epsilon": 1e-5}),
    ):
        with pytest.raises(converter.UnknownModelError):
            convert(change_config(name, changes, pattern))
    for said in ({"strides": (1, 2, 2, 2, 2, 2)}, {"epsilon": 0.5}, {"activation": "relu"}):
        with pytest.raises(converter.UnknownModelError, match=f"{next(iter(said))}.* but the configuration"):
            convert(network_files(name), **said)


@pytest.mark.parametrize(
    ("name", "pattern", "changes", "layer"),
    [
        ("v2-keras3.keras", "block2a_expand_conv", {"padding": "valid"}, "block2a_expand_conv"),
        ("v2-tf_keras.keras", "block4a_dwconv2", {"padding": "causal"}, "block4a_dwconv2"),
        ("v2-keras3.keras", "block5a_dwconv2", {"dilation_rate": [2, 2]}, "block5a_dwconv2"),
        ("v2-keras3.keras", "stem_conv", {"strides": [2, 1]}, "stem_conv"),
        ("v1-tf_keras.keras", "stem_conv_pad", {"padding": [[0, 1], [0, 1]]}, "stem_conv"),
        ("v1-tf_keras.keras", "block2a_dwconv$", {"padding": "same"}, "block2a_dwconv_pad"),
        ("v1-tf_keras.keras", "block3a_dwconv_pad", {"name": "pad"}, "block3a_dwconv"),
        ("v1-tf_keras.keras", "block3a_dwconv_pad", {"padding": "three"}, "block3a_dwconv_pad"),
    ],
)
def test_other_padding_is_refused_with_the_layer(name: str, pattern: str, changes: Any, layer: str) -> None:
    """Padding by hand is that of SAME at the size of the model's images, which the file is converted with."""
    with pytest.raises(converter.UnknownModelError, match=f"layer {layer} "):
        convert(change_config(name, changes, pattern))

    evidence = convert(network_files(name)).report.evidence
    by_hand = " by hand, for images of 45×45 pixels" if name.startswith("v1") else ""
    assert f"padding SAME{by_hand}, from the configuration" in evidence


@pytest.mark.parametrize(
    ("name", "names", "source", "target"),
    [
        ("tf_keras-legacy.h5", "path", "{layer...}/{part}", "second.conv.kernel"),
        ("keras3.weights.h5", "path", "layers/{layer...}/vars/{part}", "conv2d_1.0"),
        ("keras3.weights.h5", "full_name", "{layer...}/{part}", "second.conv.kernel"),
        ("tf_keras.weights.h5", "path", "layers/{layer...}/vars/{part}", "conv2d_1.0"),
        ("keras-2.13.weights.h5", "path", "_layer_checkpoint_dependencies/{layer...}/vars/{part}", "conv2d_2.0"),
        ("keras-2.13.keras", "full_name", "{layer...}/{part}", "second.conv.kernel"),
    ],
)
def test_rules_match_weight_names_and_paths(
    name: str, names: str, source: str, target: str, tmp_path: pathlib.Path
) -> None:
    """And with `names = "full_name"` the names of layers, where a file has only paths and the names beside them.

    Files of Keras 2.12 to 2.14 count a layer that has variables twice.
    """
    rules = tmp_path / "rules.toml"
    rule = f'source = "{source}"\ntarget = "{{layer...}}.{{part}}"\n'
    ignored = '[[ignore]]\nsource = "metrics/{name...}"\nreason = "a metric"\n'
    rules.write_text(f'name = "own"\nnames = "{names}"\n[[rule]]\n{rule}{ignored if source.startswith("_") else ""}')

    result = convert(files_of(name), rules=rules)

    named = {"tf_keras.weights.h5": "tf_keras.h5", "keras3.weights.h5": "keras3.h5", "tf_keras-legacy.h5": None}
    whole = named.get(name, "keras-2.13.keras") or name
    with tfckpt.open(files_of(whole)) as checkpoint:
        keys = {row.full_name: row.key for row in checkpoint.variables()}
        expected = checkpoint[keys["second.conv/kernel"]]
    assert np.array_equal(result.state_dict[target], expected)


def test_command_converts_and_verifies_a_keras_file(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The weights are proved; without a graph the output says that only they are."""
    name = "v2-keras3.keras"
    source, target = tmp_path / name, tmp_path / "network.safetensors"
    source.write_bytes(network_files(name)[name])

    assert main(["convert", str(source), "-o", str(target)]) == 0
    assert "strides from the configuration" in capsys.readouterr().out
    assert main(["verify", str(source), str(target), "--weights-only"]) == 0
