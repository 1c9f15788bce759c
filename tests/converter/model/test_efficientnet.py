"""The whole network: its size, its outputs, its training mode, and what it says about wrong inputs."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch module")

from converter.model import CONFIGS, EfficientNet, EfficientNetConfig, StageConfig  # noqa: E402
from converter.model.efficientnet import FeatureInfo  # noqa: E402
from converter.model.layers import FusedMBConv, MBConv  # noqa: E402


def stage(
    block: str, channels: tuple[int, int], *, repeats: int, kernel: int, stride: int, expansion: int
) -> StageConfig:
    """Make a stage; those of MBConv blocks have squeeze-excite."""
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


# Every form of block; reductions 2, 4, 8 and again 8.
SMALL = EfficientNetConfig(
    name="small",
    stem_channels=8,
    stages=(
        stage("fused", (8, 8), repeats=1, kernel=3, stride=1, expansion=1),
        stage("fused", (8, 12), repeats=2, kernel=3, stride=2, expansion=4),
        stage("mbconv", (12, 16), repeats=2, kernel=5, stride=2, expansion=4),
        stage("mbconv", (16, 24), repeats=1, kernel=3, stride=1, expansion=1),
    ),
    head_channels=32,
    num_classes=5,
)


@pytest.fixture
def small() -> EfficientNet:
    """A small random network in eval mode."""
    torch.manual_seed(0)
    return EfficientNet(SMALL).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_network_has_the_parameters_its_config_counts(name: str) -> None:
    """The closed form of the config and the module agree for every published network."""
    with torch.device("meta"):
        model = EfficientNet(CONFIGS[name])

    assert sum(parameter.numel() for parameter in model.parameters()) == CONFIGS[name].parameter_count()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (7, 64)], ids=str)
def test_network_takes_images_of_any_size(small: EfficientNet, size: tuple[int, int]) -> None:
    """Each stride gives ceil(size / stride), and the output is logits of the batch."""
    images = torch.randn(2, 3, *size)

    with torch.inference_mode():
        features, logits = small.forward_features(images), small(images)

    assert features.shape == (2, 32, -(-size[0] // 8), -(-size[1] // 8))
    assert logits.shape == (2, 5)
    assert bool(logits.isfinite().all())


def test_forward_is_features_and_head(small: EfficientNet) -> None:
    """The two halves give what the whole gives; `pre_logits` stops before the classifier."""
    images = torch.randn(2, 3, 32, 32)

    with torch.inference_mode():
        features = small.forward_features(images)
        pooled = small.forward_head(features, pre_logits=True)

        assert torch.equal(small.forward_head(features), small(images))
        assert torch.equal(pooled, features.mean((2, 3)))
        assert torch.equal(small.classifier(pooled), small(images))


def test_network_without_classes_gives_pooled_features(small: EfficientNet) -> None:
    """`num_classes=0` overrides the config, leaves no classifier weights, and is kept in the module's config."""
    bare = EfficientNet(SMALL, num_classes=0).eval()
    weights = {name: tensor for name, tensor in small.state_dict().items() if not name.startswith("classifier.")}
    images = torch.randn(2, 3, 32, 32)

    bare.load_state_dict(weights)

    with torch.inference_mode():
        assert torch.equal(bare(images), small.forward_features(images).mean((2, 3)))
    assert bare.config == dataclasses.replace(SMALL, num_classes=0)


def test_classifier_can_be_replaced(small: EfficientNet) -> None:
    """A new class count changes the classifier and nothing else; the mode and the dtype stay."""
    small.double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    features = small.forward_features(images)

    small.reset_classifier(9)

    assert small(images).shape == (2, 9)
    assert small.config.num_classes == 9
    assert not any(module.training for module in small.modules())
    assert torch.equal(small.forward_features(images), features)


def test_endpoints_have_the_released_codes_names_in_network_order(small: EfficientNet) -> None:
    """Every block, the last of each reduction under a second name, and the steps of the head."""
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


