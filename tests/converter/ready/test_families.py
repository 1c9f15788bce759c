"""Every row of docs/families.md: the authors' checkpoint converts, opens in the library, and computes the same."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import pytest

import converter
import tfckpt
from converter.cli import main
from converter.networks.tables import NETWORKS
from converter.verification.weights import verify_weights

from .cases import CASES, NO_POOLER, Case, measure, run

#: Cases whose folders differ from others' only in the class or the heads.
SLOW = (
    *("bert pretraining", "bert words", "bert-classifier", "bert-classifier tokens", "bert-questions"),
    *("albert pretraining", "electra generator", "electra-own generator", "t5-1.1", "resnet-v2"),
    *("electra-shared discriminator", "electra-shared generator"),
)
PAGE = pathlib.Path(__file__).parents[3] / "docs" / "families.md"


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> Case:
    """A network."""
    found: Case = request.param
    return found


def test_module_computes_what_tensorflow_computed(case: Case) -> None:
    """All weights are loaded, and every output agrees."""
    pytest.importorskip("tests.torchvision_operators")
    result = converter.convert(case.path, part=case.part)

    module = converter.load_network(result)
    outputs = run(module, case)

    assert result.report.title == type(module).__name__ == case.model
    assert {name: measure(outputs[name], case.golden[f"output/{name}"]) for name in case.outputs} == pytest.approx(
        dict.fromkeys(case.outputs, 0.0), abs=case.limit
    )


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.id in SLOW else []) for case in CASES],
)
def test_folder_opens_with_nothing_missing_or_unexpected(case: Case, tmp_path: pathlib.Path) -> None:
    """By the library's own loader, or by ours; the command and its proof of weights find the same network again."""
    pytest.importorskip("tests.torchvision_operators")
    folder = tmp_path / "out"
    part = [] if case.part is None else ["--part", case.part]

    assert main(["convert", str(case.path), "-o", str(folder), *part]) == 0

    assert verify_weights(case.path, folder).ok
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == [case.model]
    if case.model in ("ResNet", "InceptionV3"):
        module = converter.load_network(folder)
    else:
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        module, info = getattr(transformers, case.model).from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        base, info = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] - (
            {"pooler.dense.weight", "pooler.dense.bias"} if case.model in NO_POOLER else set()
        )
        assert not info["unexpected_keys"] or type(base).__name__ != case.model  # the heads of other models
    outputs = run(module.eval(), case)
    for name in case.outputs:
        assert measure(outputs[name], case.golden[f"output/{name}"]) < case.limit


def test_way_back_is_exact(case: Case) -> None:
    """With the report every converted tensor has its name, shape and bytes again."""
    result = converter.convert(case.path, part=case.part)

    arrays = converter.reverse(result.state_dict, result.report)

    with tfckpt.open(case.path) as checkpoint:
        assert {name: array.tobytes() for name, array in arrays.items()} == {
            name: np.asarray(checkpoint[name]).tobytes() for name in arrays
        }
    assert len(arrays) == result.report.used


def test_every_family_is_tested_and_documented() -> None:
    """The table of the page has a row for each case, with its limit."""
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", PAGE.read_text(encoding="utf-8"), re.M)

    assert {network.name for network in NETWORKS} == {case.family for case in CASES} == {name for name, *_ in rows}
    assert {(name, model.strip("` ")) for name, _, model, _ in rows} == {(case.family, case.model) for case in CASES}
