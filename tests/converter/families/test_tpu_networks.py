"""EfficientNet-Lite and EfficientNet-EdgeTPU, and the networks of the same code that are refused.

tests/data/tpu was written by the released code under real TensorFlow.
"""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest

import tfckpt
from converter.conversion import convert, plan_conversion
from converter.errors import Shape, UnknownModelError
from converter.exporting import export
from converter.families.automl import AUTOML
from converter.families.averages import WeightsChoice
from converter.families.recognition import recognize
from converter.model.architectures import CONFIGS
from converter.releases.table import RELEASES
from tests.converter.networks import Arrays, number_array

LITE = [f"efficientnet-lite{number}" for number in range(5)]
EDGETPU = [f"efficientnet-edgetpu-{size}" for size in "SML"]


@functools.cache
def read_published(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Return names and shapes of the variables of each network, and the number of its parameters."""
    table: dict[str, dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return table


def make_arrays(variables: dict[str, list[int]]) -> Arrays:
    """Return arrays of these names and shapes that need no memory."""
    return {name: number_array(0, tuple(shape)) for name, shape in variables.items()}


@pytest.mark.parametrize("name", [*LITE, *EDGETPU])
def test_published_network_is_recognized_by_names_and_shapes(name: str, data: pathlib.Path) -> None:
    """The config has TensorFlow's number of parameters, and only one release has the network."""
    recorded = read_published(data / "tpu" / "published.json.gz")[name]

    planned = plan_conversion(make_arrays(recorded["variables"]))

    assert planned.config == CONFIGS[name]
    assert planned.config.parameter_count() == recorded["parameters"]
    assert planned.report.releases == (name,)
    assert RELEASES[name].preprocessing.describe().endswith("(x - 127) / 128")


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize(("name", "activation"), [("lite", "relu6"), ("edgetpu", "relu"), ("trained", "relu6")])
def test_narrow_network_has_the_logits_of_tensorflow(
    name: str, activation: str, weights: WeightsChoice, data: pathlib.Path
) -> None:
    """The graph names activation and additions, and in float64 the logits are TensorFlow's."""
    torch = pytest.importorskip("torch", reason="the network is PyTorch's")
    from converter.model import EfficientNet

    with np.load(data / "tpu" / f"{name}.npz") as recorded:
        images, expected = recorded["input"], recorded[f"{weights}64"]

    result = convert(data / "tpu" / f"{name}.tgz", weights=weights)
    model = EfficientNet(result.required_config())
    model.load_state_dict({key: torch.tensor(array) for key, array in result.state_dict.items()}, strict=True)
    with torch.inference_mode():
        actual = model.double().eval()(torch.from_numpy(images).double().permute(0, 3, 1, 2)).numpy()

    assert result.required_config().activation == activation
    assert np.abs(actual - expected).max() < 1e-10 * np.abs(expected).max()


def test_blocks_of_edgetpu_expand_from_fewer_channels_and_add_nothing(data: pathlib.Path) -> None:
    """64 channels are no multiple of the stem's 24, and two blocks of equal width do not add their input."""
    first = convert(data / "tpu" / "edgetpu.tgz").required_config().stages[0]

    assert (first.in_channels, first.expansion, first.expand_from) == (24, 4, 16)
    assert first.repeats == 2
    assert not first.residual


@pytest.mark.parametrize(("name", "layers"), [("lite", 21), ("edgetpu", 23), ("trained", 14)])
def test_network_of_tf_layers_is_proved(name: str, layers: int, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Layers of TensorFlow 1 agree with the graph, in training too: its batch norms are written out, as for TPUs."""
    pytest.importorskip("torch", reason="the graph runs in PyTorch")

    record = export(convert(data / "tpu" / f"{name}.tgz"), tmp_path / "out.safetensors", proof="require")

    assert record is not None and record.layers is not None
    assert record.layers.count == layers
    assert record.layers.outputs == ("logits is the logits",)
    assert (record.explanation is not None) == (name == "trained")


def list_shapes(path: pathlib.Path) -> dict[str, Shape]:
    """Return the shapes of a checkpoint's variables by name without scope."""
    with tfckpt.open(path) as checkpoint:
        return {name.partition("/")[2]: checkpoint.info(name).shape for name in checkpoint if "/" in name}


@pytest.mark.parametrize(("name", "activation"), [("lite", "relu6"), ("edgetpu", "relu")])
def test_activation_is_assumed_without_a_graph(name: str, activation: str, data: pathlib.Path) -> None:
    """A network without squeeze-and-excitation has the activation of the published networks of its form."""
    recognition = recognize(list_shapes(data / "tpu" / f"{name}.tgz"), AUTOML.anatomy, strides=(1, 2, 2))

    assert recognition.config.activation == activation
    assert any("assumed" in phrase for phrase in recognition.evidence)


def test_activation_is_not_assumed_where_the_graph_shows_it(data: pathlib.Path) -> None:
    """The evidence of a network with a graph has no assumption."""
    assert not any("assumed" in phrase for phrase in convert(data / "tpu" / "lite.tgz").report.evidence)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("efficientnet-condconv-b0-4e", "CondConv"),
        ("efficientnet-x-b0", "EfficientNet-X"),
        ("efficientnet-x-b5", "EfficientNet-X"),
    ],
)
def test_other_networks_of_the_code_are_refused_by_name(name: str, kind: str, data: pathlib.Path) -> None:
    """The error says what the network is and names the graph as a module."""
    recorded = read_published(data / "tpu" / "published.json.gz")[name]

    with pytest.raises(UnknownModelError, match=rf"{re.escape(kind)}.*graph_module"):
        plan_conversion(make_arrays(recorded["variables"]))
