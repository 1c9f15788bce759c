"""What of a checkpoint is offered to the rules, and why the rest is not."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

import tfckpt
from converter.families.variables import inventory_of_checkpoint, inventory_of_names

FOLDER = pathlib.Path(__file__).parents[2] / "data" / "tensorflow" / "optimizers"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text())["checkpoints"]


@pytest.mark.parametrize("case", CASES[:-1], ids=lambda case: case["prefix"].partition("/")[0])
def test_state_of_object_based_optimizers_is_set_aside(case: dict[str, Any]) -> None:
    """The model's variables are left, wherever their keys are; everything else has the optimizer as its reason."""
    with tfckpt.open(FOLDER / case["prefix"]) as checkpoint:
        assert checkpoint.object_graph is not None
        inventory = inventory_of_checkpoint(checkpoint, checkpoint.object_graph)

    assert [variable.key for variable in inventory.variables] == case["model"]
    reasons = [ignored.reason for ignored in inventory.set_aside if not ignored.name.startswith("_CHECKPOINTABLE")]
    assert len(reasons) == len(case["tensors"]) - len(case["model"]) - 1
    assert all(reason.endswith("of the optimizer optimizer") for reason in reasons)


def test_slots_by_name_are_set_aside() -> None:
    """The step counter is left to the rules of a family."""
    case = CASES[-1]

    inventory = inventory_of_names({tensor["name"]: tuple(tensor["shape"]) for tensor in case["tensors"]})

    assert {variable.key for variable in inventory.variables} == {*case["model"], "global_step"}
    reasons = dict(inventory.set_aside)
    assert reasons["adam/bias/Adam_1"] == "slot of the optimizer Adam"
    assert reasons["beta2_power"] == "state of the optimizer Adam"


def test_slots_of_mesh_tensorflow_are_set_aside(data: pathlib.Path) -> None:
    """With the name of the slot."""
    with tfckpt.open(data / "adafactor" / "model.ckpt-1000000") as checkpoint:
        inventory = inventory_of_names({info.name: info.shape for info in checkpoint.infos()})

    reasons = dict(inventory.set_aside)
    assert len(reasons) == 25
    assert reasons["encoder/block_000/layer_000/SelfAttention/k_slot_vc"] == "slot vc of the optimizer Adafactor"
