"""The search for a network in a checkpoint that contains more, or something different."""

from __future__ import annotations

import pathlib
from collections.abc import Collection

import numpy as np
import pytest

from converter.conversion import ConversionOptions, convert, plan_conversion
from converter.errors import MappingError, OtherNetworkError, Unaccounted, UnknownModelError
from converter.exporting import export
from converter.families.keras_applications import KERAS
from converter.families.search import FAMILIES, prepare
from converter.families.variables import Inventory, SourceVariable, inventory_from_names
from converter.model.architectures import CONFIGS
from converter.structure.reading import Reading, read_network
from converter.verification.weights import verify_weights

from .. import networks
from ..networks import AVERAGE, Arrays
from ..structure.graphs import classifier as classifier_graph


def write_detector(name: str) -> Arrays:
    """Return a checkpoint like EfficientDet's: a backbone without head, and the layers of the detector."""
    scope = f"{name}/"
    arrays = {
        key: array for key, array in networks.arrays(name, scope=scope).items() if not key.startswith(scope + "head/")
    }
    detector_shapes = {
        "box_net/box-0/depthwise_kernel": (3, 3, 64, 1),
        "box_net/box-predict/bias": (36,),
        "class_net/class-0/pointwise_kernel": (1, 1, 64, 64),
        "fpn_cells/cell_0/fnode0/WSM": (),
        "resample_p6/conv2d/kernel": (1, 1, 320, 64),
    }
    for key, shape in detector_shapes.items():
        arrays[key] = networks.number_array(1, shape)
        arrays[key + AVERAGE] = networks.number_array(2, shape)
    arrays["box_net/box-predict/bias/Momentum"] = networks.number_array(0, (36,))
    return arrays


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-b3", "efficientnet-b7"])
def test_backbone_of_a_detector_is_found_and_converted(name: str) -> None:
    """The config is the published one without head, and the other variables are ignored by group."""
    arrays = write_detector(name)

    result = convert(arrays)

    assert result.config is not None
    assert (result.config.name, result.config.head_channels, result.config.num_classes) == (name, 0, 0)
    expected = [variable for variable in networks.variables(CONFIGS[name]) if not variable.name.startswith("head/")]
    for number, variable in enumerate(expected):
        assert result.state_dict[variable.target].flat[0] == networks.AVERAGE_OFFSET + number
    assert not any(key.startswith(("head", "classifier")) for key in result.state_dict)
    reasons = {record.source: record.reason for record in result.report.ignored}
    assert reasons["box_net/box-predict/bias"].endswith(" in box_net")
    assert reasons["box_net/box-predict/bias/Momentum"] == "slot of the optimizer Momentum"
    groups = {reason.rpartition(" in ")[2] for reason in reasons.values() if " in " in reason}
    assert groups == {"box_net", "class_net", "fpn_cells", "resample_p6"}
    assert any("no head" in evidence for evidence in result.report.evidence)


def test_backbone_without_head_returns_features() -> None:
    """The output is the pooled features of the last stage."""
    torch = pytest.importorskip("torch", reason="the network is a PyTorch module")
    from converter.model import EfficientNet

    result = convert(write_detector("efficientnet-b0"))
    model = EfficientNet(result.required_config()).eval()
    model.load_state_dict({name: torch.tensor(np.array(array)) for name, array in result.state_dict.items()})

    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 33, 33)).shape == (1, 320)
        assert model.forward_features(torch.zeros(1, 3, 33, 33)).shape == (1, 320, 2, 2)


def test_incomplete_head_is_an_error() -> None:
    """A network with any variable of a head is damaged unless the head is complete."""
    arrays = networks.arrays("efficientnet-b0", averages=False)
    del arrays["net/head/conv2d/kernel"]

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [missing.target for missing in caught.value.missing] == ["head.conv.weight"]


def write_with_dense(*, width: int = 1280, name: str = "breeds") -> Arrays:
    """Return a backbone without classifier, and a dense layer with 151 classes outside it."""
    arrays = networks.arrays("efficientnetv2-b0", scope="backbone/", averages=False)
    arrays = {key: array for key, array in arrays.items() if "/dense/" not in key}
    arrays[f"{name}/kernel"] = networks.number_array(-1, (width, 151))
    arrays[f"{name}/bias"] = networks.number_array(-2, (151,))
    return arrays


