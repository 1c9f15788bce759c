"""Checkpoints with the names of the released code: published networks, scopes, classifiers and ignored tensors."""

from __future__ import annotations

import numpy as np
import pytest

from converter.conversion import ConversionOptions, convert, plan_conversion
from converter.errors import MappingError, UnknownModelError
from converter.model.architectures import CONFIGS
from tests.conftest import slow

from .. import networks


@pytest.mark.parametrize("name", CONFIGS)
def test_every_published_network_is_recognized_and_mapped(name: str) -> None:
    """Names and shapes identify the variant, and each target gets its own variable."""
    scope = "eff_net_v2_model/"

    planned = plan_conversion(networks.arrays(name, scope=scope))

    assert planned.config == CONFIGS[name]
    assert name in planned.report.evidence[0]
    assert {move.target: (move.source, move.target_shape) for move in planned.plan.moves} == {
        variable.target: (scope + variable.name + networks.AVERAGE, variable.target_shape)
        for variable in networks.variables(CONFIGS[name])
    }


SMALLEST = ("efficientnetv2-b0", "efficientnet-b0", "efficientnet-lite0")


@pytest.mark.parametrize("name", [name if name in SMALLEST else slow(name) for name in CONFIGS])
def test_every_published_network_is_converted(name: str) -> None:
    """Each target contains the number of its variable."""
    result = convert(networks.arrays(name, scope="eff_net_v2_model/"))

    for number, variable in enumerate(networks.variables(CONFIGS[name])):
        array = result.state_dict[variable.target]
        assert array.shape == variable.target_shape, variable.name
        assert array.flat[0] == networks.AVERAGE_OFFSET + number, variable.name
    counters = [key for key in result.state_dict if key.endswith("num_batches_tracked")]
    assert len(result.state_dict) == number + 1 + len(counters)
    assert len(counters) == sum(target.endswith("running_var") for target in result.state_dict)


def test_released_b0_has_the_published_number_of_tensors() -> None:
    """The checkpoint contains 361 variables, their averages and the step counter, like the released one."""
    arrays = networks.arrays("efficientnetv2-b0", scope="eff_net_v2_model/")

    report = plan_conversion(arrays).report

    assert len(arrays) == 723
    assert (len(report.tensors), len(report.ignored), report.averaged) == (361, 362, 361)
    assert report.parameters == 7_139_704


def test_raw_weights_are_converted_on_request() -> None:
    """`weights="raw"` selects the raw values of the same checkpoint."""
    arrays = networks.arrays("efficientnetv2-b0")

    result = convert(arrays, weights="raw")

    assert result.state_dict["stem.conv.weight"].flat[0] == 0
    assert result.report.averaged == 0


def test_raw_value_is_used_if_there_is_no_average() -> None:
    """The report counts the averages."""
    arrays = networks.arrays("efficientnetv2-b0")
    del arrays["net/stem/conv2d/kernel" + networks.AVERAGE]

    result = convert(arrays)

    assert result.state_dict["stem.conv.weight"].flat[0] == 0
    assert result.state_dict["stem.bn.weight"].flat[0] == networks.AVERAGE_OFFSET + 1
    assert result.report.averaged == 360


@pytest.mark.parametrize("scope", ["", "efficientnetv2-s/", "efficientnet-b0/model/", "a{b}.*/"])
def test_scope_is_found_in_the_names(scope: str) -> None:
    """A network is found at the root and under any scope, and the scope does not determine the variant."""
    arrays = networks.arrays("efficientnet-b0", scope=scope)

    planned = plan_conversion(arrays)

    assert planned.config.name == "efficientnet-b0"
    assert planned.report.scope == scope


def test_several_networks_need_a_scope() -> None:
    """The error names both scopes; with a scope, the other network is ignored as a group."""
    arrays = {**networks.arrays("efficientnet-b0", scope="a/"), **networks.arrays("efficientnet-b1", scope="b/")}

    with pytest.raises(UnknownModelError, match="'a/', 'b/'"):
        plan_conversion(arrays)
    planned = plan_conversion(arrays, ConversionOptions(scope="b"))

    assert planned.config.name == "efficientnet-b1"
    ignored = {record.source for record in planned.report.ignored if record.reason.endswith(" in a")}
    assert ignored == {name for name in arrays if name.startswith("a/")}


