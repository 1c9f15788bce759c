"""The model that a state dict comes from: what is known, what is assumed, and what is refused without `as_is`."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import tfckpt
from converter import convert, export, revert, to_tensorflow_names
from converter.errors import ExportError
from converter.formats.files import read_network
from converter.formats.safetensors import write_tensors
from converter.libraries.models import TargetName
from converter.libraries.origin import describe_origin
from converter.libraries.tables import map_to_library
from converter.libraries.targets import TABLES
from converter.model.architectures import CONFIGS
from converter.model.names import native_targets

from . import networks


def make_state_dict(target: TargetName, model: str = "efficientnet-b0") -> dict[str, Any]:
    """Return zeros under the names of a library."""
    config = CONFIGS[model]
    shapes = native_targets(config)
    names = {name: name for name in shapes} if target == "native" else map_to_library(TABLES[target], config, target)
    return {names[name]: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("target", "model", "architecture", "differs"),
    [
        ("native", "efficientnet-b0", None, None),
        ("timm", "efficientnet-b0", None, False),
        ("timm", "efficientnetv2-b0", None, None),
        ("timm", "efficientnet-b0", "tf_efficientnet_b0", None),
        ("timm", "efficientnet-b0", "efficientnet_b0", True),
        ("timm", "efficientnet-b0", "efficientnet_b0.ra_in1k", True),
        ("timm", "efficientnet-b0", "hf-hub:timm/tf_efficientnet_b0.ns_jft_in1k", None),
        ("timm", "efficientnet-b0", "hf-hub:me/efficientnetv2_s", True),
        ("timm", "efficientnet-b0", "efficientnet", False),
        ("timm", "efficientnet-b0", "local-dir:/models/mine", False),
        ("torchvision", "efficientnetv2-s", None, True),
        ("transformers", "efficientnet-b0", None, False),
        ("efficientnet-pytorch", "efficientnet-b0", None, False),
    ],
)
def test_origin_is_nothing_an_assumption_or_a_difference(
    target: TargetName, model: str, architecture: str | None, differs: bool | None
) -> None:
    """Only our own names and timm's `tf_` models need no sentence; timm has V2 B0 only as one of these."""
    origin = describe_origin(target, CONFIGS[model], architecture)

    assert (None if origin is None else origin.differs) == differs


def test_epsilon_is_only_mentioned_where_torchvision_has_another() -> None:
    """B0 has 1e-5, V2 S has TensorFlow's."""
    origins = [describe_origin("torchvision", CONFIGS[name], None) for name in ("efficientnet-b0", "efficientnetv2-s")]

    assert ["1e-5" in origin.sentence for origin in origins if origin is not None] == [True, False]


def test_torchvisions_weights_are_refused_unless_taken_as_they_are(tmp_path: pathlib.Path) -> None:
    """Its model has another padding and another epsilon, or `same_padding_` changed both: the names do not show it."""
    state_dict = make_state_dict("torchvision")

    with pytest.raises(ExportError, match="--as-is"):
        revert(state_dict, tmp_path / "model")
    with pytest.raises(ExportError, match="same_padding_"):
        to_tensorflow_names(state_dict)

    assert not list(tmp_path.iterdir())
    assert len(revert(state_dict, tmp_path / "model", as_is=True).notes) == 1


def test_recorded_conversion_for_torchvision_is_reverted_without_a_word(tmp_path: pathlib.Path) -> None:
    """The weights are TensorFlow's own, unchanged."""
    source = networks.arrays("efficientnet-b0", averages=False)
    export(convert(source), tmp_path / "b0.safetensors", target="torchvision")

    report = revert(tmp_path / "b0.safetensors", tmp_path / "model")

    assert report.notes == ()
    with tfckpt.open(tmp_path / "model") as checkpoint:
        assert set(checkpoint) == set(source) - {"global_step"}
        assert all(np.array_equal(checkpoint[name], source[name]) for name in checkpoint)


def write_folder(folder: pathlib.Path, architecture: str) -> pathlib.Path:
    """Write a folder as `timm.models.save_for_hf` does."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architecture": architecture, "num_classes": 1000}))
    with (folder / "model.safetensors").open("wb") as file:
        write_tensors(make_state_dict("timm"), {"format": "pt"}, file)
    return folder


@pytest.mark.slow
def test_architecture_in_timms_folder_decides(tmp_path: pathlib.Path) -> None:
    """`efficientnet_b0` is refused, `tf_efficientnet_b0` is accepted without an assumption, a file alone with one."""
    other = write_folder(tmp_path / "other", "efficientnet_b0")
    same = write_folder(tmp_path / "same", "tf_efficientnet_b0")

    with pytest.raises(ExportError, match="efficientnet_b0"):
        revert(other, tmp_path / "model")

    assert revert(same, tmp_path / "same-model").notes == ()
    assert len(revert(other, tmp_path / "other-model", as_is=True).notes) == 1
    assert "tf_efficientnet_b0" in revert(same / "model.safetensors", tmp_path / "alone").notes[0]


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("[", None),
        ("[]", None),
        ('{"architecture": 3}', None),
        ('{"architecture": "efficientnet_b0"}', "efficientnet_b0"),
    ],
)
def test_config_that_names_no_architecture_changes_nothing(
    text: str, architecture: str | None, tmp_path: pathlib.Path
) -> None:
    """The weights are read as without a config."""
    with (tmp_path / "model.safetensors").open("wb") as file:
        write_tensors({"conv_stem.weight": np.zeros((2, 3, 3, 3), np.float32)}, {"format": "pt"}, file)
    (tmp_path / "config.json").write_text(text)

    file = read_network(tmp_path)

    assert (list(file.tensors), file.architecture) == (["conv_stem.weight"], architecture)