def test_requested_dense_layer_becomes_the_classifier() -> None:
    """`head` is the name of the layer, which is then not ignored."""
    result = convert(write_with_dense(), head="breeds")

    assert result.config is not None
    assert result.config.num_classes == 151
    assert result.state_dict["classifier.weight"].flat[0] == -1
    assert result.state_dict["classifier.bias"].flat[0] == -2
    assert not [record for record in result.report.ignored if "breeds" in record.source]
    assert result.report.head == "breeds"


def test_no_layer_is_suggested_as_the_classifier_if_there_are_several() -> None:
    """With the first of two layers that follow each other as the classifier, the network would compute other logits."""
    one = write_with_dense()
    two = write_with_dense(name="hidden")
    two["breeds/kernel"] = networks.number_array(-3, (151, 7))
    two["breeds/bias"] = networks.number_array(-4, (7,))

    (suggestion,) = convert(one).report.notes
    (note,) = convert(two).report.notes

    assert "--head breeds makes it" in suggestion
    assert "breeds (151 to 7), hidden (1280 to 151)" in note
    assert "--head hidden" not in note


def test_layer_whose_result_the_graph_returns_is_suggested() -> None:
    """Of two layers with the network's width the graph returns one; reading the other one finds what follows it."""
    arrays = write_with_dense(name="hidden")
    arrays["breeds/kernel"] = networks.number_array(-3, (1280, 7))
    arrays["breeds/bias"] = networks.number_array(-4, (7,))
    graph = classifier_graph()
    renamed = [node._replace(name=node.name.replace("head/", "breeds/")) for node in graph.nodes]
    renamed = [node._replace(inputs=tuple(one.replace("head/", "breeds/") for one in node.inputs)) for node in renamed]
    returned = read_network(renamed)

    def read(keys: Collection[str]) -> Reading | None:
        if "hidden/kernel" in keys:
            raise OtherNetworkError(
                (Unaccounted("act", "Relu", "Relu applied to the logits", "the logits"),), graph="g"
            )
        return returned if "breeds/kernel" in keys else None

    inventory = inventory_from_names({name: array.shape for name, array in arrays.items()})

    (note,) = prepare(inventory, read_graph=read).notes
    (without,) = prepare(inventory).notes
    given = prepare(inventory, head="breeds").notes

    assert "--head breeds makes it" in note
    assert "several" in without
    assert "no graph shows" in given[0]
    with pytest.raises(OtherNetworkError):
        prepare(inventory, head="hidden", read_graph=read)


def test_error_for_an_incomplete_network_names_the_code_base_of_its_stem() -> None:
    """A network of unknown blocks after a known stem is not called a damaged one of an unknown kind."""
    arrays = {"net/stem_conv/kernel": np.ones((3, 3, 3, 8)), "net/unit_1/kernel": np.ones((3, 3, 8, 8))}

    with pytest.raises(UnknownModelError, match="no blocks") as caught:
        convert(arrays)

    assert "keras: layers of Keras applications" in str(caught.value)


