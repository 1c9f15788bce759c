"""A checkpoint with its graph, its conversion and a run of the oracle, shared by the tests of layers."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import tfckpt
from converter.conversion import ConversionOptions, ConversionPlan, plan_conversion
from converter.engine.reference_graph import ReferenceGraph
from converter.engine.variables import Weights
from converter.families.averages import WeightsChoice
from converter.loading import load_model
from converter.model import EfficientNet
from converter.verification.layers import OracleRun, run_oracle
from converter.verification.oracle import build_oracle
from converter.verification.pairing import Pairing, pair_layers
from converter.verification.probes import make_random_probe

DATA = pathlib.Path(__file__).parents[2] / "data"


class Case(NamedTuple):
    """A checkpoint and everything derived from it for a comparison."""

    checkpoint: tfckpt.Checkpoint
    planned: ConversionPlan
    graph: ReferenceGraph
    pairing: Pairing
    run: OracleRun
    model: EfficientNet


def keys_of(planned: ConversionPlan) -> dict[str, str]:
    """Return the checkpoint key of every target."""
    return {move.target: move.source for move in planned.plan.moves}


def open_case(path: str, choice: WeightsChoice = "ema", *, seed: int = 0) -> Case:
    """Open a checkpoint of the test data, and run its graph on a random probe of a suitable size."""
    checkpoint = tfckpt.open(DATA / path)
    planned = plan_conversion(checkpoint, ConversionOptions(weights=choice))
    graph = build_oracle(checkpoint)
    assert graph is not None
    assert planned.config is not None
    weights: Weights = "averages" if choice == "ema" else "raw"
    pairing = pair_layers(graph, planned.config, keys_of(planned), weights)
    assert pairing.input_shape is not None
    probe = make_random_probe((1, *(side if side > 0 else 64 for side in pairing.input_shape[1:3]), 3), seed)
    run = run_oracle(graph, pairing, probe, weights)
    return Case(checkpoint, planned, graph, pairing, run, load_model(DATA / path, weights=choice))


def layer_of(target: str) -> str:
    """Return the layer of a tensor of the network."""
    owner = target.rpartition(".")[0].removesuffix(".conv").removesuffix(".bn")
    return "logits" if owner == "classifier" else owner
