"""Test that `tf2torch models` lists the releases."""

from __future__ import annotations

import json

import pytest

from converter.cli import main


def test_models_lists_all_releases_of_efficientnetv2(capsys: pytest.CaptureFixture[str]) -> None:
    """There are eight networks with three releases each, except that xl has no plain ImageNet-1k release."""
    assert main(["models", "efficientnetv2-*", "--json"]) == 0

    releases = {release["name"]: release for release in json.loads(capsys.readouterr().out)["releases"]}
    assert len(releases) == 23
    assert "efficientnetv2-xl" not in releases
    small = releases["efficientnetv2-s"]
    assert (small["classes"], small["input_size"], small["top1"]) == (1000, 384, 83.9)
    assert small["address"].endswith("/efficientnet/v2/efficientnetv2-s.tgz")
    assert small["fits"]["timm"] == "tf_efficientnetv2_s"
    assert releases["efficientnetv2-b0-21k"]["classes"] == 21_843
    assert releases["efficientnetv2-b0-21k"]["input_size"] == 224


def test_models_without_a_match_exits_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed to standard output."""
    assert main(["models", "resnet"]) == 3

    assert capsys.readouterr().out == ""
