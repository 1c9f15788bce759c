"""The network: its size, its outputs, training, export and wrong inputs."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch module")

from converter.model import EfficientNet, EfficientNetConfig, StageConfig  # noqa: E402
from converter.model.efficientnet import FeatureInfo  # noqa: E402
from converter.model.layers import FusedMBConv, MBConv  # noqa: E402


def make_stage(
    block: str, channels: tuple[int, int], *, repeats: int, kernel: int, stride: int, expansion: int
) -> StageConfig:
    """Return a stage; MBConv blocks have squeeze-excite."""
    return StageConfig(
        block="fused" if block == "fused" else "mbconv",
        repeats=repeats,
        kernel=kernel,
        stride=stride,
        expansion=expansion,
        in_channels=channels[0],
        out_channels=channels[1],
        se_ratio=0.25 if block == "mbconv" else 0.0,
    )


# All forms of blocks; the reductions are 2, 4, 8 and 8.
SMALL = EfficientNetConfig(
    name="small",
    stem_channels=8,
    stages=(
        make_stage("fused", (8, 8), repeats=1, kernel=3, stride=1, expansion=1),
        make_stage("fused", (8, 12), repeats=2, kernel=3, stride=2, expansion=4),
        make_stage("mbconv", (12, 16), repeats=2, kernel=5, stride=2, expansion=4),
        make_stage("mbconv", (16, 24), repeats=1, kernel=3, stride=1, expansion=1),
    ),
    head_channels=32,
    num_classes=5,
)


@pytest.fixture
def small() -> EfficientNet:
    """A small network with random weights in eval mode."""
    torch.manual_seed(0)
    return EfficientNet(SMALL).eval()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (7, 64)], ids=str)
def test_network_accepts_images_of_any_size(small: EfficientNet, size: tuple[int, int]) -> None:
    """Each stride reduces a side to ceil(size / stride)."""
    images = torch.randn(2, 3, *size)

    with torch.inference_mode():
        features, logits = small.forward_features(images), small(images)

    assert features.shape == (2, 32, -(-size[0] // 8), -(-size[1] // 8))
    assert logits.shape == (2, 5)
    assert bool(logits.isfinite().all())


def test_forward_is_features_and_head(small: EfficientNet) -> None:
    """`forward` is the composition of both; `pre_logits` stops before the classifier."""
    images = torch.randn(2, 3, 32, 32)

    with torch.inference_mode():
        features = small.forward_features(images)
        pooled = small.forward_head(features, pre_logits=True)

        assert torch.equal(small.forward_head(features), small(images))
        assert torch.equal(pooled, features.mean((2, 3)))
        assert torch.equal(small.classifier(pooled), small(images))


def test_network_without_classes_returns_pooled_features(small: EfficientNet) -> None:
    """`num_classes=0` overrides the config, and there are no weights for a classifier."""
    bare = EfficientNet(SMALL, num_classes=0).eval()
    weights = {name: tensor for name, tensor in small.state_dict().items() if not name.startswith("classifier.")}
    images = torch.randn(2, 3, 32, 32)

    bare.load_state_dict(weights)

    with torch.inference_mode():
        assert torch.equal(bare(images), small.forward_features(images).mean((2, 3)))
    assert bare.config == dataclasses.replace(SMALL, num_classes=0)


def test_classifier_can_be_replaced(small: EfficientNet) -> None:
    """Only the classifier changes; mode and dtype do not."""
    small.double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    features = small.forward_features(images)

    small.reset_classifier(9)

    assert small(images).shape == (2, 9)
    assert small.config.num_classes == 9
    assert not any(module.training for module in small.modules())
    assert torch.equal(small.forward_features(images), features)


def test_endpoints_have_the_names_of_the_released_code(small: EfficientNet) -> None:
    """The last block of each reduction has a second name; all are in network order."""
    images = torch.randn(1, 3, 32, 32)

    with torch.inference_mode():
        points = small.endpoints(images)
        logits = small(images)

    blocks = [[f"block_{index}/expansion_output", f"block_{index}"] for index in range(6)]
    reductions = [[f"reduction_{index}/expansion_output", f"reduction_{index}"] for index in (1, 2, 3)]
    assert list(points) == [
        "stem",
        *blocks[0],
        *reductions[0],
        *blocks[1],
        *blocks[2],
        *reductions[1],
        *blocks[3],
        *blocks[4],
        *blocks[5],
        *reductions[2],
        "features",
        "head_1x1",
        "pooled_features",
        "head",
        "logits",
    ]
    assert torch.equal(points["reduction_3"], points["block_5"])
    assert torch.equal(points["logits"], logits)
    assert points["block_3/expansion_output"].shape == (1, 48, 4, 4)


def test_stage_features_are_the_outputs_of_stages(small: EfficientNet) -> None:
    """Channels and reductions match `feature_info`; the default is the last stage of each reduction."""
    images = torch.randn(1, 3, 64, 64)

    with torch.inference_mode():
        pyramid = small.stage_features(images)
        chosen = small.stage_features(images, stages=(3, 2))
        points = small.endpoints(images)

    assert small.feature_info == (
        FeatureInfo(0, 8, 2),
        FeatureInfo(1, 12, 4),
        FeatureInfo(2, 16, 8),
        FeatureInfo(3, 24, 8),
    )
    assert small.pyramid_stages == (0, 1, 3)
    for output, point in zip(pyramid, ("block_0", "block_2", "block_5"), strict=True):
        assert torch.equal(output, points[point])
    for output, number in zip(chosen, (3, 2), strict=True):
        _, channels, reduction = small.feature_info[number]
        assert output.shape == (1, channels, 64 // reduction, 64 // reduction)


def test_stage_features_stop_after_the_last_requested_stage(small: EfficientNet) -> None:
    """Later stages do not run."""
    ran: list[int] = []
    for number, module in enumerate(small.stages):
        module.register_forward_hook(lambda *_, number=number: ran.append(number))

    small.stage_features(torch.randn(1, 3, 32, 32), stages=[1])

    assert ran == [0, 1]


@pytest.mark.parametrize("number", [-1, 4])
def test_stage_features_reject_an_unknown_stage(small: EfficientNet, number: int) -> None:
    """The error contains the number; the last stage is accepted."""
    images = torch.randn(1, 3, 32, 32)

    with pytest.raises(ValueError, match=str(number)):
        small.stage_features(images, stages=(0, number))
    assert len(small.stage_features(images, stages=(0, 3))) == 2


@pytest.mark.parametrize(
    ("images", "token"),
    [
        (
            torch.zeros(3, 32, 32),
            "x[None]",
        ),
        (
            torch.zeros(1, 32, 32, 3),
            "x.permute(0, 3, 1, 2)",
        ),
        (torch.zeros(1, 1, 32, 32), "channels"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "torch.uint8"),
    ],
    ids=["no batch", "channels last", "grey", "integers"],
)
@pytest.mark.parametrize("method", ["forward", "endpoints", "stage_features"])
def test_network_rejects_anything_but_a_batch_of_images(
    small: EfficientNet, method: str, images: torch.Tensor, token: str
) -> None:
    """The message contains the fix to type, if there is one."""
    with pytest.raises(ValueError) as caught:
        getattr(small, method)(images)

    assert token in str(caught.value)


def test_initial_weights_are_distributed_as_in_the_released_code() -> None:
    """Kernels are normal with variance 2 / fan-out, the classifier is uniform, and biases are zero."""
    torch.manual_seed(0)
    config = dataclasses.replace(
        SMALL,
        stages=(make_stage("mbconv", (8, 256), repeats=1, kernel=3, stride=1, expansion=64),),
        head_channels=1024,
        num_classes=100,
    )
    model = EfficientNet(config)
    block = model.stages[0][0]

    deviations = {
        "depthwise": (block.depthwise.conv.weight.std().item(), (2 / 9) ** 0.5),
        "project": (block.project.conv.weight.std().item(), (2 / 256) ** 0.5),
        "head": (model.head.conv.weight.std().item(), (2 / 1024) ** 0.5),
        "classifier": (model.classifier.weight.std().item(), 0.1 / 3**0.5),
    }

    for name, (deviation, expected) in deviations.items():
        assert deviation == pytest.approx(expected, rel=0.05), name
    assert model.classifier.weight.abs().max().item() <= 0.1
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    assert all(not bias.any() for bias in biases)
    assert all(
        bool((module.weight == 1).all()) for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)
    )


def test_batch_norms_have_epsilon_and_momentum_of_the_config() -> None:
    """The settings apply to every batch norm."""
    model = EfficientNet(dataclasses.replace(SMALL, bn_epsilon=0.02, bn_momentum=0.3))

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]

    assert len(norms) == 15
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.02, 0.3)}


def test_stochastic_depth_grows_linearly_over_the_blocks() -> None:
    """The rate of the first block is 0, and the rate of the last is one step below the config's."""
    model = EfficientNet(dataclasses.replace(SMALL, drop_path=0.6))

    rates = [module.drop_rate for module in model.modules() if isinstance(module, (FusedMBConv, MBConv))]

    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_network_can_be_trained() -> None:
    """All parameters get gradients, the statistics are updated, and dropout is random."""
    torch.manual_seed(0)
    model = EfficientNet(dataclasses.replace(SMALL, dropout=0.5, drop_path=0.0)).train()
    images = torch.randn(4, 3, 32, 32)

    first, second = model(images), model(images)
    first.square().sum().backward()

    assert not torch.equal(first, second)
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert model.stem.bn.num_batches_tracked.item() == 2


