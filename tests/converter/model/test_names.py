"""The target names computed without torch are those of the module."""

from __future__ import annotations

import math

import pytest

from converter.model.architectures import CONFIGS
from converter.model.config import BlockKind, EfficientNetConfig, StageConfig
from converter.model.names import native_targets
from tests.conftest import slow

torch = pytest.importorskip("torch", reason="the names are compared with the PyTorch module")


def make_stage(block: BlockKind, expansion: int, se: float, *, channels: tuple[int, int]) -> StageConfig:
    """Return a stage of two blocks with a 5×5 kernel and stride 2."""
    return StageConfig(
        block=block,
        repeats=2,
        kernel=5,
        stride=2,
        expansion=expansion,
        in_channels=channels[0],
        out_channels=channels[1],
        se_ratio=se,
    )


ALL_FORMS = EfficientNetConfig(
    name="all forms",
    stem_channels=8,
    stages=(
        make_stage("fused", 1, 0, channels=(8, 12)),
        make_stage("fused", 4, 0.25, channels=(12, 16)),
        make_stage("mbconv", 1, 0.25, channels=(16, 8)),
        make_stage("mbconv", 6, 0, channels=(8, 24)),
    ),
    head_channels=32,
    num_classes=0,
    in_channels=1,
)


#: A network of each kind; modules of the larger ones take longer to build.
QUICK = ("efficientnet-b0", "efficientnet-lite0", "efficientnet-edgetpu-S", "efficientnetv2-b0", "efficientnetv2-s")


@pytest.mark.parametrize("name", CONFIGS)
def test_number_of_parameters_is_that_of_the_config(name: str) -> None:
    """The formula of the config agrees with the shapes of all tensors that are trained."""
    shapes = native_targets(CONFIGS[name])

    trained = [shape for target, shape in shapes.items() if "running_" not in target and "num_batches" not in target]

    assert sum(map(math.prod, trained)) == CONFIGS[name].parameter_count()


@pytest.mark.parametrize(
    "config",
    [ALL_FORMS, *(config if name in QUICK else slow(config) for name, config in CONFIGS.items())],
    ids=lambda config: config.name,
)
def test_native_targets_are_the_keys_and_shapes_of_the_module(config: EfficientNetConfig) -> None:
    """Names, shapes and order match the state dict, for all forms of blocks and every published network."""
    from converter.model import EfficientNet

    with torch.device("meta"):
        state_dict = EfficientNet(config).state_dict()

    targets = native_targets(config)

    assert list(targets.items()) == [(name, tuple(tensor.shape)) for name, tensor in state_dict.items()]
