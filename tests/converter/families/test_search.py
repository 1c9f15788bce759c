"""Which network a checkpoint holds: bigger networks around it, another network altogether, and a head from beside."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from converter.conversion import convert, plan_conversion
from converter.errors import MappingError, UnknownModelError
from converter.exporting import export
from converter.families.keras_applications import KERAS
from converter.families.search import FAMILIES
from converter.model.config import CONFIGS
from converter.verification.weights import verify_weights

from .. import networks
from ..networks import AVERAGE, Arrays


def detector(name: str) -> Arrays:
    """Write a detector's checkpoint as EfficientDet leaves it: a backbone without head, and what is built on it."""
    scope = f"{name}/"
    arrays = {
        key: array for key, array in networks.arrays(name, scope=scope).items() if not key.startswith(scope + "head/")
    }
    beside = {
        "box_net/box-0/depthwise_kernel": (3, 3, 64, 1),
        "box_net/box-predict/bias": (36,),
        "class_net/class-0/pointwise_kernel": (1, 1, 64, 64),
        "fpn_cells/cell_0/fnode0/WSM": (),
        "resample_p6/conv2d/kernel": (1, 1, 320, 64),
    }
    for key, shape in beside.items():
        arrays[key] = networks.number_array(1, shape)
        arrays[key + AVERAGE] = networks.number_array(2, shape)
    arrays["box_net/box-predict/bias/Momentum"] = networks.number_array(0, (36,))
    return arrays


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-b3", "efficientnet-b7"])
def test_backbone_of_a_detector_is_found_and_converted(name: str) -> None:
    """The backbone is the published one without head, and what stands beside it is listed by group."""
    arrays = detector(name)

    result = convert(arrays)

    assert result.config is not None
    assert (result.config.name, result.config.head_channels, result.config.num_classes) == (name, 0, 0)
    expected = [variable for variable in networks.variables(CONFIGS[name]) if not variable.name.startswith("head/")]
    for number, variable in enumerate(expected):
        assert result.state_dict[variable.target].flat[0] == networks.AVERAGE_OFFSET + number
    assert not any(key.startswith(("head", "classifier")) for key in result.state_dict)
    reasons = {record.source: record.reason for record in result.report.ignored}
    assert reasons["box_net/box-predict/bias"] == "beside the network, in box_net"
    assert reasons["box_net/box-predict/bias/Momentum"] == "slot of the optimizer Momentum"
    groups = {reason.rpartition(" ")[2] for reason in reasons.values() if reason.startswith("beside")}
    assert groups == {"box_net", "class_net", "fpn_cells", "resample_p6"}
    assert "without head: features of the last stage, as a detector's backbone gives" in result.report.evidence


def test_backbone_without_head_runs() -> None:
    """Its output is the last stage's features, pooled."""
    torch = pytest.importorskip("torch", reason="the network is a PyTorch module")
    from converter.model import EfficientNet

    result = convert(detector("efficientnet-b0"))
    model = EfficientNet(result.required_config()).eval()
    model.load_state_dict({name: torch.tensor(np.array(array)) for name, array in result.state_dict.items()})

    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 33, 33)).shape == (1, 320)
        assert model.forward_features(torch.zeros(1, 3, 33, 33)).shape == (1, 320, 2, 2)


def test_half_a_head_is_no_network_without_head() -> None:
    """A head of which something is left is damaged, and what is missing is listed."""
    arrays = networks.arrays("efficientnet-b0", averages=False)
    del arrays["net/head/conv2d/kernel"]

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [missing.target for missing in caught.value.missing] == ["head.conv.weight"]


def with_dense(*, width: int = 1280, name: str = "breeds") -> Arrays:
    """Write a backbone without classifier, and a dense layer of 151 classes beside it."""
    arrays = networks.arrays("efficientnetv2-b0", scope="backbone/", averages=False)
    arrays = {key: array for key, array in arrays.items() if "/dense/" not in key}
    arrays[f"{name}/kernel"] = networks.number_array(-1, (width, 151))
    arrays[f"{name}/bias"] = networks.number_array(-2, (151,))
    return arrays


def test_dense_layer_beside_becomes_the_classifier_when_asked() -> None:
    """`head` names it; nothing is left beside then."""
    result = convert(with_dense(), head="breeds")

    assert result.config is not None
    assert result.config.num_classes == 151
    assert result.state_dict["classifier.weight"].flat[0] == -1
    assert result.state_dict["classifier.bias"].flat[0] == -2
    assert not [record for record in result.report.ignored if "beside" in record.reason]
    assert result.report.head == "breeds"


def test_dense_layer_takes_its_average_along() -> None:
    """A head's moving averages are preferred as the network's are."""
    arrays = with_dense()
    arrays["breeds/kernel" + AVERAGE] = networks.number_array(-3, (1280, 151))

    assert convert(arrays, head="breeds").state_dict["classifier.weight"].flat[0] == -3
    assert convert(arrays, head="breeds", weights="raw").state_dict["classifier.weight"].flat[0] == -1


def test_dense_layer_takes_the_place_of_the_networks_own_classifier() -> None:
    """The classifier that is not wanted is left out for that reason."""
    arrays = {**networks.arrays("efficientnetv2-b0", averages=False), **with_dense()}
    arrays = {key: array for key, array in arrays.items() if not key.startswith("backbone/")}

    result = convert(arrays, head="breeds")

    assert result.config is not None
    assert result.config.num_classes == 151
    reasons = {record.source: record.reason for record in result.report.ignored}
    assert reasons["net/head/dense/bias"] == "classifier in whose place breeds is taken"