def test_network_is_deterministic_in_eval_mode(small: EfficientNet) -> None:
    """Neither dropout nor stochastic depth is active."""
    images = torch.randn(2, 3, 32, 32)

    assert torch.equal(small(images), small(images))


def test_network_runs_in_float64_and_channels_last(small: EfficientNet) -> None:
    """Both agree with the default up to float32 rounding."""
    images = torch.randn(2, 3, 45, 38)

    with torch.inference_mode():
        plain = small(images)
        last = small.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        exact = small.double()(images.double())

    assert exact.dtype == torch.float64
    scale = exact.abs().max()
    # The limit allows float32 rounding over the depth of the network; a wrong padding causes 1e-2.
    assert ((plain - exact).abs().max() / scale).item() < 1e-5
    assert ((last - exact).abs().max() / scale).item() < 1e-5


def test_network_can_be_exported(small: EfficientNet) -> None:
    """`torch.export` accepts the network unchanged."""
    images = torch.randn(2, 3, 45, 38)

    program = torch.export.export(small, (images,)).module()

    assert torch.allclose(program(images), small(images), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_network_can_be_exported_with_dynamic_sizes() -> None:
    """The exported graph pads each input according to its size."""
    torch.manual_seed(0)
    model = EfficientNet(dataclasses.replace(SMALL, stages=SMALL.stages[:2])).eval()
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)

    program = torch.export.export(model, (torch.randn(2, 3, 45, 38),), dynamic_shapes={"x": sizes}).module()

    for images in (torch.randn(3, 3, 32, 32), torch.randn(2, 3, 33, 64), torch.randn(2, 3, 47, 35)):
        assert torch.allclose(program(images), model(images), rtol=1e-5, atol=1e-6)
