"""A checkpoint with its graph, its conversion and one run of the oracle, as the tests of layers share them."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import tfckpt
from converter.conversion import ConversionPlan, plan_conversion
from converter.engine.reference_graph import ReferenceGraph
from converter.engine.variables import Weights
from converter.families.averages import WeightsChoice
from converter.loading import load_model
from converter.model import EfficientNet
from converter.verification.layers import OracleRun, run_oracle
from converter.verification.oracle import oracle_of
from converter.verification.pairing import Pairing, pair_layers
from converter.verification.probes import random_probe

DATA = pathlib.Path(__file__).parents[2] / "data"


class Case(NamedTuple):
    """Everything there is to compare."""

    checkpoint: tfckpt.Checkpoint
    planned: ConversionPlan
    graph: ReferenceGraph
    pairing: Pairing
    run: OracleRun
    model: EfficientNet


def keys_of(planned: ConversionPlan) -> dict[str, str]:
    """The checkpoint key of every target."""
    return {move.target: move.source for move in planned.plan.moves}


def open_case(path: str, choice: WeightsChoice = "ema", *, seed: int = 0) -> Case:
    """Open a checkpoint of the test data, and run its graph on a random probe of the size it takes."""
    checkpoint = tfckpt.open(DATA / path)
    planned = plan_conversion(checkpoint, weights=choice)
    graph = oracle_of(checkpoint)
    assert graph is not None
    assert planned.config is not None
    weights: Weights = "averages" if choice == "ema" else "raw"
    pairing = pair_layers(graph, planned.config, keys_of(planned), weights)
    assert pairing.input_shape is not None
    probe = random_probe((1, *(side if side > 0 else 64 for side in pairing.input_shape[1:3]), 3), seed)
    run = run_oracle(graph, pairing, probe, weights)
    return Case(checkpoint, planned, graph, pairing, run, load_model(DATA / path, weights=choice))


def layer_of(target: str) -> str:
    """The layer that a tensor of the network belongs to."""
    owner = target.rpartition(".")[0].removesuffix(".conv").removesuffix(".bn")
    return "logits" if owner == "classifier" else owner
