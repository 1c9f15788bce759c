"""The rule table of the released code's names: every published network, scopes, classifiers and what is ignored."""

from __future__ import annotations

import numpy as np
import pytest

from converter.conversion import convert, plan_conversion
from converter.errors import MappingError, UnknownModelError
from converter.model.config import CONFIGS

from .. import networks


@pytest.mark.parametrize("name", CONFIGS)
def test_every_published_network_is_recognised_and_every_tensor_finds_its_place(name: str) -> None:
    """From names and shapes alone the variant is found, and each target holds the number of its own variable."""
    arrays = networks.arrays(name, scope="eff_net_v2_model/")

    result = convert(arrays)

    assert result.config == CONFIGS[name]
    assert result.report.evidence[:2] == (f"names and shapes are those of {name}", "published strides")
    for number, variable in enumerate(networks.variables(CONFIGS[name])):
        found = result.state_dict[variable.target]
        assert found.shape == variable.target_shape, variable.name
        assert found.flat[0] == networks.AVERAGE_OFFSET + number, variable.name
    counters = [key for key in result.state_dict if key.endswith("num_batches_tracked")]
    assert len(result.state_dict) == number + 1 + len(counters)
    assert len(counters) == sum(target.endswith("running_var") for target in result.state_dict)


def test_released_b0_has_its_published_number_of_tensors() -> None:
    """The generated checkpoint is like the released one: 361 variables, their averages and the step counter."""
    arrays = networks.arrays("efficientnetv2-b0", scope="eff_net_v2_model/")

    report = plan_conversion(arrays).report

    assert len(arrays) == 723
    assert (len(report.tensors), len(report.ignored), report.averaged) == (361, 362, 361)
    assert report.parameters == 7_139_704


def test_raw_weights_take_the_plain_values() -> None:
    """The same checkpoint gives the other set on request."""
    arrays = networks.arrays("efficientnetv2-b0")

    result = convert(arrays, weights="raw")

    assert result.state_dict["stem.conv.weight"].flat[0] == 0
    assert result.report.averaged == 0


def test_averages_are_taken_where_present_and_counted() -> None:
    """A variable without average gives its raw value, and the report says how many did."""
    arrays = networks.arrays("efficientnetv2-b0")
    del arrays["net/stem/conv2d/kernel" + networks.AVERAGE]

    result = convert(arrays)

    assert result.state_dict["stem.conv.weight"].flat[0] == 0
    assert result.state_dict["stem.bn.weight"].flat[0] == networks.AVERAGE_OFFSET + 1
    assert result.report.averaged == 360


@pytest.mark.parametrize("scope", ["", "efficientnetv2-s/", "efficientnet-b0/model/", "a{b}.*/"])
def test_scope_is_found_from_the_names(scope: str) -> None:
    """A network is found at the root and under any scope, and the scope does not tell the variant."""
    arrays = networks.arrays("efficientnet-b0", scope=scope)

    planned = plan_conversion(arrays)

    assert planned.config.name == "efficientnet-b0"
    assert planned.report.scope == scope


def test_several_networks_need_a_scope() -> None:
    """Which of two networks is meant is asked for; then the other stands beside it, and is listed as a group."""
    arrays = {**networks.arrays("efficientnet-b0", scope="a/"), **networks.arrays("efficientnet-b1", scope="b/")}

    with pytest.raises(UnknownModelError, match="several networks in one checkpoint, under 'a/', 'b/'"):
        plan_conversion(arrays)
    planned = plan_conversion(arrays, scope="b")

    assert planned.config.name == "efficientnet-b1"
    beside = [record.source for record in planned.report.ignored if record.reason == "beside the network, in a"]
    assert set(beside) == {name for name in arrays if name.startswith("a/")}


def test_scope_that_has_no_network_names_one_that_has() -> None:
    """A wrong scope is answered with the right one; with or without the slash both work."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)

    with pytest.raises(UnknownModelError, match=r"under the scope 'other/'; there is one under 'net/'"):
        plan_conversion(arrays, scope="other")
    assert plan_conversion(arrays, scope="net").report.scope == "net/"
    assert plan_conversion(arrays, scope="net/").report.scope == "net/"


@pytest.mark.parametrize("dense", ["head/dense", "head_1/dense"])
def test_classifier_is_found_under_either_name(dense: str) -> None:
    """Current TensorFlow may name the classifier's scope anew."""
    arrays = networks.arrays("efficientnetv2-b0", dense=dense)

    result = convert(arrays)

    assert result.state_dict["classifier.weight"].shape == (1000, 1280)
    assert result.config.num_classes == 1000