def test_dense_layer_of_another_width_cannot_be_the_classifier() -> None:
    """The error has both widths; a layer of the network's width is taken."""
    with pytest.raises(UnknownModelError, match="breeds takes 640 features, but the network gives 1280; dense layers"):
        plan_conversion(with_dense(width=640), head="breeds")
    assert plan_conversion(with_dense(), head="breeds").config is not None
    assert plan_conversion(with_dense(width=640)).report.notes == ()


def test_dense_layer_cannot_be_the_head_of_a_network_without_one() -> None:
    """Features of the last stage have no classifier in our module."""
    arrays = {**detector("efficientnet-b0"), "x/kernel": np.ones((320, 5)), "x/bias": np.ones(5)}

    with pytest.raises(UnknownModelError, match="x takes 320 features, but the network has no head"):
        plan_conversion(arrays, head="x")


def test_other_network_is_refused_with_the_nearest_family() -> None:
    """Names that are nearly a family's are said to be, with those that are not, and what is missing."""
    arrays = {name: np.ones(1) for name in ("net/stem/conv/kernel", "net/blocks_0/conv2d/kernel", "net/tail/w")}

    with pytest.raises(UnknownModelError) as caught:
        plan_conversion(arrays)

    assert str(caught.value).splitlines() == [
        "no EfficientNet in this checkpoint: none of its 3 variables is a stem "
        "(stem/conv2d/kernel or _stem/_conv_stem/kernel or stem_conv/kernel); "
        "it has net/blocks_0/conv2d/kernel, net/stem/conv/kernel, net/tail/w.",
        "The nearest family is automl (names of the released code (google/automl, tensorflow/tpu)), "
        "with 1 of the names; not its names are net/stem/conv/kernel, net/tail/w",
        "stem/conv2d/kernel is missing; close names: net/stem/conv/kernel, net/blocks_0/conv2d/kernel",
    ]


def test_network_of_quite_another_kind_is_pointed_to_rules() -> None:
    """Where no family is near, rules of the user's own are the way."""
    with pytest.raises(UnknownModelError, match=r"No family of names is near; rules of your own \(--rules\)"):
        plan_conversion({"bert/embeddings/word_embeddings": np.ones((3, 4))})


def test_object_graph_alone_is_no_network() -> None:
    """The tensor of the object graph is none of a network's."""
    with pytest.raises(UnknownModelError, match="none of its 0 variables"):
        plan_conversion({"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"", object)})


@pytest.mark.parametrize("prefix", ["", "model/", "a/b/"], ids=["root", "attribute", "nested"])
def test_paths_of_the_released_code_are_found_under_any_object(prefix: str) -> None:
    """`tf.train.Checkpoint(model=...)` puts a name before every path; keys alone are enough; slots are set aside."""
    layers = {
        "stem/conv2d": "_stem/_conv_stem",
        "stem/tpu_batch_normalization": "_stem/_norm",
        "head/conv2d": "_head/_conv_head",
        "head/tpu_batch_normalization": "_head/_norm",
        "head/dense": "_fc",
    }
    arrays: Arrays = {}
    config = CONFIGS["efficientnet-b0"]
    forms = {str(placed.flat_index): placed.config for placed in config.blocks()}
    for number, variable in enumerate(networks.variables(config)):
        layer, _, last = variable.name.rpartition("/")
        if layer not in layers:
            block, _, inner = layer.partition("/")
            expands = forms[block.removeprefix("blocks_")].expansion > 1
            own = {
                "conv2d": "_expand_conv" if expands else "_project_conv",
                "conv2d_1": "_project_conv",
                "depthwise_conv2d": "_depthwise_conv",
                "se/conv2d": "_se/_se_reduce",
                "se/conv2d_1": "_se/_se_expand",
                "tpu_batch_normalization": "_norm0" if expands else "_norm1",
                "tpu_batch_normalization_1": "_norm1" if expands else "_norm2",
                "tpu_batch_normalization_2": "_norm2",
            }
            layers[layer] = f"_blocks/{block.removeprefix('blocks_')}/{own[inner]}"
        path = f"{prefix}{layers[layer]}/{last}"
        arrays[path + "/.ATTRIBUTES/VARIABLE_VALUE"] = networks.number_array(number, variable.shape)
        slot = f"{path}/.OPTIMIZER_SLOT/optimizer/rms/.ATTRIBUTES/VARIABLE_VALUE"
        arrays[slot] = networks.number_array(-1, variable.shape)

    result = convert(arrays)

    assert result.report.rules == "automl-objects"
    assert result.config == config
    assert result.report.scope == prefix
    for number, variable in enumerate(networks.variables(config)):
        assert result.state_dict[variable.target].flat[0] == number, variable.target
    assert {record.reason for record in result.report.ignored} == {"slot rms of the optimizer optimizer"}


def test_extra_variable_of_a_block_stops_the_conversion() -> None:
    """What is within the network has to have its place; only what stands beside it may be left out."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/extra/w"] = np.ones(1)
    assert plan_conversion(arrays).report.ignored[-1].reason == "beside the network, in net/extra"
    arrays["net/blocks_3/extra/w"] = np.ones(1)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.name for finding in caught.value.unmapped] == ["net/blocks_3/extra/w"]


def test_families_have_names_and_versions_of_their_own() -> None:
    """An output says by name and version which table made it."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert KERAS in FAMILIES


def test_verification_knows_the_head_an_output_was_made_with(tmp_path: pathlib.Path) -> None:
    """The name of the dense layer is recorded with the output, so that nothing has to be said again."""
    path = tmp_path / "x.safetensors"
    arrays = with_dense()
    export(convert(arrays, head="breeds"), path)

    report = verify_weights(arrays, path)

    assert report.ok
    assert report.config is not None
    assert report.config.num_classes == 151
