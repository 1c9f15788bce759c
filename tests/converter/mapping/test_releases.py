"""Which release a network may be: all that were published, ties, and what decides them."""

from __future__ import annotations

import dataclasses

import pytest

from converter.conversion import plan_conversion
from converter.mapping.releases import releases_of
from converter.model.config import CONFIGS, EFFICIENTNET_V1, EFFICIENTNET_V2

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
    assert report.notes == (
        "1,000 classes: efficientnetv2-s or efficientnetv2-s-21k-ft1k; their preprocessing differs, "
        "and neither names nor shapes tell which it is",
    )


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


@pytest.mark.parametrize("name", EFFICIENTNET_V1)
def test_releases_of_version_1_are_told_by_their_folders(name: str) -> None:
    """AdvProp and Noisy Student differ in preprocessing, and share names and shapes where both exist."""
    config = CONFIGS[name]
    releases = {
        hint: releases_of(config, "automl", f"{hint}/model.ckpt") for hint in ("advprop/x", "noisy_student_x", "x")
    }

    both = {"efficientnet-b8": 1, "efficientnet-l2": 1}.get(name, 2)
    assert len(releases["x"].names) == both
    assert releases["x"].decided == (both == 1)
    if both == 2:
        assert releases["advprop/x"].names == (f"{name}-advprop",)
        assert releases["noisy_student_x"].names == (f"{name}-noisystudent",)


def test_keras_weights_are_no_release_of_the_released_code() -> None:
    """Keras offers one set of weights a size, under its own preprocessing."""
    assert releases_of(CONFIGS["efficientnetv2-b0"], "keras", "").names == ("keras-efficientnetv2-b0",)
    assert releases_of(dataclasses.replace(CONFIGS["efficientnetv2-b0"], num_classes=5), "keras", "").names == ()
