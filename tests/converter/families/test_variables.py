"""The inventory of a checkpoint separates variables from other tensors."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

import tfckpt
from converter.families.variables import inventory_from_checkpoint, inventory_from_names

FOLDER = pathlib.Path(__file__).parents[2] / "data" / "tensorflow" / "optimizers"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text())["checkpoints"]


@pytest.mark.parametrize("case", CASES[:-1], ids=lambda case: case["prefix"].partition("/")[0])
def test_state_of_object_based_optimizers_is_set_aside(case: dict[str, Any]) -> None:
    """Only the model's variables and their averages remain; the reason for all others names the optimizer."""
    with tfckpt.open(FOLDER / case["prefix"]) as checkpoint:
        assert checkpoint.object_graph is not None
        inventory = inventory_from_checkpoint(checkpoint, checkpoint.object_graph)

    variables = [variable for variable in inventory.variables if not variable.variable_key]
    averages = [variable for variable in inventory.variables if variable.variable_key]
    assert [variable.key for variable in variables] == case["model"]
    assert [variable.full_name for variable in averages] == [
        f"{variable.full_name}/ExponentialMovingAverage" for variable in variables if averages
    ]
    reasons = [ignored.reason for ignored in inventory.set_aside if not ignored.name.startswith("_CHECKPOINTABLE")]
    assert len(reasons) == len(case["tensors"]) - len(inventory.variables) - 1
    assert all(reason.endswith("of the optimizer optimizer") for reason in reasons)


def test_slots_by_name_are_set_aside() -> None:
    """The step counter is not set aside, because the rules of a family ignore it."""
    case = CASES[-1]

    inventory = inventory_from_names({tensor["name"]: tuple(tensor["shape"]) for tensor in case["tensors"]})

    assert {variable.key for variable in inventory.variables} == {*case["model"], "global_step"}
    reasons = dict(inventory.set_aside)
    assert reasons["adam/bias/Adam_1"] == "slot of the optimizer Adam"
    assert reasons["beta2_power"] == "state of the optimizer Adam"


def test_slots_of_mesh_tensorflow_are_set_aside(data: pathlib.Path) -> None:
    """The reason contains the name of the slot."""
    with tfckpt.open(data / "adafactor" / "model.ckpt-1000000") as checkpoint:
        inventory = inventory_from_names({info.name: info.shape for info in checkpoint.infos()})

    reasons = dict(inventory.set_aside)
    assert len(reasons) == 25
    assert reasons["encoder/block_000/layer_000/SelfAttention/k_slot_vc"] == "slot vc of the optimizer Adafactor"
