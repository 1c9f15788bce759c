"""Which release a network may be: all that were published, ties, and what decides them."""

from __future__ import annotations

import dataclasses

import pytest

from converter.conversion import plan_conversion
from converter.errors import UnknownModelError
from converter.model.config import CONFIGS, EFFICIENTNET_V1, EFFICIENTNET_V2, EfficientNetConfig
from converter.releases.table import RELEASES, preprocessing_for
from converter.releases.which import releases_of

from .. import networks

V2_RELEASES = [
    *((name, 1000, name, name) for name in EFFICIENTNET_V2 if name != "efficientnetv2-xl"),
    *((name, 21_843, f"{name}-21k", f"{name}-21k") for name in EFFICIENTNET_V2),
    *((name, 1000, f"{name}-21k-ft1k", f"{name}-21k-ft1k") for name in EFFICIENTNET_V2),
]


def test_there_are_23_releases_of_version_2() -> None:
    """s, m, l and b0 to b3 in three ways, and xl in two."""
    assert len(V2_RELEASES) == 23


@pytest.mark.parametrize(("name", "classes", "folder", "release"), V2_RELEASES, ids=[row[3] for row in V2_RELEASES])
def test_every_release_of_version_2_is_recognised(name: str, classes: int, folder: str, release: str) -> None:
    """Names and shapes give the variant and the class count, and the folder's name decides a tie between releases."""
    config = dataclasses.replace(CONFIGS[name], num_classes=classes)
    arrays = networks.arrays(config, scope="eff_net_v2_model/")

    planned = plan_conversion(arrays)
    releases = releases_of(config, "automl", f"/models/{folder}/model.ckpt-7")

    assert planned.config == config
    assert release in planned.report.releases
    assert releases.names[0] == release
    assert len(planned.report.tensors) == len(arrays) // 2


def test_tie_between_releases_is_said() -> None:
    """1,000 classes may be two releases of other preprocessing; without a word from the folder that is a doubt."""
    report = plan_conversion(networks.arrays("efficientnetv2-s")).report

    assert report.releases == ("efficientnetv2-s", "efficientnetv2-s-21k-ft1k")
    (note,) = report.notes
    assert "--release" in note


def test_class_count_that_decides_is_evidence() -> None:
    """21,843 classes are one release, and other counts are none."""
    big = dataclasses.replace(CONFIGS["efficientnetv2-s"], num_classes=21_843)
    own = dataclasses.replace(CONFIGS["efficientnetv2-s"], num_classes=37)

    report = plan_conversion(networks.arrays(big)).report
    other = plan_conversion(networks.arrays(own)).report

    assert report.evidence[-1] == "21,843 classes: only the release efficientnetv2-s-21k has that many"
    assert report.notes == ()
    assert other.evidence[-1] == "37 classes: no release has that many"
    assert other.releases == ()


@pytest.mark.parametrize("name", [name for name in EFFICIENTNET_V1 if name[-2:] not in {"b8", "l2"}])
def test_releases_of_version_1_are_told_by_their_folders(name: str) -> None:
    """AdvProp and Noisy Student differ in preprocessing, and share names and shapes."""
    releases = {
        hint: releases_of(CONFIGS[name], "automl", f"{hint}/model.ckpt")
        for hint in ("advprop/x", "noisy_student_x", "x")
    }

    assert (len(releases["x"].names), releases["x"].decided) == (2, False)
    assert releases["advprop/x"].names == (f"{name}-advprop",)
    assert releases["noisy_student_x"].names == (f"{name}-noisystudent",)


def test_only_release_of_b8_is_told_by_its_shapes() -> None:
    """There is no noisy student of it."""
    assert releases_of(CONFIGS["efficientnet-b8"], "automl", "noisy").names == ("efficientnet-b8-advprop",)


def test_two_releases_of_l2_are_told_by_their_folders() -> None:
    """Noisy students for images of 800 and of 475 pixels."""
    config = CONFIGS["efficientnet-l2"]

    assert releases_of(config, "automl", "x").names == (
        "efficientnet-l2-noisystudent",
        "efficientnet-l2-noisystudent-475",
    )
    assert releases_of(config, "automl", "noisy_student_efficientnet-l2/model.ckpt").names == (
        "efficientnet-l2-noisystudent",
    )
    assert releases_of(config, "automl", "noisy_student_efficientnet-l2_475/model.ckpt").names == (
        "efficientnet-l2-noisystudent-475",
    )


@pytest.mark.parametrize("name", RELEASES)
def test_release_that_is_asked_for_decides(name: str) -> None:
    """Every release can be what its network is, whatever the folder's name says; what follows is its preprocessing."""
    config = RELEASES[name].config

    found = releases_of(config, "automl", "/models/21k-ft1k/noisy/advprop", asked=name)

    assert (found.names, found.decided) == ((name,), True)
    assert preprocessing_for(found.names, config) == RELEASES[name].preprocessing


def test_release_that_was_asked_for_is_evidence() -> None:
    """The sentence says that it was not found out."""
    report = plan_conversion(networks.arrays("efficientnetv2-s"), release="efficientnetv2-s-21k-ft1k").report

    assert report.evidence[-1] == (
        "1,000 classes: efficientnetv2-s or efficientnetv2-s-21k-ft1k; "
        "efficientnetv2-s-21k-ft1k by the name it was asked for"
    )
    assert report.notes == ()


@pytest.mark.parametrize(
    ("config", "family", "message"),
    [
        (CONFIGS["efficientnetv2-b0"], "automl", "may be efficientnetv2-b0 or efficientnetv2-b0-21k-ft1k"),
        (CONFIGS["efficientnetv2-s"], "keras", "may be keras-efficientnetv2-s"),
        (dataclasses.replace(CONFIGS["efficientnetv2-s"], num_classes=10), "automl", "is no release"),
        (dataclasses.replace(CONFIGS["efficientnetv2-s"], name="custom"), "automl", "is no release"),
    ],
    ids=["another network", "Keras's weights", "other classes", "no published network"],
)
def test_release_that_it_cannot_be_is_refused(config: EfficientNetConfig, family: str, message: str) -> None:
    """The error lists what it may be."""
    with pytest.raises(UnknownModelError, match=f"is not the release efficientnetv2-s: .* it {message}"):
        releases_of(config, family, "efficientnetv2-s", asked="efficientnetv2-s")


def test_keras_weights_are_no_release_of_the_released_code() -> None:
    """Keras offers one set of weights a size, under its own preprocessing."""
    assert releases_of(CONFIGS["efficientnetv2-b0"], "keras", "").names == ("keras-efficientnetv2-b0",)
    assert releases_of(dataclasses.replace(CONFIGS["efficientnetv2-b0"], num_classes=5), "keras", "").names == ()
