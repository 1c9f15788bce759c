"""Activations and gates compute TensorFlow's definitions, written out in float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs PyTorch")

from converter.model import CONFIGS, EfficientNet  # noqa: E402
from converter.model.activations import make_activation, make_gate  # noqa: E402
from converter.model.config import ACTIVATIONS, GATES, EfficientNetConfig, StageConfig  # noqa: E402

X = np.linspace(-8, 8, 33)


def relu6(x: np.ndarray) -> np.ndarray:
    """Return x clipped to 0 and 6."""
    return np.clip(x, 0, 6)


EXPECTED = {
    "silu": X / (1 + np.exp(-X)),
    "relu": np.maximum(X, 0),
    "relu6": relu6(X),
    "hard_swish": X * relu6(X + 3) / 6,
    "elu": np.where(X > 0, X, np.expm1(X)),
    "leaky_relu": np.where(X > 0, X, 0.2 * X),
    # The constants of tf.nn.selu, from Klambauer et al., arXiv 1706.02515.
    "selu": 1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * np.expm1(X)),
    "mish": X * np.tanh(np.log1p(np.exp(X))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_agrees_with_its_definition(name: str) -> None:
    """Every choice of a config is tested."""
    assert set(EXPECTED) == set(ACTIVATIONS)
    np.testing.assert_allclose(make_activation(name)(torch.from_numpy(X.copy())).numpy(), EXPECTED[name], atol=1e-12)


def test_gates_agree_with_their_definitions() -> None:
    """The slope of TensorFlow's hard sigmoid is 1/6, the slope of Keras 2's is 0.2."""
    values = {name: make_gate(name)(torch.from_numpy(X.copy())).numpy() for name in GATES}

    np.testing.assert_allclose(values["sigmoid"], 1 / (1 + np.exp(-X)), atol=1e-12)
    np.testing.assert_allclose(values["hard_sigmoid"], relu6(X + 3) / 6, atol=1e-12)
    np.testing.assert_allclose(values["hard_sigmoid_keras2"], np.clip(0.2 * X + 0.5, 0, 1), atol=1e-12)


def small(**changes: object) -> EfficientNetConfig:
    """Return the config of a network with an MBConv and a fused stage."""
    stages = (
        StageConfig(
            block="mbconv", repeats=2, kernel=3, stride=1, expansion=2, in_channels=8, out_channels=8, se_ratio=0.25
        ),
        StageConfig(
            block="fused", repeats=1, kernel=3, stride=2, expansion=2, in_channels=8, out_channels=16, se_ratio=0
        ),
    )
    config = EfficientNetConfig(name="small", stem_channels=8, stages=stages, head_channels=32, num_classes=5)
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "relu6"},
        {"gate": "hard_sigmoid"},
        {"gate_activation": "relu"},
        {"pooling": "max"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_choice_changes_the_logits_and_not_the_names(changes: dict[str, object]) -> None:
    """The same state dict loads, and the logits differ."""
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 4 - 2
    usual, other = EfficientNet(small()).eval(), EfficientNet(small(**changes)).eval()
    other.load_state_dict(usual.state_dict())

    assert not torch.allclose(usual(x), other(x))
    assert set(other.endpoints(x)) == set(usual.endpoints(x))
    assert torch.equal(other.endpoints(x)["logits"], other(x))


def test_stage_can_have_its_own_activation_and_no_additions() -> None:
    """The settings of a stage override those of the network."""
    config = small()
    first = dataclasses.replace(config.stages[0], activation="relu", residual=False)
    model = EfficientNet(dataclasses.replace(config, stages=(first, config.stages[1])))

    assert isinstance(model.get_submodule("stages.0.0.expand.act"), torch.nn.ReLU)
    assert isinstance(model.get_submodule("stages.0.0.se.act"), torch.nn.ReLU)
    assert isinstance(model.get_submodule("stages.1.0.expand.act"), torch.nn.SiLU)
    assert [block.config.has_residual for block in model.config.blocks()] == [False, False, False]


def test_expansion_can_refer_to_the_nominal_width() -> None:
    """This applies only to the first block of a stage."""
    config = small()
    stage = dataclasses.replace(config.stages[0], expand_from=6)
    model = EfficientNet(dataclasses.replace(config, stages=(stage, config.stages[1])))

    assert model.get_submodule("stages.0.0.expand.conv").weight.shape == (12, 8, 1, 1)
    assert model.get_submodule("stages.0.1.expand.conv").weight.shape == (16, 8, 1, 1)
    assert model.config.parameter_count() == sum(parameter.numel() for parameter in model.parameters())


def test_configs_of_the_first_version_are_read() -> None:
    """Missing keys have the values that this version computed."""
    config = CONFIGS["efficientnetv2-s"]
    record = config.to_dict()
    for key in ("activation", "gate", "gate_activation", "pooling"):
        del record[key]
    for stage in record["stages"]:
        for key in ("activation", "residual", "expand_from"):
            del stage[key]

    assert EfficientNetConfig.from_dict(record) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [("activation", "swish2"), ("gate", None), ("gate_activation", "sigmoid"), ("pooling", "sum"), ("pooling", 1)],
)
def test_unknown_choice_is_rejected(key: str, value: object) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=key):
        EfficientNetConfig.from_dict({**small().to_dict(), key: value})