def test_counter_at_the_root_is_not_part_of_an_optimizer() -> None:
    """A program may save the counter of its optimizer as its step: the path says so, and the full name does not."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    variables = tuple(SourceVariable(name, array.shape, f"model/{name}", name) for name, array in arrays.items())
    step = SourceVariable("step", (), "step", "SGD/iter")

    prepared = prepare(Inventory((*variables, step), (), True))

    assert prepared.others == {"step": 1}


def test_moving_averages_of_a_requested_dense_layer_are_used() -> None:
    """`weights` applies to the dense layer as well."""
    arrays = write_with_dense()
    arrays["breeds/kernel" + AVERAGE] = networks.number_array(-3, (1280, 151))

    assert convert(arrays, head="breeds").state_dict["classifier.weight"].flat[0] == -3
    assert convert(arrays, head="breeds", weights="raw").state_dict["classifier.weight"].flat[0] == -1


def test_requested_dense_layer_replaces_the_classifier() -> None:
    """The classifier of the network is ignored for this reason."""
    arrays = {**networks.arrays("efficientnetv2-b0", averages=False), **write_with_dense()}
    arrays = {key: array for key, array in arrays.items() if not key.startswith("backbone/")}

    result = convert(arrays, head="breeds")

    assert result.config is not None
    assert result.config.num_classes == 151
    reasons = {record.source: record.reason for record in result.report.ignored}
    assert reasons["net/head/dense/bias"].endswith("breeds")


def test_dense_layer_of_a_wrong_width_cannot_be_the_classifier() -> None:
    """The error contains both widths; a layer of the right width is accepted."""
    with pytest.raises(UnknownModelError, match=r"breeds .*640.*1280"):
        plan_conversion(write_with_dense(width=640), ConversionOptions(head="breeds"))
    assert plan_conversion(write_with_dense(), ConversionOptions(head="breeds")).config is not None
    assert plan_conversion(write_with_dense(width=640)).report.notes == ()


def test_dense_layer_cannot_be_the_classifier_without_a_head() -> None:
    """Our module has no classifier after the features of the last stage."""
    arrays = {**write_detector("efficientnet-b0"), "x/kernel": np.ones((320, 5)), "x/bias": np.ones(5)}

    with pytest.raises(UnknownModelError, match=r"x .*320"):
        plan_conversion(arrays, ConversionOptions(head="x"))


def test_error_for_a_different_network_names_the_most_similar_family() -> None:
    """The message contains the family, the names that do not match, and the closest names to the stem."""
    arrays = {name: np.ones(1) for name in ("net/stem/conv/kernel", "net/blocks_0/conv2d/kernel", "net/tail/w")}

    with pytest.raises(UnknownModelError) as caught:
        plan_conversion(arrays)

    lines = str(caught.value).splitlines()
    assert "automl " in lines[1]
    assert "net/stem/conv/kernel, net/tail/w" in lines[1]
    assert "net/stem/conv/kernel" in lines[2]


def test_error_for_an_unrelated_network_mentions_rules() -> None:
    """The message suggests the option for the user's own rules."""
    with pytest.raises(UnknownModelError, match="--rules"):
        plan_conversion({"bert/embeddings/word_embeddings": np.ones((3, 4))})


def test_object_graph_alone_is_not_a_network() -> None:
    """The tensor of the object graph is not a variable."""
    with pytest.raises(UnknownModelError, match="0 variables"):
        plan_conversion({"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"", object)})


@pytest.mark.parametrize("prefix", ["", "model/", "a/b/"], ids=["root", "attribute", "nested"])
def test_object_paths_are_found_under_any_object(prefix: str) -> None:
    """`tf.train.Checkpoint(model=...)` adds a name before every path; keys are sufficient, and slots are ignored."""
    layers = {
        "stem/conv2d": "_stem/_conv_stem",
        "stem/tpu_batch_normalization": "_stem/_norm",
        "head/conv2d": "_head/_conv_head",
        "head/tpu_batch_normalization": "_head/_norm",
        "head/dense": "_fc",
    }
    arrays: Arrays = {}
    config = CONFIGS["efficientnet-b0"]
    forms = {str(block.flat_index): block.config for block in config.blocks()}
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


def test_extra_variable_of_a_block_is_an_error() -> None:
    """Only variables outside the network are ignored."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/extra/w"] = np.ones(1)
    assert plan_conversion(arrays).report.ignored[-1].reason.endswith(" in net/extra")
    arrays["net/blocks_3/extra/w"] = np.ones(1)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.name for finding in caught.value.unmapped] == ["net/blocks_3/extra/w"]


def test_families_have_unique_names() -> None:
    """Outputs record the name of the family."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert KERAS in FAMILIES


def test_verification_reads_the_head_from_the_output(tmp_path: pathlib.Path) -> None:
    """The output records the name of the dense layer, so it need not be passed again."""
    path = tmp_path / "x.safetensors"
    arrays = write_with_dense()
    export(convert(arrays, head="breeds"), path)

    report = verify_weights(arrays, path)

    assert report.ok
    assert report.config is not None
    assert report.config.num_classes == 151
