"""Networks are identified as releases, by class count and directory name."""

from __future__ import annotations

import dataclasses

import pytest

from converter.conversion import ConversionOptions, plan_conversion
from converter.errors import UnknownModelError
from converter.model.architectures import CONFIGS, EFFICIENTNET_V1, EFFICIENTNET_V2
from converter.model.config import EfficientNetConfig
from converter.releases.table import RELEASES, find_preprocessing
from converter.releases.which import identify_releases

from .. import networks

V2_RELEASES = [
    *((name, 1000, name, name) for name in EFFICIENTNET_V2 if name != "efficientnetv2-xl"),
    *((name, 21_843, f"{name}-21k", f"{name}-21k") for name in EFFICIENTNET_V2),
    *((name, 1000, f"{name}-21k-ft1k", f"{name}-21k-ft1k") for name in EFFICIENTNET_V2),
]


def test_version_2_has_23_releases() -> None:
    """There are three for each of s, m, l and b0 to b3, and two for xl."""
    assert len(V2_RELEASES) == 23


@pytest.mark.parametrize(("name", "classes", "folder", "release"), V2_RELEASES, ids=[row[3] for row in V2_RELEASES])
def test_every_release_of_version_2_is_identified(name: str, classes: int, folder: str, release: str) -> None:
    """Names and shapes determine variant and class count; the directory selects one of the possible releases."""
    config = dataclasses.replace(CONFIGS[name], num_classes=classes)
    arrays = networks.arrays(config, scope="eff_net_v2_model/")

    planned = plan_conversion(arrays)
    releases = identify_releases(config, "automl", f"/models/{folder}/model.ckpt-7")

    assert planned.config == config
    assert release in planned.report.releases
    assert releases.names[0] == release
    assert len(planned.report.tensors) == len(arrays) // 2


def test_several_possible_releases_are_noted() -> None:
    """Two releases with 1,000 classes have different preprocessing; the note contains the option that selects one."""
    report = plan_conversion(networks.arrays("efficientnetv2-s")).report

    assert report.releases == ("efficientnetv2-s", "efficientnetv2-s-21k-ft1k")
    (note,) = report.notes
    assert "--release" in note


def test_class_count_can_determine_the_release() -> None:
    """There is one release with 21,843 classes, and none with other counts."""
    pretrained = dataclasses.replace(CONFIGS["efficientnetv2-s"], num_classes=21_843)
    custom = dataclasses.replace(CONFIGS["efficientnetv2-s"], num_classes=37)

    report = plan_conversion(networks.arrays(pretrained)).report
    other = plan_conversion(networks.arrays(custom)).report

    assert report.releases == ("efficientnetv2-s-21k",)
    assert "efficientnetv2-s-21k" in report.evidence[-1]
    assert report.notes == ()
    assert other.releases == ()


@pytest.mark.parametrize("name", [name for name in EFFICIENTNET_V1 if name[-2:] not in {"b8", "l2"}])
def test_releases_of_version_1_are_identified_by_directory(name: str) -> None:
    """AdvProp and Noisy Student have the same names and shapes, but different preprocessing."""
    releases = {
        hint: identify_releases(CONFIGS[name], "automl", f"{hint}/model.ckpt")
        for hint in ("advprop/x", "noisy_student_x", "x")
    }

    assert (len(releases["x"].names), releases["x"].is_decided) == (2, False)
    assert releases["advprop/x"].names == (f"{name}-advprop",)
    assert releases["noisy_student_x"].names == (f"{name}-noisystudent",)


def test_release_of_b8_is_identified_by_shapes() -> None:
    """It has only one release, so the directory does not matter."""
    assert identify_releases(CONFIGS["efficientnet-b8"], "automl", "noisy").names == ("efficientnet-b8-advprop",)


def test_releases_of_l2_are_identified_by_directory() -> None:
    """There are releases for images of 800 and of 475 pixels."""
    config = CONFIGS["efficientnet-l2"]

    assert identify_releases(config, "automl", "x").names == (
        "efficientnet-l2-noisystudent",
        "efficientnet-l2-noisystudent-475",
    )
    assert identify_releases(config, "automl", "noisy_student_efficientnet-l2/model.ckpt").names == (
        "efficientnet-l2-noisystudent",
    )
    assert identify_releases(config, "automl", "noisy_student_efficientnet-l2_475/model.ckpt").names == (
        "efficientnet-l2-noisystudent-475",
    )


@pytest.mark.parametrize("name", RELEASES)
def test_requested_release_is_used(name: str) -> None:
    """A request overrides the directory, and the preprocessing follows from it."""
    config = RELEASES[name].config

    releases = identify_releases(config, "automl", "/models/21k-ft1k/noisy/advprop", requested=name)

    assert (releases.names, releases.is_decided) == ((name,), True)
    assert find_preprocessing(releases.names, config) == RELEASES[name].preprocessing


def test_requested_release_is_evidence() -> None:
    """The report contains the request and no note."""
    report = plan_conversion(
        networks.arrays("efficientnetv2-s"), ConversionOptions(release="efficientnetv2-s-21k-ft1k")
    ).report

    assert report.evidence[-1].endswith("requested: efficientnetv2-s-21k-ft1k")
    assert report.notes == ()


@pytest.mark.parametrize(
    ("config", "family", "token"),
    [
        (CONFIGS["efficientnetv2-b0"], "automl", "efficientnetv2-b0 or efficientnetv2-b0-21k-ft1k"),
        (CONFIGS["efficientnetv2-s"], "keras", "keras-efficientnetv2-s"),
        (dataclasses.replace(CONFIGS["efficientnetv2-s"], num_classes=10), "automl", "not a release"),
        (dataclasses.replace(CONFIGS["efficientnetv2-s"], name="custom"), "automl", "not a release"),
    ],
    ids=["different network", "Keras weights", "class count", "custom network"],
)
def test_impossible_release_is_rejected(config: EfficientNetConfig, family: str, token: str) -> None:
    """The error lists the possible releases."""
    with pytest.raises(UnknownModelError, match=f"efficientnetv2-s: .*{token}"):
        identify_releases(config, family, "efficientnetv2-s", requested="efficientnetv2-s")


def test_weights_of_keras_are_identified() -> None:
    """Keras provides one set of weights for each size, with its own preprocessing."""
    assert identify_releases(CONFIGS["efficientnetv2-b0"], "keras", "").names == ("keras-efficientnetv2-b0",)
    assert identify_releases(dataclasses.replace(CONFIGS["efficientnetv2-b0"], num_classes=5), "keras", "").names == ()