def test_two_classifiers_are_ambiguous() -> None:
    """Both names at once are not guessed between; either alone is fine, as the test above shows."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/head_1/dense/kernel"] = arrays["net/head/dense/kernel"]

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.name for finding in caught.value.ambiguous] == ["classifier.weight"]
    assert caught.value.ambiguous[0].candidates == ("net/head/dense/kernel", "net/head_1/dense/kernel")


def test_network_without_classifier_gives_pooled_features() -> None:
    """A checkpoint without dense layer becomes a network of no classes."""
    arrays = networks.arrays("efficientnetv2-b0")
    arrays = {name: array for name, array in arrays.items() if "/dense/" not in name}

    result = convert(arrays)

    assert result.config.num_classes == 0
    assert "classifier.weight" not in result.state_dict


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("net/stem/conv2d/kernel/RMSProp", "slot of the optimizer RMSProp"),
        ("net/stem/conv2d/kernel/RMSProp_1", "slot of the optimizer RMSProp"),
        ("net/stem/conv2d/kernel/Momentum", "slot of the optimizer Momentum"),
        ("net/stem/conv2d/kernel/Adam", "slot of the optimizer Adam"),
        ("net/stem/conv2d/kernel/Adam_1", "slot of the optimizer Adam"),
        ("beta1_power", "state of the optimizer Adam"),
        ("net/beta2_power", "state of the optimizer Adam"),
        ("global_step", "step counter of the training"),
    ],
)
def test_training_state_is_ignored_for_its_reason(name: str, reason: str) -> None:
    """What an optimizer left behind is listed with the reason it is not needed."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays[name] = np.ones(1, np.float32)

    report = plan_conversion(arrays).report

    assert [record.reason for record in report.ignored if record.source == name] == [reason]


def test_slot_of_an_unknown_optimizer_stops_the_conversion() -> None:
    """A name that no rule knows is never dropped in silence."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/stem/conv2d/kernel/Lion"] = np.ones(1, np.float32)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.name for finding in caught.value.unmapped] == ["net/stem/conv2d/kernel/Lion"]


def test_checkpoint_without_step_counter_converts() -> None:
    """Some published copies lack it."""
    arrays = networks.arrays("efficientnetv2-b0")
    del arrays["global_step"]

    assert plan_conversion(arrays).config.name == "efficientnetv2-b0"


def test_missing_tensor_is_reported_with_the_name_it_should_have() -> None:
    """A renamed tensor is one unmapped and one missing, and the error brings them together."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/blocks_5/se/conv/bias"] = arrays.pop("net/blocks_5/se/conv2d/bias")

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.name for finding in caught.value.unmapped] == ["net/blocks_5/se/conv/bias"]
    (missing,) = caught.value.missing
    assert missing.target == "stages.3.0.se.reduce.bias"
    assert missing.expected == ("net/blocks_5/se/conv2d/bias",)
    assert missing.close_names == ("net/blocks_5/se/conv/bias",)


@pytest.mark.parametrize(
    "name",
    [
        "blocks_0/conv2d/kernel",
        "blocks_5/conv2d/kernel",
        "blocks_5/conv2d_1/kernel",
        "blocks_5/depthwise_conv2d/depthwise_kernel",
        "head/conv2d/kernel",
    ],
)
def test_missing_kernel_is_reported_for_the_network_it_is_missing_from(name: str) -> None:
    """A kernel without which a block cannot be read leaves the rest to tell the variant, and is listed as missing."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    del arrays["net/" + name]

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.expected for finding in caught.value.missing] == [("net/" + name,)]
    assert not caught.value.unmapped


def test_wrong_shape_of_one_tensor_is_reported_with_both_shapes() -> None:
    """A batch norm of another width is found; the kernels still tell the variant."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/blocks_3/tpu_batch_normalization/gamma"] = np.ones(129, np.float32)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    (mismatch,) = caught.value.mismatched
    assert (mismatch.source_shape, mismatch.expected) == ((129,), (128,))
    assert mismatch.target == "stages.2.0.expand.bn.weight"


def test_swap_of_equal_shapes_shows() -> None:
    """Two tensors of one shape that are exchanged in the source are exchanged in the result, and nowhere else."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    swapped = dict(arrays)
    one, other = "net/blocks_6/conv2d/kernel", "net/blocks_7/conv2d/kernel"
    assert arrays[one].shape == arrays[other].shape
    swapped[one], swapped[other] = arrays[other], arrays[one]

    before, after = convert(arrays).state_dict, convert(swapped).state_dict

    different = [name for name in before if before[name].flat[0] != after[name].flat[0]]
    assert different == ["stages.3.1.expand.conv.weight", "stages.3.2.expand.conv.weight"]