def test_stage_features_are_the_stages_outputs(small: EfficientNet) -> None:
    """Channels and reductions are those announced; without a choice, the last stage of each reduction."""
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
    for found, point in zip(pyramid, ("block_0", "block_2", "block_5"), strict=True):
        assert torch.equal(found, points[point])
    for found, number in zip(chosen, (3, 2), strict=True):
        _, channels, reduction = small.feature_info[number]
        assert found.shape == (1, channels, 64 // reduction, 64 // reduction)


def test_stage_features_stop_after_the_last_stage_asked_for(small: EfficientNet) -> None:
    """Later stages are not run at all."""
    ran: list[int] = []
    for number, module in enumerate(small.stages):
        module.register_forward_hook(lambda *_, number=number: ran.append(number))

    small.stage_features(torch.randn(1, 3, 32, 32), stages=[1])

    assert ran == [0, 1]


@pytest.mark.parametrize("number", [-1, 4])
def test_stage_features_reject_a_stage_that_is_not_there(small: EfficientNet, number: int) -> None:
    """The message gives the range; its last stage is accepted."""
    images = torch.randn(1, 3, 32, 32)

    with pytest.raises(ValueError, match=rf"no stage {number}: stages are 0 to 3"):
        small.stage_features(images, stages=(0, number))
    assert len(small.stage_features(images, stages=(0, 3))) == 2


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.zeros(3, 32, 32),
            "input has 3 axes, expected 4 (N, C, H, W): a single image needs a leading axis, x[None]",
        ),
        (
            torch.zeros(1, 32, 32, 3),
            "input has 32 channels, expected 3 (N, C, H, W): looks like NHWC, use x.permute(0, 3, 1, 2)",
        ),
        (torch.zeros(1, 1, 32, 32), "input has 1 channels, expected 3 (N, C, H, W)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "input has dtype torch.uint8, expected floating point"),
    ],
    ids=["no batch", "channels last", "grey", "integers"],
)
@pytest.mark.parametrize("method", ["forward", "endpoints", "stage_features"])
def test_network_rejects_what_is_no_batch_of_images(
    small: EfficientNet, method: str, images: torch.Tensor, message: str
) -> None:
    """The message says what was found, what is expected, and what was probably meant."""
    with pytest.raises(ValueError) as caught:
        getattr(small, method)(images)

    assert str(caught.value).startswith(message)


def test_weights_are_drawn_as_the_released_code_draws_them() -> None:
    """Normal with variance 2 / fan-out, of a depthwise kernel its area; classifier uniform; biases zero."""
    torch.manual_seed(0)
    config = dataclasses.replace(
        SMALL,
        stages=(stage("mbconv", (8, 256), repeats=1, kernel=3, stride=1, expansion=64),),
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

    for name, (found, expected) in deviations.items():
        assert found == pytest.approx(expected, rel=0.05), name
    assert model.classifier.weight.abs().max().item() <= 0.1
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    assert all(not bias.any() for bias in biases)
    assert all(
        bool((module.weight == 1).all()) for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)
    )


def test_batch_norms_have_the_configs_epsilon_and_momentum() -> None:
    """Every batch norm of the network takes both from the config."""
    model = EfficientNet(dataclasses.replace(SMALL, bn_epsilon=0.02, bn_momentum=0.3))

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]

    assert len(norms) == 15
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.02, 0.3)}


def test_stochastic_depth_grows_linearly_over_the_blocks() -> None:
    """The first block never drops, and the last stays one step below the config's rate."""
    model = EfficientNet(dataclasses.replace(SMALL, drop_path=0.6))

    rates = [module.drop_rate for module in model.modules() if isinstance(module, (FusedMBConv, MBConv))]

    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_network_trains() -> None:
    """A step in training mode reaches every parameter, moves the statistics, and is random by dropout."""
    torch.manual_seed(0)
    model = EfficientNet(dataclasses.replace(SMALL, dropout=0.5, drop_path=0.0)).train()
    images = torch.randn(4, 3, 32, 32)

    first, second = model(images), model(images)
    first.square().sum().backward()

    assert not torch.equal(first, second)
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert model.stem.bn.num_batches_tracked.item() == 2


def test_network_is_the_same_every_time_in_eval_mode(small: EfficientNet) -> None:
    """Neither dropout nor stochastic depth acts."""
    images = torch.randn(2, 3, 32, 32)

    assert torch.equal(small(images), small(images))


def test_network_runs_in_float64_and_channels_last(small: EfficientNet) -> None:
    """Both give the float32 result up to its rounding; the layout changes nothing but the order in memory."""
    images = torch.randn(2, 3, 45, 38)

    with torch.inference_mode():
        plain = small(images)
        last = small.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        exact = small.double()(images.double())

    assert exact.dtype == torch.float64
    scale = exact.abs().max()
    # Rounding of float32 over the network's depth; a wrong padding would be off by 1e-2.
    assert ((plain - exact).abs().max() / scale).item() < 1e-5
    assert ((last - exact).abs().max() / scale).item() < 1e-5


def test_network_exports(small: EfficientNet) -> None:
    """torch.export takes the network as it is."""
    images = torch.randn(2, 3, 45, 38)

    program = torch.export.export(small, (images,)).module()

    assert torch.allclose(program(images), small(images), rtol=1e-5, atol=1e-6)


def test_network_exports_with_its_sizes_left_open() -> None:
    """The exported graph pads every input by that input's own size."""
    torch.manual_seed(0)
    model = EfficientNet(dataclasses.replace(SMALL, stages=SMALL.stages[:2])).eval()
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)

    program = torch.export.export(model, (torch.randn(2, 3, 45, 38),), dynamic_shapes={"x": sizes}).module()

    for images in (torch.randn(3, 3, 32, 32), torch.randn(2, 3, 33, 64), torch.randn(2, 3, 47, 35)):
        assert torch.allclose(program(images), model(images), rtol=1e-5, atol=1e-6)