def test_error_for_a_wrong_scope_names_the_right_one() -> None:
    """The right scope is accepted with or without its final slash."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)

    with pytest.raises(UnknownModelError, match=r"'other/'.*'net/'"):
        plan_conversion(arrays, ConversionOptions(scope="other"))
    assert plan_conversion(arrays, ConversionOptions(scope="net")).report.scope == "net/"
    assert plan_conversion(arrays, ConversionOptions(scope="net/")).report.scope == "net/"


@pytest.mark.parametrize("dense", ["head/dense", "head_1/dense"])
def test_classifier_is_found_under_both_names(dense: str) -> None:
    """Current TensorFlow may add a number to the classifier's scope."""
    arrays = networks.arrays("efficientnetv2-b0", dense=dense)

    result = convert(arrays)

    assert result.state_dict["classifier.weight"].shape == (1000, 1280)
    assert result.config.num_classes == 1000


@pytest.mark.parametrize(
    ("stem", "head", "dense"),
    [("stem_1", "head_1", "head/dense_1"), ("stem_12", "head_12", "head_12/dense"), ("stem_1", "head_1", "head/dense")],
    ids=["second network", "graph mode", "dense layer first"],
)
def test_second_network_of_a_process_has_numbers_at_stem_and_head(stem: str, head: str, dense: str) -> None:
    """Keras numbers the layers that the code does not name; the network and its values are the same.

    The first names are those that TensorFlow 2.21 gives to the second EffNetV2Model of one process.
    """
    arrays = networks.arrays("efficientnetv2-b0")
    renamed = {
        name.replace("/stem/", f"/{stem}/").replace("head/dense/", f"{dense}/")
        if "/dense/" in name
        else name.replace("/stem/", f"/{stem}/").replace("/head/", f"/{head}/"): array
        for name, array in arrays.items()
    }

    first, second = convert(arrays), convert(renamed)

    assert second.config == first.config
    assert second.state_dict.keys() == first.state_dict.keys()
    for name, array in first.state_dict.items():
        assert np.array_equal(second.state_dict[name], array)


def test_two_classifiers_are_ambiguous() -> None:
    """The finding lists both candidates; each of them alone is accepted, as the previous test shows."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/head_1/dense/kernel"] = arrays["net/head/dense/kernel"]

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.name for finding in caught.value.ambiguous] == ["classifier.weight"]
    assert caught.value.ambiguous[0].candidates == ("net/head/dense/kernel", "net/head_1/dense/kernel")


def test_network_without_classifier_has_no_classes() -> None:
    """A checkpoint without dense layer becomes a network with 0 classes."""
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
        ("global_step", "training step counter"),
    ],
)
def test_training_state_is_ignored_for_its_reason(name: str, reason: str) -> None:
    """The state of optimizers is ignored and listed with the reason."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays[name] = np.ones(1, np.float32)

    report = plan_conversion(arrays).report

    assert [record.reason for record in report.ignored if record.source == name] == [reason]


def test_slot_of_an_unknown_optimizer_is_an_error() -> None:
    """A name that no rule matches is never dropped silently."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/stem/conv2d/kernel/Lion"] = np.ones(1, np.float32)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.name for finding in caught.value.unmapped] == ["net/stem/conv2d/kernel/Lion"]


def test_checkpoint_without_step_counter_converts() -> None:
    """Some published copies do not have one."""
    arrays = networks.arrays("efficientnetv2-b0")
    del arrays["global_step"]

    assert plan_conversion(arrays).config.name == "efficientnetv2-b0"


def test_missing_tensor_is_reported_with_its_expected_name() -> None:
    """A renamed tensor is one unmapped and one missing finding, and its new name is suggested."""
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
def test_missing_kernel_does_not_prevent_recognition(name: str) -> None:
    """The other blocks identify the variant, and the kernel is reported as missing."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    del arrays["net/" + name]

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    assert [finding.expected for finding in caught.value.missing] == [("net/" + name,)]
    assert not caught.value.unmapped


def test_wrong_shape_is_reported_with_both_shapes() -> None:
    """The kernels identify the variant, and the batch norm of a wrong width is reported."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    arrays["net/blocks_3/tpu_batch_normalization/gamma"] = np.ones(129, np.float32)

    with pytest.raises(MappingError) as caught:
        plan_conversion(arrays)

    (mismatch,) = caught.value.mismatched
    assert (mismatch.source_shape, mismatch.expected) == ((129,), (128,))
    assert mismatch.target == "stages.2.0.expand.bn.weight"


def test_swapped_tensors_are_swapped_in_the_result() -> None:
    """Swapping two tensors of equal shape in the source swaps these two targets and changes no other."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    swapped = dict(arrays)
    first, second = "net/blocks_6/conv2d/kernel", "net/blocks_7/conv2d/kernel"
    assert arrays[first].shape == arrays[second].shape
    swapped[first], swapped[second] = arrays[second], arrays[first]

    before, after = convert(arrays).state_dict, convert(swapped).state_dict

    different = [name for name in before if before[name].flat[0] != after[name].flat[0]]
    assert different == ["stages.3.1.expand.conv.weight", "stages.3.2.expand.conv.weight"]
